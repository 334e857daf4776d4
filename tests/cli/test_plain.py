"""The line-per-event viewer, on journals made up by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sidestep_tui.cli.plain import PlainViewer
from sidestep_tui.engine.fake_history import history
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.rundir import RunDir


class Story:
    """Events with their numbers and times."""

    def __init__(self, steps: int = 1000) -> None:
        self.lines: list[str] = []
        self.viewer = PlainViewer(RunDir(Path("/runs/story")), self.lines.append)
        self._seq = 0
        self._t = 1_000_000.0
        self.tell("session_started", total_steps=steps, epochs=10, steps_per_epoch=100, device="cpu", resumed_from=None)

    def tell(self, name: str, after: float = 0.0, /, **fields: Any) -> Event:
        """One event, `after` seconds after the one before."""
        self._t += after
        event = {"v": 1, "seq": self._seq, "t": self._t, "session": "s", "type": name, **fields}
        self._seq += 1
        self.viewer.show([event])
        return event

    def step(self, number: int, seconds: float, loss: float = 1.0) -> None:
        """One training step."""
        fields = {"lr": 1e-4, "grad_norm": 0.5, "samples_per_s": 2.0, "seconds": seconds}
        self.tell("step", seconds, step=number, epoch=1, loss=loss, **fields)

    def matching(self, word: str) -> list[str]:
        """Lines that contain `word`."""
        return [line for line in self.lines if word in line]


def test_fast_steps_get_a_line_a_second() -> None:
    story = Story(steps=1000)
    for number in range(1, 1000):
        story.step(number, 0.01)
    assert 9 <= len(story.matching("step ")) <= 12


def test_slow_steps_get_a_line_a_percent() -> None:
    story = Story(steps=1000)
    for number in range(1, 101):
        story.step(number, 2.0)
    assert 9 <= len(story.matching("step ")) <= 12


def test_very_slow_steps_are_never_silent_for_long() -> None:
    story = Story(steps=100_000)
    for number in range(1, 11):
        story.step(number, 40.0)
    assert len(story.matching("step ")) == 10


def test_the_last_step_is_always_told() -> None:
    story = Story(steps=10)
    for number in range(1, 11):
        story.step(number, 0.001)
    assert "step 10/10" in story.lines[-1]


def test_the_last_step_before_a_stop_is_told() -> None:
    story = Story(steps=1000)
    for number in range(1, 6):
        story.step(number, 0.001)
    story.tell("session_ended", reason="stopped", code=3, step=5)
    assert "step 5/1,000" in story.lines[-2]
    assert "stopped at step 5/1,000" in story.lines[-1]


def test_a_loss_that_is_no_number_is_always_told() -> None:
    story = Story()
    story.step(1, 0.001)
    story.step(2, 0.001, loss=math.nan)
    assert "loss NaN" in story.lines[-1]


def test_errors_are_told_whole() -> None:
    story = Story()
    story.tell("error", kind="bug", title="It broke.", msg="Because.", hint="Try again.", traceback_path=None)
    assert [line.strip() for line in story.lines[-2:]] == ["Because.", "Try again."]
    assert story.lines[-3].endswith("error: It broke.")


def test_progress_of_a_phase_is_thinned_out() -> None:
    story = Story()
    for done in range(101):
        story.tell("phase", 0.1, name="encoding_audio", done=done, total=100, detail=f"song {done}")
    lines = story.matching("encoding audio")
    assert 5 <= len(lines) <= 8
    assert "100/100" in lines[-1]


def test_a_return_to_training_is_not_told_again() -> None:
    story = Story()
    for name in ("training", "saving", "training", "saving", "training"):
        story.tell("phase", 5.0, name=name, done=0, total=0)
    assert len(story.matching("training")) == 1


def test_held_out_songs_are_told_with_a_verdict() -> None:
    story = Story()
    for step, loss in ((0, 0.9), (100, 0.8)):
        story.tell("eval", step=step, loss=loss, baseline=0.9, songs=3)
    story.tell("eval", step=200, probe=1)
    story.tell("eval", 0.1, step=300, loss=0.79, baseline=0.9, songs=3)  # the same verdict, and too soon
    first, second = story.matching("held out")
    assert first.endswith("held out: loss 0.9, 3 songs")
    assert second.endswith("held out: loss 0.8, learning (start 0.9), 3 songs")


def test_a_checkpoint_is_told_with_its_size_and_with_how_long_training_waited() -> None:
    story = Story()
    saved = {"path": "checkpoints/step_000040", "step": 40, "reason": "schedule", "bytes": 504_000_000, "seconds": 2.14}
    story.tell("checkpoint", **saved, held_seconds=0.12)
    assert story.lines[-1].endswith("step_000040 (schedule, 480.7 MiB, 2.1 s, training waited 0.1 s)")
    story.tell("checkpoint", **saved)  # of an earlier version
    assert story.lines[-1].endswith("480.7 MiB, 2.1 s)")


def test_unknown_events_and_odd_fields_are_no_trouble() -> None:
    story = Story()
    story.tell("from_the_future", anything=[1, 2])
    story.tell("checkpoint", path="checkpoints/step_000001", step="one", bytes=None, seconds="x")
    story.tell("best")
    story.tell("session_ended", reason=None, code=None, step=None)


def test_catching_up_says_where_a_run_stands() -> None:
    lines: list[str] = []
    viewer = PlainViewer(RunDir(Path("/runs/story")), lines.append)
    viewer.catch_up(
        [
            {"v": 1, "seq": 0, "t": 1.0, "session": "s", "type": "session_started", "total_steps": 100, "epochs": 1},
            {"v": 1, "seq": 1, "t": 2.0, "session": "s", "type": "step", "step": 40, "epoch": 1, "loss": 0.5},
            {"v": 1, "seq": 2, "t": 2.0, "session": "s", "type": "checkpoint", "path": "c/step_000040", "step": 40},
        ]
    )
    assert lines[0].startswith("story, 100 steps")
    assert "at step 40/100, loss 0.5" in lines[1]
    assert "c/step_000040" in lines[2]


def test_a_history_ends_with_where_the_time_goes_and_the_songs_that_stand_out() -> None:
    lines: list[str] = []
    viewer = PlainViewer(RunDir(Path("/runs/story")), lines.append)
    viewer.catch_up(history(400, scenario="live", data_share=0.31))
    (time,) = [line for line in lines if line.strip().startswith("time: ")]
    assert "waiting for data 31 %" in time
    assert "set memory.preload to ram" in time
    (song,) = [line for line in lines if line.strip().startswith("song ")]
    assert "song_08: 1.28 × the usual loss, far harder" in song
    assert any("best loss of training" in line for line in lines)


def test_what_needs_a_person_is_told_once() -> None:
    story = Story()
    disk = {"disk_free": 2**29, "disk_total": 2**40}
    for _ in range(3):
        story.tell("gpu", 2.0, gpus=[], cpu=1.0, ram_used=1, ram_total=2, rss=1, **disk)
    story.tell("warning", code="loss_spike", msg="The loss jumped.", hint="")
    story.tell("gpu", 2.0, gpus=[], cpu=1.0, ram_used=1, ram_total=2, rss=1, **disk)
    assert len(story.matching("alert: The run's disk is nearly full")) == 1
    assert len(story.matching("The loss jumped.")) == 1
