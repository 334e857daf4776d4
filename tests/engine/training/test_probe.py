"""What a run needs, measured."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from diffusers import AceStepTransformer1DModel

from sidestep_tui.cli import fit
from sidestep_tui.core.errors import OutOfMemoryError
from sidestep_tui.engine import probe, weights
from sidestep_tui.engine.quantised import QuantisedLinear
from sidestep_tui.launch import failures, job
from sidestep_tui.launch import probe as launch
from sidestep_tui.schema.model_shape import SHAPE_2B, ModelShape

TINY = ModelShape(64, 128, 4, 4, 2, 16, 64)


def test_a_probe_in_a_process_of_its_own_measures_a_step_a_song_and_a_checkpoint(tiny_checkpoint):
    changes = ["data.crop_seconds=1", "memory.device=cpu", "train.batch_size=2", "memory.gradient_checkpointing=auto"]
    arguments = ["quick_test", "--model", str(tiny_checkpoint), "--probe", "--json"]
    for change in changes:
        arguments += ["-s", change]
    outcome = CliRunner().invoke(fit.fit, arguments, catch_exceptions=False)
    assert outcome.stderr.split()[-4:] == ["loading", "training", "validating", "saving"]
    found = json.loads(outcome.stdout)
    assert found["peak"] > 4 * TINY.parameters
    assert found["peak_allocated"] is None
    assert found["recomputes"] is False
    assert found["difference"] == pytest.approx(found["peak"] / found["estimated"] - 1)
    assert min(found[f"seconds_{name}"] for name in ("per_step", "to_validate", "to_save")) > 0
    rows = dict(fit.measured_rows({**found, "peak": 3 * 1024**3, "peak_allocated": 2 * 1024**3, "difference": 0.25}))
    assert (rows["measured peak"], rows["of it in tensors"]) == ("3.0 GiB", "2.0 GiB")
    assert rows["activations"] == "kept"
    assert "(+25% measured)" in rows["estimated"]


def test_running_out_of_memory_names_the_rung_that_would_fit(new_settings, monkeypatch):
    def starve(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB.")

    monkeypatch.setattr(AceStepTransformer1DModel, "forward", starve)
    events = []
    with pytest.raises(OutOfMemoryError, match="does not fit") as caught:
        probe.measure(new_settings(), TINY, lambda phase, *_: events.append(phase))
    assert "2.50 GiB were wanted" in caught.value.message
    assert caught.value.hint.startswith("Try -s memory.gradient_checkpointing=on: by the estimate")
    assert int(caught.value.exit_code) == 5


@pytest.mark.parametrize("base", ["full", "int8"])
def test_a_made_up_model_answers_and_is_of_the_shape_asked_for(base):
    model = weights.made_up_transformer(TINY, torch.float32, base=base)
    assert not [name for name, tensor in [*model.named_parameters(), *model.named_buffers()] if tensor.is_meta]
    layers = [module for module in model.modules() if isinstance(module, QuantisedLinear)]
    assert len(layers) == (44 if base == "int8" else 0)
    plain = sum(parameter.numel() for parameter in model.parameters())
    assert plain + sum(layer.in_features * layer.out_features for layer in layers) == TINY.parameters


def test_a_probe_that_dies_says_so(new_settings, monkeypatch):
    monkeypatch.setattr(job, "MODULE", "sidestep_tui.engine.no_such_module")
    with pytest.raises(failures.EngineBug, match="probe"):
        launch.measure(new_settings(), TINY, print)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("base", ["full", "int8"])
def test_a_gpu_is_measured_and_the_estimate_holds(new_settings, base):
    settings = new_settings(data={"crop_seconds": 60}, adapter={"rank": 64}, memory={"device": "cuda", "base": base})
    found = probe.measure(settings, SHAPE_2B, lambda *_: None)
    assert found.peak_allocated is not None
    assert found.peak >= found.peak_allocated
    assert -0.15 < found.difference <= 0.05
