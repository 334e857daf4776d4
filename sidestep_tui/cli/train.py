"""`train`, `resume` and `attach`: from a preset to a run, and back to one."""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import Any

import click

from sidestep_tui.cli import follow, options, quiet, render
from sidestep_tui.core import env, paths, text
from sidestep_tui.core.errors import ExitCode, RunError, UsageError
from sidestep_tui.launch import extend, hardware, preflight, slurm, spawn, start
from sidestep_tui.launch import gpus as machine
from sidestep_tui.launch import plan as plans
from sidestep_tui.launch.plan import Plan
from sidestep_tui.launch.preflight import Check
from sidestep_tui.launch.start import Launched
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.liveness import liveness
from sidestep_tui.protocol.registry import glance
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import layers
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import DEFAULT, format_value

_headless = click.option("--headless", is_flag=True, help="Print progress instead of opening the dashboard.")
_detach = click.option("--detach", is_flag=True, help="Return as soon as the run has begun.")


@click.command()
@options.preset_argument
@click.option("--model", metavar="DIR", help="The ACE-Step 1.5 checkpoint (model.path).")
@click.option("--dataset", metavar="DIR", help="The folder of songs (data.path).")
@click.option("--output", metavar="DIR", help="The folder that receives the run (output.path).")
@click.option("--name", metavar="NAME", help="The run's name (output.name).")
@options.set_option
@_headless
@_detach
@click.option("--gpus", metavar="N|all", help="Train on several GPUs, each with its own batches (memory.device).")
@click.option("--dry-run", is_flag=True, help="Resolve and check everything; train nothing.")
@click.option("--sbatch", is_flag=True, help="Print a Slurm script that does this; start nothing.")
@click.option("--time", metavar="T", default="", help="With --sbatch: the job's time limit, as 08:00:00 or 1-12.")
@click.option("--partition", metavar="P", default="", help="With --sbatch: the partition.")
@click.option("--account", metavar="A", default="", help="With --sbatch: the account.")
@options.json_option
def train(
    preset: str,
    model: str | None,
    dataset: str | None,
    output: str | None,
    name: str | None,
    assignments: tuple[str, ...],
    headless: bool,
    detach: bool,
    gpus: str | None,
    dry_run: bool,
    sbatch: bool,
    time: str,
    partition: str,
    account: str,
    as_json: bool,
) -> int:
    """Train an adapter with PRESET: the name of a preset, a TOML file, or the run.toml of a run to repeat.

    On a terminal the dashboard opens; leaving it leaves the run going. With --headless progress is printed until the
    end, and the last line on standard output is the path of the finished adapter. Ctrl-C then stops and saves.
    """
    _refuse_both(headless=headless, detach=detach)
    if (time or partition or account) and not sbatch:
        raise UsageError("--time, --partition and --account belong to --sbatch.", "", "Add --sbatch.")
    count = gpu_count(gpus)
    if gpus is not None:
        assignments = (*assignments, f"memory.device={'all' if count is None else f'gpus:{count}'}")
    plan = plans.from_preset(preset, model=model, dataset=dataset, output=output, name=name, assignments=assignments)
    if sbatch:
        if count is None:
            raise UsageError("--gpus all means nothing to Slurm.", "", "Say how many: --gpus 4.")
        job = slurm.Job(count, time, partition, account)
        given = {"--model": model, "--dataset": dataset, "--output": output}
        _show_script(job, plan, preset, given, assignments)
        return int(ExitCode.DONE)
    with quiet.native_stderr():
        found = list(preflight.checks(plan.resolved, run_name=plan.run_name, requires=plan.requires))
    if dry_run:
        _show_plan(plan, found, as_json=as_json)
        return int(ExitCode.REFUSED if preflight.has_failed(found) else ExitCode.DONE)
    refuse_failed(found)
    return begin(plan, headless=headless, detach=detach, as_json=as_json)


def gpu_count(gpus: str | None) -> int | None:
    """What --gpus says: a number, 1 where it is not given, None for all."""
    if gpus is None or gpus == "all":
        return 1 if gpus is None else None
    if not gpus.isdecimal() or not 1 <= int(gpus) <= 99:
        raise UsageError(f"--gpus {gpus} is not a number of GPUs.", "", "Write --gpus 2, or --gpus all.")
    return int(gpus)


def _show_script(
    job: slurm.Job, plan: Plan, preset: str, given: dict[str, str | None], assignments: tuple[str, ...]
) -> None:
    options = [part for option, value in given.items() if value is not None for part in (option, value)]
    typed = [part for assignment in assignments for part in ("-s", assignment)]
    command = [spawn.interpreter(), "-m", "sidestep_tui"]
    arguments = [preset, *options, *typed]
    render.data(
        slurm.script(job, command, arguments, name=plan.run_name[:48], output=plan.output, folder=Path.cwd()).rstrip(
            "\n"
        )
    )


def begin(plan: Plan, *, headless: bool, detach: bool, as_json: bool, module: str | None = None) -> int:
    """Start the plan and stay with it in the way that was asked for."""
    launched = start.launch(plan, module=module)
    return _stay(launched, headless=headless, detach=detach, as_json=as_json)


