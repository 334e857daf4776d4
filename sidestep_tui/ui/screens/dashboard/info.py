"""The settings a run was started with, and where each value came from."""

from __future__ import annotations

import tomllib
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content

from sidestep_tui.core import paths
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.widgets.rows import Row, Rows, row

_GROUPS = ("model", "data", "adapter", "optim", "train", "memory", "speed", "output")


def settings_rows(run_toml: dict[str, Any]) -> list[Row]:
    """One row a setting, grouped: name, value, origin."""
    origins = run_toml.get("origins")
    origins = origins if isinstance(origins, dict) else {}
    rows: list[Row] = []
    about = run_toml.get("run")
    for key, value in about.items() if isinstance(about, dict) else ():
        rows.append(row((f"{key:<26} ", "muted"), _shown(value)))
    for group in _GROUPS:
        values = run_toml.get(group)
        if not isinstance(values, dict) or not values:
            continue
        rows += [row(""), row((group, "accent"))]
        for key, value in values.items():
            origin = str(origins.get(f"{group}.{key}", ""))
            style = "muted" if origin in ("", "default") else "strong"
            rows.append(row((f"  {key:<24} ", "muted"), (f"{_shown(value):<22}", style), (f"  {origin}", "muted")))
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value) if value != "" else "–"


class RunInfo(Dialog[None]):
    """A scrolling list of settings; any of escape, q and i closes it."""

    DEFAULT_CSS = """
    RunInfo > .dialog { width: 84; height: 90%; padding: 1 2 0 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,i,enter", "dismiss_dialog", "Close", id="dialog.close"),
        Binding("j,down", "move(1)", "Down", id="paper.down", show=False),
        Binding("k,up", "move(-1)", "Up", id="paper.up", show=False),
        Binding("ctrl+d,pagedown,space", "move(12)", "Page down", id="paper.page_down", show=False),
        Binding("ctrl+u,pageup", "move(-12)", "Page up", id="paper.page_up", show=False),
        Binding("g,home", "move(-9999)", "First line", id="paper.first", show=False),
        Binding("G,end", "move(9999)", "Last line", id="paper.last", show=False),
    ]

    def __init__(self, run_dir: RunDir) -> None:
        super().__init__()
        self._run_dir = run_dir
        self._all: list[Row] = self._read()
        self._top = 0

    def _read(self) -> list[Row]:
        """The rows of run.toml, or one that says why there are none."""
        path = self._run_dir.run_toml
        try:
            with path.open("rb") as handle:
                return settings_rows(tomllib.load(handle))
        except (OSError, ValueError) as error:
            return [row((f"{paths.shorten(path)} cannot be read: {error}", "warn"))]

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(f"{self._run_dir.name} · settings and their origins")
        box.border_subtitle = "j k scroll · esc closes"
        with box:
            yield Rows(id="settings")

    def on_mount(self) -> None:
        self.call_after_refresh(self.action_move, 0)

    def on_resize(self) -> None:
        """Show as many rows as fit."""
        self.call_after_refresh(self.action_move, 0)

    def action_move(self, lines: int) -> None:
        """Scroll."""
        widget = self.query_one(Rows)
        height = max(widget.size.height, 1)
        self._top = min(max(self._top + lines, 0), max(len(self._all) - height, 0))
        widget.put(self._all[self._top : self._top + height])
