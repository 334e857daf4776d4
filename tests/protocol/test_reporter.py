from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidestep_tui.core.errors import DiskFullError, RunError
from sidestep_tui.core.nvml import Gpu, HostStats
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.strict import check_journal
from sidestep_tui.protocol.tail import Tail

GPU = Gpu(0, "GPU-1", "Card", 100, 40, 60, None, 50, 33.5, 300.0)
HOST = HostStats(12.5, 3, 8, 1)
NEVER = 3600.0


def open_reporter(run: RunDir, session: str = "a", **options: object) -> Reporter:
    defaults: dict[str, object] = {
        "heartbeat_seconds": NEVER,
        "sample_seconds": 0.0,
        "gpus": lambda: [GPU],
        "host": lambda: HOST,
    }
    return Reporter(run, session, **(defaults | options))  # type: ignore[arg-type]


@pytest.fixture
def reporter(run: RunDir) -> Iterator[Reporter]:
    with open_reporter(run) as opened:
        yield opened


def events(run: RunDir) -> list[Event]:
    return Tail(run.events).read_all()


def begin(reporter: Reporter, resumed_from: int | None = None) -> None:
    reporter.started(total_steps=20, epochs=2, steps_per_epoch=10, device="cpu", resumed_from=resumed_from)


def take_step(reporter: Reporter, step: int) -> None:
    reporter.step(step=step, epoch=1, loss=0.5, lr=1e-4, grad_norm=0.1, samples_per_s=2.0, seconds=0.5)


def test_everything_it_says_has_the_exact_shape(run: RunDir, reporter: Reporter) -> None:
    begin(reporter)
    reporter.phase("loading", 0, 1, "decoder")
    take_step(reporter, 1)
    reporter.step(
        step=2, epoch=1, loss=float("nan"), lr=0, grad_norm=float("inf"), samples_per_s=1, seconds=1, data_seconds=0.1
    )
    reporter.epoch(epoch=1, step=2, loss=0.5, smoothed_loss=None, seconds=1.0)
    reporter.eval(step=2, probe_loss=0.4)
    reporter.checkpoint(path=run.checkpoint_path(2), step=2, epoch=1, reason="schedule", seconds=0.1, bytes=9)
    reporter.best(step=2, epoch=1, loss=0.5)
    reporter.sample(path=run.samples / "a.wav", prompt="a waltz")
    reporter.log("hello")
    reporter.warning("odd", "Odd.", "Look.")
    reporter.command("1", "pause", "received", "tui")
    reporter.command("1", "pause", "done", "tui", "at once")
    reporter.paused(2)
    reporter.resumed(2)
    reporter.adapter(path=run.adapter / "final", kind="final", tensors=384)
    reporter.error(RunError("No.", "Because.", "Do."), run.path / "traceback.txt")
    reporter.ended("failed", 70, 2)
    written = events(run)
    check_journal(written)
    assert len(written) == 18
    by_type = {event["type"]: event for event in written}
    assert by_type["checkpoint"]["path"] == "checkpoints/step_000002"
    assert by_type["adapter"]["path"] == "adapter/final"
    assert by_type["error"]["traceback_path"] == "traceback.txt"
    assert by_type["session_started"]["pid"] == os.getpid()


def test_a_path_outside_the_run_stays_as_it_is(run: RunDir, reporter: Reporter, tmp_path: Path) -> None:
    reporter.sample(path=tmp_path / "elsewhere.wav", prompt="")
    assert events(run)[0]["path"] == str(tmp_path / "elsewhere.wav")


def test_phases_in_quick_succession_are_thinned_but_never_the_last(run: RunDir, reporter: Reporter) -> None:
    for done in range(1001):
        reporter.phase("encoding_audio", done, 1000)
    reporter.phase("encoding_text", 0, 1000)
    written = [(event["name"], event["done"]) for event in events(run)]
    assert written[0] == ("encoding_audio", 0)
    assert written[-2:] == [("encoding_audio", 1000), ("encoding_text", 0)]
    assert len(written) < 1000


def test_the_snapshot_follows_the_run(run: RunDir, reporter: Reporter) -> None:
    begin(reporter)
    reporter.phase("training", 0, 20)
    take_step(reporter, 7)
    reporter.write_snapshot()
    picture = snapshot.read(run)
    assert picture is not None
    assert (picture["status"], picture["step"], picture["metrics"]["loss"]) == ("running", 7, 0.5)
    assert picture["journal_offset"] == run.events.stat().st_size


def test_the_heartbeat_beats_while_the_engine_is_busy(run: RunDir) -> None:
    seen = threading.Event()
    beats = iter(range(1, 1_000_000))

    def clock() -> float:
        beat = float(next(beats))
        if beat > 5:
            seen.set()
        return beat

    with open_reporter(run, clock=clock, heartbeat_seconds=0.001) as reporter:
        assert seen.wait(30)
        reporter.write_snapshot()
        beat = snapshot.heartbeat(snapshot.read(run))
    assert beat is not None and beat > 5


