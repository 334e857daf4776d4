"""Watching an engine without a screen: its events as lines or JSON, its signals forwarded, its exit code returned."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType

import click

from sidestep_tui.cli import render
from sidestep_tui.cli.plain import PlainViewer
from sidestep_tui.core.errors import ExitCode, RunError
from sidestep_tui.launch import failures
from sidestep_tui.launch.start import Launched
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.events import Event, encode
from sidestep_tui.protocol.liveness import Liveness, explain_death, liveness, real_exit_code, tail_of_log
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

_POLL_SECONDS = 0.1
_LIVENESS_SECONDS = 1.0
_LONGEST_BIRTH_SECONDS = 60.0

Show = Callable[[Sequence[Event]], None]


def write_events(events: Sequence[Event]) -> None:
    """Events as they stand in the journal, on standard output."""
    if events:
        click.echo(b"".join(encode(event) for event in events), nl=False)


def run_headless(launched: Launched, *, as_json: bool) -> int:
    """Follow an engine that this process started until it ends; returns its exit code.

    Ctrl-C and SIGTERM ask the engine to stop (a second one to abort). A hangup ends only this process.
    """
    viewer = PlainViewer(launched.run_dir, render.say)
    show: Show = write_events if as_json else viewer.show
    with _Forward(launched.run_dir) as forward:
        history = _follow_process(launched, show, forward)
    code = real_exit_code(launched.run_dir, launched.process.returncode)
    ended = history.ended
    if ended is None:
        if not history.began:
            raise failures.early_death(launched.run_dir, code or int(ExitCode.BUG), history.error)
        _say_death(launched.run_dir, code)
        return 128 - code if code < 0 else code or int(ExitCode.BUG)
    if ended.get("reason") in ("finished", "early_stop"):
        adapter = viewer.final_adapter()  # with --json the viewer was told nothing: the journal is the output
        if adapter is not None:
            render.data(str(adapter))
    elif ended.get("reason") in ("stopped", "aborted") and launched.run_dir.latest_checkpoint() is not None:
        render.say(f"Go on with `sidestep-tui resume {launched.run_dir.name}`.")
    return 128 - code if code < 0 else code


class _History:
    """What a session said that matters when it is over."""

    def __init__(self) -> None:
        self.began = False
        self.error: Event | None = None
        self.ended: Event | None = None

    def note(self, events: Sequence[Event]) -> None:
        for event in events:
            kind = event.get("type")
            if kind == "session_started":
                self.began, self.error, self.ended = True, None, None
            elif kind == "error":
                self.error = event
            elif kind == "session_ended":
                self.ended = event


def _follow_process(launched: Launched, show: Show, forward: _Forward) -> _History:
    tail = Tail(launched.run_dir.events, launched.journal_offset)
    history = _History()
    while True:
        forward.deliver()
        # Asked before reading: whatever it wrote before its end is then in the file.
        is_over = launched.process.poll() is not None
        events = tail.read()
        history.note(events)
        show(events)
        if is_over and tail.at_end:
            return history
        if not events:
            time.sleep(_POLL_SECONDS)


class _Forward:
    """While it lasts, Ctrl-C and SIGTERM go to the engine's inbox instead of ending this process.

    The handler only counts: it may run in the middle of a write. `deliver` does the work.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, run_dir: RunDir) -> None:
        self._run_dir = run_dir
        self._caught: list[str] = []
        self._delivered = 0
        self._before: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> _Forward:
        for number in self._SIGNALS:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._caught.append(signal.Signals(number).name)

    def deliver(self) -> None:
        """Pass on what was caught; the third time, leave the engine alone."""
        while self._delivered < len(self._caught):
            name = self._caught[self._delivered]
            self._delivered += 1
            if self._delivered == 1:
                inbox.send(self._run_dir, "stop", by=name)
                render.say("Stopping: the engine finishes its step and saves. Once more ends it without saving.")
            elif self._delivered == 2:
                inbox.send(self._run_dir, "abort", by=name)
                render.say("Aborting: the engine ends without saving. Once more leaves it alone and returns.")
            else:
                raise KeyboardInterrupt


def attach_plain(run_dir: RunDir, *, as_json: bool) -> int:
    """Tell a run's story so far, then follow it to its end; Ctrl-C leaves it going. Returns the run's exit code."""
    viewer = PlainViewer(run_dir, render.data)
    tail = Tail(run_dir.events)
    try:
        return _tell(run_dir, viewer, tail, as_json=as_json)
    except KeyboardInterrupt:
        if liveness(run_dir, time.time()).is_alive:
            render.say(f"Detached; {run_dir.name} goes on. `sidestep-tui attach {run_dir.name}` comes back to it.")
        return int(ExitCode.DONE)


def _tell(run_dir: RunDir, viewer: PlainViewer, tail: Tail, *, as_json: bool) -> int:
    life = liveness(run_dir, time.time())
    history = _History()
    past = tail.read_all()
    history.note(past)
    if as_json:
        write_events(past)
    elif life.is_alive:
        viewer.catch_up(past)
    else:
        viewer.show(past)
    if life is Liveness.FRESH:
        _refuse_if_never_began(run_dir)
        render.say(f"No engine has begun in {run_dir.name} yet; waiting. Ctrl-C leaves.")
    show: Show = write_events if as_json else viewer.show
    looked = time.monotonic()
    while life.is_alive or life is Liveness.FRESH:
        events = tail.read()
        history.note(events)
        show(events)
        if not events:
            time.sleep(_POLL_SECONDS)
        if time.monotonic() - looked >= _LIVENESS_SECONDS:
            life, looked = liveness(run_dir, time.time()), time.monotonic()
    events = tail.read_all()
    history.note(events)
    show(events)
    return _exit_code(run_dir, history)


def _refuse_if_never_began(run_dir: RunDir) -> None:
    """An engine takes the lock within a second or two; one that has not after a minute never will."""
    try:
        age = time.time() - run_dir.run_toml.stat().st_mtime
    except FileNotFoundError:
        return
    if age < _LONGEST_BIRTH_SECONDS:
        return
    words = tail_of_log(run_dir)
    raise RunError(
        f"No engine ever began in {run_dir.name}.",
        "\n".join(["The last lines of its log:", *(f"  {line}" for line in words)]) if words else "It left no log.",
        f"Start it with `sidestep-tui resume {run_dir.path}`.",
    )


def _exit_code(run_dir: RunDir, history: _History) -> int:
    if history.ended is None:
        _say_death(run_dir, None)
        return int(ExitCode.BUG)
    code = history.ended.get("code")
    return code if isinstance(code, int) else int(ExitCode.BUG)


def _say_death(run_dir: RunDir, returncode: int | None) -> None:
    death = explain_death(run_dir, returncode)
    render.say(f"{click.style('The run died.', fg='red', bold=True)} {death.cause}")
    for line in death.log_tail:
        render.say(f"  {line}")
    render.say(f"{death.hint} `sidestep-tui resume {run_dir.path}`".strip())
