from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sidestep_tui.core.errors import ExitCode, SettingsError
from sidestep_tui.engine import fake
from sidestep_tui.engine.fake_history import SCENARIOS
from sidestep_tui.protocol.events import Event
from sidestep_tui.protocol.inbox import send
from sidestep_tui.protocol.liveness import Liveness, explain_death, liveness
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.protocol.strict import check_journal
from sidestep_tui.protocol.tail import Tail

QUICK: dict[str, Any] = {"steps": 30, "step_seconds": 0.0, "steps_per_epoch": 5, "save_every": 10, "songs": 2}
SLOW = QUICK | {"steps": 10_000, "step_seconds": 0.005}


class Engine:
    """The fake engine as a process, as a launcher would start it."""

    def __init__(self, run: RunDir, plan: dict[str, Any]) -> None:
        self.run = run
        run.run_toml.touch()
        self._tail = Tail(run.events, run.events.stat().st_size if run.events.exists() else 0)
        with run.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sidestep_tui.engine.fake", str(run.path)],
                env=os.environ | {"SIDESTEP_FAKE": json.dumps(plan)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_for(self, test: Callable[[Event], bool]) -> Event:
        pause = threading.Event()
        for _ in range(60_000):
            ended = self.process.poll() is not None
            for event in self._tail.read():
                if test(event):
                    return event
            assert not ended, f"the engine ended first: {self.run.log.read_text()}"
            pause.wait(0.001)
        raise AssertionError("the journal never said it")

    def wait_for_step(self, step: int) -> None:
        self.wait_for(lambda event: event["type"] == "step" and event["step"] >= step)

    def order(self, name: str, state: str = "done") -> None:
        command_id = send(self.run, name, "test")
        self.wait_for(
            lambda event: event["type"] == "command" and event["id"] == command_id and event["state"] == state
        )

    def end(self) -> int:
        return self.process.wait(60)


@pytest.fixture
def engine(run: RunDir) -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def start(**plan: Any) -> Engine:
        engines.append(Engine(run, QUICK | plan))
        return engines[-1]

    yield start
    for each in engines:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


def events(run: RunDir) -> list[Event]:
    return Tail(run.events).read_all()


def losses(run: RunDir) -> list[tuple[float, float]]:
    return list(RunState.from_events(events(run)).series["loss"])


def test_a_whole_run_speaks_the_protocol(run: RunDir, engine: Callable[..., Engine]) -> None:
    assert engine().end() == ExitCode.DONE
    written = events(run)
    check_journal(written)
    state = RunState.from_events(written)
    assert (state.status, state.step, len(state.series["loss"])) == ("finished", 30, 30)
    assert [path.name for path in run.published_checkpoints()] == ["step_000010", "step_000020", "step_000030"]
    assert all((run.path / adapter.path).is_dir() for adapter in state.adapters) and len(state.adapters) == 2
    phases = list(dict.fromkeys(event["name"] for event in written if event["type"] == "phase"))
    assert phases == [
        "loading",
        "encoding_audio",
        "encoding_text",
        "encoding_conditions",
        "training",
        "saving",
        "exporting",
        "verifying",
    ]
    assert liveness(run, written[-1]["t"]) is Liveness.ENDED


def test_a_killed_run_resumes_on_the_same_curve(
    run: RunDir, engine: Callable[..., Engine], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert engine(die_at=17).end() == -signal.SIGKILL
    assert not run.events.read_bytes().endswith(b"\n")
    assert liveness(run, 0.0) is Liveness.DIED
    death = explain_death(run, -signal.SIGKILL)
    assert death.resume_step == 10
    assert engine(die_at=17).end() == ExitCode.DONE
    check_journal(events(run))
    straight = RunDir.create(tmp_path_factory.mktemp("straight"), "straight")
    assert Engine(straight, QUICK).end() == ExitCode.DONE
    assert losses(run) == losses(straight)
    one, other = (RunState.from_events(events(each)) for each in (run, straight))
    assert one.best == other.best and list(one.series["smoothed"]) == list(other.series["smoothed"])


def test_stop_saves_before_exit(run: RunDir, engine: Callable[..., Engine]) -> None:
    running = engine(**SLOW)
    running.wait_for_step(3)
    assert is_held(run)
    running.order("stop")
    assert running.end() == ExitCode.STOPPED
    written = events(run)
    check_journal(written)
    state = RunState.from_events(written)
    assert state.status == "stopped" and state.checkpoints[-1].reason == "stop"
    assert run.latest_checkpoint() == run.checkpoint_path(state.step)
    assert [event["type"] for event in written[-2:]] == ["command", "session_ended"]


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGTERM, "stopped"), (signal.SIGINT, "stopped")])
def test_a_signal_stops_like_the_command(
    run: RunDir, engine: Callable[..., Engine], number: signal.Signals, reason: str
) -> None:
    running = engine(**SLOW)
    running.wait_for_step(2)
    running.process.send_signal(number)
    assert running.end() == ExitCode.STOPPED
    assert events(run)[-1]["reason"] == reason
    assert run.latest_checkpoint() is not None


def test_a_hangup_changes_nothing(run: RunDir, engine: Callable[..., Engine]) -> None:
    running = engine(**SLOW)
    running.wait_for_step(2)
    running.process.send_signal(signal.SIGHUP)
    running.order("checkpoint")
    running.wait_for(lambda event: event["type"] == "step")
    running.order("abort")
    assert running.end() == ExitCode.STOPPED
    assert events(run)[-1]["reason"] == "aborted"


