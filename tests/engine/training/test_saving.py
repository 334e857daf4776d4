"""Saving beside training: when, what the journal says of it, and what happens when the disk takes no more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from sidestep_tui.core.errors import DiskFullError, DivergedError, ExitCode, RunError
from sidestep_tui.engine import __main__ as entry
from sidestep_tui.engine import checkpoint, export, pruning, saving
from sidestep_tui.engine.control import Control
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.saving import Saver
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.engine.weights import Checkpoint
from sidestep_tui.engine.writer import Writer
from sidestep_tui.protocol import strict
from sidestep_tui.protocol.inbox import Command
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.run import RunFile

BASE = cast(Checkpoint, SimpleNamespace(dir=Path("acestep-v15-turbo"), variant="turbo"))


class Ears:
    """Notes the answers to requests."""

    def __init__(self) -> None:
        self.answers: list[str] = []

    def done(self, command: Command, detail: str = "") -> None:
        self.answers.append(f"{command.id}: {detail}")

    def refused(self, command: Command, detail: str) -> None:
        self.answers.append(f"{command.id} refused: {detail}")


class Clock:
    """A clock that tests set, in minutes."""

    minutes = 0.0

    def __call__(self) -> float:
        return 60.0 * self.minutes


class Stand:
    """A saver with all that it needs, around a trainer of two layers."""

    def __init__(self, home: Path, trainer: Trainer, *, background: bool = True) -> None:
        self.run_dir = RunDir.create(home, "drums")
        self.trainer = trainer
        self.reporter = Reporter(self.run_dir, "test", sample_seconds=0)
        self.writer = Writer(background=background)
        self.ears, self.clock = Ears(), Clock()
        self.new_session()

    def new_session(self) -> None:
        run_file = RunFile(name="drums", settings=self.trainer.settings, created="2026")
        control = cast(Control, self.ears)
        parts = (self.run_dir, run_file, BASE, self.trainer, {}, self.reporter, control, self.writer)
        self.saver = Saver(*parts, clock=self.clock)

    def step(self) -> None:
        """A step as the loop takes it, its epoch closed if it was the last of one."""
        self.trainer.step()
        if self.trainer.at_end_of_epoch:
            self.trainer.end_epoch()

    def events(self, kind: str) -> list[dict[str, Any]]:
        told = Tail(self.run_dir.events).read_all()
        strict.check_journal(told)
        return [event for event in told if event["type"] == kind]

    def saved(self) -> list[int]:
        self.saver.wait()
        return [int(path.name.removeprefix("step_")) for path in self.run_dir.published_checkpoints()]


@pytest.fixture
def new_stand(new_trainer, new_settings, tmp_path: Path) -> Iterator[Callable[..., Stand]]:
    stands: list[Stand] = []

    def make(*, background: bool = True, **output: Any) -> Stand:
        groups = output.pop("groups", {})
        settings = new_settings(output={"save_every_epochs": 0, **output}, train={"epochs": 9}, **groups)
        stands.append(Stand(tmp_path / str(len(stands)), new_trainer(settings), background=background))
        return stands[-1]

    yield make
    for stand in stands:
        saving.close(stand.writer, stand.reporter)
        stand.reporter.close()


def request(name: str) -> Command:
    return Command(id=name, name="checkpoint", by="test", t=0.0)


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_minutes_count_from_the_last_checkpoint_and_anew_in_each_session(new_stand) -> None:
    stand = new_stand(save_every_minutes=10, save_every_steps=4)
    for minutes in (5.0, 9.9, 10.0, 14.0, 23.9):  # the fourth step is due by its number and begins the ten minutes anew
        stand.clock.minutes = minutes
        stand.step()
        stand.saver.save_if_due()
    assert stand.saved() == [3, 4]
    stand.clock.minutes = 23.95
    stand.new_session()
    stand.clock.minutes = 33.9
    stand.step()
    stand.saver.save_if_due()
    assert stand.saved() == [3, 4]
    stand.clock.minutes = 34.0
    stand.step()
    stand.saver.save_if_due()
    assert stand.saved() == [3, 4, 7]


@pytest.mark.parametrize(
    "groups",
    [
        {"adapter": {"kind": "dora", "dropout": 0.2}},
        {"adapter": {"kind": "lokr"}, "optim": {"optimizer": "prodigy"}},
        {"optim": {"optimizer": "schedule_free"}},
    ],
    ids=["dora", "lokr, prodigy", "schedule-free"],
)
def test_what_is_written_beside_training_is_what_would_have_been_written_at_once(
    new_stand, groups: dict[str, Any]
) -> None:
    ahead, waiting = new_stand(groups=groups), new_stand(groups=groups, background=False)
    goes_on = threading.Event()

    def write(run_dir: RunDir, taken: checkpoint.Snapshot) -> Path:
        goes_on.wait(30)
        return plain_write(run_dir, taken)

    plain_write = checkpoint.write
    with pytest.MonkeyPatch.context() as patch:
        ahead.step()
        patch.setattr(checkpoint, "write", write)
        ahead.saver.save("schedule")
        ahead.step()  # training changes all weights before the writer has begun
        assert ahead.run_dir.published_checkpoints() == []
        assert ahead.events("checkpoint") == []
        goes_on.set()
        assert ahead.saved() == [1]
    waiting.step()
    waiting.saver.save("schedule")
    paths = [stand.run_dir.checkpoint_path(1) for stand in (ahead, waiting)]
    assert files(paths[0]) == files(paths[1])
    pairs = zip(ahead.trainer.parameters.values(), waiting.trainer.parameters.values(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


def test_the_journal_tells_size_and_times_once_it_is_on_disk(new_stand, monkeypatch) -> None:
    stand = new_stand()
    stand.step()
    plain_write = checkpoint.write

    def write(run_dir: RunDir, taken: checkpoint.Snapshot) -> Path:
        stand.clock.minutes += 1
        return plain_write(run_dir, taken)

    monkeypatch.setattr(checkpoint, "write", write)
    stand.saver.save("schedule")
    stand.saver.wait()
    stand.step()
    stand.saver.save("stop")  # waits
    first, second = stand.events("checkpoint")
    directory = stand.run_dir.checkpoint_path(1)
    assert first["bytes"] == sum(len(data) for data in files(directory).values())
    assert (first["seconds"], first["held_seconds"]) == (60.0, 0.0)
    assert (second["seconds"], second["held_seconds"]) == (60.0, 60.0)


def test_a_request_is_answered_when_it_is_on_disk_and_keeps_what_it_asked_for(new_stand) -> None:
    stand = new_stand(keep_last=1)
    stand.saver.save("requested", (request("early"),))
    stand.step()
    stand.saver.save("requested", (request("a"), request("b")))
    stand.step()
    stand.saver.save("schedule")
    stand.saver.save("requested", (request("c"),))  # of one that the schedule has just ordered
    for _ in range(2):
        stand.step()
        stand.saver.save("schedule")
    assert stand.saved() == [1, 2, 4]
    told = ["early refused: no step has been trained yet", "a: step_000001", "b: step_000001", "c: step_000002"]
    assert stand.ears.answers == told
    assert (stand.run_dir.checkpoint_path(2) / pruning.KEEP_FILE).is_file()


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_told_at_the_next_step_and_leaves_the_earlier_checkpoint(new_stand, monkeypatch) -> None:
    stand = new_stand(save_every_steps=1, keep_last=1)
    stand.step()
    stand.saver.save_if_due()
    stand.saver.wait()
    before = files(stand.run_dir.checkpoint_path(1))
    monkeypatch.setattr(checkpoint, "write_tensors", full)
    stand.step()
    stand.saver.save("requested", (request("a"),))
    with pytest.raises(DiskFullError, match="step_000002"):
        stand.saver.wait()
    assert stand.ears.answers == []
    assert [event["step"] for event in stand.events("checkpoint")] == [1]
    assert [path.name for path in stand.run_dir.checkpoints.iterdir()] == ["step_000001"]
    assert files(stand.run_dir.checkpoint_path(1)) == before
    monkeypatch.undo()
    stand.saver.save("stop")  # room was made
    assert stand.saved() == [2]


def test_a_failure_that_nobody_asked_about_is_a_warning_at_the_end(new_stand, monkeypatch) -> None:
    stand = new_stand()
    stand.step()
    monkeypatch.setattr(checkpoint, "write_tensors", full)
    stand.saver.save("schedule")
    saving.close(stand.writer, stand.reporter)
    warning = stand.events("warning")[-1]
    assert warning["code"] == "save_failed"
    assert "disk is full" in warning["msg"]


def test_too_little_room_is_told_once_before_a_save_fails(new_stand, monkeypatch) -> None:
    stand = new_stand(save_every_steps=1)
    free = [10**12, 1, 1, 1, 10**12, 1]
    monkeypatch.setattr(saving.shutil, "disk_usage", lambda _: SimpleNamespace(free=free.pop(0)))
    for _ in range(3):
        stand.step()
        stand.saver.save_if_due()
        stand.saver.wait()
    warnings = [event for event in stand.events("warning") if event["code"] == "disk_nearly_full"]
    assert len(warnings) == 2  # after the first, and again after there was room once more
    assert "1 B" in warnings[0]["msg"] or "1 byte" in warnings[0]["msg"]
    assert stand.saved() == [1, 2, 3]


def test_the_best_adapter_is_exported_as_it_was_when_it_was_best(new_stand, monkeypatch) -> None:
    stand = new_stand()
    stand.step()
    may_go, plain = threading.Event(), export.publish_contents

    def publish(*arguments: Any) -> int:
        may_go.wait(30)
        return plain(*arguments)

    expected = export.contents(stand.trainer.transformer, stand.trainer.settings.adapter).tensors
    monkeypatch.setattr(export, "publish_contents", publish)
    stand.saver.publish_best(0.5)
    stand.step()
    assert stand.events("adapter") == []
    may_go.set()
    stand.saver.wait()
    _, tensors = checkpoint.adapters.read_adapter(stand.saver.adapter("best"))
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
    assert [event["tensors"] for event in stand.events("adapter")] == [len(expected)]


def test_somebody_elses_best_adapter_ends_the_run_as_it_always_did(new_stand) -> None:
    stand = new_stand()
    stand.step()
    stand.saver.adapter("best").mkdir(parents=True)
    (stand.saver.adapter("best") / "mine.txt").write_text("keep")
    stand.saver.publish_best(0.5)
    with pytest.raises(RunError, match="another adapter"):
        stand.saver.publish_final()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_not_saved(new_stand, value: float) -> None:
    stand = new_stand()
    stand.step()
    next(iter(stand.trainer.parameters.values())).data[1, 2] = value
    with pytest.raises(DivergedError, match="not numbers"):
        stand.saver.save("schedule")
    assert list(stand.run_dir.checkpoints.iterdir()) == []


def test_a_disk_that_fills_up_while_training_goes_on_ends_the_run_with_its_sentence(new_run, monkeypatch) -> None:
    run_dir, _ = new_run(output={"save_every_steps": 2})
    plain_write = checkpoint.write_tensors

    def write(path: Path, *tensors: Any) -> None:
        if "step_000004" in str(path):
            full()
        plain_write(path, *tensors)

    monkeypatch.setattr(checkpoint, "write_tensors", write)
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    told = Tail(run_dir.events).read_all()
    error, ended = told[-2:]
    assert (error["type"], ended["type"], ended["reason"]) == ("error", "session_ended", "failed")
    assert error["title"] == "The disk is full."
    assert [path.name for path in run_dir.checkpoints.iterdir()] == ["step_000002"]
    monkeypatch.undo()  # room was made
    assert entry.main([str(run_dir.path)]) == ExitCode.DONE
