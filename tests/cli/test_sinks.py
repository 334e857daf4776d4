"""Feeding sinks from the journal: every point once, through crashes, resumes and runs that go back."""

from __future__ import annotations

import importlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from sidestep_tui.core.errors import RunError
from sidestep_tui.engine.fake_history import write_run
from sidestep_tui.launch import sinks_feed
from sidestep_tui.launch.sinks_feed import Feed, Progress, read_progress, sink_name
from sidestep_tui.launch.sinks_remote import TrackioSink, WandbSink
from sidestep_tui.launch.sinks_tensorboard import TensorBoardSink
from sidestep_tui.protocol.rundir import RunDir

from .conftest import Outcome
from .test_runs_export import Story

Cli = Callable[..., Outcome]


class Killed(BaseException):
    """Stands in for a SIGKILL: nothing is tidied up after it."""


class FakeService:
    """What W&B or trackio received, over all sessions."""

    def __init__(self) -> None:
        self.inits: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.finished = 0
        self.kill_at: int | None = None

    def init(self, **fields: Any) -> FakeService:
        print("talk of the service")
        self.inits.append(fields)
        return self

    def define_metric(self, name: str, step_metric: str | None = None) -> None:
        pass

    def log(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if self.kill_at == len(self.rows):
            raise Killed
        self.rows.append(({"step": step} if step is not None else {}) | metrics)

    def finish(self) -> None:
        self.finished += 1

    @property
    def losses(self) -> list[tuple[int, float]]:
        return [(row["step"], row["train/loss"]) for row in self.rows if "train/loss" in row]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Both remote packages, replaced."""
    fake = FakeService()
    for name in ("wandb", "trackio"):
        module = ModuleType(name)
        module.init = fake.init  # type: ignore[attr-defined]
        module.finish = fake.finish  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.fixture
def event_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensorboard package, replaced by one that writes a line of JSON an event."""
    count = iter(range(100))

    class Writer:
        def __init__(self, logdir: str, filename_suffix: str) -> None:
            self.handle = (Path(logdir) / f"events.out.tfevents.{next(count):03d}{filename_suffix}").open("w")
            self.add_event({"file_version": "brain.Event:2"})
            self.flush()

        def add_event(self, event: dict[str, Any]) -> None:
            self.handle.write(json.dumps(event) + "\n")

        def flush(self) -> None:
            self.handle.flush()

        def close(self) -> None:
            self.handle.close()

    def message(**fields: Any) -> dict[str, Any]:
        return fields

    message.Value = message  # type: ignore[attr-defined]
    message.START = 1  # type: ignore[attr-defined]
    parts = {
        "tensorboard.summary.writer.event_file_writer": {"EventFileWriter": Writer},
        "tensorboard.compat.proto.event_pb2": {"Event": message, "SessionLog": message},
        "tensorboard.compat.proto.summary_pb2": {"Summary": message},
    }
    for name, contents in parts.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    real = importlib.import_module
    monkeypatch.setattr(
        importlib, "import_module", lambda name, package=None: sys.modules.get(name) or real(name, package)
    )


def events_in(directory: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for line in path.read_text().splitlines():
            yield json.loads(line)


def losses_in(directory: Path) -> list[tuple[int, float]]:
    return [
        (event["step"], value["simple_value"])
        for event in events_in(directory)
        for value in event.get("summary", {}).get("value", ())
        if value["tag"] == "train/loss"
    ]


@pytest.fixture
def story(home: Path) -> Story:
    return Story(home)


def feed(story: Story, sink: Any, name: str, said: list[str] | None = None) -> Feed:
    lines = [] if said is None else said
    return Feed(story.run, name, sink, story.run.path / "sinks" / name, project="p", say=lines.append)


def die(feeding: Feed) -> None:
    """End a feed as a kill would: only the kernel lets go of the lock."""
    with pytest.raises(Killed):
        feeding.pump()
    feeding._lock.release()


def expected(first: int, last: int) -> list[tuple[int, float]]:
    return [(step, 1.0 / step) for step in range(first, last + 1)]


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_second_feed_sends_only_what_came_since(story: Story, service: FakeService, run_cli: Cli, name: str) -> None:
    story.begin("a")
    story.steps(1, 5)
    first = run_cli("runs", "feed", "blues", "--to", name)
    assert first.code == 0, first.err
    assert first.out == f"{story.run.path / 'sinks' / name}\n", "the talk of the service goes to standard error"
    assert service.losses == expected(1, 5)
    assert run_cli("runs", "feed", "blues", "--to", name).code == 0
    assert service.losses == expected(1, 5)
    story.steps(6, 8)
    assert "3 points sent, 8 in all" in run_cli("runs", "feed", "blues", "--to", name).err
    assert service.losses == expected(1, 8)
    assert service.finished == 3
    key = "id" if name == "wandb" else "name"
    assert len({init[key] for init in service.inits}) == 1
    assert {init["resume"] for init in service.inits} == {"allow"}


@pytest.mark.parametrize("kill_at", range(8, 13))
@pytest.mark.parametrize(("name", "kind"), [("wandb", WandbSink), ("trackio", TrackioSink)])
def test_a_killed_feed_repeats_nothing_and_says_what_may_be_missing(
    story: Story, service: FakeService, name: str, kind: type[Any], kill_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_feed, "BLOCK_BYTES", 400)
    story.begin("a")
    story.steps(1, 30)
    service.kill_at = kill_at
    die(feed(story, kind(), name))
    service.kill_at = None
    said: list[str] = []
    with feed(story, kind(), name, said) as feeding:
        feeding.pump()
    steps = [step for step, _ in service.losses]
    assert len(set(steps)) == len(steps)
    assert steps[:kill_at] == list(range(1, kill_at + 1)) and steps[-1] == 30
    missing = set(range(1, 31)) - set(steps)
    assert len(missing) <= 4
    assert len(said) == 1 and "not sent again" in said[0]


def test_a_live_run_that_is_resumed_further_back_marks_the_place(story: Story, service: FakeService) -> None:
    story.begin("a")
    story.steps(1, 6)
    with feed(story, WandbSink(), "wandb") as feeding:
        assert feeding.pump() == 6
        story.begin("b", resumed_from=4)
        story.steps(5, 7, add=1.0)
        assert feeding.pump() == 3
    assert service.losses == expected(1, 6) + [(step, 1 / step + 1.0) for step in (5, 6, 7)]
    assert [row["step"] for row in service.rows if "train/went_back_to" in row] == [4]


def test_an_event_that_stands_twice_in_the_journal_is_sent_once(story: Story, service: FakeService) -> None:
    story.begin("a")
    story.steps(1, 3)
    lines = story.run.events.read_bytes().splitlines(keepends=True)
    story.run.events.write_bytes(b"".join([*lines, *lines[1:]]))
    with feed(story, WandbSink(), "wandb") as feeding:
        assert feeding.pump() == 3
    assert service.losses == expected(1, 3)


def test_a_feed_after_the_fact_leaves_out_what_was_redone(story: Story, service: FakeService) -> None:
    story.begin("a")
    story.steps(1, 6)
    story.begin("b", resumed_from=4)
    story.steps(5, 7, add=1.0)
    with feed(story, WandbSink(), "wandb") as feeding:
        feeding.pump()
    assert [step for step, _ in service.losses] == [1, 2, 3, 4, 5, 6, 7]
    assert not [row for row in service.rows if "train/went_back_to" in row]


@pytest.mark.usefixtures("event_files")
def test_a_killed_tensorboard_feed_is_cut_back_and_misses_nothing(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks_feed, "BLOCK_BYTES", 400)
    story.begin("a")
    story.steps(1, 30)
    place = story.run.path / "sinks" / "tensorboard"
    sink = TensorBoardSink()
    real = sink.send

    def send(point: Any) -> None:
        real(point)
        if point.step == 11:
            sink._writer.flush()
            raise Killed

    monkeypatch.setattr(sink, "send", send)
    die(feed(story, sink, "tensorboard"))
    assert losses_in(place) == expected(1, 11)
    foreign = place / "events.out.tfevents.000.other"
    foreign.write_text("{}\n")
    with feed(story, TensorBoardSink(), "tensorboard") as feeding:
        feeding.pump()
    assert losses_in(place) == expected(1, 30)
    assert foreign.read_text() == "{}\n"


@pytest.mark.usefixtures("event_files")
def test_tensorboard_is_told_where_a_run_went_back(story: Story) -> None:
    story.begin("a")
    story.steps(1, 6)
    with feed(story, TensorBoardSink(), "tensorboard") as feeding:
        feeding.pump()
    story.begin("b", resumed_from=4)
    story.steps(5, 5, add=1.0)
    with feed(story, TensorBoardSink(), "tensorboard") as feeding:
        feeding.pump()
    events = list(events_in(story.run.path / "sinks" / "tensorboard"))
    (start,) = [event for event in events if "session_log" in event]
    assert start["step"] == 5
    assert events.index(start) < len(events) - 1
    assert [event["wall_time"] for event in events if event.get("step") == 1] == [1001.0]


def test_true_tensorboard_reads_every_point_once(story: Story) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    story.begin("a")
    story.steps(1, 6)
    place = story.run.path / "sinks" / "tensorboard"
    with feed(story, TensorBoardSink(), "tensorboard") as feeding:
        feeding.pump()
    story.begin("b", resumed_from=4)
    story.steps(5, 7, add=1.0)
    with feed(story, TensorBoardSink(), "tensorboard") as feeding:
        feeding.pump()
    found = accumulator.EventAccumulator(str(place))
    found.Reload()
    scalars = [(item.step, item.value) for item in found.Scalars("train/loss")]
    assert [step for step, _ in scalars] == [1, 2, 3, 4, 5, 6, 7]
    assert scalars[4][1] == pytest.approx(1 / 5 + 1.0)


def test_names_of_songs_paths_and_prompts_are_not_sent(home: Path, service: FakeService, run_cli: Cli) -> None:
    run = write_run(home / "runs" / "jazz", "finished", steps=20, steps_per_epoch=10, held_out=2, gpus=0)
    told = {"epoch": 2, "step": 20, "loss": 0.5, "by_song": {"song_x": 0.5}, "by_band": {"0.0-0.2": 0.7}}
    event = {**run.events[-1], "seq": run.events[-1]["seq"] + 1, "type": "epoch", **told}
    with (home / "runs" / "jazz" / "events.jsonl").open("a") as handle:
        handle.write(json.dumps(event) + "\n")
    assert run_cli("runs", "feed", "jazz", "--to", "wandb").code == 0
    names = {name for row in service.rows for name in row}
    assert {"train/loss", "epoch/loss", "eval/loss", "eval/by_level/0.250", "epoch/by_band/0.0-0.2"} <= names
    assert not [name for name in names if "song_" in name]
    config = service.inits[0]["config"]
    assert config["adapter.rank"] > 0
    assert not [key for key in config if key.partition(".")[0] in ("data", "model", "output")]
    assert not [value for value in config.values() if isinstance(value, str) and not value.isidentifier()]


def test_only_numbers_choices_and_switches_of_the_settings_are_told(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = {
        "adapter": {"rank": 8, "kind": "lora", "start_from": "/home/me/a", "words": "my style", "layers": [1]},
        "optim": {"lr": 1e-4, "fused": True},
        "data": {"batch": 3},
    }
    settings = SimpleNamespace(model_dump=lambda mode: groups)
    monkeypatch.setattr(sinks_feed, "read_run", lambda path: SimpleNamespace(settings=settings))
    told = {"adapter.rank": 8, "adapter.kind": "lora", "optim.lr": 1e-4, "optim.fused": True}
    assert sinks_feed.config_of(story.run) == told


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_missing_package_is_named_with_its_remedy(
    story: Story, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for loaded in [item for item in sys.modules if item.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    story.begin("a")
    outcome = run_cli("runs", "feed", "blues", "--to", name)
    assert outcome.code == 2
    assert f"pip install 'sidestep-tui[{name}]'" in outcome.err
    assert not (story.run.path / "sinks").exists()


def test_a_service_that_fails_is_a_sentence(story: Story, run_cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise ValueError("api_key not configured")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))  # type: ignore[arg-type]
    story.begin("a")
    story.steps(1, 2)
    outcome = run_cli("runs", "feed", "blues", "--to", "wandb")
    assert outcome.code == 4
    assert "api_key not configured" in outcome.err and "wandb login" in outcome.err
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=FakeService().init))  # type: ignore[arg-type]
    assert "2 points sent" in run_cli("runs", "feed", "blues", "--to", "wandb").err


def test_a_place_that_was_fed_from_another_run_is_refused(home: Path, service: FakeService, run_cli: Cli) -> None:
    for name, first in (("one", 1), ("two", 3)):
        story = Story(home, name)
        story.begin(name)
        story.steps(first, 9)
    assert run_cli("runs", "feed", "one", "--to", "wandb", "--dir", "both").code == 0
    outcome = run_cli("runs", "feed", "two", "--to", "wandb", "--dir", "both")
    assert outcome.code == 4
    assert "another journal" in outcome.err
    assert "belongs to wandb" in run_cli("runs", "feed", "one", "--to", "trackio", "--dir", "both").err
    assert len(service.losses) == 9


def test_two_feeds_of_one_sink_exclude_each_other(story: Story, service: FakeService) -> None:
    story.begin("a")
    with feed(story, WandbSink(), "wandb"), pytest.raises(RunError, match="Another process feeds"):
        feed(story, WandbSink(), "wandb")


def test_progress_that_cannot_be_read_is_refused(story: Story, service: FakeService, run_cli: Cli) -> None:
    story.begin("a")
    place = story.run.path / "sinks" / "wandb"
    place.mkdir(parents=True)
    for content in ("{", "[]", '{"sink": 1}', json.dumps({"sink": "wandb", "id": "x", "format": 9})):
        (place / "feed.json").write_text(content)
        outcome = run_cli("runs", "feed", "blues", "--to", "wandb")
        assert outcome.code == 4, content
        assert "sent already" in outcome.err
    assert service.inits == []
    (place / "feed.json").unlink()
    with feed(story, WandbSink(), "wandb"):
        pass
    assert isinstance(read_progress(place / "feed.json"), Progress)


def test_following_stays_to_the_end_of_a_run(
    home: Path, service: FakeService, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = write_run(home / "runs" / "live", "live", steps=40, at=20, gpus=0)
    import sidestep_tui.cli.runs_feed as module

    naps = 0

    def nap(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 2:
            last = {**live.events[-1], "seq": live.events[-1]["seq"] + 1, "type": "step", "step": 21, "loss": 0.5}
            with RunDir.open(home / "runs" / "live").events.open("a") as handle:
                handle.write(json.dumps(last) + "\n")
            live.release()

    monkeypatch.setattr(module, "time", SimpleNamespace(time=module.time.time, sleep=nap))
    outcome = run_cli("runs", "feed", "live", "--to", "trackio", "--follow")
    assert outcome.code == 0, outcome.err
    assert naps == 2
    assert service.losses[-1] == (21, 0.5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_follower_closes_the_sink_and_keeps_its_mark(
    home: Path, service: FakeService, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    live = write_run(home / "runs" / "live", "live", steps=40, at=20, gpus=0)
    import sidestep_tui.cli.runs_feed as module

    monkeypatch.setattr(
        module, "time", SimpleNamespace(time=module.time.time, sleep=lambda _: signal.raise_signal(number))
    )
    before = signal.getsignal(number)
    outcome = run_cli("runs", "feed", "live", "--to", "wandb", "--follow")
    live.release()
    assert outcome.code == 0, outcome.err
    assert "goes on from here" in outcome.err
    assert service.finished == 1
    assert signal.getsignal(number) is before
    progress = read_progress(home / "runs" / "live" / "sinks" / "wandb" / "feed.json")
    assert progress is not None and progress.announced is None and progress.step == 20


def test_metrics_are_grouped_by_what_they_measure() -> None:
    names = ["loss", "epoch_loss", "smoothed", "eval/loss"]
    assert [sink_name(name) for name in names] == ["train/loss", "epoch/loss", "epoch/smoothed", "eval/loss"]
