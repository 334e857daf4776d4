"""Toasts are kept, and the bell can be switched off."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import App

from sidestep_tui.core import paths
from sidestep_tui.ui.keymap import CONFIG_NAME
from tests.ui.watching import app_on


async def test_every_toast_is_kept_with_its_words() -> None:
    app = app_on(None)
    async with app.run_test():
        app.notify("The draft could not be saved.", title="Disk", severity="error")
        app.screen.notify("Loaded.")
        assert [(toast.severity, toast.words, toast.place) for toast in app.toasts] == [
            ("error", "Disk: The draft could not be saved.", "runs"),
            ("information", "Loaded.", "runs"),
        ]


@pytest.mark.parametrize(("line", "rings"), [("", 1), ("bell = false", 0), ("bell = true", 1)])
async def test_the_bell_can_be_switched_off(line: str, rings: int, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = paths.config_dir() / CONFIG_NAME
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(line)
    rung: list[App[object]] = []
    monkeypatch.setattr(App, "bell", lambda self: rung.append(self))
    app = app_on(None)
    del app.bell  # the one that counts instead of ringing
    async with app.run_test():
        app.bell()
        assert len(rung) == rings
