"""Steering a run from its dashboard: every order goes through the inbox, is shown as requested, then acknowledged."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on, work
from textual.app import SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.timer import Timer

from sidestep_tui.core import text
from sidestep_tui.core.errors import RunError, SidestepError
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.facts import CommandInfo
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.base import SidestepScreen
from sidestep_tui.ui.dialogs.confirm import Confirm, Tell
from sidestep_tui.ui.dialogs.typed import TypeWord
from sidestep_tui.ui.display import ChangedCellsApp
from sidestep_tui.ui.screens.dashboard.info import RunInfo
from sidestep_tui.ui.screens.dashboard.verdict import resumable
from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.rows import Row, row

NOTICE_SECONDS = 8.0
"""How long a notice that asks for nothing stays."""

PATIENCE_SECONDS = 5.0
"""How long an order may stay without acknowledgement before the screen says why."""

_WHILE_LIVE = {"checkpoint", "pause", "stop", "abort"}
_CHANGES_THE_RUN = _WHILE_LIVE | {"resume_run"}
_WORDS = {
    "stop": ("stop requested…", "stopping: finishing the step, then saving", "stopped and saved"),
    "abort": ("abort requested…", "aborting without saving", "aborted"),
    "pause": ("pause requested…", "pausing after this step", "paused"),
    "resume": ("going on requested…", "going on", "going on"),
    "checkpoint": ("checkpoint requested…", "checkpoint after this step", "checkpoint saved"),
}


@dataclass(frozen=True, slots=True)
class Order:
    """A command that was sent from this screen."""

    id: str
    name: str
    sent: float


class OrderSent(Message):
    """A command lies in the inbox."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order


class OrderFailed(Message):
    """A command could not be sent, or a resume could not be started."""

    def __init__(self, error: SidestepError, name: str = "") -> None:
        super().__init__()
        self.error = error
        self.name = name


class RunResumed(Message):
    """The engine of this run answered again."""


