"""What `name.txt` holds: set for the run, and noted in the folder for everybody who reads it later."""

from __future__ import annotations

from typing import Any

from sidestep_tui.core import paths
from sidestep_tui.core.errors import SidestepError


def note(folder: str, role: Any) -> str:
    """Note `role` in the folder; a sentence that says what holds now. Waits for the disk."""
    from sidestep_tui.dataset.editing import own_file

    said = f"name.txt holds: {role}"
    if not folder:
        return f"{said}."
    try:
        told = own_file.save_role(paths.expand(folder).absolute(), None if role == "auto" else role)
    except SidestepError as error:
        return f"{said}, in this run only: {error.title}"
    return f"{said}, noted in the folder. {told}".strip()
