from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DiskFullError, RunError
from sidestep_tui.engine.control import Control, Orders
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.inbox import send
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.strict import check_journal
from sidestep_tui.protocol.tail import Tail


@pytest.fixture
def reporter(run: RunDir) -> Iterator[Reporter]:
    with Reporter(run, "a", heartbeat_seconds=3600.0, sample_seconds=0.0) as opened:
        yield opened
    check_journal(Tail(run.events).read_all())


@pytest.fixture
def control(run: RunDir, reporter: Reporter) -> Iterator[Control]:
    with Control(run, reporter, signals=False, look_every=0.001) as opened:
        yield opened


def commands(run: RunDir) -> list[tuple[str, str, str]]:
    return [
        (event["name"], event["state"], event.get("detail", ""))
        for event in Tail(run.events).read_all()
        if event["type"] == "command"
    ]


def wait_for(run: RunDir, test: Callable[[Event], bool]) -> None:
    """Block until the journal says it."""
    tail = Tail(run.events)
    pause = threading.Event()
    for _ in range(30_000):
        if any(map(test, tail.read())):
            return
        pause.wait(0.001)
    raise AssertionError("the journal never said it")


def order(run: RunDir, name: str) -> str:
    """Send a command and wait until it was taken."""
    command_id = send(run, name, "tui")
    wait_for(run, lambda event: event["type"] == "command" and event["id"] == command_id)
    return command_id


def test_stop_is_received_and_done(run: RunDir, control: Control) -> None:
    assert control.poll() == Orders() and not control.should_stop()
    order(run, "stop")
    orders = control.poll()
    assert orders.stop and orders.leave and not orders.abort and control.should_stop()
    control.finish()
    assert commands(run) == [("stop", "received", ""), ("stop", "done", "")]


def test_stopping_twice_is_still_a_stop_with_a_save(run: RunDir, control: Control) -> None:
    order(run, "stop")
    order(run, "stop")
    assert not control.poll().abort
    control.finish()
    assert [state for _, state, _ in commands(run)] == ["received", "received", "done", "done"]


def test_a_run_that_is_moved_while_it_holds_does_not_hold_for_ever(run: RunDir, control: Control) -> None:
    order(run, "pause")
    moved = run.path.with_name("moved")
    mover = threading.Timer(0.01, run.path.rename, (moved,))
    mover.start()
    with pytest.raises(RunError, match="moved or deleted"):
        control.wait_while_paused(3)
    mover.join()
    moved.rename(run.path)


def test_abort_leaves_without_saving(run: RunDir, control: Control) -> None:
    order(run, "abort")
    assert control.poll().abort and control.should_abort() and control.should_stop()


def test_a_checkpoint_request_is_handed_out_once(run: RunDir, control: Control) -> None:
    first, second = order(run, "checkpoint"), order(run, "checkpoint")
    orders = control.poll()
    assert [command.id for command in orders.checkpoint] == [first, second]
    assert control.poll().checkpoint == ()
    for command in orders.checkpoint:
        control.done(command, "step 5")
        control.done(command, "again")
    assert commands(run)[2:] == [("checkpoint", "done", "step 5")] * 2


def test_an_order_that_cannot_be_carried_out_is_refused_with_a_reason(run: RunDir, control: Control) -> None:
    command_id = order(run, "checkpoint")
    control.refused(command_id, "nothing was trained yet")
    assert commands(run)[-1] == ("checkpoint", "refused", "nothing was trained yet")


def test_the_same_command_twice_counts_once(run: RunDir, control: Control) -> None:
    atomic.write_text(run.inbox / "1.json", '{"name": "checkpoint", "id": "x"}')
    wait_for(run, lambda event: event["type"] == "command")
    atomic.write_text(run.inbox / "2.json", '{"name": "checkpoint", "id": "x"}')
    order(run, "resume")  # taken after it
    assert len(control.poll().checkpoint) == 1
    assert [name for name, _, _ in commands(run)] == ["checkpoint", "resume", "resume"]


def test_what_this_engine_cannot_do_is_refused(run: RunDir, control: Control) -> None:
    order(run, "sample")
    (run.inbox / "1.json").write_text("{")
    wait_for(run, lambda event: event["type"] == "command" and event["name"] == "unreadable")
    assert commands(run) == [
        ("sample", "refused", "this engine does not do that"),
        ("unreadable", "refused", "it is not JSON"),
    ]
    assert control.poll() == Orders()


def hold(run: RunDir, control: Control) -> tuple[threading.Thread, list[Orders]]:
    """Pause, and wait in another thread as the engine would."""
    order(run, "pause")
    assert control.poll().paused
    results: list[Orders] = []
    thread = threading.Thread(target=lambda: results.append(control.wait_while_paused(7)))
    thread.start()
    wait_for(run, lambda event: event["type"] == "command" and event["state"] == "done" and event["name"] == "pause")
    return thread, results


def kinds(run: RunDir) -> list[str]:
    return [event["type"] for event in Tail(run.events).read_all()]


