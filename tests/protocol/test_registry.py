from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidestep_tui.core.errors import RunError
from sidestep_tui.engine import fake
from sidestep_tui.engine.fake_history import SCENARIOS
from sidestep_tui.protocol.liveness import STALE_AFTER, Liveness
from sidestep_tui.protocol.registry import find_run, forget, known_runs, register, run_paths, summarise
from sidestep_tui.protocol.rundir import RunDir

NOW = 1_800_000_000.0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_summary_of_every_kind_of_run(scenario: str, tmp_path: Path) -> None:
    with fake.write_run(tmp_path / "drums", scenario, now=NOW) as made:
        summary = summarise(made.run_dir, now=NOW)
    state = fake.history(scenario=scenario)
    expected = {"live": "running", "resumed": "running", "crashed": "died"}.get(scenario, scenario)
    assert (summary.status, summary.name, summary.total_steps) == (expected, "drums", 400)
    assert summary.is_alive == (scenario in fake.ALIVE)
    assert summary.step == max((event.get("step", 0) for event in state), default=0)
    assert summary.ended == (None if summary.is_alive else NOW)
    assert summary.reason == ("" if summary.is_alive or scenario == "crashed" else scenario)


def test_a_summary_agrees_with_and_without_the_snapshot(tmp_path: Path) -> None:
    made = fake.write_run(tmp_path / "drums", "finished", now=NOW)
    with_snapshot = summarise(made.run_dir, now=NOW)
    made.run_dir.state.unlink()
    assert summarise(made.run_dir, now=NOW) == with_snapshot
    made.run_dir.state.write_text('{"v":1,"best":{"x":3}}')
    assert summarise(made.run_dir, now=NOW) == with_snapshot


def test_a_summary_is_newer_than_the_snapshot(tmp_path: Path) -> None:
    """The engine died after its last snapshot: the end of the journal counts."""
    made = fake.write_run(tmp_path / "drums", "live", at=100, now=NOW)
    made.release()
    longer = fake.history(scenario="live", at=105)
    from sidestep_tui.protocol.events import encode

    made.run_dir.events.write_bytes(b"".join(map(encode, longer)))
    assert summarise(made.run_dir, now=NOW).step == 105


def test_a_snapshot_that_outlived_the_end_of_the_journal_hides_nothing(tmp_path: Path) -> None:
    """After a power cut the snapshot may be there and the journal's newest pages not."""
    made = fake.write_run(tmp_path / "drums", "finished", now=NOW)
    lines = made.run_dir.events.read_bytes().splitlines(keepends=True)
    made.run_dir.events.write_bytes(b"".join(lines[: len(lines) // 2]))
    summary = summarise(made.run_dir, now=NOW)
    assert summary.status == "died"
    assert 0 < summary.step < 400


@pytest.mark.parametrize("spoilt", ["seq", "metrics", "started", "step", "phase", "journal_offset", "status"])
def test_a_snapshot_with_other_types_is_left_alone(spoilt: str, tmp_path: Path) -> None:
    made = fake.write_run(tmp_path / "drums", "finished", now=NOW)
    expected = summarise(made.run_dir, now=NOW)
    picture = json.loads(made.run_dir.state.read_text())
    made.run_dir.state.write_text(json.dumps(picture | {spoilt: ["x"]}))
    assert summarise(made.run_dir, now=NOW) == expected


def test_a_diverged_run_shows_its_nan(tmp_path: Path) -> None:
    made = fake.write_run(tmp_path / "drums", "diverged", now=NOW)
    loss = summarise(made.run_dir, now=NOW).loss
    assert loss is not None and math.isnan(loss)


def test_a_hung_engine_is_alive_but_stale(tmp_path: Path) -> None:
    with fake.write_run(tmp_path / "drums", "live", now=NOW) as made:
        summary = summarise(made.run_dir, now=NOW + STALE_AFTER + 1)
    assert summary.liveness is Liveness.STALE and summary.is_alive


def test_a_run_that_was_never_started_is_fresh(run: RunDir) -> None:
    run.run_toml.write_text("[run]\n")
    summary = summarise(run, now=NOW)
    assert (summary.status, summary.step, summary.loss, summary.started, summary.ended) == (
        "fresh",
        0,
        None,
        None,
        None,
    )


def test_registered_runs_are_listed_until_they_are_gone(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    for age, name in enumerate(names):
        made = fake.write_run(tmp_path / "runs" / name, "finished", now=NOW - 10_000 * age)
        register(made.run_dir)
        register(made.run_dir)
    alive = fake.write_run(tmp_path / "runs" / "alive", "live", now=NOW - 90_000)
    register(alive.run_dir)
    assert [run.name for run in known_runs(now=NOW)] == ["alive", "one", "two", "three"]
    alive.release()
    shutil.rmtree(tmp_path / "runs" / "two")
    assert [run.name for run in known_runs(now=NOW)] == ["one", "three", "alive"]
    forget(RunDir(tmp_path / "runs" / "one"))
    assert [run.name for run in known_runs(now=NOW)] == ["three", "alive"]


def test_folders_are_searched_too_and_nothing_is_listed_twice(tmp_path: Path) -> None:
    made = fake.write_run(tmp_path / "runs" / "one", "finished", now=NOW)
    register(made.run_dir)
    fake.write_run(tmp_path / "runs" / "two", "finished", now=NOW)
    (tmp_path / "runs" / "no run").mkdir()
    (tmp_path / "runs" / "preset").mkdir()
    (tmp_path / "runs" / "preset" / "run.toml").write_text("")
    folders = [tmp_path / "runs", tmp_path / "missing", tmp_path / "runs" / "one"]
    assert sorted(path.name for path in run_paths(folders)) == ["one", "two"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"runs": 3}', '{"runs": [3, null]}'])
def test_a_damaged_list_is_an_empty_one(tmp_path: Path, content: str) -> None:
    (tmp_path / "runs.json").write_text(content)
    assert known_runs(now=NOW) == []
    made = fake.write_run(tmp_path / "runs" / "one", "finished", now=NOW)
    register(made.run_dir)
    assert len(known_runs(now=NOW)) == 1


def test_a_run_is_found_by_name_or_path(tmp_path: Path) -> None:
    made = fake.write_run(tmp_path / "a" / "drums", "finished", now=NOW)
    register(made.run_dir)
    assert find_run("drums").path == find_run(str(made.path)).path == made.path.resolve()
    with pytest.raises(RunError, match="no run named bass"):
        find_run("bass")
    other = fake.write_run(tmp_path / "b" / "drums", "finished", now=NOW)
    register(other.run_dir)
    with pytest.raises(RunError, match="Several runs"):
        find_run("drums")


REGISTER = """
import sys
from pathlib import Path
from sidestep_tui.core import paths
paths.state_dir = lambda: Path(sys.argv[1])
from sidestep_tui.protocol.registry import register
from sidestep_tui.protocol.rundir import RunDir
for path in sys.argv[2:]:
    register(RunDir(Path(path)))
"""


def test_processes_that_register_together_lose_nothing(tmp_path: Path) -> None:
    homes = [tmp_path / "runs" / str(number) for number in range(20)]
    for home in homes:
        home.mkdir(parents=True)
        (home / "events.jsonl").write_text("")
    processes = [
        subprocess.Popen([sys.executable, "-c", REGISTER, str(tmp_path), *map(str, homes[start::2])])
        for start in range(2)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    assert len(run_paths()) == 20
