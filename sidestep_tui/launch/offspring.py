"""Drafts that come from a run: the same settings again, or a new run that begins with one of its adapters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core import ids
from sidestep_tui.core.errors import AdapterError, SettingsError
from sidestep_tui.launch import adapter_files
from sidestep_tui.launch.ledger import RunFacts
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step
from sidestep_tui.schema import drafts, presets
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.values import format_value

_LONGEST_NAME: Final = 64
_NUMBER: Final = re.compile(r"-\d{1,4}$")


@dataclass(frozen=True, slots=True)
class Source:
    """An adapter of a run that another run could begin with."""

    path: Path
    label: str
    note: str


def draft_of_run(run_dir: RunDir) -> Draft:
    """A draft with the settings of a run, on top of which edits show as such; its name is one that is free."""
    if not run_dir.run_toml.is_file():
        raise SettingsError(
            f"{run_dir.name} has no settings to copy.", f"{run_dir.run_toml} is missing.", "Make a new run."
        )
    draft = Draft(presets.find(str(run_dir.run_toml)).layers())
    folder = Path(str(draft.value("output.path")))
    draft.apply_values({"output.name": fresh_name(run_dir.name, lambda name: (folder / name).exists())})
    return draft


def fresh_name(name: str, is_taken: Callable[[str], bool]) -> str:
    """`drums-2` for `drums`, `drums-3` if that is taken too."""
    stem = _NUMBER.sub("", name)
    number = 2
    while True:
        ending = f"-{number}"
        found = stem[: _LONGEST_NAME - len(ending)] + ending
        if not is_taken(found):
            return found
        number += 1


def sources(run_dir: RunDir) -> list[Source]:
    """The adapters of a run: the final one, the best one, then its checkpoints, the newest first."""
    found = []
    for name, note in (("final", "what the run ended with"), ("best", "of the epoch with the lowest loss")):
        if (run_dir.adapter / name).is_dir():
            found.append(Source(run_dir.adapter / name, name, note))
    for path in reversed(run_dir.published_checkpoints()):
        found.append(Source(path, f"step {checkpoint_step(path):,}", "checkpoint"))
    return found


def draft_on_adapter(run_dir: RunDir, adapter: Path) -> Draft:
    """A draft of a run that begins with an adapter of another: kind, targets, ranks and scale are those of the file.

    Raises AdapterError for a folder without a readable adapter.
    """
    draft = draft_of_run(run_dir)
    draft.apply_values(
        {"adapter.start_from": str(adapter.resolve()), "adapter.init": "default", **_sizes(draft, adapter)}
    )
    return draft


def _sizes(draft: Draft, adapter: Path) -> dict[str, Any]:
    """Rank and alpha where the file's are not those of its run: one that began with principal components has twice."""
    report = adapter_files.inspect(adapter)
    if report.kind.lower() != draft.value("adapter.kind"):
        raise AdapterError(
            "The adapter is not of its run.",
            f"{report.path} is {report.kind}, and run.toml says {draft.value('adapter.kind')}.",
            "Set adapter.start_from in a new run instead.",
        )
    if report.kind not in ("LoRA", "DoRA") or draft.value("adapter.rank_pattern") or len(report.ranks) != 1:
        return {}
    values: dict[str, Any] = {"adapter.rank": report.ranks[0]}
    if len(report.alphas) == 1 and not draft.value("adapter.alpha_pattern"):
        values["adapter.alpha"] = report.alphas[0]
    return values


def duplicate_draft(draft_id: str) -> Draft:
    """The same draft under another id, and another name if it has one."""
    stored = {**drafts.load(draft_id).to_json(), "id": ids.short_id()}
    draft = Draft.from_json(stored)
    name = str(draft.value("output.name"))
    if name:
        folder = Path(str(draft.value("output.path")))
        draft.set("output.name", fresh_name(name, lambda found: (folder / found).exists()))
    return draft


def facts_of_draft(path: Path) -> RunFacts:
    """What the list shows of a draft, from its file; a damaged one says nothing."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        layers = [layer["values"] for layer in stored["base"]]
        typed = {key: item["text"] for key, item in stored["typed"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return RunFacts()

    def value(name: str) -> str:
        return _last(name, typed, layers)

    rank, place = value("adapter.rank"), value("data.path")
    has_rank = value("adapter.kind") != "oft" and rank.isdecimal()
    return RunFacts(
        model=Path(value("model.path")).name,
        variant=value("model.variant"),
        kind=value("adapter.kind"),
        rank=int(rank) if has_rank else None,
        dataset=Path(place).name,
        dataset_path=place,
        start_from=value("adapter.start_from"),
    )


def _last(name: str, typed: Mapping[str, str], layers: list[Mapping[str, Any]]) -> str:
    spec = fields_by_path()[name]
    below = next((layer[name] for layer in reversed(layers) if name in layer), spec.default)
    return typed.get(name, format_value(spec, below))
