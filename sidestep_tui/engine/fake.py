"""A torch-free engine that speaks the same protocol, for tests of the viewers and for pictures.

`python -m sidestep_tui.engine.fake RUN_DIR` behaves like the real one from outside: phases, steps, checkpoints
published by rename, exact resume, every command, the same exit codes. The environment variable SIDESTEP_FAKE
(JSON) or the table `[fake]` in run.toml holds the plan (`FakePlan`); the variable wins.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tomllib
import traceback
from pathlib import Path
from typing import Any, NoReturn

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import (
    DivergedError,
    ExitCode,
    OutOfMemoryError,
    SettingsError,
    SidestepError,
    UsageError,
)
from sidestep_tui.core.ids import short_id
from sidestep_tui.engine.control import Control, Orders
from sidestep_tui.engine.fake_curves import Curves, FakePlan
from sidestep_tui.engine.fake_history import ALIVE, SCENARIOS, FakeRun, history, write_run
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir

__all__ = ["ALIVE", "SCENARIOS", "Curves", "FakePlan", "FakeRun", "history", "main", "read_plan", "write_run"]

_ACCEPTS = frozenset({"stop", "abort", "pause", "resume", "checkpoint", "sample"})
_STATE_FILE = "fake_state.json"
_NAN_LIMIT = 3


class Bug(RuntimeError):
    """The bug of `fail_at`."""


def read_plan(run_dir: RunDir) -> FakePlan:
    """The plan of a run: `[fake]` in run.toml, overridden by SIDESTEP_FAKE."""
    values: dict[str, Any] = {}
    if run_dir.run_toml.is_file():
        table = tomllib.loads(run_dir.run_toml.read_text(encoding="utf-8")).get("fake", {})
        values.update(table)
    text = os.environ.get("SIDESTEP_FAKE", "")
    if text:
        try:
            values.update(json.loads(text))
        except ValueError as error:
            raise SettingsError("SIDESTEP_FAKE is not a JSON table.", str(error)) from error
    return FakePlan.from_mapping(values)


class FakeEngine:
    """One session of the pretence."""

    def __init__(self, run_dir: RunDir, plan: FakePlan, reporter: Reporter, control: Control) -> None:
        self.run = run_dir
        self.plan = plan
        self.curves = Curves(plan)
        self.reporter = reporter
        self.control = control
        self.step = 0
        self.best: dict[str, Any] | None = None
        self.resumed = False
        self._nan_steps = 0

    def work(self) -> tuple[str, ExitCode]:
        """From the start, or the newest checkpoint, to the end; returns the reason and the exit code."""
        self._restore()
        self.reporter.started(
            total_steps=self.plan.steps,
            epochs=self.plan.epochs,
            steps_per_epoch=self.plan.steps_per_epoch,
            device="fake:0",
            resumed_from=self.step if self.resumed else None,
            adapter_parameters=44_040_192,
            engine="fake",
        )
        if self.best is not None:
            self.reporter.best(**self.best)
        orders = self._prepare() or self._train()
        if orders.abort:
            return "aborted", ExitCode.STOPPED
        if orders.stop:
            if self.step:
                self._save("stop")
            return "stopped", ExitCode.STOPPED
        self._export()
        return "finished", ExitCode.DONE

    def _restore(self) -> None:
        latest = self.run.latest_checkpoint()
        if latest is None:
            return
        state = json.loads((latest / _STATE_FILE).read_text(encoding="utf-8"))
        self.step, self.best, self.resumed = state["step"], state["best"], True

    def _prepare(self) -> Orders | None:
        """The phases before training; orders to leave if they came meanwhile."""
        songs = self.plan.songs
        for name, total in (
            ("loading", 1),
            ("encoding_audio", songs),
            ("encoding_text", songs),
            ("encoding_conditions", songs),
        ):
            for done in range(total + 1):
                self.reporter.phase(name, done, total, f"song_{done:02d}" if total > 1 and done else None)
                time.sleep(self.plan.step_seconds / 2)
                if self.control.should_stop():
                    return self.control.poll()
        return None

    def _train(self) -> Orders:
        if self.step == 0:
            self._measure()
        self.reporter.phase("training", self.step, self.plan.steps)
        epoch_began = time.monotonic()
        while self.step < self.plan.steps:
            orders = self._safe_point()
            if orders.leave:
                return orders
            self._one_step()
            if self.step % self.plan.steps_per_epoch == 0 or self.step == self.plan.steps:
                self._end_epoch(time.monotonic() - epoch_began)
                epoch_began = time.monotonic()
            if self.step % self.plan.save_every == 0 and self.step < self.plan.steps:
                self._save("schedule")
        return Orders()

    def _safe_point(self) -> Orders:
        """Carry out what can be done between two steps; returns when training may go on, or must end."""
        orders = self.control.poll()
        while True:
            for command in orders.sample:
                self._audition(command.id)
                self.control.done(command)
            if orders.checkpoint:
                self._save("requested")
                for command in orders.checkpoint:
                    self.control.done(command, f"step {self.step}")
            if orders.leave or not orders.paused:
                return orders
            orders = self.control.wait_while_paused(self.step)

    def _one_step(self) -> None:
        self.step += 1
        fields = self.curves.step_fields(self.step)
        time.sleep(fields["seconds"] if self.plan.step_seconds else 0.0)
        if not self.resumed:
            self._mishap()
        self.reporter.step(**fields)
        if fields["loss"] != fields["loss"]:
            self._nan_steps += 1
            self.reporter.warning("loss_not_finite", f"The loss of step {self.step} is not a number; it was skipped.")
            if self._nan_steps >= _NAN_LIMIT:
                raise DivergedError(
                    "The loss stopped being a number.",
                    f"{_NAN_LIMIT} steps in a row, the last was step {self.step}.",
                    "Resume from the last checkpoint with a lower learning rate.",
                )

    def _mishap(self) -> None:
        if self.step == self.plan.die_at:
            self._die()
        if self.step == self.plan.fail_at:
            raise Bug(f"the bug of step {self.step}")
        if self.step == self.plan.oom_at:
            raise OutOfMemoryError(
                "The GPU ran out of memory.",
                f"At step {self.step}, with a crop of 60 s and batch 1.",
                "Choose a smaller memory profile, a shorter crop, or turn on gradient checkpointing.",
            )

    def _die(self) -> NoReturn:
        fd = os.open(self.run.events, os.O_WRONLY | os.O_APPEND)
        os.write(fd, b'{"v":1,"seq":99')
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")

    def _end_epoch(self, seconds: float) -> None:
        epoch = self.curves.epoch_of(self.step)
        loss, smoothed = self.curves.epoch_loss(epoch), self.curves.smoothed_loss(epoch)
        self.reporter.epoch(
            epoch=epoch,
            step=self.step,
            loss=loss,
            smoothed_loss=smoothed,
            seconds=round(seconds, 3),
            **self.curves.breakdown(epoch),
        )
        if smoothed is not None and (self.best is None or smoothed < self.best["loss"]):
            self.best = {"step": self.step, "epoch": epoch, "loss": smoothed}
            self.reporter.best(**self.best)
        self._measure()

    def _measure(self) -> None:
        if self.plan.held_out:
            time.sleep(self.curves.measuring_seconds)
            self.reporter.eval(**self.curves.held_out_fields(self.step))

    def _save(self, reason: Any) -> None:
        target = self.run.checkpoint_path(self.step)
        began = time.monotonic()
        self.reporter.phase("saving", 0, 1, target.name)
        state = {"step": self.step, "best": self.best}
        if not target.exists():
            with atomic.publish_dir(target) as scratch:
                (scratch / _STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        self.reporter.checkpoint(
            path=target,
            step=self.step,
            epoch=self.curves.epoch_of(self.step),
            reason=reason,
            seconds=round(time.monotonic() - began, 4),
            bytes=(target / _STATE_FILE).stat().st_size,
        )
        if reason in ("schedule", "requested"):
            self.reporter.phase("training", self.step, self.plan.steps)

    def _audition(self, name: str) -> None:
        path = self.run.samples / f"step_{self.step:06d}-{name}.txt"
        atomic.write_text(path, "no sound: this engine pretends\n")
        self.reporter.sample(path=path, prompt="a pretended song")

    def _export(self) -> None:
        self._save("final")
        kinds: tuple[Any, ...] = ("final", "best") if self.best else ("final",)
        for done, kind in enumerate(kinds):
            self.reporter.phase("exporting", done, len(kinds), kind)
            target = self.run.adapter / kind
            if not target.exists():
                with atomic.publish_dir(target) as scratch:
                    (scratch / "adapter_config.json").write_text(json.dumps({"fake": True}), encoding="utf-8")
            self.reporter.adapter(path=target, kind=kind, tensors=384)
        self.reporter.phase("verifying", 1, 1)


def run_session(run_dir: RunDir) -> ExitCode:
    """One session with everything around it: lock, reporter, control, and what is said when it fails."""
    session = short_id()
    plan = read_plan(run_dir)
    curves = Curves(plan)
    ticks = iter(range(1 << 60))
    with (
        RunLock(run_dir, session, now=time.time()),
        Reporter(run_dir, session, gpus=lambda: curves.gpus(next(ticks)), disk=lambda _: curves.disk(0)) as reporter,
        Control(run_dir, reporter, accepts=_ACCEPTS) as control,
    ):
        engine = FakeEngine(run_dir, plan, reporter, control)
        try:
            reason, code = engine.work()
        except SidestepError as error:
            reporter.error(error)
            reason, code = error.kind if error.kind in ("diverged", "out_of_memory") else "refused", error.exit_code
        except Bug:
            path = run_dir.path / "traceback.txt"
            atomic.write_text(path, traceback.format_exc())
            bug = SidestepError("The engine hit a bug.", f"At step {engine.step}.", "The traceback has the details.")
            bug.kind = "bug"
            reporter.error(bug, traceback_path=path)
            reason, code = "failed", ExitCode.BUG
        control.finish()
        reporter.ended(reason, code, engine.step)
    return code


def main(argv: list[str] | None = None) -> int:
    """The command line: one run directory."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        if len(arguments) != 1:
            raise UsageError("The fake engine takes one run directory.")
        return int(run_session(RunDir.open(Path(arguments[0]))))
    except SidestepError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main())
