"""A file in the person's own editor, while the interface gives way."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from textual.app import SuspendNotSupported

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.app import SidestepApp


def edit(app: SidestepApp, path: Path) -> None:
    """Open `path` in $VISUAL or $EDITOR and come back when that ends; a SidestepError says why it could not be."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not editor:
        raise SidestepError("No editor is set.", "", "Set EDITOR, for example: export EDITOR=nano")
    try:
        with app.suspend():
            subprocess.run([*editor, str(path)], check=False)
    except SuspendNotSupported as error:
        raise SidestepError(
            "This terminal cannot give way to an editor.", "", f"Edit {path} in another one."
        ) from error
    except OSError as error:
        raise SidestepError(f"{editor[0]} could not be started.", str(error), "Set EDITOR to your editor.") from error
    finally:
        app.action_redraw()
