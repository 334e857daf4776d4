"""What a run does with its export: proves it, measures it, and writes it for ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from sidestep_tui.engine import export, finishing, weights
from sidestep_tui.engine.adapter_formats import read_any
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.strict import check
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.training.adapting import provenance, trained


def test_a_finished_run_knows_its_effect_and_can_go_to_comfyui(new_run: Any) -> None:
    run_dir, _ = new_run(
        adapter={"kind": "dora", "rank": 4, "alpha": 8.0}, train={"epochs": 6}, data={"validation": 20}
    )
    with Reporter(run_dir, "s1") as reporter, Control(run_dir, reporter, signals=False) as control:
        assert TrainingRun(run_dir, reporter, control).carry_out() == "finished"
    events = Tail(run_dir.events).read_all()
    final = [event for event in events if event["type"] == "adapter" and event["kind"] == "final"][-1]
    check(final)
    assert final["effect"]["source"] == "held-out"
    assert final["effect"]["change"] > 0
    assert any("the adapter changes the model's output" in event.get("msg", "") for event in events)
    card = (run_dir.adapter / "final" / "README.md").read_text("utf-8")
    assert "| Change at strength 1 |" in card
    assert "`comfyui/drums.safetensors` as a LoRA, at strength 1" in card
    for kind, name in (("final", "drums"), ("best", "drums_best")):
        file = run_dir.adapter / kind / "comfyui" / f"{name}.safetensors"
        assert any(key.endswith(".dora_scale") for key in load_file(file))
        assert read_any(file)[0].dora_on_base
    assert read_any(run_dir.adapter / "final")[0].file.name == "adapter_model.safetensors"


def test_what_comfyui_cannot_hold_is_said_and_nothing_is_written(
    new_transformer: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    run_dir = RunDir.create(tmp_path, "turned")
    settings = AdapterSettings.model_validate({"kind": "oft", "oft_block_size": 8})
    final = run_dir.adapter / "final"
    final.mkdir(parents=True)
    export.write_adapter(final, trained(new_transformer, settings), settings, provenance())
    before = sorted(path.name for path in final.iterdir())
    base = weights.find_checkpoint(str(tiny_checkpoint), "auto", "")
    with Reporter(run_dir, "s1") as reporter:
        finishing._write_for_comfyui(final, "turned", base, reporter)
    (said,) = [event["msg"] for event in Tail(run_dir.events).read_all() if event["type"] == "log"]
    assert "OFT cannot be written for comfyui" in said
    assert sorted(path.name for path in final.iterdir()) == before
    assert torch.is_tensor(next(iter(load_file(final / "adapter_model.safetensors").values())))
