from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.protocol.events import decode, encode
from sidestep_tui.protocol.journal import Journal, last_event, last_events
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

Clock = Callable[[], float]


def read(run: RunDir) -> list[dict[str, object]]:
    return [decode(line) for line in run.events.read_bytes().splitlines()]


def test_events_are_numbered_and_stamped(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "aaaa", clock)
    returned = [journal.append("log", level="info", msg="one"), journal.append("step", loss=float("nan"))]
    journal.close()
    assert [(event["seq"], event["t"], event["session"], event["type"]) for event in read(run)] == [
        (0, 1000.0, "aaaa", "log"),
        (1, 1001.0, "aaaa", "step"),
    ]
    assert returned[0] == read(run)[0]


def test_numbers_continue_over_sessions(run: RunDir, clock: Clock) -> None:
    for session in ("aaaa", "bbbb", "cccc"):
        journal = Journal(run, session, clock)
        journal.append("log", msg="x" * 70_000)  # longer than the block that is searched backwards
        journal.append("log", msg="y")
        journal.close()
    assert [event["seq"] for event in read(run)] == list(range(6))


def test_the_offset_is_the_size_of_the_file(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "aaaa", clock)
    journal.append("log", msg="ü")
    assert journal.offset == run.events.stat().st_size


def test_one_event_is_one_write(run: RunDir, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(bytes(data)) or real(fd, data))
    journal = Journal(run, "aaaa", clock)
    journal.append("log", msg="a" * 100_000)
    assert [len(data) for data in writes] == [run.events.stat().st_size]


def test_threads_never_mix_their_lines(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "aaaa", clock)
    start = threading.Barrier(4)

    def write(name: str) -> None:
        start.wait()
        for number in range(200):
            journal.append("log", msg=f"{name}{number}", filler="." * 500)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    events = read(run)
    assert [event["seq"] for event in events] == list(range(800))
    assert len({event["msg"] for event in events}) == 800


def test_a_torn_line_is_repaired_at_every_byte(tmp_path: Path, clock: Clock) -> None:
    whole = [encode({"v": 1, "seq": n, "t": 1.0, "session": "a", "type": "log", "msg": f"no. {n} ü"}) for n in range(3)]
    data = b"".join(whole)
    for cut in range(len(data) + 1):
        run = RunDir.create(tmp_path, "torn")
        run.events.write_bytes(data[:cut])
        journal = Journal(run, "b", clock)
        journal.append("log", msg="after")
        journal.close()
        # A complete event is kept even if only its newline is missing.
        kept = sum(1 for n in range(3) if cut >= len(b"".join(whole[: n + 1])) - 1)
        events = read(run)
        assert [event["seq"] for event in events] == list(range(kept + 1)), cut
        assert events[-1]["msg"] == "after"
        assert run.events.read_bytes().startswith(b"".join(whole[:kept]))
        lost = cut - len(b"".join(whole[:kept]))
        assert journal.repaired_bytes == max(0, lost)


def test_a_tail_of_zeros_after_a_power_cut_is_cut_off(run: RunDir, clock: Clock) -> None:
    run.events.write_bytes(encode({"seq": 4, "type": "log"}) + b"\0" * 200_000)
    journal = Journal(run, "b", clock)
    assert journal.append("log", msg="x")["seq"] == 5
    assert [event["seq"] for event in read(run)] == [4, 5]


def test_numbers_continue_past_lines_that_are_no_events(run: RunDir, clock: Clock) -> None:
    run.events.write_bytes(encode({"seq": 7, "type": "log"}) + b"garbage\n" * 20_000)
    assert Journal(run, "b", clock).append("log")["seq"] == 8


def test_a_viewer_holding_a_torn_line_sees_the_repair(run: RunDir, clock: Clock) -> None:
    run.events.write_bytes(encode({"seq": 0, "type": "log"}) + b'{"seq":1,"ty')
    tail = Tail(run.events)
    assert [event["seq"] for event in tail.read()] == [0]
    journal = Journal(run, "b", clock)
    assert tail.read() == []
    journal.append("log", msg="x")
    assert [event["seq"] for event in tail.read()] == [1]
    assert (tail.skipped, tail.restarts) == (0, 0)