class RunCommands(SidestepScreen):
    """The half of the dashboard that changes the run. Read-only viewers do not see its keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "checkpoint", "Checkpoint", id="run.checkpoint", tooltip="Save a checkpoint after this step"),
        Binding("P", "pause", "Pause", id="run.pause", key_display="P", tooltip="Pause the training, or go on"),
        Binding("X", "stop", "Stop", id="run.stop", key_display="X", tooltip="Finish the step, save, exit"),
        Binding(
            "R", "resume_run", "Resume", id="run.resume", key_display="R", tooltip="Go on from the last checkpoint"
        ),
        Binding("ctrl+x", "abort", "Abort", id="run.abort", show=False, tooltip="Exit without saving"),
        Binding(
            "i", "info", "About the run", id="run.info", show=False, tooltip="Model, songs, adapter, versions, settings"
        ),
        Binding("y", "copy_path", "Copy path", id="run.copy", show=False, tooltip="Copy the run's path"),
        Binding(
            "exclamation_mark", "shell", "Shell", id="run.shell", show=False, tooltip="A shell in the run's folder"
        ),
    ]

    def __init__(self, run_path: Path, *, readonly: bool, clock: Callable[[], float]) -> None:
        super().__init__()
        self.run_dir = RunDir(Path(run_path))
        self.readonly = readonly
        self.clock = clock
        self.notice: Row = ()
        self._orders: dict[str, Order] = {}
        """What was sent and is not carried out yet, by id; the newest last."""
        self._sending: set[str] = set()
        """What is on its way into the inbox."""
        self._notice_timer: Timer | None = None
        self._resuming = False

    def view(self) -> View:
        """What the screen shows; the dashboard says."""
        raise NotImplementedError

    def repaint_now(self) -> None:
        """Paint at once; the dashboard does."""
        raise NotImplementedError

    def say(self, words: str, style: str = "accent", *, stays: bool = False) -> None:
        """Put a sentence into the notice row; it goes by itself unless it `stays`."""
        self._note(words, style, stays=stays)
        self.repaint_now()

    def _note(self, words: str, style: str, *, stays: bool) -> None:
        notice = row((words, style)) if words else ()
        if notice == self.notice:
            return
        self.notice = notice
        if self._notice_timer is not None:
            self._notice_timer.stop()
            self._notice_timer = None
        if words and not stays:
            self._notice_timer = self.set_timer(NOTICE_SECONDS, lambda: self.say(""))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what changes the run from read-only viewers; grey what makes no sense now."""
        if action not in _CHANGES_THE_RUN:
            return super().check_action(action, parameters)
        if self.readonly:
            return False
        view = self.view()
        if action == "resume_run":
            return resumable(view) and not self._resuming
        if not view.live:
            return False if action != "abort" else None
        return None if view.state.status in ("stopping", "saving") and action != "abort" else True

    # Orders

    def _send(self, name: str) -> None:
        """Send an order; the journal says when the engine has taken it. The same one twice is one."""
        if name in self._sending or any(order.name == name for order in self._orders.values()):
            self.say(f"{_WORDS[name][0].removesuffix('…')} already; the engine has yet to carry it out", stays=True)
            return
        self._sending.add(name)
        self.say(_WORDS[name][0], stays=True)
        self._put_into_inbox(name)

    @work(thread=True, exit_on_error=False, group="orders")
    def _put_into_inbox(self, name: str) -> None:
        sent = self.clock()
        try:
            command_id = inbox.send(self.run_dir, name, by=f"{_user()} (dashboard)")
        except SidestepError as error:
            self.post_message(OrderFailed(error, name))
        except OSError as error:
            problem = RunError(f"The {name} order could not be sent.", f"{self.run_dir.inbox}: {error.strerror}.",
                               "Is the run yours, and is its disk writable?")  # fmt: skip
            self.post_message(OrderFailed(problem, name))
        else:
            self.post_message(OrderSent(Order(command_id, name, sent)))

    @on(OrderSent)
    def _order_sent(self, message: OrderSent) -> None:
        order = message.order
        self._sending.discard(order.name)
        self._orders[order.id] = order
        self.follow_commands(self.view().state.commands)
        self.set_timer(PATIENCE_SECONDS, lambda: self.explain_silence(order))

    @on(OrderFailed)
    def _order_failed(self, message: OrderFailed) -> None:
        self._resuming = False
        self._sending.discard(message.name)
        self.say("")
        self.refresh_bindings()
        self.app.push_screen(Tell(message.error.title, message.error.message, message.error.hint))

    def follow_commands(self, commands: Mapping[str, CommandInfo]) -> None:
        """Say how far the orders have got; the newest has the last word."""
        for order in list(self._orders.values()):
            info = commands.get(order.id)
            if info is None:
                continue
            requested, taken, done = _WORDS[order.name]
            if info.state in ("refused", "done"):
                del self._orders[order.id]
            if info.state == "refused":
                self._note(f"{order.name} was refused. {info.detail}".rstrip(), "warn", stays=False)
            elif info.state == "done":
                self._note(done, "good", stays=False)
            else:
                self._note(taken if info.state == "received" else requested, "accent", stays=True)

    def forget_orders(self, view: View) -> None:
        """The engine is gone: nobody will take what was sent."""
        lost = [order.name for order in self._orders.values() if order.id not in view.state.commands]
        cut_off = len(self._orders) > len(lost)
        self._orders.clear()
        if lost:
            self._note(f"{text.listing(lost)} was not taken: the engine is gone", "bad", stays=False)
        elif cut_off:
            self._note("", "", stays=False)

    def explain_silence(self, order: Order) -> None:
        """An order without acknowledgement: say whether the engine is busy or gone."""
        view = self.view()
        if order.id not in self._orders or order.id in view.state.commands:
            return
        if not view.live:
            self.forget_orders(view)
            self.repaint_now()
            return
        age = text.duration(view.now - view.heartbeat) if view.heartbeat is not None else "an unknown time"
        if view.liveness is Liveness.STALE:
            self.say(
                f"{order.name} is not acknowledged: no heartbeat for {age}; the engine may hang", "warn", stays=True
            )
        else:
            self.say(
                f"{order.name} waits: the engine is busy (heartbeat {age} ago) and takes it at its next step",
                "warn",
                stays=True,
            )

    def action_checkpoint(self) -> None:
        """Save a checkpoint now; safe, so nobody asks."""
        self._send("checkpoint")

    def action_pause(self) -> None:
        """Pause the training, or go on."""
        self._send("resume" if self.view().state.status in ("paused", "pausing") else "pause")

    @work(group="questions", exclusive=True)
    async def action_stop(self) -> None:
        """Finish the step, save, exit."""
        state = self.view().state
        body = (
            f"The engine finishes its step, saves a checkpoint (now at step {text.thousands(state.step)}) and exits. "
            "Nothing is lost; R resumes from there."
        )
        if await self.app.push_screen_wait(Confirm("Stop this run", body, "Stop and save")):
            self._send("stop")

    @work(group="questions", exclusive=True)
    async def action_abort(self) -> None:
        """Exit without saving; asks for a word."""
        lost = steps_at_stake(self.view().state)
        body = f"The engine exits at once and saves nothing. {lost} X stops and saves instead."
        if await self.app.push_screen_wait(TypeWord("Abort this run", body, "abort")):
            self._send("abort")

    def action_resume_run(self) -> None:
        """Start the engine again from the newest checkpoint."""
        if self._resuming:
            return
        self._resuming = True
        self._orders.clear()
        self.say("starting the engine again…", stays=True)
        self.refresh_bindings()
        self._resume_engine()

    @work(thread=True, exit_on_error=False, group="resume")
    def _resume_engine(self) -> None:
        # The launcher brings the schema and its readers (100 ms); only a resume needs it.
        from sidestep_tui.launch import start

        try:
            start.resume(self.run_dir)
        except SidestepError as error:
            self.post_message(OrderFailed(error))
        except OSError as error:
            self.post_message(OrderFailed(RunError("The engine could not be started.", str(error))))
        else:
            self.post_message(RunResumed())

    @on(RunResumed)
    def _resumed_engine(self) -> None:
        self._resuming = False
        self.say("")
        self.refresh_bindings()

    # Looking around

    def action_info(self) -> None:
        """Settings of the run and where each came from."""
        self.app.push_screen(RunInfo(self.run_dir, self.view().state))

    def action_copy_path(self) -> None:
        """Put the run's path on the clipboard of the terminal."""
        path = str(self.run_dir.path.resolve())
        self.app.copy_to_clipboard(path)
        self.say(f"copied {path}", "muted")

    def action_shell(self) -> None:
        """A shell in the run's folder; the training and the journal go on meanwhile."""
        shell = os.environ.get("SHELL") or "/bin/sh"
        try:
            with self.app.suspend():
                print(
                    f"\nA shell in {self.run_dir.path}. The run goes on; exit returns to the dashboard.\n", flush=True
                )
                subprocess.run([shell], cwd=self.run_dir.path, check=False)
        except SuspendNotSupported:
            self.say("this terminal cannot be lent to a shell", "warn")
        except OSError as error:
            self.say(f"{shell} could not be started: {error.strerror}", "warn")
        if isinstance(self.app, ChangedCellsApp):
            self.app.forget_display()  # The shell wrote over what the display remembers.
        self.app.refresh(layout=True)

    def leave(self) -> None:
        """Back to the runs."""
        if "runs" in self.app._modes:
            self.app.switch_mode("runs")
        else:
            self.dismiss()


def steps_at_stake(state: RunState) -> str:
    """What an abort would lose, in a sentence."""
    last = state.checkpoints[-1].step if state.checkpoints else 0
    lost = max(state.step - last, 0)
    return f"{text.plural(lost, 'step')} since {f'step {last:,}' if last else 'the beginning'} would be lost."


def _user() -> str:
    """Who gives the order; the name is only shown."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid()) if hasattr(os, "getuid") else "someone"
