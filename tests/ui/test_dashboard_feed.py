"""The feed reads on a thread, hands over in batches, and never runs ahead of the screen."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from sidestep_tui.engine.fake_history import history, write_run
from sidestep_tui.protocol import bulk, snapshot
from sidestep_tui.protocol.events import Event, encode
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.ui import feed as feed_module
from sidestep_tui.ui.feed import Feed, RunAdvanced
from tests.ui.watching import app_on, settled

NOW = 1_790_000_000.0


class Bell:
    """Counts notifications."""

    def __init__(self) -> None:
        self.rings = 0

    def __call__(self) -> None:
        self.rings += 1


def feed_on(path: Path, bell: Bell | None = None) -> Feed:
    return Feed(path, bell or Bell(), lambda: NOW)


def read_to_end(feed: Feed) -> None:
    while feed.read_block():
        pass


def test_batches_are_small_complete_and_in_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=1000)
    bell = Bell()
    feed = feed_on(run.path, bell)
    read_to_end(feed)
    seqs: list[int] = []
    while batch := feed.drain(500).events:
        assert len(batch) <= 500
        seqs += [event["seq"] for event in batch]
    assert seqs == [event["seq"] for event in run.events]
    assert bell.rings > len(seqs) / 500


def test_caught_up_only_when_everything_was_taken(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=300)
    feed = feed_on(run.path)
    read_to_end(feed)
    assert not feed.drain(10).caught_up
    assert feed.drain(100_000).caught_up


def test_a_reader_that_runs_ahead_waits_for_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    line = encode({"v": 1, "seq": 0, "t": 0.0, "session": "s", "type": "log", "level": "info", "msg": "x"})
    (path / "events.jsonl").write_bytes(line * 60_000)
    feed = feed_on(path)
    read_to_end(feed)
    assert feed.read_block() == 0
    taken = len(feed.drain(1_000_000).events)
    assert 20_000 < taken < 30_000
    assert feed.read_block() > 0


def test_a_replaced_journal_is_told_apart_from_one_that_grew(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=300)
    feed = feed_on(run.path)
    read_to_end(feed)
    feed.drain(1_000_000)
    events = history(20, scenario="finished")
    run.run_dir.events.write_bytes(b"".join(encode(event) for event in events))
    read_to_end(feed)
    batch = feed.drain(1_000_000)
    assert batch.restarted
    assert len(batch.events) == len(events)
    assert not feed.drain().restarted


def test_an_empty_directory_is_a_run_that_has_not_begun(tmp_path: Path) -> None:
    feed = feed_on(tmp_path)
    stop = iter([False, True])
    feed.run(lambda: next(stop))
    batch = feed.drain()
    assert batch.events == []
    assert batch.liveness is Liveness.FRESH
    assert batch.caught_up


def test_the_thread_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=50)
    read, cancelled = threading.Event(), threading.Event()
    feed = Feed(run.path, read.set, lambda: NOW)
    thread = threading.Thread(target=feed.run, args=(cancelled.is_set,))
    thread.start()
    assert read.wait(20)
    cancelled.set()
    thread.join(20)
    assert not thread.is_alive()


def test_a_dead_engine_comes_with_its_explanation(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "crashed", now=NOW, steps=400)
    run.run_dir.log.write_text("Segmentation fault\n")
    feed = feed_on(run.path)
    feed.run(lambda: True)
    batch = feed.drain()
    assert batch.liveness is Liveness.DIED
    assert batch.death is not None
    assert batch.death.log_tail == ("Segmentation fault",)
    assert batch.death.resume_step == 200


@pytest.mark.parametrize(
    "damage", [b"", b"[1]", b'{"step": "many", "phase": {}}', b'{"phase": {"colour": 1}}', b'{"gpus": 3, "phase": {}}']
)
def test_a_damaged_summary_is_left_out(tmp_path: Path, damage: bytes) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=50)
    run.run_dir.state.write_bytes(damage)
    feed = feed_on(run.path)
    feed.run(lambda: True)
    assert feed.drain().picture is None


def test_the_summary_is_handed_over_once(tmp_path: Path) -> None:
    with write_run(tmp_path / "run", "live", now=NOW, steps=50) as run:
        feed = feed_on(run.path)
        feed.run(lambda: True)
        batch = feed.drain()
        assert batch.picture is not None
        assert batch.picture.step == 31
        assert batch.heartbeat == snapshot.heartbeat(snapshot.read(RunDir(run.path)))
        assert feed.drain().picture is None


def test_newer_messages_replace_older_ones() -> None:
    assert RunAdvanced().can_replace(RunAdvanced())


def test_the_first_picture_needs_the_summary_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the journal is: not a byte of it is read before there is something to paint."""
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=2000)
    read: list[int] = []
    pread = os.pread

    def counting(fd: int, count: int, offset: int) -> bytes:
        data = pread(fd, count, offset)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counting)
    pictures: list[tuple[int, int | None]] = []

    def look() -> None:
        picture = feed.drain().picture
        pictures.append((sum(read), picture.step if picture else None))

    feed = Feed(run.path, look, lambda: NOW)
    feed.run(lambda: feed._tail.at_end)
    assert pictures[0] == (0, 2000)
    assert sum(read) >= run.run_dir.events.stat().st_size
    assert max(read) <= feed_module._BLOCK_BYTES


def test_a_long_history_comes_as_columns_and_counts_as_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_BLOCK_BYTES", 64 * 1024)
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=3000)
    feed = feed_on(run.path)
    lines = 0
    while block := feed.read_block():
        lines += block
    gauges = sum(event["type"] == "gpu" for event in run.events)
    assert len(run.events) - gauges < lines <= len(run.events)
    state, batches = RunState(), 0
    while events := feed.drain(500).events:
        batches += 1
        assert sum(map(bulk.weight, events[:-1])) <= 500
        assert all(bulk.weight(event) <= 400 for event in events)
        state.apply_all(events)
    assert batches >= 6
    assert len(state.series["loss"]) == 3000


async def test_the_journal_is_read_off_the_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", "finished", now=NOW, steps=400)
    readers: set[int] = set()
    read = Tail.read

    def noting(self: Tail, limit_bytes: int) -> list[Event]:
        readers.add(threading.get_ident())
        return read(self, limit_bytes)

    monkeypatch.setattr(Tail, "read", noting)
    async with app_on(run.path).run_test(size=(120, 40)) as pilot:
        screen = await settled(pilot)
        assert len(screen.state.series["loss"]) == 400
    assert readers and threading.get_ident() not in readers