def test_pause_holds_until_resume(run: RunDir, control: Control) -> None:
    thread, results = hold(run, control)
    assert results == []
    send(run, "resume", "tui")
    thread.join(30)
    assert results == [Orders()]
    assert kinds(run) == ["command", "paused", "command", "command", "resumed", "command"]
    assert commands(run) == [
        ("pause", "received", ""),
        ("pause", "done", ""),
        ("resume", "received", ""),
        ("resume", "done", ""),
    ]
    assert control.poll() == Orders()


def test_a_checkpoint_is_carried_out_while_paused(run: RunDir, control: Control) -> None:
    thread, results = hold(run, control)
    order(run, "checkpoint")
    thread.join(30)
    assert results[0].paused and len(results[0].checkpoint) == 1
    again = threading.Thread(target=lambda: results.append(control.wait_while_paused(7)))
    again.start()
    order(run, "resume")
    again.join(30)
    assert results[1] == Orders()
    assert kinds(run).count("paused") == kinds(run).count("resumed") == 1


@pytest.mark.parametrize("name", ["stop", "abort"])
def test_a_paused_run_can_be_ended(run: RunDir, control: Control, name: str) -> None:
    thread, results = hold(run, control)
    order(run, name)
    thread.join(30)
    assert results[0].leave and getattr(results[0], name)
    assert "resumed" not in kinds(run)


def test_pausing_a_paused_run_is_done_at_once(run: RunDir, control: Control) -> None:
    thread, _ = hold(run, control)
    order(run, "pause")
    order(run, "resume")
    thread.join(30)
    assert ("pause", "done", "it was paused already") in commands(run)


def test_a_resume_before_the_pause_took_hold_undoes_it(run: RunDir, control: Control) -> None:
    order(run, "pause")
    order(run, "resume")
    assert control.poll() == Orders()
    assert control.wait_while_paused(3) == Orders()
    assert [(name, state) for name, state, _ in commands(run)] == [
        ("pause", "received"),
        ("resume", "received"),
        ("pause", "refused"),
        ("resume", "done"),
    ]
    assert "paused" not in kinds(run)


def test_resuming_what_is_not_paused_is_done_and_says_so(run: RunDir, control: Control) -> None:
    order(run, "resume")
    assert commands(run)[-1] == ("resume", "done", "it was not paused")


def test_commands_meant_for_a_dead_session_are_refused(run: RunDir) -> None:
    send(run, "stop", "tui")
    (run.inbox / "9.json").write_text("{")
    with Reporter(run, "b", heartbeat_seconds=3600.0, sample_seconds=0.0) as reporter:
        fresh = send(run, "pause", "tui")
        with Control(run, reporter, signals=False, look_every=3600.0) as control:
            orders = control.poll()
            assert not orders.stop and orders.paused
            assert list(run.inbox.iterdir()) == []
    assert commands(run)[0] == ("stop", "refused", "it was sent before this session began")
    assert ("pause", "received", "") in commands(run) and fresh


def test_what_is_open_at_the_end_is_answered(run: RunDir, control: Control) -> None:
    order(run, "checkpoint")
    order(run, "stop")
    control.close()
    late = send(run, "pause", "tui")
    control.finish()
    assert commands(run)[2:] == [
        ("checkpoint", "refused", "the session ended first"),
        ("stop", "done", ""),
        ("pause", "refused", "the session ended first"),
    ]
    assert late and list(run.inbox.iterdir()) == []


def test_an_order_holds_even_when_the_disk_is_full(
    run: RunDir, reporter: Reporter, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def fail(*_: object) -> None:
        told.set()
        raise DiskFullError("The disk is full.")

    monkeypatch.setattr(reporter, "command", fail)
    send(run, "stop", "tui")
    assert told.wait(30)
    control.close()
    assert control.poll().stop


def raise_here(number: int, run: RunDir, expected: str) -> None:
    os.kill(os.getpid(), number)
    wait_for(run, lambda event: event["type"] == "command" and event["name"] == expected)


def test_a_first_signal_stops_and_a_second_aborts(run: RunDir, reporter: Reporter) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    with Control(run, reporter, look_every=3600.0) as control:
        os.kill(os.getpid(), signal.SIGHUP)
        assert control.poll() == Orders()
        raise_here(signal.SIGTERM, run, "stop")
        assert control.poll() == Orders(stop=True)
        raise_here(signal.SIGINT, run, "abort")
        assert control.poll() == Orders(stop=True, abort=True)
        control.finish()
    by = [event["by"] for event in Tail(run.events).read_all() if event["type"] == "command"]
    assert by == ["SIGTERM", "SIGINT", "SIGTERM", "SIGINT"]
    after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP)
    assert after == before


def test_a_signal_wakes_a_paused_engine(run: RunDir, reporter: Reporter) -> None:
    with Control(run, reporter, look_every=0.001) as control:
        order(run, "pause")
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        assert control.wait_while_paused(3) == Orders(stop=True, paused=True)


def test_a_third_signal_gives_up_on_a_stuck_engine(run: RunDir, reporter: Reporter) -> None:
    with Control(run, reporter, look_every=3600.0):
        for _ in range(3):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
