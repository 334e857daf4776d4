from __future__ import annotations

from pathlib import Path

import pytest

from sidestep_tui.core.errors import RunError
from sidestep_tui.protocol.rundir import RunDir, checkpoint_step


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    names = [RunDir.create(tmp_path / "runs", "drums v3").path.name for _ in range(3)]
    assert names == ["drums-v3", "drums-v3-2", "drums-v3-3"]


def test_even_an_empty_directory_is_not_reused(tmp_path: Path) -> None:
    (tmp_path / "drums").mkdir()
    assert RunDir.create(tmp_path, "drums").path.name == "drums-2"


def test_a_name_cannot_leave_its_parent(tmp_path: Path) -> None:
    assert RunDir.create(tmp_path, "../../etc").path.parent == tmp_path


def test_open_takes_the_directory_or_its_run_file(run: RunDir) -> None:
    run.run_toml.write_text("[run]\n")
    assert RunDir.open(run.path) == RunDir.open(run.run_toml) == run


@pytest.mark.parametrize("path", ["missing", "."])
def test_open_says_what_is_wrong(tmp_path: Path, path: str) -> None:
    with pytest.raises(RunError) as caught:
        RunDir.open(tmp_path / path)
    assert caught.value.message and "sidestep-tui runs" in caught.value.hint


def test_only_published_checkpoints_count(run: RunDir) -> None:
    assert run.latest_checkpoint() is None
    for name in ("step_000500", "step_002000", "step_1000000", ".step_9999999.x.tmp", "step_x", "best"):
        (run.checkpoints / name).mkdir()
    (run.checkpoints / "step_9000000").write_text("a file")
    assert [path.name for path in run.published_checkpoints()] == ["step_000500", "step_002000", "step_1000000"]
    latest = run.latest_checkpoint()
    assert latest is not None and checkpoint_step(latest) == 1_000_000
    assert run.checkpoint_path(500).name == "step_000500"


def test_a_step_is_read_from_a_checkpoint_name_only() -> None:
    with pytest.raises(RunError, match="not a checkpoint"):
        checkpoint_step(Path("checkpoints/best"))


def test_the_layout_is_public(run: RunDir) -> None:
    names = [
        run.run_toml,
        run.lock,
        run.events,
        run.state,
        run.log,
        run.inbox,
        run.checkpoints,
        run.samples,
        run.adapter,
    ]
    assert [path.relative_to(run.path).as_posix() for path in names] == [
        "run.toml",
        "run.lock",
        "events.jsonl",
        "state.json",
        "engine.log",
        "inbox",
        "checkpoints",
        "samples",
        "adapter",
    ]
