"""`stop`, `pause`, `checkpoint` and `abort`: an order into the run's inbox, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from sidestep_tui.cli import options, render
from sidestep_tui.core import text
from sidestep_tui.core.errors import ExitCode, RunError
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.journal import last_events
from sidestep_tui.protocol.liveness import Liveness, explain_death, heartbeat_age, liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.05

_wait = click.option("--wait", is_flag=True, help="Return when it is done, not when it is heard.")


@click.command()
@options.run_argument()
@_wait
@options.json_option
def stop(run: str, wait: bool, as_json: bool) -> int:
    """Ask RUN to finish its step, save, and end. `resume` continues it from there."""
    return order("stop", run, wait=wait, as_json=as_json)


@click.command()
@options.run_argument()
@_wait
@options.json_option
def pause(run: str, wait: bool, as_json: bool) -> int:
    """Ask RUN to hold after its current step, keeping its memory. `resume` goes on."""
    return order("pause", run, wait=wait, as_json=as_json)


@click.command()
@options.run_argument()
@_wait
@options.json_option
def checkpoint(run: str, wait: bool, as_json: bool) -> int:
    """Ask RUN to save a checkpoint now."""
    return order("checkpoint", run, wait=wait, as_json=as_json)


@click.command()
@options.run_argument()
@_wait
@options.json_option
def abort(run: str, wait: bool, as_json: bool) -> int:
    """End RUN without saving; what was learnt since the newest checkpoint is lost."""
    return order("abort", run, wait=wait, as_json=as_json)


def order(name: str, reference: str, *, wait: bool, as_json: bool) -> int:
    """Send one command, wait for its acknowledgement, and say what became of it."""
    run_dir = options.find_run(reference)
    _refuse_if_not_running(run_dir, name)
    tail = Tail(run_dir.events, _end_of(run_dir))
    command_id = inbox.send(run_dir, name, by="command line")
    answer = _answer(run_dir, tail, command_id, ends=name in ("stop", "abort"), wait=wait)
    _report(run_dir, name, answer, as_json=as_json)
    return int(ExitCode.REFUSED if answer["state"] in ("refused", "gone") else ExitCode.DONE)


def _refuse_if_not_running(run_dir: RunDir, name: str) -> None:
    if liveness(run_dir, time.time()).is_alive:
        return
    ended = next((e for e in reversed(last_events(run_dir.events)) if e.get("type") == "session_ended"), None)
    reason = str(ended.get("reason", "ended")).replace("_", " ") if ended else "its engine is gone"
    raise RunError(
        f"The run {run_dir.name} is not running.",
        f"There is no engine to {name}: {reason}.",
        "`sidestep-tui runs` shows which runs are.",
    )


def _end_of(run_dir: RunDir) -> int:
    try:
        return run_dir.events.stat().st_size
    except FileNotFoundError:
        return 0


def _answer(run_dir: RunDir, tail: Tail, command_id: str, *, ends: bool, wait: bool) -> Event:
    """The newest word on the command: `received`, `done`, `refused`; `sent` when nothing came, `gone` when it died.

    The acknowledgement is waited for as long as patience lasts, with `wait` the end of the matter without limit.
    """
    state: Event = {"state": "sent", "detail": ""}
    deadline = time.monotonic() + PATIENCE_SECONDS
    has_ended = False
    while True:
        # Asked before reading: a goodbye written before the lock was freed is then in the file.
        is_alive = liveness(run_dir, time.time()).is_alive
        events = tail.read()
        state = _newest(events, command_id) or state
        has_ended = has_ended or any(event.get("type") == "session_ended" for event in events)
        if state["state"] == "refused" or (state["state"] == "done" and not (ends and wait)):
            return state
        if not is_alive and tail.at_end:
            return {**state, "state": "done" if ends and has_ended else "gone"}
        if not wait and (state["state"] == "received" or time.monotonic() >= deadline):
            return state
        time.sleep(_POLL_SECONDS)


def _newest(events: Sequence[Event], command_id: str) -> Event | None:
    mine = [event for event in events if event.get("type") == "command" and event.get("id") == command_id]
    return {"state": str(mine[-1].get("state")), "detail": str(mine[-1].get("detail") or "")} if mine else None


def _report(run_dir: RunDir, name: str, answer: Event, *, as_json: bool) -> None:
    if as_json:
        render.data_json({"run": str(run_dir.path), "command": name, **answer}, indent=None)
    detail = f": {answer['detail']}" if answer["detail"] else ""
    if answer["state"] == "gone" and liveness(run_dir, time.time()) is Liveness.ENDED:
        render.say(f"{run_dir.name} ended before it heard of it.")
    elif answer["state"] == "gone":
        render.say(f"The engine of {run_dir.name} is gone. {explain_death(run_dir).cause}")
    elif answer["state"] == "sent":
        age = heartbeat_age(run_dir, time.time())
        heard = f"last heard {text.duration(age)} ago" if age is not None else "not heard yet"
        render.say(f"Sent. The engine is busy ({heard}) and will act at its next safe point.")
    elif answer["state"] == "refused":
        render.say(f"{run_dir.name} refused to {name}{detail}.")
    elif answer["state"] == "done":
        render.say(f"{run_dir.name}: {name} done{detail}.")
    else:
        render.say(f"{run_dir.name} heard it: {name} at the next safe point.")