def test_pause_checkpoint_resume(run: RunDir, engine: Callable[..., Engine]) -> None:
    running = engine(**SLOW)
    running.wait_for_step(2)
    running.order("pause")
    running.order("checkpoint")
    running.order("sample")
    held = [event["type"] for event in events(run)]
    after_pause = held[held.index("paused") :]
    assert "checkpoint" in after_pause and "sample" in after_pause and "step" not in after_pause
    running.order("resume")
    running.wait_for(lambda event: event["type"] == "step")
    running.order("stop")
    assert running.end() == ExitCode.STOPPED
    check_journal(events(run))


@pytest.mark.parametrize(
    ("plan", "code", "reason"),
    [
        ({"nan_at": 7}, ExitCode.DIVERGED, "diverged"),
        ({"oom_at": 7}, ExitCode.OUT_OF_MEMORY, "out_of_memory"),
        ({"fail_at": 7}, ExitCode.BUG, "failed"),
    ],
)
def test_mishaps_end_with_an_error_and_their_exit_code(
    run: RunDir, engine: Callable[..., Engine], plan: dict[str, Any], code: int, reason: str
) -> None:
    assert engine(**plan).end() == code
    written = events(run)
    check_journal(written)
    state = RunState.from_events(written)
    assert state.ended is not None and (state.ended.reason, state.ended.code) == (reason, code)
    assert state.error is not None and state.error.title and state.error.hint
    if reason == "failed":
        assert "the bug of step 7" in (run.path / state.error.traceback_path).read_text()


def test_a_run_in_use_is_refused(run: RunDir, engine: Callable[..., Engine]) -> None:
    first = engine(**SLOW)
    first.wait_for_step(1)
    assert engine().end() == ExitCode.REFUSED
    assert f"held by process {first.process.pid}" in run.log.read_text()
    assert len({event["session"] for event in events(run)}) == 1


def test_stop_while_encoding_ends_without_a_checkpoint(run: RunDir, engine: Callable[..., Engine]) -> None:
    running = engine(songs=100_000, step_seconds=0.01)
    running.wait_for(lambda event: event.get("name") == "encoding_audio")
    running.order("stop")
    assert running.end() == ExitCode.STOPPED
    assert run.latest_checkpoint() is None


def test_the_plan_comes_from_the_run_file_and_the_environment(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    run.run_toml.write_text("[fake]\nsteps = 12\nsongs = 3\n")
    monkeypatch.setenv("SIDESTEP_FAKE", '{"songs": 4}')
    plan = fake.read_plan(run)
    assert (plan.steps, plan.songs) == (12, 4)
    monkeypatch.setenv("SIDESTEP_FAKE", '{"stpes": 4}')
    with pytest.raises(SettingsError, match="stpes") as caught:
        fake.read_plan(run)
    assert "'steps'" in caught.value.message
    monkeypatch.setenv("SIDESTEP_FAKE", "{")
    with pytest.raises(SettingsError, match="not a JSON table"):
        fake.read_plan(run)


def test_it_needs_one_directory() -> None:
    assert fake.main([]) == ExitCode.USAGE
    assert fake.main(["/nowhere/at/all"]) == ExitCode.REFUSED


def test_it_imports_no_torch() -> None:
    heavy = "{'torch', 'numpy', 'textual', 'rich'}"
    script = f"import sys, sidestep_tui.engine.fake; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_history_speaks_the_protocol(scenario: str) -> None:
    told = fake.history(120, scenario=scenario)
    check_journal(told)
    times = [event["t"] for event in told]
    assert times == sorted(times)
    assert fake.history(120, scenario=scenario) == told or scenario == "diverged"


def test_seeds_differ_and_repeat() -> None:
    assert fake.history(50, seed=1) == fake.history(50, seed=1)
    assert fake.history(50, seed=1) != fake.history(50, seed=2)


def test_the_loss_falls_and_the_rate_ends_at_zero() -> None:
    state = RunState.from_events(fake.history(400))
    loss, rate = state.series["loss"].ys, state.series["lr"].ys
    assert sum(loss[:40]) > sum(loss[-40:])
    assert max(rate) == 1e-4 and rate[-1] == pytest.approx(0.0, abs=1e-12)


def test_a_run_directory_can_be_written_for_any_moment(run: RunDir) -> None:
    made = fake.write_run(run, "live", now=5_000_000.0, at=33, gpus=2)
    assert made.events[-1]["t"] == pytest.approx(5_000_000.0, abs=0.01)
    state = RunState.from_events(events(run))
    assert (state.step, len(state.gpus)) == (33, 2)
    assert liveness(run, 5_000_001.0) is Liveness.RUNNING
    made.release()
    assert liveness(run, 5_000_001.0) is Liveness.DIED


def test_a_written_run_can_be_continued_by_the_engine(run: RunDir, engine: Callable[..., Engine]) -> None:
    fake.write_run(run, "crashed", steps=30, steps_per_epoch=5, save_every=10, songs=2)
    assert engine().end() == ExitCode.DONE
    check_journal(events(run))
    assert [step for step, _ in losses(run)] == [float(step) for step in range(1, 31)]


def test_an_epoch_says_where_its_loss_came_from() -> None:
    epochs = [event for event in fake.history(scenario="live", songs=5, held_out=2) if event["type"] == "epoch"]
    newest = epochs[-1]
    assert list(newest["by_band"]) == ["0.00-0.25", "0.25-0.50", "0.50-0.75", "0.75-1.00"]
    assert sum(newest["by_band"].values()) / 4 == pytest.approx(newest["loss"], rel=0.05)
    assert list(newest["by_song"]) == ["song_03", "song_04", "song_05"]  # the others are only measured
    assert newest["by_song"]["song_05"] > newest["by_song"]["song_03"]
    diverged = [event for event in fake.history(scenario="diverged", at=40) if event["type"] == "epoch"]
    assert "by_song" not in diverged[-1]
