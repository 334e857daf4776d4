"""What a run is made of: its model, songs, adapter and versions, and every setting with where it came from."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.protocol.heldout import HeldOut
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.base import Dialog
from sidestep_tui.ui.widgets.rows import Row, Rows, row

if TYPE_CHECKING:
    from sidestep_tui.launch.adapter_files import AdapterReport

_GROUPS = ("model", "data", "adapter", "optim", "train", "memory", "speed", "output")
_DIGITS = 16
"""Of a fingerprint; enough to compare two by eye."""

Facts = Iterable[tuple[str, str]]


def settings_rows(run_toml: Mapping[str, Any]) -> list[Row]:
    """One row a setting, grouped: name, value, origin."""
    origins = _table(run_toml, "origins")
    rows: list[Row] = []
    for group in _GROUPS:
        values = _table(run_toml, group)
        if not values:
            continue
        rows += [row(""), row((group, "accent"))]
        for key, value in values.items():
            origin = str(origins.get(f"{group}.{key}", ""))
            style = "muted" if origin in ("", "default") else "strong"
            rows.append(row((f"  {key:<24} ", "muted"), (f"{_shown(value):<22}", style), (f"  {origin}", "muted")))
    return rows


def summary_rows(
    run_toml: Mapping[str, Any], state: RunState, run_dir: RunDir, adapter: AdapterReport | None = None
) -> list[Row]:
    """The run, its model, songs and adapter, and the versions that made it."""
    return [
        *_section("run", _about(run_toml, state, run_dir)),
        *_section("model", _model(run_toml)),
        *_section("songs", _songs(run_toml, state)),
        *_section("trained", _adapter(run_toml, state, adapter)),
        *_section("versions", sorted((name, str(value)) for name, value in _table(run_toml, "versions").items())),
    ]


def _section(title: str, facts: Facts) -> list[Row]:
    """Facts under a title; the empty ones are left out, and so is a title without any."""
    shown = [(name, value) for name, value in facts if value]
    if not shown:
        return []
    return [row((title, "accent")), *(row((f"  {name:<16} ", "muted"), value) for name, value in shown), row("")]


def _about(run_toml: Mapping[str, Any], state: RunState, run_dir: RunDir) -> Facts:
    about = _table(run_toml, "run")
    yield "folder", paths.shorten(run_dir.path)
    yield "preset", str(about.get("preset") or "")
    yield "made", str(about.get("created") or "").replace("T", " ").removesuffix("+00:00").removesuffix("Z")
    yield "by", f"sidestep-tui {about['product_version']}" if about.get("product_version") else ""
    yield "sessions", str(state.sessions) if state.sessions > 1 else ""
    if state.session_started is not None:
        yield "this one since", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.session_started))
    yield "engine", f"process {state.pid} on {state.engine_host or 'this machine'}" if state.pid else ""
    yield "device", state.device


def _model(run_toml: Mapping[str, Any]) -> Facts:
    model = _table(run_toml, "model")
    yield "checkpoint", paths.shorten(str(model["path"])) if model.get("path") else ""
    yield "variant", str(model.get("variant") or "")
    yield "fingerprint", _fingerprint(run_toml, "model")


def _songs(run_toml: Mapping[str, Any], state: RunState) -> Facts:
    data = _table(run_toml, "data")
    yield "folder", paths.shorten(str(data["path"])) if data.get("path") else ""
    yield "trigger tag", str(data.get("tag") or "")
    held = HeldOut.of(state.evals)
    yield "held out", text.plural(held.songs, "song") if held is not None else ""
    yield "steps an epoch", text.thousands(state.steps_per_epoch) if state.steps_per_epoch else ""
    yield "fingerprint", _fingerprint(run_toml, "dataset")


def _adapter(run_toml: Mapping[str, Any], state: RunState, adapter: AdapterReport | None) -> Facts:
    yield "kind", adapter.kind if adapter is not None else str(_table(run_toml, "adapter").get("kind") or "")
    if adapter is None:
        yield "weights", text.count(state.adapter_parameters) if state.adapter_parameters else ""
        return
    yield "weights", f"{text.count(adapter.parameters)} in {text.plural(adapter.tensors, 'tensor')}"
    yield "numbers", ", ".join(adapter.dtypes)
    yield "size", text.file_size(adapter.bytes)
    yield "ranks", ", ".join(str(rank) for rank in adapter.ranks)
    yield "alphas", ", ".join(f"{alpha:g}" for alpha in adapter.alphas)
    yield "layers", str(adapter.layers) if adapter.layers else ""
    yield "matrices", ", ".join(f"{name} ×{count}" for name, count in adapter.targets.items())
    yield "read from", paths.shorten(adapter.path)


def _fingerprint(run_toml: Mapping[str, Any], name: str) -> str:
    return str(_table(run_toml, "fingerprints").get(name, ""))[:_DIGITS]


def _table(run_toml: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = run_toml.get(name)
    return value if isinstance(value, dict) else {}


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value) if value != "" else "–"


def newest_adapter(run_dir: RunDir) -> AdapterReport | None:
    """What the newest adapter of a run says about itself: the result, or that of the last checkpoint."""
    from sidestep_tui.launch import adapter_files  # 12 ms, and needed nowhere else on the dashboard

    for place in (run_dir.adapter / "final", run_dir.latest_checkpoint()):
        if place is not None and place.is_dir():
            try:
                return adapter_files.inspect(place)
            except (SidestepError, OSError):
                continue
    return None


class _Read(Message):
    """The files were read."""

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows


class RunInfo(Dialog[None]):
    """A scrolling page; any of escape, q and i closes it."""

    DEFAULT_CSS = """
    RunInfo > .dialog { width: 84; height: 90%; padding: 1 2 0 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,i,enter", "dismiss_dialog", "Close", id="dialog.close"),
        Binding("y", "copy_path", "Copy path", id="run.copy", show=False, tooltip="Copy the run's path"),
        Binding("j,down", "move(1)", "Down", id="paper.down", show=False),
        Binding("k,up", "move(-1)", "Up", id="paper.up", show=False),
        Binding("ctrl+d,pagedown,space", "move(12)", "Page down", id="paper.page_down", show=False),
        Binding("ctrl+u,pageup", "move(-12)", "Page up", id="paper.page_up", show=False),
        Binding("g,home", "move(-9999)", "First line", id="paper.first", show=False),
        Binding("G,end", "move(9999)", "Last line", id="paper.last", show=False),
    ]

    def __init__(self, run_dir: RunDir, state: RunState | None = None) -> None:
        super().__init__()
        self._run_dir = run_dir
        self._state = state or RunState()
        self._all: list[Row] = []
        self._top = 0

    def compose(self) -> ComposeResult:
        box = Vertical(classes="dialog")
        box.border_title = Content(f"{self._run_dir.name} · what it is made of")
        box.border_subtitle = "j k scroll · y copies the path · esc closes"
        with box:
            yield Rows(id="settings")

    def on_mount(self) -> None:
        self._read()

    @work(thread=True, exit_on_error=False, group="info")
    def _read(self) -> None:
        """The rows of run.toml and of the newest adapter's header; a disk may be slow."""
        path = self._run_dir.run_toml
        try:
            with path.open("rb") as handle:
                run_toml = tomllib.load(handle)
        except (OSError, ValueError) as error:
            rows = [row((f"{paths.shorten(path)} cannot be read: {error}", "warn")), row("")]
            run_toml = {}
        else:
            rows = []
        rows += summary_rows(run_toml, self._state, self._run_dir, newest_adapter(self._run_dir))
        settings = settings_rows(run_toml)
        if settings:
            rows.append(row(("every setting, and where it comes from", "strong")))
        self.post_message(_Read([*rows, *settings]))

    @on(_Read)
    def _show(self, message: _Read) -> None:
        self._all = message.rows
        self.action_move(0)

    def on_resize(self) -> None:
        """Show as many rows as fit."""
        self.call_after_refresh(self.action_move, 0)

    def action_copy_path(self) -> None:
        """Put the run's path on the clipboard of the terminal."""
        path = str(self._run_dir.path.resolve())
        self.app.copy_to_clipboard(path)
        self.query_one(".dialog").border_subtitle = Content(f"copied {paths.shorten(path)}")

    def action_move(self, lines: int) -> None:
        """Scroll."""
        widget = self.query_one(Rows)
        height = max(widget.size.height, 1)
        self._top = min(max(self._top + lines, 0), max(len(self._all) - height, 0))
        widget.put(self._all[self._top : self._top + height])
