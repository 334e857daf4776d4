"""Edits that are not written yet, kept beside the drafts: a dropped line or a crash costs nobody an evening's work.

One small JSON file per folder, in the user's state directory, gone as soon as nothing is pending.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset.editing.edit_plan import FieldChange

_FOLDER: Final = "songs"


def keep(root: Path, changes: Sequence[FieldChange]) -> None:
    """Remember the pending edits of a folder, or that there are none. A full disk costs the safety net, no more."""
    path = _path(root)
    with suppress(OSError, SidestepError):
        if not changes:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, exist_ok=True)
        stored = {"root": str(root), "changes": [asdict(item) for item in changes]}
        # No sync, as for drafts: it follows every edit.
        atomic.write_json(path, stored, mode=0o600, durable=False, indent=None)


def kept(root: Path) -> list[FieldChange]:
    """The edits of a folder that were pending when it was last left; a damaged file holds none."""
    try:
        stored = json.loads(_path(root).read_text(encoding="utf-8"))
        found = [FieldChange(**item) for item in stored["changes"]] if stored["root"] == str(root) else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [item for item in found if all(isinstance(word, str) for word in asdict(item).values())]


def _path(root: Path) -> Path:
    digest = hashlib.sha256(str(root).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return paths.state_dir() / _FOLDER / f"{digest}.json"
