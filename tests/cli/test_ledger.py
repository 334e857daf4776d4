"""The ledger: what it reads, how seldom, and what becomes of runs whose disk is away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sidestep_tui.core import paths
from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.launch.ledger import Ledger, read_facts, seconds_of, size_of
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.events import decode, encode
from sidestep_tui.protocol.rundir import RunDir

NOW = 1_790_000_000.0


def make(folder: Path, name: str, scenario: str = "finished", *, age: float = 0.0, steps: int = 6) -> RunDir:
    run = write_run(folder / name, scenario, now=NOW - age, steps=steps)
    run.release()
    return run.run_dir


def unplug(disk: Path) -> None:
    """Take a disk away: its files are gone, and what is left of its folders lies on another device."""
    shutil.move(disk, disk.with_name("unplugged"))
    for name in ("runs.json", "ledger.json"):
        store = paths.state_dir() / name
        device = str(disk.parent.stat().st_dev)
        store.write_text(store.read_text().replace(device, str(int(device) + 1)))


def test_runs_are_read_once_and_again_only_when_they_changed(home: Path) -> None:
    runs = [make(home / "runs", f"run_{number}", age=number * 100.0) for number in range(5)]
    ledger = Ledger()
    assert [row.name for row in ledger.look([home / "runs"], now=NOW)] == [f"run_{number}" for number in range(5)]
    assert ledger.reads == 5
    ledger.look([home / "runs"], now=NOW)
    assert ledger.reads == 5
    with runs[3].events.open("ab") as journal:
        journal.write(b'{"v":1}\n')
    ledger.look([home / "runs"], now=NOW)
    assert ledger.reads == 6
    another_session = Ledger()
    assert len(another_session.look([home / "runs"], now=NOW)) == 5
    assert another_session.reads == 0


def test_a_living_run_is_read_every_time(home: Path) -> None:
    with write_run(home / "runs" / "live", "live", now=NOW, steps=6):
        ledger = Ledger()
        for looks in (1, 2):
            (row,) = ledger.look([home / "runs"], now=NOW)
            assert row.is_alive
            assert ledger.reads == looks
    (row,) = ledger.look([home / "runs"], now=NOW)
    assert not row.is_alive


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 2, "runs": [{}], "sizes": {}}'])
def test_a_damaged_memory_is_an_empty_one(home: Path, content: str) -> None:
    make(home / "runs", "one")
    (paths.state_dir() / "ledger.json").write_text(content)
    ledger = Ledger()
    assert len(ledger.look([home / "runs"], now=NOW)) == 1
    assert ledger.reads == 1


def test_sizes_are_measured_apart_and_remembered(home: Path) -> None:
    run = make(home / "runs", "one")
    ledger = Ledger()
    rows = ledger.look([home / "runs"], now=NOW)
    assert rows[0].size is None
    assert list(ledger.measure(rows)) == [(run.path, size_of(run.path))]
    rows = ledger.look([home / "runs"], now=NOW)
    assert rows[0].size == size_of(run.path)
    assert list(ledger.measure(rows)) == []
    (run.checkpoints / "step_000099").mkdir()
    assert len(list(ledger.measure(rows))) == 1
    assert list(ledger.measure(rows, is_cancelled=lambda: True)) == []


def test_a_run_whose_disk_is_away_stays_listed_as_it_was(home: Path) -> None:
    disk = home / "disk"
    run = make(disk / "runs", "far")
    make(home / "runs", "near")
    registry.register(run)
    Ledger().look([home / "runs"], now=NOW)
    unplug(disk)
    rows = Ledger().look([home / "runs"], now=NOW)
    assert [(row.name, row.reachable) for row in rows] == [("near", True), ("far", False)]
    assert rows[1].summary is not None
    assert rows[1].summary.total_steps == 6
    registry.register(RunDir(home / "runs" / "near"))
    assert run.path in registry.known().runs
    shutil.move(home / "unplugged", disk)
    assert all(row.reachable for row in Ledger().look([home / "runs"], now=NOW))


def test_a_run_that_was_deleted_is_not_away(home: Path) -> None:
    run = make(home / "runs", "gone")
    make(home / "runs", "stays")
    registry.register(run)
    Ledger().look(now=NOW)
    shutil.rmtree(run.path)
    assert [row.name for row in Ledger().look(now=NOW)] == []
    make(home / "runs", "third")
    assert [row.name for row in Ledger().look([home / "runs"], now=NOW)] == ["stays", "third"]
    assert "gone" not in (paths.state_dir() / "ledger.json").read_text()


def test_a_folder_is_remembered_with_the_runs_it_receives_later(home: Path) -> None:
    make(home / "elsewhere", "one")
    registry.remember_folder(home / "elsewhere")
    make(home / "elsewhere", "two")
    assert {row.name for row in Ledger().look(now=NOW)} == {"one", "two"}
    unplug(home / "elsewhere")
    assert {(row.name, row.reachable) for row in Ledger().look(now=NOW)} == {("one", False), ("two", False)}
    registry.forget_folder(home / "elsewhere")
    assert Ledger().look(now=NOW) == []


def test_living_runs_are_found_by_their_locks(home: Path) -> None:
    registry.register(make(home / "runs", "over"))
    with write_run(home / "runs" / "live", "live", now=NOW, steps=6) as live:
        assert registry.living() == []
        registry.register(live.run_dir)
        assert registry.living() == [live.path]
    assert registry.living() == []


def test_breaks_between_sessions_are_no_work(home: Path) -> None:
    with write_run(home / "runs" / "twice", "resumed", now=NOW, steps=400) as run:
        summary = registry.summarise(run.run_dir, now=NOW)
        assert summary.sessions == 2
        worked = seconds_of(run.run_dir, summary, NOW)
        assert worked is not None and summary.started is not None
        events = [decode(line) for line in run.run_dir.events.read_bytes().splitlines()]
        first = [event["t"] for event in events if event["session"] == events[0]["session"]]
        second = [event["t"] for event in events if event["session"] != events[0]["session"]]
        assert worked == pytest.approx(first[-1] - first[0] + NOW - second[0], abs=0.01)
        assert worked < NOW - summary.started - 500
        # What the second session says before it has started is its own.
        early = {**events[len(first)], "type": "phase", "name": "loading", "t": second[0] - 60.0, "seq": 10**6}
        lines = [encode(event) for event in (*events[: len(first)], early, *events[len(first) :])]
        run.run_dir.events.write_bytes(b"".join(lines))
        assert seconds_of(run.run_dir, summary, NOW) == pytest.approx(worked + 60.0, abs=0.01)


def test_facts_come_from_run_toml_and_a_damaged_one_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for damage in (None, "", "x = [", '[adapter]\nkind = 3\nrank = "x"\n[run]\n'):
        if damage is not None:
            path.write_text(damage)
        assert read_facts(path).kind == ""
    path.write_text('[adapter]\nkind = "lokr"\nrank = 8\nlokr_full_matrix = true\n[data]\npath = "/songs/drums"\n')
    facts = read_facts(path)
    assert (facts.kind, facts.rank, facts.dataset) == ("lokr", None, "drums")


def test_the_memory_holds_numbers_that_are_none(home: Path) -> None:
    make(home / "runs", "nan", "diverged", steps=40)
    first = Ledger().look([home / "runs"], now=NOW)
    again = Ledger()
    (row,) = again.look([home / "runs"], now=NOW)
    assert again.reads == 0
    assert row.summary is not None and row.summary.status == "diverged"
    assert str(row.summary.loss) == str(first[0].summary and first[0].summary.loss) == "nan"
    assert json.loads((paths.state_dir() / "ledger.json").read_text())["format"] == 2
