"""The process that converts and measures adapter files: requests in, lines of JSON out."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapters, effect_job, export, job, weights
from sidestep_tui.engine.adapter_formats import read_parts
from sidestep_tui.engine.effect import relative_change
from sidestep_tui.schema.adapter import AdapterSettings
from tests.engine.training.adapting import provenance, randomise

Adapters = dict[str, Path]


@pytest.fixture(scope="module")
def adapters_of_tiny(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapters:
    """Adapters of three kinds for the tiny checkpoint, by kind."""
    root = tmp_path_factory.mktemp("adapters")
    for kind in ("lora", "dora", "lokr"):
        model = weights.load_transformer(weights.find_checkpoint(str(tiny_checkpoint), "auto", ""), torch.float32)
        settings = AdapterSettings.model_validate({"kind": kind, "rank": 4, "alpha": 4.0})
        adapters.inject(model, settings)
        randomise(model, 0.02)
        (root / kind).mkdir()
        export.write_adapter(root / kind, model, settings, provenance())
    return {path.name: path for path in root.iterdir()}


def ask(**request: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The result of a request, and the lines on the way to it."""
    sink = io.StringIO()
    result = job.JOBS[request["do"]](request, job.Channel(0, sink))
    return json.loads(json.dumps(result)), [json.loads(line) for line in sink.getvalue().splitlines()]


def test_the_effect_on_the_songs_of_a_run(
    adapters_of_tiny: Adapters, new_settings: Any, tiny_checkpoint: Path, tiny_songs_dir: Path, encoded_cache: Path
) -> None:
    data = {"path": str(tiny_songs_dir), "cache": str(encoded_cache), "validation": 20}
    settings = new_settings(model={"path": str(tiny_checkpoint)}, data=data)
    request = {"do": "effect", "path": str(adapters_of_tiny["lora"]), "settings": settings.model_dump(mode="json")}
    own, lines = ask(**request, source="held-out")
    assert (own["source"], own["songs"]) == ("held-out", 1)
    assert own["change"] > 0 and own["loss_before"] != own["loss_after"]
    assert lines[-1] == {
        "event": "progress",
        "phase": "listening",
        "done": 1,
        "total": 2,
        "detail": "the adapted model",
    }
    given, _ = ask(**request, source="given")
    assert (given["source"], given["songs"]) == ("given", 4)


def test_without_songs_noise_takes_their_place(
    adapters_of_tiny: Adapters, new_settings: Any, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """And another format of the same adapter has the same effect: what ComfyUI's DoRA needs is undone with the base."""
    settings = new_settings(model={"path": str(tiny_checkpoint)}).model_dump(mode="json")
    place = tmp_path / "dora.safetensors"
    own = adapters_of_tiny["dora"]
    ask(do="export", path=str(own), to="comfyui", output=str(place), model=str(tiny_checkpoint))
    found = [ask(do="effect", path=str(path), settings=settings, source="made-up")[0] for path in (own, place)]
    assert found[0]["change"] > 0.001
    assert found[1]["change"] == pytest.approx(found[0]["change"], rel=1e-5)
    assert "loss_before" not in found[0]


def test_an_adapter_of_another_size_is_refused(
    adapters_of_tiny: Adapters, new_settings: Any, tiny_xl_checkpoint: Path
) -> None:
    settings = new_settings(model={"path": str(tiny_xl_checkpoint)}).model_dump(mode="json")
    with pytest.raises(AdapterError, match=r"width 64 .*; this model has width 96"):
        ask(do="effect", path=str(adapters_of_tiny["lora"]), settings=settings, source="made-up")


def test_any_format_loads_as_the_adapter_it_was(adapters_of_tiny: Adapters, tiny_checkpoint: Path) -> None:
    base = weights.find_checkpoint(str(tiny_checkpoint), "auto", "")
    plain, direct, other = (weights.load_transformer(base, torch.float32) for _ in range(3))
    expected = adapters.load_adapter(direct, adapters_of_tiny["lokr"])
    assert effect_job.load(other, *read_parts(adapters_of_tiny["lokr"]), autocast=False) == expected
    answers = [export.probe(model, dtype=torch.float32) for model in (plain, direct, other)]
    assert torch.equal(answers[1], answers[2])
    assert relative_change(answers[0], answers[1]) > 0.001
