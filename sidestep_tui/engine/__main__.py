"""`python -m sidestep_tui.engine RUN_DIR`: train what run.toml says, or continue from the newest checkpoint.

The directory is locked, the journal open and commands heard before torch is imported. Under `torchrun` or
`accelerate launch` the first process does that, and the others follow it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from sidestep_tui.core.errors import ExitCode, RunError, SidestepError
from sidestep_tui.core.ids import short_id
from sidestep_tui.engine import failures
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.ranks import LaterControl, LaterReporter, World, linger, redirect_output
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step

if TYPE_CHECKING:
    from sidestep_tui.engine.loop import TrainingRun

_USAGE = "usage: python -m sidestep_tui.engine RUN_DIR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one session; returns the process's exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(_USAGE, file=sys.stderr)
        return int(ExitCode.USAGE)
    try:
        run_dir = RunDir.open(arguments[0])
        session = short_id()
        world = World.of_environment(os.environ)
        if not world.is_first:
            return _follow(run_dir, session, world)
        with RunLock(run_dir, session, now=time.time()), Reporter(run_dir, session) as reporter:
            return int(_session(run_dir, reporter, Control(run_dir, reporter), world))
    except SidestepError as error:
        with suppress(OSError):
            print(error, file=sys.stderr, flush=True)
        return int(error.exit_code)


def _follow(run_dir: RunDir, session: str, world: World) -> int:
    """A session beside the one of the first process; it ends after that one."""
    redirect_output(run_dir, world)
    reporter = LaterReporter(run_dir, session)
    code = _session(run_dir, reporter, LaterControl(run_dir, reporter), world)
    linger(run_dir)
    return int(code)


def _session(run_dir: RunDir, reporter: Reporter, control: Control, world: World) -> ExitCode:
    """The border of the engine: whatever happens inside ends as one sentence in the journal and an exit code."""
    newest = run_dir.latest_checkpoint()
    saved_step = checkpoint_step(newest) if newest else 0
    run: TrainingRun | None = None

    def end(reason: str, code: ExitCode) -> None:
        control.finish()
        reporter.ended(reason, int(code), max(run.step if run else 0, saved_step))

    def fail(error: Exception) -> tuple[str, ExitCode]:
        failure = failures.describe(_cause(error, reporter), run_dir.path)
        reporter.error(failure.error, failure.traceback_path)
        # After the journal: engine.log may lie on the disk that is full.
        with suppress(OSError):
            print(failure.error, file=sys.stderr, flush=True)
        return failure.reason, failure.code

    def end_by(error: SidestepError) -> None:
        end(*fail(error))
        reporter.close()

    with control:
        try:
            # 5 s and more (torch, diffusers, peft): after the lock, so that a run in use is refused at once.
            from sidestep_tui.engine import distributed, loop

            with distributed.joined(world, run_dir, end_by):
                run = loop.TrainingRun(run_dir, reporter, control)
                reason = run.carry_out()
            code = ExitCode.STOPPED if reason in ("stopped", "aborted") else ExitCode.DONE
        except Exception as error:  # noqa: BLE001 - the border: everything that goes wrong ends here
            reason, code = fail(error)
        end(reason, code)
        return code


def _cause(error: Exception, reporter: Reporter) -> Exception:
    """What is behind `error`: a file that is missing because the whole run was moved is no fault of the file."""
    if isinstance(error, OSError):
        try:
            reporter.refuse_elsewhere()
        except RunError as moved:
            return moved
    return error


def _leave(code: int) -> NoReturn:
    """End the process; one of several at once, since a backend that still waits for the others would abort it."""
    if "WORLD_SIZE" in os.environ:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
