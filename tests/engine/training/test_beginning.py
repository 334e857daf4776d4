"""Runs that begin with an adapter from elsewhere: taken whole and exactly, or refused with what would agree."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.core.errors import AdapterError, ExitCode
from sidestep_tui.engine import __main__ as entry
from sidestep_tui.engine import adapter_formats, adapters, beginning, export, export_formats, weights
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.adapter import AdapterSettings
from sidestep_tui.schema.layers import command_line, resolve
from sidestep_tui.schema.run import read_run, write_run
from tests.engine.training.adapting import provenance, randomise, trained

LAYERS = 2
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "alpha": 6.0, "mlp": True},
    "rslora": {"rank": 5, "alpha": 7.0, "rslora": True, "attention": "self"},
    "patterns": {"rank": 4, "alpha": 6.0, "rank_pattern": "self.q=2, layers.1.cross=3", "layers": "1"},
    "dora": {"kind": "dora", "rank": 3, "alpha": 3.0, "projections": ("q", "v")},
    "lokr": {"kind": "lokr", "lokr_factor": 4},
    "split lokr": {"kind": "lokr", "rank": 2, "alpha": 3.0, "lokr_full_matrix": False, "lokr_factor": 2},
    "loha": {"kind": "loha", "rank": 2, "alpha": 3.0, "rslora": True, "attention": "cross"},
    "oft": {"kind": "oft", "oft_block_size": 8},
}


@pytest.fixture
def exported(new_transformer: Any, new_settings: Any, tmp_path: Path) -> Callable[..., tuple[Path, torch.Tensor]]:
    """`exported(rank=4)`: the directory of an adapter, and the answer of the model that it was trained on."""

    def make(**adapter: Any) -> tuple[Path, torch.Tensor]:
        settings = new_settings(adapter=adapter)
        model = trained(new_transformer, settings.adapter)
        export.publish(tmp_path / "final", model, settings, provenance())
        return tmp_path / "final", export.probe(model, dtype=torch.float32)

    return make


def begun(new_transformer: Any, place: Path, adapter: dict[str, Any]) -> torch.Tensor:
    """The answer of a fresh model whose adapter begins with what lies at `place`."""
    settings = AdapterSettings(**adapter, start_from=str(place))
    transformer = new_transformer()
    adapters.inject(transformer, settings)
    found = beginning.read(settings, LAYERS)
    assert found is not None
    beginning.put(transformer, found)
    return export.probe(transformer, dtype=torch.float32)


def refusal(place: Path, depth: int = LAYERS, /, **adapter: Any) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        beginning.read(AdapterSettings(**adapter, start_from=str(place)), depth)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_goes_on_from_where_it_was(new_transformer, exported, kind):
    place, expected = exported(**KINDS[kind])
    assert torch.equal(begun(new_transformer, place, KINDS[kind]), expected)


@pytest.mark.parametrize(
    ("kind", "target"),
    [("lora", "comfyui"), ("patterns", "diffusers"), ("dora", "comfyui"), ("lokr", "lycoris"), ("loha", "comfyui")],
)
def test_the_files_of_other_programs_are_taken_too(new_transformer, exported, tmp_path, kind, target):
    place, expected = exported(**KINDS[kind])
    facts, parts = adapter_formats.read_parts(place)
    base = new_transformer()
    made = export_formats.convert(
        facts, parts, target, lambda name: base.get_submodule(adapters.path_to_diffusers(name)).weight.detach()
    )
    save_file({name: tensor.contiguous() for name, tensor in made.tensors.items()}, tmp_path / "a.safetensors",
              made.metadata)  # fmt: skip
    found = begun(new_transformer, tmp_path / "a.safetensors", KINDS[kind])
    # ComfyUI's magnitudes of DoRA are restated with the base, which rounds.
    assert (found - expected).abs().max() <= (1e-5 if kind == "dora" else 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_refusal_proposes_is_what_the_file_is(new_transformer, exported, kind):
    place, expected = exported(**KINDS[kind])
    other = {"kind": "lora", "rank": 32, "alpha": 32.0} if kind != "lora" else {"kind": "dora"}
    hint = refusal(place, **other).hint
    words = [word for word in shlex.split(hint) if word.startswith("adapter.")]
    typed = [*(f"adapter.{name}={value}" for name, value in other.items()), *words]
    resolved = resolve([command_line(typed, {})]).settings.adapter
    proposed = {**resolved.model_dump(), "dropout": 0.0}
    del proposed["start_from"]
    assert torch.equal(begun(new_transformer, place, proposed), expected)


def test_a_refusal_names_what_differs(exported):
    place, _ = exported(**KINDS["lora"])
    error = refusal(place, kind="lora", rank=8, alpha=12.0)
    assert "a LoRA adapter of rank 4, scale 1.5" in error.message
    assert "adapter.mlp, adapter.rank and adapter.alpha" in error.message
    assert error.hint == "Start it with -s adapter.mlp=true -s adapter.rank=4 -s adapter.alpha=6"
    assert refusal(place, rank=4, alpha=8.0, mlp=True).hint == "Start it with -s adapter.alpha=6"
    assert refusal(place, rank=4, alpha=6.0, mlp=True, layers="0").hint == "Start it with -s adapter.layers=''"


def test_a_file_without_alpha_is_taken_as_its_loaders_do_and_says_so(new_transformer, exported, tmp_path):
    place, _ = exported(rank=4, alpha=4.0)
    expected = begun(new_transformer, place, {"rank": 4, "alpha": 4.0})
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(place / adapters.WEIGHTS_FILE), bare)
    assert torch.equal(begun(new_transformer, bare, {"rank": 4, "alpha": 4.0}), expected)
    found = beginning.read(AdapterSettings(rank=4, alpha=4.0, start_from=str(bare)), LAYERS)
    assert found is not None
    assert any("no alpha" in note for note in found.facts.notes)
    error = refusal(bare, rank=4, alpha=8.0)
    assert "no alpha" in error.message
    assert error.hint == "Start it with -s adapter.alpha=4"


def test_names_with_an_infix_are_taken_whole(new_transformer, exported, tmp_path):
    place, expected = exported(rank=4, alpha=6.0)
    file = place / adapters.WEIGHTS_FILE
    save_file({key.replace(".weight", ".default.weight"): tensor for key, tensor in load_file(file).items()}, file)
    assert torch.equal(begun(new_transformer, place, {"rank": 4, "alpha": 6.0}), expected)


def test_modules_that_no_run_trains_are_refused_by_name(exported, tmp_path):
    place, _ = exported(kind="lokr", lokr_factor=4)
    tensors = load_file(place / "lokr_weights.safetensors")
    extra = {"lycoris_time_embed_linear_1.lokr_w1": torch.ones(2, 2), "lycoris_time_embed_linear_1.lokr_w2":
             torch.ones(16, 128)}  # fmt: skip
    save_file({**tensors, **extra}, tmp_path / "wild.safetensors")
    error = refusal(tmp_path / "wild.safetensors", kind="lokr", lokr_factor=4)
    assert "time_embed.linear_1" in str(error)
    assert "losing them" in error.hint


def test_a_choice_of_modules_that_settings_cannot_name_is_refused(exported):
    place, _ = exported(rank=4, alpha=6.0)
    file = place / adapters.WEIGHTS_FILE
    save_file({key: tensor for key, tensor in load_file(file).items() if "layers.1.self_attn.q_proj" not in key}, file)
    assert "not each of them in each" in str(refusal(place, rank=4, alpha=6.0))


def test_adapters_for_another_size_of_model_are_refused_with_the_reason(new_transformer, exported, tmp_path):
    place, _ = exported(rank=4, alpha=6.0)
    assert "layer 1; this model has 1 layer" in refusal(place, 1, rank=4, alpha=6.0).message
    file = place / adapters.WEIGHTS_FILE
    wide = {
        key: torch.zeros(4, 48) if key.endswith("lora_A.weight") else tensor for key, tensor in load_file(file).items()
    }
    save_file(wide, file)
    with pytest.raises(AdapterError, match="16 × 48, which is 16 × 32 here"):
        begun(new_transformer, place, {"rank": 4, "alpha": 6.0})


def test_values_that_are_not_numbers_are_refused(exported):
    place, _ = exported(rank=4, alpha=6.0)
    file = place / adapters.WEIGHTS_FILE
    tensors = load_file(file)
    key = next(iter(tensors))
    tensors[key][0, 0] = torch.nan
    save_file(tensors, file)
    assert "not numbers" in str(refusal(place, rank=4, alpha=6.0))


def test_exports_say_what_they_began_with():
    settings = AdapterSettings(start_from="/runs/drums")
    assert beginning.origin(settings, {"start_from": "0123456789abcdef"}) == "drums (0123456789ab)"
    assert beginning.origin(settings, {}) == "drums"
    assert beginning.origin(AdapterSettings(), {}) == ""


def told(run_dir: Any, kind: str) -> list[dict[str, Any]]:
    return [event for event in Tail(run_dir.events).read(limit_bytes=2**30) if event["type"] == kind]


def test_a_run_starts_from_an_adapter_and_resumes_without_it(new_run, new_settings, tiny_checkpoint, tmp_path):
    adapter = {"rank": 2, "alpha": 4.0, "attention": "self"}
    base = weights.load_transformer(weights.find_checkpoint(tiny_checkpoint), torch.float32, torch.device("cpu"))
    adapters.inject(base, new_settings(adapter=adapter).adapter)
    randomise(base)
    place = tmp_path / "drums"
    export.publish(place, base, new_settings(adapter=adapter), provenance())
    further = {**adapter, "start_from": str(place)}
    run_dir, _ = new_run("second", adapter=further, train={"max_steps": 1, "epochs": 1, "best_after": 0})
    assert entry.main([str(run_dir.path)]) == ExitCode.DONE, told(run_dir, "error")
    count = len(load_file(place / adapters.WEIGHTS_FILE))
    started = f"Started from a LoRA adapter of rank 2, scale 2: {count} of {count} tensors."
    assert [event["msg"] for event in told(run_dir, "log")].count(started) == 1
    (place / adapters.WEIGHTS_FILE).unlink()
    # Refused for the rank alone, which is compared with the checkpoint: the file that is gone is not asked for.
    run = read_run(run_dir.run_toml)
    other = run.settings.model_copy(update={"adapter": run.settings.adapter.model_copy(update={"rank": 3})})
    write_run(run_dir.run_toml, type(run)(name=run.name, settings=other, created=run.created))
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert "adapter.rank was 2 and is 3" in told(run_dir, "error")[-1]["msg"]
    assert export.read_provenance(run_dir.adapter / "final")["started_from"] == "drums"
    # One small step away from where it began, not from nothing.
    learned = load_file(run_dir.checkpoint_path(1) / adapters.WEIGHTS_FILE)
    begun_with = adapters.state_dict(base)
    assert all((learned[name] - tensor).abs().max() < 0.02 for name, tensor in begun_with.items())


def test_a_start_that_does_not_fit_is_refused_before_songs_are_encoded(new_run, exported):
    place, _ = exported(rank=4, alpha=6.0)
    run_dir, _ = new_run(adapter={"rank": 2, "start_from": str(place)})
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert not [event for event in told(run_dir, "phase") if "encod" in event["name"]]
    assert "-s adapter.rank=4" in told(run_dir, "error")[0]["hint"]
