"""While a run trains, the decoder is the only model in memory."""

from __future__ import annotations

import gc
import weakref

from sidestep_tui.engine import weights
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import Trainer


def test_only_the_decoder_is_there_while_training(new_run, monkeypatch, tmp_path):
    run_dir, _ = new_run(train={"epochs": 1, "max_steps": 1, "best_after": 0}, data={"cache": str(tmp_path / "cache")})
    loaded: dict[str, weakref.ref] = {}
    alive: list[set[str]] = []

    def watch(name: str) -> None:
        load = getattr(weights, name)

        def watched(*args, **options):
            found = load(*args, **options)
            loaded[name] = weakref.ref(found[-1] if isinstance(found, tuple) else found)
            return found

        monkeypatch.setattr(weights, name, watched)

    for name in ("load_vae", "load_text_encoder", "load_condition_encoder", "load_transformer"):
        watch(name)
    step = Trainer.step

    def watched_step(self):
        gc.collect()
        alive.append({name for name, model in loaded.items() if model() is not None})
        return step(self)

    monkeypatch.setattr(Trainer, "step", watched_step)
    with Reporter(run_dir, "test", sample_seconds=0) as reporter, Control(run_dir, reporter) as control:
        assert TrainingRun(run_dir, reporter, control).carry_out() == "finished"
    assert set(loaded) == {"load_vae", "load_text_encoder", "load_condition_encoder", "load_transformer"}
    assert alive == [{"load_transformer"}]
