"""Deleting runs and tidying them up: what goes, and everything that must not."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core import paths
from sidestep_tui.core.errors import RunError
from sidestep_tui.engine.fake_history import FakeRun, write_run
from sidestep_tui.launch import removal, tidy
from sidestep_tui.launch.ledger import Ledger, LedgerRow, RunFacts
from sidestep_tui.launch.tidy import References
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.rundir import RunDir

NOW = 1_790_000_000.0
NOTHING = References()


@pytest.fixture
def run(home: Path) -> FakeRun:
    """A finished run with four checkpoints as the engine writes them, known to the registry."""
    made = write_run(home / "runs" / "drums", "finished", now=NOW, steps=40, save_every=10)
    for folder in made.run_dir.published_checkpoints():
        fill(folder)
    registry.register(made.run_dir)
    return made


def fill(folder: Path, score: float = 1.0, **state: Any) -> Path:
    """The files of a checkpoint with next to nothing in them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    for name in ("adapter_model.safetensors", "optimizer_state.safetensors"):
        (folder / name).write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "training_state.json").write_text(json.dumps({"score": score, "skipped_in_a_row": 0, **state}))
    return folder


def names(run: FakeRun) -> list[str]:
    return [path.name for path in run.run_dir.published_checkpoints()]


# Deleting


def test_a_run_that_is_all_ours_goes_and_is_forgotten(run: FakeRun) -> None:
    plan = removal.plan(run.run_dir)
    assert plan.strangers == ()
    assert "the settings, the journal, 4 checkpoints" in plan.sentence.replace(" and ", ", ")
    assert plan.bytes == sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert removal.delete(plan) == ()
    assert not run.path.exists()
    assert registry.known().runs == ()


def test_files_of_others_stay_and_are_named(run: FakeRun) -> None:
    mine = {"notes.md", "checkpoints/step_000010/idea.txt", "adapter/final/mix.wav", "checkpoints/golden/adapter.bin"}
    for name in mine:
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).write_text("mine")
    plan = removal.plan(run.run_dir)
    assert set(plan.strangers) == mine
    assert "notes.md" in plan.sentence
    assert set(removal.delete(plan)) == mine
    assert {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()} == mine


