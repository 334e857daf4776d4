"""Drafts that come from runs, runs that go on under other settings, and runs side by side."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core.errors import AdapterError, RunError, SettingsError
from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.launch import comparison, extend, offspring, start
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import drafts
from sidestep_tui.schema import run as run_file
from sidestep_tui.schema.layers import Layer, flat_values, resolve

NOW = 1_790_000_000.0
STEM = "base_model.model.layers.{}.self_attn.q_proj"


def make(folder: Path, name: str, scenario: str = "finished", *, steps: int = 40, **values: Any) -> RunDir:
    """A pretended run with settings of its own."""
    run = write_run(folder / name, scenario, now=NOW, steps=steps, save_every=10)
    run.release()
    given = {path.replace("__", "."): value for path, value in values.items()} | {"output.path": str(folder)}
    frozen = run_file.read_run(run.run_dir.run_toml)
    settings = resolve([Layer("a", flat_values(frozen.settings)), Layer("b", given)]).settings
    run_file.write_run(run.run_dir.run_toml, replace(frozen, settings=settings))
    return run.run_dir


def put_adapter(folder: Path, rank: int, alpha: float) -> None:
    """The header of a LoRA adapter with next to nothing in it."""
    tensors: dict[str, Any] = {}
    at = 0
    for part, shape in (("lora_A", [rank, 4]), ("lora_B", [4, rank])):
        size = rank * 4 * 4
        name = f"{STEM.format(0)}.{part}.weight"
        tensors[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    header = json.dumps(tensors).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(at))
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank, "lora_alpha": alpha, "peft_type": "LORA"}))


def test_a_duplicate_has_the_runs_settings_and_a_name_that_is_free(home: Path) -> None:
    run = make(home / "runs", "drums", adapter__rank=48, optim__lr=3e-4)
    make(home / "runs", "drums-2")
    draft = offspring.draft_of_run(run)
    assert (draft.value("adapter.rank"), draft.value("optim.lr")) == (48, 3e-4)
    assert draft.value("output.name") == "drums-3"
    assert draft.base_name == "run drums"
    assert draft.origin("adapter.rank") == "run drums"
    assert set(draft.changed) == {"output.name"}
    assert draft.errors == {}


@pytest.mark.parametrize(
    ("name", "taken", "fresh"),
    [("a", [], "a-2"), ("a-2", ["a-2"], "a-3"), ("x" * 64, [], "x" * 62 + "-2"), ("run-1121", ["run-2"], "run-3")],
)
def test_fresh_names(name: str, taken: list[str], fresh: str) -> None:
    assert offspring.fresh_name(name, taken.__contains__) == fresh


def test_a_run_without_run_toml_cannot_be_duplicated(home: Path) -> None:
    run = make(home / "runs", "drums")
    run.run_toml.unlink()
    with pytest.raises(SettingsError, match="no settings to copy"):
        offspring.draft_of_run(run)


def test_adapters_to_begin_with_are_listed_the_result_first(home: Path) -> None:
    run = make(home / "runs", "drums")
    labels = [source.label for source in offspring.sources(run)]
    assert labels == ["final", "best", "step 40", "step 30", "step 20", "step 10"]
    unfinished = make(home / "runs", "stopped", "crashed")
    assert [source.label for source in offspring.sources(unfinished)] == ["step 20", "step 10"]


def test_a_run_that_builds_on_an_adapter_agrees_with_its_file(home: Path) -> None:
    """One that began with principal components is exported at twice its rank, with the alpha that keeps its scale."""
    run = make(home / "runs", "drums", adapter__rank=8, adapter__alpha=16.0, adapter__init="pissa")
    put_adapter(run.adapter / "best", 16, 32.0)
    draft = offspring.draft_on_adapter(run, run.adapter / "best")
    values = {path: draft.value(f"adapter.{path}") for path in ("start_from", "rank", "alpha", "init", "kind")}
    assert values == {
        "start_from": str((run.adapter / "best").resolve()),
        "rank": 16,
        "alpha": 32.0,
        "init": "default",
        "kind": "lora",
    }
    assert offspring.facts_of_draft(drafts.save(draft, NOW)).start_from == values["start_from"]


def test_an_adapter_of_another_kind_or_none_is_refused(home: Path) -> None:
    run = make(home / "runs", "drums", adapter__kind="lokr")
    with pytest.raises(AdapterError):
        offspring.draft_on_adapter(run, run.adapter / "final")
    put_adapter(run.adapter / "final", 16, 32.0)
    with pytest.raises(AdapterError, match="not of its run"):
        offspring.draft_on_adapter(run, run.adapter / "final")


def test_a_draft_is_duplicated_with_everything_typed(home: Path) -> None:
    draft = offspring.draft_of_run(make(home / "runs", "drums"))
    draft.set("adapter.rank", "not a number")
    drafts.save(draft, NOW)
    again = offspring.duplicate_draft(draft.id)
    assert again.id != draft.id
    assert again.text("adapter.rank") == "not a number"
    assert again.value("output.name") == "drums-2"
    facts = offspring.facts_of_draft(drafts.save(again, NOW))
    assert (facts.kind, facts.rank) == ("lora", None)


def test_a_damaged_draft_says_nothing(tmp_path: Path) -> None:
    for content in (None, "", "[]", '{"base": [{}], "typed": {}}'):
        path = tmp_path / "x.json"
        if content is not None:
            path.write_text(content)
        assert offspring.facts_of_draft(path).kind == ""


# Going on under other settings


def test_a_finished_run_goes_on_once_it_was_given_more_epochs(home: Path) -> None:
    run = make(home / "runs", "drums")
    with pytest.raises(RunError, match="nothing to resume"):
        start.refuse_if_not_resumable(run)
    assert extend.check_epochs(run, "100") == "It was told 100 epochs: type more."
    assert extend.check_epochs(run, "many") == "Type a whole number of epochs."
    assert extend.check_epochs(run, "250") == ""
    extend.change(run, {"train.epochs": 250, "optim.lr": 5e-5})
    frozen = run_file.read_run(run.run_toml)
    assert (frozen.settings.train.epochs, frozen.settings.optim.lr) == (250, 5e-5)
    assert {path: frozen.origins.get(path) for path in ("train.epochs", "optim.lr", "optim.warmup")} == {
        "train.epochs": extend.ORIGIN,
        "optim.lr": extend.ORIGIN,
        "optim.warmup": None,
    }
    assert start.refuse_if_not_resumable(run).train.epochs == 250


def test_what_a_checkpoint_would_not_fit_cannot_change(home: Path) -> None:
    run = make(home / "runs", "drums")
    before = run.run_toml.read_bytes()
    for path, value in (("adapter.rank", 8), ("data.path", "/x"), ("optim.optimizer", "sgd"), ("model.path", "/x")):
        with pytest.raises(RunError, match="cannot go on with another"):
            extend.change(run, {path: value, "train.epochs": 250})
    assert run.run_toml.read_bytes() == before


def test_the_settings_of_a_living_run_stay(home: Path) -> None:
    with write_run(home / "runs" / "live", "live", now=NOW, steps=40) as run:
        before = run.run_dir.run_toml.read_bytes()
        with pytest.raises(RunError, match="is alive"):
            extend.change(run.run_dir, {"train.epochs": 250})
        assert run.run_dir.run_toml.read_bytes() == before


# Side by side


def test_only_what_differs_is_told_in_the_order_of_the_form(home: Path) -> None:
    runs = [
        make(home / "a", "one", optim__lr=1e-4, adapter__rank=64, data__path="/songs/a"),
        make(home / "b", "two", optim__lr=5e-5, adapter__rank=64, data__path="/songs/b"),
        make(home / "c", "three", "crashed", optim__lr=5e-5, adapter__rank=64, data__path="/songs/b"),
    ]
    sides = [comparison.read(run, now=NOW) for run in runs]
    found = comparison.differences(sides)
    assert {item.path: item.texts for item in found} == {
        "data.path": ("/songs/a", "/songs/b", "/songs/b"),
        "optim.lr": ("1e-4", "5e-5", "5e-5"),
    }
    assert [item.path for item in found] == ["data.path", "optim.lr"]
    assert comparison.differences(sides[1:]) == []
    assert comparison.same_count(sides) > 50
    assert [len(side.state.series["loss"]) for side in sides] == [40, 40, 25]
    assert sides[0].result.seconds_per_step == pytest.approx(0.42, rel=0.2)
    assert sides[0].result.adapter_bytes is None
    put_adapter(runs[0].adapter / "final", 4, 8.0)
    size = (runs[0].adapter / "final" / "adapter_model.safetensors").stat().st_size
    assert comparison.read(runs[0], now=NOW).result.adapter_bytes == size


def test_a_run_whose_settings_cannot_be_read_is_compared_by_the_rest(home: Path) -> None:
    runs = [make(home / "runs", "one"), make(home / "runs", "two")]
    runs[1].run_toml.write_text("x = [")
    sides = [comparison.read(run, now=NOW) for run in runs]
    assert sides[1].problem
    assert all(item.texts[1] is None for item in comparison.differences(sides))
    assert sides[1].result.loss is not None
