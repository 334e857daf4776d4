from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol import lock as lock_module
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.liveness import (
    STALE_AFTER,
    Liveness,
    explain_death,
    heartbeat_age,
    liveness,
    tail_of_log,
)
from sidestep_tui.protocol.lock import Holder, RunLock, is_held, read_holder
from sidestep_tui.protocol.rundir import RunDir

HOLD = """
import sys, time
from pathlib import Path
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir
lock = RunLock(RunDir(Path(sys.argv[1])), "other", now=time.time())
print("held", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(run: RunDir) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    process.communicate()


def write_session(run: RunDir, session: str, *, ended: bool) -> None:
    journal = Journal(run, session, lambda: 5.0)
    journal.append("session_started")
    if ended:
        journal.append("session_ended", reason="finished", code=0, step=9)
    journal.close()


def test_a_second_engine_is_refused_and_told_who_holds_the_run(run: RunDir) -> None:
    process = hold_elsewhere(run)
    try:
        with pytest.raises(RunError) as caught:
            RunLock(run, "mine", now=1.0, patience=0.0)
        assert str(process.pid) in caught.value.message
        assert "sidestep-tui attach" in caught.value.hint
        holder = read_holder(run)
        assert holder is not None and (holder.pid, holder.session) == (process.pid, "other")
    finally:
        end(process, signal.SIGKILL)


def test_a_killed_holder_leaves_the_lock_free(run: RunDir) -> None:
    process = hold_elsewhere(run)
    assert is_held(run)
    end(process, signal.SIGKILL)
    assert not is_held(run)
    with RunLock(run, "mine", now=1.0):
        assert is_held(run)
    assert not is_held(run)


def test_probing_does_not_keep_an_engine_out(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """A viewer's probe holds the lock for an instant; the engine tries again."""
    answers = iter(["busy", "busy"])
    real = lock_module._try_flock
    monkeypatch.setattr(
        lock_module, "_try_flock", lambda fd, *, exclusive: next(answers, None) or real(fd, exclusive=exclusive)
    )
    with RunLock(run, "mine", now=1.0):
        assert is_held(run)


def test_a_run_that_cannot_be_written_to_is_refused_with_the_reason(run: RunDir) -> None:
    run.lock.mkdir()
    with pytest.raises(RunError) as caught:
        RunLock(run, "mine", now=1.0)
    assert "run.lock" in caught.value.message and caught.value.hint


def test_two_viewers_that_look_at_once_see_no_engine(run: RunDir) -> None:
    RunLock(run, "gone", now=1.0).release()
    fd = os.open(run.lock, os.O_RDONLY)
    try:
        assert lock_module._try_flock(fd, exclusive=False) == "taken"
        assert not is_held(run)
    finally:
        os.close(fd)


def test_a_run_without_a_lock_file_is_free(run: RunDir) -> None:
    assert not is_held(run)
    assert read_holder(run) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": null}', "x" * 2000])
def test_a_damaged_lock_file_names_nobody_and_can_be_taken(run: RunDir, content: str) -> None:
    run.lock.write_text(content)
    assert read_holder(run) is None
    with RunLock(run, "mine", now=1.0):
        holder = read_holder(run)
        assert holder is not None and holder.pid == os.getpid()