def refuse_failed(found: list[Check]) -> None:
    """Say every warning; raise when a check forbids the start."""
    for check in found:
        if check.status == "warn":
            render.say(f"{click.style('Warning:', fg='yellow')} {check.sentence} {check.hint}".rstrip())
    failed = [check for check in found if check.status == "fail"]
    if not failed:
        return
    if len(failed) == 1:
        raise RunError(failed[0].sentence, "", failed[0].hint)
    lines = [f"{check.sentence} {check.hint}".rstrip() for check in failed]
    raise RunError(f"The run cannot start: {text.plural(len(failed), 'problem')}.", "\n".join(lines))


@click.command()
@options.run_argument()
@_headless
@_detach
@options.set_option
@options.json_option
def resume(run: str, headless: bool, detach: bool, assignments: tuple[str, ...], as_json: bool) -> int:
    """Continue RUN (a path, a name, or its beginning) from its newest checkpoint. A paused run goes on.

    A finished run goes on too if -s train.epochs gives it more. Settings given with -s are written into its run.toml.
    """
    _refuse_both(headless=headless, detach=detach)
    run_dir = options.find_run(run)
    if assignments:
        extend.change(run_dir, dict(layers.command_line(assignments).values))
    if liveness(run_dir, clock.time()).is_alive and glance(run_dir).status in ("paused", "pausing"):
        inbox.send(run_dir, "resume", by="command line")
        render.say(f"{run_dir.name} goes on.")
        return int(ExitCode.DONE)
    return _stay(start.relaunch(run_dir), headless=headless, detach=detach, as_json=as_json)


@click.command()
@options.run_argument(required=False)
@click.option("--plain", is_flag=True, help="One line per event, for pipes and screen readers.")
@click.option("--readonly", is_flag=True, help="Only look: the keys that change the run are not there.")
@options.json_option
def attach(run: str | None, plain: bool, readonly: bool, as_json: bool) -> int:
    """Watch RUN, or the newest one: live, finished, or died. Leaving leaves it going.

    The exit code of --plain and --json is the run's own.
    """
    run_dir = options.find_run(run)
    facts = env.terminal_facts()
    if not (plain or as_json or facts.usable):
        render.say(f"{facts.problem} Following as text.")
    if plain or as_json or not facts.usable:
        return follow.attach_plain(run_dir, as_json=as_json)
    return _dashboard(run_dir, readonly=readonly)


def _refuse_both(*, headless: bool, detach: bool) -> None:
    if headless and detach:
        raise UsageError(
            "--headless and --detach exclude each other.",
            "One follows the run to its end, the other returns at once.",
            "Choose one; `sidestep-tui attach --plain` follows a detached run.",
        )


def _stay(launched: Launched, *, headless: bool, detach: bool, as_json: bool) -> int:
    run_dir = launched.run_dir
    if detach:
        return _leave(launched, as_json=as_json)
    if headless or as_json or not env.terminal_facts().usable:
        render.say(f"Run directory: {paths.shorten(run_dir.path)}")
        return follow.run_headless(launched, as_json=as_json)
    render.say(f"Starting {run_dir.name}: loading the engine takes some seconds. Ctrl-C leaves it starting.")
    if not _started(launched):
        return int(ExitCode.DONE)
    return _dashboard(run_dir)


def _leave(launched: Launched, *, as_json: bool) -> int:
    run_dir = launched.run_dir
    if not _started(launched):
        return int(ExitCode.DONE)
    if as_json:
        render.data_json({"run": str(run_dir.path), "name": run_dir.name, "pid": launched.process.pid}, indent=None)
    else:
        render.data(str(run_dir.path))
        render.say(f"It goes on by itself. Watch it with `sidestep-tui attach {run_dir.name}`.")
    return int(ExitCode.DONE)


def _started(launched: Launched) -> bool:
    """Wait for the engine; False when the waiting was interrupted, which leaves the engine alone."""
    try:
        start.wait_until_started(launched)
    except KeyboardInterrupt:
        name = launched.run_dir.name
        render.say(
            f"{name} goes on starting. Watch it with `sidestep-tui attach {name}`, "
            f"or end it with `sidestep-tui stop {name}`."
        )
        return False
    return True


def _dashboard(run_dir: RunDir, *, readonly: bool = False) -> int:
    # 200 ms of Textual, which no other command needs.
    from sidestep_tui.ui.app import run

    return run(run=run_dir.path, readonly=readonly)


def _show_plan(plan: Plan, found: list[Check], *, as_json: bool) -> None:
    settings = plan.resolved.settings
    device = machine.choose(settings)
    estimate = hardware.estimate_for(settings, device) if device else None
    if as_json:
        value: dict[str, Any] = {
            "run": str(plan.output / plan.run_name),
            "preset": plan.preset,
            "settings": plan.resolved.values,
            "origins": plan.resolved.origins,
            "checks": [check.to_dict() for check in found],
            "memory_bytes": estimate.total if estimate else None,
        }
        render.data_json(value)
        return
    specs = fields_by_path()
    rows = [
        [path, format_value(specs[path], value), plan.resolved.origins[path]]
        for path, value in plan.resolved.values.items()
        if plan.resolved.origins[path] != DEFAULT
    ]
    render.data(f"Run: {plan.output / plan.run_name}")
    for line in render.table(rows):
        render.data(f"  {line}")
    render.data("  (everything else has its default)")
    marks = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}
    for check in found:
        render.data(f"{marks[check.status]}  {check.name}: {check.sentence} {check.hint}".rstrip())
    render.data("Nothing was started.")
