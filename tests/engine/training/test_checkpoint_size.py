"""The size of a checkpoint is known before the run, for every kind of adapter and every optimizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.engine import checkpoint, export, trainer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import disk_maths, plan_maths
from sidestep_tui.schema.model_shape import SHAPE_2B, model_shape
from sidestep_tui.schema.settings import Settings

PROVENANCE = export.Provenance("drums", "2026", 1, 1, None, "acestep-v15-turbo", "turbo", "")

KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 96},
    "dora": {"kind": "dora", "rank": 96, "mlp": True},
    "lora, mlp alone": {"rank": 96, "attention": "none", "mlp": True},
    "pissa": {"rank": 16, "init": "pissa", "mlp": True},
    "lokr": {"kind": "lokr", "lokr_factor": 1, "rank": 64, "mlp": True},
    "loha": {"kind": "loha", "rank": 96},
    "oft": {"kind": "oft", "oft_block_size": 32, "mlp": True},
}
OPTIMIZERS = ("adamw", "adamw8bit", "adafactor", "prodigy", "schedule_free", "lion", "muon")
CASES = [(kind, "prodigy") for kind in KINDS] + [("lora", name) for name in OPTIMIZERS if name != "prodigy"]


@pytest.mark.parametrize(("kind", "optimizer"), CASES)
def test_a_checkpoint_takes_what_was_predicted(
    new_transformer, new_material, new_settings, songs, tmp_path: Path, kind: str, optimizer: str
) -> None:
    if optimizer == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    settings = new_settings(adapter=KINDS[kind], optim={"optimizer": optimizer}, train={"ema_decay": 0.9})
    transformer = new_transformer()
    learner = trainer.build(transformer, new_material(songs), settings, seed=1)
    learner.step()
    run_dir = RunDir.create(tmp_path, "drums")
    directory = checkpoint.save(run_dir, transformer, learner.optimizer, learner.state({}), settings, PROVENANCE)
    predicted = disk_maths.checkpoint_size(model_shape(dict(transformer.config)), settings)
    assert predicted.total == pytest.approx(checkpoint.size(directory), rel=0.02)


def test_at_real_sizes_it_is_three_times_the_adapter_and_hardly_more() -> None:
    settings = Settings.model_validate({"adapter": {"rank": 64, "mlp": False}})
    size = disk_maths.checkpoint_size(SHAPE_2B, settings)
    weights = 64 * 688_128  # REQUIREMENTS: weights per rank of a LoRA on both attentions of the 2B model
    assert size.adapter == pytest.approx(4 * weights, rel=1e-3)
    assert size.total == pytest.approx(12 * weights, rel=1e-3)


def test_while_old_checkpoints_go_there_must_be_room_for_one_more() -> None:
    def taken(**output: Any) -> int:
        values = {"output": {"save_every_epochs": 10, **output}, "train": {"epochs": 100}}
        return disk_maths.run_bytes(Settings.model_validate(values), SHAPE_2B)

    size = disk_maths.checkpoint_size(SHAPE_2B, Settings())
    assert taken() == 10 * size.total + 2 * size.adapter
    assert taken(keep_last=2) == 3 * size.total + 2 * size.adapter
    assert taken(keep_last=2, keep_best=3) == 6 * size.total + 2 * size.adapter
    assert taken(keep_last=20) == 11 * size.total + 2 * size.adapter
    # Nobody knows how many come by minutes: as many as may stay.
    assert taken(save_every_epochs=0, save_every_minutes=5, keep_last=4) == 5 * size.total + 2 * size.adapter
    assert plan_maths.checkpoints_written(Settings.model_validate({"output": {"save_every_minutes": 5}})) >= 1