def test_without_file_locks_the_process_id_decides(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network file systems have no locks at all."""
    process = hold_elsewhere(run)

    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    assert is_held(run)
    with pytest.raises(RunError):
        RunLock(run, "mine", now=1.0, patience=0.0)
    end(process, signal.SIGKILL)
    assert not is_held(run)
    RunLock(run, "mine", now=1.0, patience=0.0).release()


def test_the_life_of_a_run(run: RunDir) -> None:
    assert liveness(run, 0.0) is Liveness.FRESH
    lock = RunLock(run, "a", now=100.0)
    assert liveness(run, 101.0) is Liveness.RUNNING
    write_session(run, "a", ended=False)
    snapshot.write(run, {"heartbeat": 150.0})
    assert liveness(run, 150.0 + STALE_AFTER) is Liveness.RUNNING
    assert liveness(run, 151.0 + STALE_AFTER) is Liveness.STALE
    lock.release()
    assert liveness(run, 151.0) is Liveness.DIED
    with RunLock(run, "b", now=300.0):
        # The heartbeat of the session before says nothing about this one.
        assert heartbeat_age(run, 310.0) == 10.0
        assert liveness(run, 310.0) is Liveness.RUNNING
        write_session(run, "b", ended=True)
    assert liveness(run, 400.0) is Liveness.ENDED
    assert {life for life in Liveness if life.is_alive} == {Liveness.RUNNING, Liveness.STALE}


def test_a_session_that_died_before_its_first_word_is_dead(run: RunDir) -> None:
    with RunLock(run, "a", now=1.0):
        write_session(run, "a", ended=True)
    RunLock(run, "b", now=2.0).release()
    assert liveness(run, 3.0) is Liveness.DIED


def test_a_first_session_that_died_before_its_first_word_is_dead(run: RunDir) -> None:
    RunLock(run, "a", now=2.0).release()
    assert liveness(run, 3.0) is Liveness.DIED


def test_a_straggling_line_does_not_undo_a_goodbye(run: RunDir) -> None:
    with RunLock(run, "a", now=1.0):
        journal = Journal(run, "a", lambda: 5.0)
        journal.append("session_ended", reason="finished", code=0, step=9)
        journal.append("gpu", gpus=[])
        journal.close()
    assert liveness(run, 3.0) is Liveness.ENDED


@pytest.mark.parametrize(
    ("exit_code", "log", "expected"),
    [
        (137, "", "ran out of memory (exit code 137)"),
        (-9, "", "ran out of memory (exit code 137)"),
        (-11, "", "SIGSEGV"),
        (143, "", "SIGTERM"),
        (-120, "", "signal 120"),
        (None, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "ran out of memory"),
        (None, "MemoryError", "main memory"),
        (None, "Fatal Python error: Segmentation fault", "native library"),
        (1, "boom", "exit code 1"),
        (None, "", "vanished"),
    ],
)
def test_the_cause_of_death_is_one_sentence(run: RunDir, exit_code: int | None, log: str, expected: str) -> None:
    run.log.write_text(log)
    death = explain_death(run, exit_code)
    assert expected in death.cause
    assert death.cause.endswith(".") and death.hint.endswith(".")


def test_a_full_disk_is_named_when_nothing_else_is_known(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal filled the disk: neither the goodbye nor the log could be written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=0))
    assert "full" in explain_death(run, 1).cause
    assert "full" in explain_death(run).cause
    assert "killed" in explain_death(run, -signal.SIGKILL).cause


def test_a_restart_of_the_machine_is_recognised(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    RunLock(run, "a", now=1.0).release()
    monkeypatch.setattr("sidestep_tui.protocol.liveness.boot_id", lambda: "another boot")
    assert "restarted" in explain_death(run).cause


def test_a_death_offers_the_newest_checkpoint(run: RunDir) -> None:
    assert explain_death(run).resume_step is None
    (run.checkpoints / "step_000500").mkdir()
    death = explain_death(run)
    assert death.resume_step == 500 and "step 500" in death.hint


def test_the_last_lines_of_the_log_skip_progress_bars_and_bad_bytes(run: RunDir) -> None:
    run.log.write_bytes(b"first\n" * 50_000 + b"\n 0%\r 50%\r100%\n\xff\xfe broken\n\n")
    assert tail_of_log(run, 3) == ("first", "100%", "\ufffd\ufffd broken")
    assert explain_death(run).log_tail[-1] == "\ufffd\ufffd broken"


def test_a_missing_log_has_no_lines(tmp_path: Path) -> None:
    assert tail_of_log(RunDir(tmp_path)) == ()


def test_a_holder_on_another_machine_is_not_judged_by_its_process_id() -> None:
    here = Holder.of_this_process("a", 1.0)
    assert here.is_alive_here()
    assert not Holder(here.pid, "elsewhere", here.boot_id, "a", 1.0).is_alive_here()
    assert not Holder(here.pid, here.host, "earlier boot", "a", 1.0).is_alive_here()