def test_links_are_never_followed(run: FakeRun, tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside" / "step_000005")
    shutil.rmtree(run.run_dir.samples, ignore_errors=True)
    run.run_dir.samples.symlink_to(outside.parent)
    (run.run_dir.checkpoints / "step_000005").symlink_to(outside)
    (run.path / "engine.rank1.log").symlink_to(outside / "training_state.json")
    before = sorted(path.name for path in outside.rglob("*"))
    plan = removal.plan(run.run_dir)
    assert set(plan.strangers) == {"samples", "checkpoints/step_000005", "engine.rank1.log"}
    removal.delete(plan)
    assert sorted(path.name for path in outside.rglob("*")) == before
    assert run.run_dir.samples.is_symlink()


def test_a_run_reached_by_a_link_is_refused(run: FakeRun, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(run.path)
    with pytest.raises(RunError, match="is a link"):
        removal.plan(RunDir(link))
    assert run.run_dir.run_toml.is_file()


@pytest.mark.parametrize("content", [None, "", "[adapter]\nrank = 3\n", "not toml ["])
def test_a_folder_without_our_run_file_is_refused(home: Path, content: str | None) -> None:
    folder = home / "photos"
    (folder / "inbox").mkdir(parents=True)
    (folder / "events.jsonl").write_text("")
    if content is not None:
        (folder / "run.toml").write_text(content)
    with pytest.raises(RunError, match="cannot be told to be a run"):
        removal.plan(RunDir(folder))


def test_a_run_that_is_alive_is_refused_even_after_the_plan(home: Path) -> None:
    with write_run(home / "runs" / "live", "live", now=NOW, steps=40) as made:
        with pytest.raises(RunError, match="is alive"):
            removal.plan(made.run_dir)
        made.release()
        plan = removal.plan(made.run_dir)
    with write_run(home / "runs" / "live", "live", now=NOW, steps=40) as made:
        with pytest.raises(RunError, match="is alive"):
            removal.delete(plan)
        assert all(path.exists() for path in plan.files)


def test_what_came_after_the_plan_stays(run: FakeRun) -> None:
    plan = removal.plan(run.run_dir)
    late = fill(run.run_dir.checkpoint_path(50))
    left = removal.delete(plan)
    assert late.is_dir()
    assert any(name.startswith("checkpoints/step_000050/") for name in left)


# Tidying a run


def test_the_newest_and_the_best_checkpoints_stay(run: FakeRun) -> None:
    fill(run.run_dir.checkpoint_path(20), score=0.2)
    plan = tidy.of_run(run.run_dir, NOTHING)
    assert [item.path.name for item in plan.items] == ["step_000010", "step_000030"]
    assert {kept.path.name: kept.why for kept in plan.kept} == {
        "step_000020": "the best",
        "step_000040": "the newest, from which a resume goes on",
    }
    freed = tidy.carry_out(plan)
    assert freed == plan.bytes > 0
    assert names(run) == ["step_000020", "step_000040"]
    assert not list(run.run_dir.checkpoints.glob(".*"))


def test_the_newest_sound_checkpoint_stays_beside_a_damaged_newest(run: FakeRun) -> None:
    (run.run_dir.checkpoint_path(40) / "optimizer_state.safetensors").write_bytes(b"torn")
    fill(run.run_dir.checkpoint_path(30), skipped_in_a_row=2)
    fill(run.run_dir.checkpoint_path(10), score=0.1)
    kept = {item.path.name for item in tidy.of_run(run.run_dir, NOTHING).kept}
    assert kept == {"step_000010", "step_000020", "step_000040"}


def test_what_a_person_asked_for_or_touched_stays(run: FakeRun) -> None:
    (run.run_dir.checkpoint_path(10) / "KEEP.txt").write_text("asked for")
    (run.run_dir.checkpoint_path(20) / "remarks.txt").write_text("mine")
    run.run_dir.checkpoint_path(30).rename(run.run_dir.checkpoints / "golden")
    plan = tidy.of_run(run.run_dir, NOTHING)
    assert plan.items == ()
    assert (run.run_dir.checkpoints / "golden").is_dir()


@pytest.mark.parametrize("name", ["KEEP.txt", "remarks.txt"])
def test_the_last_door_looks_again_for_what_a_person_put_there(run: FakeRun, name: str) -> None:
    place = run.run_dir.checkpoint_path(20)
    (place / name).write_text("mine")
    with pytest.raises(RunError, match="stays"):
        removal.delete_checkpoint(place)
    assert (place / "training_state.json").is_file()


def test_a_checkpoint_that_another_run_begins_with_stays(run: FakeRun) -> None:
    start = run.run_dir.checkpoint_path(30)
    rows = [LedgerRow(run.path.parent / "other", facts=RunFacts(start_from=str(start)))]
    plan = tidy.of_run(run.run_dir, tidy.references(rows))
    assert [item.path.name for item in plan.items] == ["step_000020"]
    assert {kept.path.name: kept.why for kept in plan.kept}["step_000030"] == "another run begins with it"


def test_a_linked_checkpoint_is_left_alone(run: FakeRun, tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside")
    shutil.rmtree(run.run_dir.checkpoint_path(10))
    run.run_dir.checkpoint_path(10).symlink_to(outside)
    plan = tidy.of_run(run.run_dir, NOTHING)
    assert run.run_dir.checkpoint_path(10) not in [item.path for item in plan.items]
    tidy.carry_out(plan)
    assert (outside / "training_state.json").is_file()


def test_leftovers_of_killed_sessions_go_but_nothing_of_yours_in_them(run: FakeRun) -> None:
    half = fill(run.run_dir.checkpoints / ".step_000050.abc.tmp")
    deleted = fill(run.run_dir.checkpoints / ".step_000005.deleted")
    (deleted / "mine.txt").write_text("mine")
    (run.path / ".state.json.x1.tmp").write_text("{")
    (run.path / ".mine.tmp").write_text("mine")
    plan = tidy.of_run(run.run_dir, NOTHING)
    assert [item.path.name for item in plan.items if item.kind == "leftover"] == [
        ".state.json.x1.tmp",
        ".step_000005.deleted",
        ".step_000050.abc.tmp",
    ]
    tidy.carry_out(plan)
    assert not half.exists()
    assert [path.name for path in deleted.iterdir()] == ["mine.txt"]
    assert (run.path / ".mine.tmp").exists()


def test_a_run_that_came_to_life_after_the_plan_is_left_alone(run: FakeRun) -> None:
    plan = tidy.of_run(run.run_dir, NOTHING)
    before = names(run)
    from sidestep_tui.protocol.lock import RunLock

    with RunLock(run.run_dir, "session", now=NOW), pytest.raises(RunError, match="is alive"):
        tidy.carry_out(plan)
    assert names(run) == before


# Caches


def unpacked(name: str, archive: str, *, days: float = 3) -> Path:
    folder = paths.cache_dir() / "unpacked" / name
    folder.mkdir(parents=True)
    (folder / "song.wav").write_bytes(bytes(100))
    (folder / ".sidestep-archive.json").write_text(json.dumps({"archive": archive, "left_out": []}))
    then = time.time() - days * 86400
    os.utime(folder, (then, then))
    return folder


def test_only_unpacked_zips_that_nothing_refers_to_go(home: Path) -> None:
    used = unpacked("used-1", str(home / "used.zip"))
    inside = unpacked("inside-1", str(home / "inside.zip"))
    young = unpacked("young-1", str(home / "young.zip"), days=0.1)
    gone = unpacked("gone-1", str(home / "gone.zip"))
    rows = [
        LedgerRow(home / "a", facts=RunFacts(dataset_path=str(home / "used.zip"))),
        LedgerRow(home / "b", facts=RunFacts(dataset_path=str(inside / "disc 1")), reachable=False),
    ]
    plan = tidy.of_caches(rows, tidy.references(rows), now=time.time())
    assert [item.path for item in plan.items] == [gone]
    tidy.carry_out(plan)
    assert used.is_dir() and inside.is_dir() and young.is_dir() and not gone.exists()


def test_encoded_songs_stay_while_a_run_is_alive(home: Path) -> None:
    entry = paths.cache_dir() / "encoded" / "latents" / "ab" / "abc.safetensors"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(bytes(64))
    with write_run(home / "runs" / "live", "live", now=time.time(), steps=40):
        rows = Ledger().look([home / "runs"], now=time.time())
        with pytest.raises(RunError, match="in use"):
            tidy.of_encoded(rows)
    rows = Ledger().look([home / "runs"], now=time.time())
    assert tidy.carry_out(tidy.of_encoded(rows)) == 64
    assert not entry.exists()
