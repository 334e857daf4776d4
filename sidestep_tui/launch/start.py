"""From a plan to a running engine: make the directory, freeze the settings, spawn, wait for its first words."""

from __future__ import annotations

import contextlib
import datetime
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sidestep_tui
from sidestep_tui.core.errors import ExitCode, RunError, SidestepError
from sidestep_tui.launch import discover, doctor, extend, failures, fingerprints, gpus, spawn
from sidestep_tui.launch.plan import Plan
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.journal import last_events
from sidestep_tui.protocol.lock import is_held, read_holder
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema import run as run_file
from sidestep_tui.schema.run import RunFile
from sidestep_tui.schema.settings import Settings

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Launched:
    """An engine process and its run; this session's events begin at `journal_offset`."""

    run_dir: RunDir
    process: subprocess.Popen[bytes]
    journal_offset: int


def start(plan: Plan, *, module: str | None = None, should_stop: Callable[[], bool] = lambda: False) -> RunDir:
    """Start the plan's engine and wait until its session began.

    Raises SidestepError with the cause when it dies before. There is no time limit: a slow disk can make importing
    torch take a minute. `should_stop` ends the waiting, not the engine.
    """
    launched = launch(plan, module=module)
    wait_until_started(launched, should_stop=should_stop)
    return launched.run_dir


def resume(run_dir: RunDir, *, module: str | None = None, should_stop: Callable[[], bool] = lambda: False) -> RunDir:
    """Continue a run from its newest checkpoint and wait until the session began."""
    wait_until_started(relaunch(run_dir, module=module), should_stop=should_stop)
    return run_dir


def launch(plan: Plan, *, module: str | None = None) -> Launched:
    """Create the run directory, write run.toml, register the run and spawn the engine; returns at once."""
    run_dir = create(plan)
    return Launched(run_dir, _spawn(run_dir, plan.resolved.settings, module), 0)


def create(plan: Plan) -> RunDir:
    """The plan's run directory with its run.toml, known to the registry."""
    settings = plan.resolved.settings
    try:
        run_dir = RunDir.create(plan.output, plan.run_name)
    except OSError as error:
        raise RunError(
            "The run's directory cannot be made.",
            f"{plan.output}: {error.strerror}.",
            "Choose another folder with --output.",
        ) from error
    frozen = RunFile(
        name=run_dir.name,
        settings=settings,
        origins=plan.resolved.origins,
        preset=plan.preset,
        created=datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        product_version=sidestep_tui.__version__,
        versions=doctor.versions(),
        fingerprints=fingerprints.of_settings(settings),
        extra={name: dict(table) for name, table in plan.extra.items()},
    )
    try:
        run_file.write_run(run_dir.run_toml, frozen)
    except (OSError, SidestepError):
        shutil.rmtree(run_dir.path, ignore_errors=True)  # made above, and nothing is in it
        raise
    # A read-only home, as in some containers, is no reason not to train: the run is then found by its path.
    with contextlib.suppress(OSError):
        registry.register(run_dir)
        discover.remember(
            model=Path(settings.model.path) if settings.model.path else None,
            dataset=Path(settings.data.path) if settings.data.path else None,
            output=plan.output,
        )
    return run_dir


def relaunch(run_dir: RunDir, *, module: str | None = None) -> Launched:
    """Spawn an engine on an existing run; RunError when it is running, finished, or was never a run."""
    settings = refuse_if_not_resumable(run_dir)
    offset = _end_of_whole_lines(run_dir.events)
    with contextlib.suppress(OSError):
        registry.register(run_dir)
    return Launched(run_dir, _spawn(run_dir, settings, module), offset)


def _spawn(run_dir: RunDir, settings: Settings, module: str | None) -> subprocess.Popen[bytes]:
    """One engine process, or one for each GPU of several."""
    module = module or spawn.ENGINE_MODULE
    together = gpus.team(settings)
    if together is None:
        return spawn.spawn(run_dir.path, module)
    return spawn.spawn(run_dir.path, module, processes=len(together.gpus), visible=together.visible)


def refuse_if_not_resumable(run_dir: RunDir) -> Settings:
    """The settings of a run; RunError if there is nothing to continue, SettingsError if run.toml was spoilt by hand."""
    if is_held(run_dir):
        holder = read_holder(run_dir)
        who = f" by process {holder.pid} on {holder.host}" if holder else ""
        raise RunError(
            f"The run {run_dir.name} is running.",
            f"{run_dir.path} is held{who}.",
            f"Watch it with `sidestep-tui attach {run_dir.path}`.",
        )
    if not run_dir.run_toml.is_file():
        raise RunError(
            f"The run {run_dir.name} cannot be resumed.",
            f"{run_dir.run_toml} is missing, so its settings are unknown.",
            "Start a run with `sidestep-tui train`.",
        )
    # What the engine would refuse after ten seconds of imports, and with an entry in the journal.
    frozen = run_file.read_run(run_dir.run_toml)
    ended = [event for event in last_events(run_dir.events) if event.get("type") == "session_ended"]
    if ended and ended[-1].get("reason") in ("finished", "early_stop") and not _has_more_to_do(run_dir, frozen):
        raise RunError(
            f"There is nothing to resume in {run_dir.name}.",
            f"It finished at step {ended[-1].get('step', 0)}.",
            f"Go on with more epochs: `sidestep-tui resume {run_dir.name} -s train.epochs=N`; or train again with "
            f"`sidestep-tui train {run_dir.run_toml}`.",
        )
    return frozen.settings


def _has_more_to_do(run_dir: RunDir, frozen: RunFile) -> bool:
    """Whether it has been given more epochs since it finished."""
    was_given = frozen.origins.get("train.epochs") == extend.ORIGIN
    return was_given and registry.glance(run_dir).epochs < frozen.settings.train.epochs


def wait_until_started(launched: Launched, *, should_stop: Callable[[], bool] = lambda: False) -> Event | None:
    """Block until the session started (or its encoding, which comes first) and return the event that said so.

    None when `should_stop` said so first. Raises SidestepError when the engine ends or reports an error before.
    """
    tail = Tail(launched.run_dir.events, launched.journal_offset)
    error: Event | None = None
    while not should_stop():
        returncode = launched.process.poll()
        for event in tail.read():
            if _has_begun(event):
                return event
            if event.get("type") == "error":
                error = event
        if returncode is not None:
            # What it wrote between the last look and its end was read above: poll came first.
            code = returncode if returncode != ExitCode.DONE else int(ExitCode.BUG)
            raise failures.early_death(launched.run_dir, code, error)
        time.sleep(_POLL_SECONDS)
    return None


def _has_begun(event: Event) -> bool:
    """Whether an engine that says this has accepted its settings and is at work."""
    if event.get("type") == "phase":
        return str(event.get("name", "")).startswith("encoding")
    return event.get("type") == "session_started"


def _end_of_whole_lines(journal: Path) -> int:
    """Where the next session's events will begin: after the last newline, since a torn line is repaired first."""
    try:
        size = journal.stat().st_size
    except FileNotFoundError:
        return 0
    block = 64 * 1024
    with journal.open("rb") as handle:
        end = size
        while end > 0:
            begin = max(0, end - block)
            handle.seek(begin)
            newline = handle.read(end - begin).rfind(b"\n")
            if newline >= 0:
                return begin + newline + 1
            end = begin
    return 0
