"""Drafts on disk: one small JSON file each, written whole, so that leaving the wizard never loses anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidestep_tui.core import atomic, ids, paths
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.draft import Draft

_ID = re.compile(r"[0-9a-f]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class DraftSummary:
    """What a list of drafts shows. `saved` is in Unix seconds."""

    id: str
    path: Path
    title: str
    saved: float


def save(draft: Draft, now: float) -> Path:
    """Write the draft; `now` (Unix seconds) orders the list.

    Where somebody else has written its file meanwhile (another window on the same draft), that one stays: the draft
    gets another id, and with it a file of its own.
    """
    if is_taken(draft):
        draft.id = ids.short_id()
    path, writing = _path(draft.id), ids.short_id()
    stored = {**draft.to_json(), "title": title(draft), "saved": now, "writing": writing}
    # No sync: an autosave on every edit must not stall the form; the rename still never shows half a file.
    atomic.write_json(path, stored, mode=0o600, durable=False)
    draft.stored_as = writing
    return path


def is_taken(draft: Draft) -> bool:
    """Whether the draft's file holds what somebody else wrote since this one was read or written."""
    if not draft.stored_as:
        return False
    try:
        return _writing(_read(_path(draft.id))) != draft.stored_as
    except SettingsError:
        return False  # deleted, or nothing that could be lost


def load(draft_id: str) -> Draft:
    """The draft with that id; `notes` on it say what had to be left out."""
    stored = _read(_path(draft_id))
    draft = Draft.from_json(stored)
    draft.stored_as = _writing(stored)
    return draft


def list_drafts() -> list[DraftSummary]:
    """The drafts on disk, newest first. Files that cannot be read are passed over and left where they are."""
    found: list[DraftSummary] = []
    for path in paths.drafts_dir().glob("*.json"):
        try:
            stored = _read(path)
            found.append(DraftSummary(path.stem, path, str(stored["title"]), float(stored["saved"])))
        except (SettingsError, KeyError, TypeError, ValueError):
            continue
    return sorted(found, key=lambda summary: (-summary.saved, summary.id))


def delete(draft_id: str) -> None:
    """Remove a draft; one that is gone already is no error."""
    _path(draft_id).unlink(missing_ok=True)


def title(draft: Draft) -> str:
    """A line that tells drafts apart: run name or songs, and what it starts from."""
    songs = Path(str(draft.value("data.path"))).name
    return f"{draft.value('output.name') or songs or 'Untitled'} · {draft.base_name}"


def _writing(stored: Mapping[str, Any]) -> str:
    """The mark of one writing of a draft's file; files of earlier releases have none."""
    return str(stored.get("writing", "unmarked"))


def _path(draft_id: str) -> Path:
    if not _ID.fullmatch(draft_id):
        raise SettingsError(f"'{draft_id}' is not the id of a draft.", "", "Open a draft from the list.")
    return paths.drafts_dir() / f"{draft_id}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(
            "The draft is gone.", f"There is no file {paths.shorten(path)}.", "Start another."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError("The draft cannot be read.", f"{paths.shorten(path)}: {error}", "Delete it.") from error
    if not isinstance(stored, dict):
        raise SettingsError("The draft is damaged.", f"{paths.shorten(path)} holds no draft.", "Delete it.")
    return stored