def test_the_machine_is_sampled_from_the_start_to_the_goodbye(run: RunDir) -> None:
    sampled = threading.Semaphore(0)

    def gpus() -> list[Gpu]:
        sampled.release()
        return [GPU]

    with open_reporter(run, gpus=gpus, sample_seconds=0.001) as reporter:
        assert not sampled.acquire(timeout=0.05)
        begin(reporter)
        for _ in range(3):
            assert sampled.acquire(timeout=30)
        reporter.ended("finished", 0, 0)
    written = events(run)
    check_journal(written)
    assert written[-1]["type"] == "session_ended"
    gauges = [event for event in written if event["type"] == "gpu"]
    assert len(gauges) >= 2
    assert gauges[0]["gpus"] == [
        {
            "index": 0,
            "name": "Card",
            "util": None,
            "mem_used": 40,
            "mem_total": 100,
            "temp": 50,
            "power": 33.5,
            "power_limit": 300.0,
        }
    ]
    assert gauges[0]["cpu"] == 12.5
    assert 0 < gauges[0]["disk_free"] <= gauges[0]["disk_total"]


def test_the_parts_of_a_step_are_passed_on(run: RunDir, reporter: Reporter) -> None:
    begin(reporter)
    reporter.step(
        step=1, epoch=1, loss=0.5, lr=1e-4, grad_norm=0.1, samples_per_s=2.0, seconds=0.5, data_s=0.1, forward_s=1 / 3
    )
    take_step(reporter, 2)
    first, second = events(run)[-2:]
    assert (first["data_s"], first["forward_s"]) == (0.1, 0.333333)
    assert "backward_s" not in first
    assert "data_s" not in second
    check_journal(events(run))


def test_threads_end_with_the_reporter(run: RunDir) -> None:
    with open_reporter(run, sample_seconds=0.001, heartbeat_seconds=0.001) as reporter:
        begin(reporter)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("reporter")]


def test_a_new_session_says_what_it_repaired(run: RunDir) -> None:
    with open_reporter(run, "a") as reporter:
        begin(reporter)
    with run.events.open("ab") as handle:
        handle.write(b'{"torn')
    with open_reporter(run, "b") as reporter:
        begin(reporter, resumed_from=None)
    written = events(run)
    check_journal(written)
    assert written[-1]["code"] == "journal_repaired" and "6 bytes" in written[-1]["msg"]


def test_the_snapshot_of_a_resumed_run_is_never_blank(run: RunDir) -> None:
    with open_reporter(run, "a") as reporter:
        begin(reporter)
        take_step(reporter, 12)
    with open_reporter(run, "b") as reporter:
        reporter.write_snapshot()
        picture = snapshot.read(run)
        assert picture is not None and (picture["step"], picture["total_steps"]) == (12, 20)
        begin(reporter, resumed_from=10)
        reporter.write_snapshot()
        picture = snapshot.read(run)
        assert picture is not None and (picture["step"], picture["status"]) == (10, "starting")


def full_disk(monkeypatch: pytest.MonkeyPatch, while_: Callable[[], bool]) -> None:
    real = os.write

    def write(fd: int, data: bytes) -> int:
        if while_():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)


def test_a_full_disk_is_raised_to_the_engine_and_the_reserve_tells_the_tale(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_reporter(run) as reporter:
        begin(reporter)
        reserve = run.path / ".reserve"
        assert reserve.stat().st_size == 64 * 1024
        full_disk(monkeypatch, while_=reserve.exists)
        with pytest.raises(DiskFullError) as caught:
            take_step(reporter, 1)
        reporter.error(caught.value)
        reporter.ended("refused", 4, 0)
    written = events(run)
    check_journal(written)
    assert [event["type"] for event in written] == ["session_started", "error", "session_ended"]
    assert written[1]["kind"] == "disk_full" and written[1]["hint"]


def test_a_disk_that_stays_full_still_lets_the_engine_leave(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_reporter(run) as reporter:
        begin(reporter)
        before = events(run)
        full_disk(monkeypatch, while_=lambda: True)
        reporter.error(DiskFullError("The disk is full."))
        reporter.ended("refused", 4, 0)
        monkeypatch.undo()
    assert events(run) == before
    assert "session_ended could not be written" in capfd.readouterr().err


def test_the_reserve_goes_with_the_reporter(run: RunDir) -> None:
    with open_reporter(run):
        assert (run.path / ".reserve").exists()
    assert not (run.path / ".reserve").exists()


def test_a_step_is_not_synced_but_a_checkpoint_and_the_end_are(
    run: RunDir, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(Journal, "sync", lambda self: synced.append(self.seq))
    begin(reporter)
    take_step(reporter, 1)
    assert synced == []
    reporter.checkpoint(path="x", step=1, epoch=1, reason="schedule", seconds=0.1, bytes=9)
    reporter.ended("finished", 0, 1)
    assert synced == [2, 3]