def test_a_full_disk_leaves_the_journal_intact(run: RunDir, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(run, "a", clock)
    journal.append("log", msg="before")
    real = os.write

    def half(fd: int, data: bytes) -> int:
        return real(fd, data[: len(data) // 2])

    def none(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for failing in (half, none):
        monkeypatch.setattr(os, "write", failing)
        with pytest.raises(DiskFullError) as caught:
            journal.append("log", msg="too much")
        assert "events.jsonl" in caught.value.message and caught.value.hint
    monkeypatch.setattr(os, "write", real)
    journal.append("log", msg="after")
    assert [(event["seq"], event["msg"]) for event in read(run)] == [(0, "before"), (1, "after")]


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a Unix matter")
def test_a_real_size_limit_is_reported_as_a_full_disk(run: RunDir) -> None:
    script = """
import resource, sys, time
from sidestep_tui.core.errors import DiskFullError
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.rundir import RunDir
journal = Journal(RunDir.open(sys.argv[1]), "a", time.time)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    while True:
        journal.append("log", msg="m" * 100)
except DiskFullError:
    print(journal.seq)
"""
    run.run_toml.write_text("")
    result = subprocess.run([sys.executable, "-c", script, str(run.path)], capture_output=True, text=True, check=True)
    assert [event["seq"] for event in read(run)] == list(range(int(result.stdout) + 1))


def test_a_closed_journal_takes_nothing(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "a", clock)
    journal.close()
    journal.close()
    with pytest.raises(RuntimeError, match="closed"):
        journal.append("log")


def test_last_events_starts_at_a_whole_line(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "a", clock)
    for number in range(100):
        journal.append("log", msg=str(number))
    some = last_events(run.events, limit_bytes=1_000)
    assert 0 < len(some) < 100
    assert [event["seq"] for event in some] == list(range(100 - len(some), 100))
    assert last_event(run.events) == some[-1]


def test_a_missing_journal_has_no_last_event(tmp_path: Path) -> None:
    assert last_event(tmp_path / "none") is None
    assert last_events(tmp_path / "none") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(data=st.data())
def test_a_tail_reads_every_event_once_however_the_bytes_arrive(data: st.DataObject, tmp_path: Path) -> None:
    count = data.draw(st.integers(1, 30))
    lines = [encode({"seq": n, "type": "log", "msg": "m" * data.draw(st.integers(0, 60))}) for n in range(count)]
    whole = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    path = tmp_path / "journal"
    path.write_bytes(b"")
    tail = Tail(path)
    seen = []
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        with path.open("ab") as handle:
            handle.write(whole[start:stop])
        limit = data.draw(st.integers(1, 200))
        seen += tail.read(limit)
        while not tail.at_end:
            seen += tail.read(limit)
    assert [event["seq"] for event in seen] == list(range(count))
    assert tail.offset == len(whole)


def test_a_tail_waits_for_a_file_that_does_not_exist_yet(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "later")
    assert tail.read() == [] and tail.at_end
    (tmp_path / "later").write_bytes(b'{"seq":0}\n')
    assert tail.read() == [{"seq": 0}]


def test_a_tail_starts_over_when_the_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"seq":0}\n{"seq":1}\n')
    tail = Tail(path)
    tail.read()
    path.write_bytes(b'{"seq":9}\n')
    assert tail.read() == [{"seq": 9}]
    assert tail.restarts == 1


def test_a_tail_can_begin_where_another_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"seq":0}\n{"seq":1}\n')
    first = Tail(path)
    first.read(limit_bytes=1)
    assert Tail(path, first.offset).read() == [{"seq": 1}]


def test_a_tail_reads_on_past_bad_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"seq":0}\nnonsense\n\n{"seq":1}\n')
    tail = Tail(path)
    assert tail.read_all() == [{"seq": 0}, {"seq": 1}]
    assert tail.skipped == 1


def test_the_journal_can_be_read_by_any_json_reader(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "a", clock)
    journal.append("step", loss=float("nan"), grad_norm=float("inf"))
    assert json.loads(run.events.read_text())["loss"] == "NaN"


def test_a_journal_knows_when_its_directory_is_no_longer_there(run: RunDir, clock: Clock) -> None:
    journal = Journal(run, "aaaa", clock)
    journal.append("log", level="info", msg="one")
    assert journal.is_in_place()
    moved = run.path.rename(run.path.with_name("moved"))
    assert not journal.is_in_place()
    run.path.mkdir()
    run.events.write_bytes((moved / "events.jsonl").read_bytes())
    # Another file that holds the same: so look files on mounts without lasting numbers, until the journal grows.
    assert journal.is_in_place()
    journal.append("log", level="info", msg="two")
    assert not journal.is_in_place()
    journal.close()
    assert journal.is_in_place()
