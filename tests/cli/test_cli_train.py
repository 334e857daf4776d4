"""`train`, `resume`, `attach` and the steering commands against the fake engine in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.launch import start
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.liveness import Liveness, liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.run import read_run

from .conftest import Outcome, await_event, await_release, only_run

Cli = Callable[..., Outcome]
Background = Callable[..., subprocess.Popen[str]]
FakeEngine = Callable[..., None]


def test_headless_training_ends_with_the_adapter_on_stdout(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    outcome = run_cli(*train_arguments, "--headless")
    run = only_run(home)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines() == [str((run.path / "adapter" / "final").resolve())]
    assert "step 40/40" in outcome.err
    assert "finished at step 40/40" in outcome.err


def test_headless_json_is_the_journal(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    outcome = run_cli(*train_arguments, "--headless", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.out.encode() == only_run(home).events.read_bytes()
    kinds = [json.loads(line)["type"] for line in outcome.out.splitlines()]
    assert kinds[-1] == "session_ended"


def test_a_run_remembers_settings_origins_and_absolute_paths(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path, songs: Path
) -> None:
    assert run_cli(*train_arguments, "--headless", "-s", "optim.lr=5e-5", "--name", "mine").code == 0
    run = read_run(home / "runs" / "mine" / "run.toml")
    assert run.settings.optim.lr == 5e-5
    assert run.origins["optim.lr"] == "command line"
    assert run.origins["adapter.rank"] == "preset quick_test"
    assert run.settings.data.path == str(songs)
    assert Path(run.settings.output.path) == home / "runs"
    assert run.preset == "quick_test"
    assert run.versions["python"]
    assert set(run.fingerprints) == {"model", "dataset"}


def test_a_run_can_be_repeated_from_its_run_toml(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    assert run_cli(*train_arguments, "--headless", "--name", "first").code == 0
    outcome = run_cli("train", home / "runs" / "first" / "run.toml", "--headless")
    assert outcome.code == 0, outcome.err
    again = read_run(home / "runs" / "first-2" / "run.toml")
    assert again.origins["adapter.rank"] == "run first"
    assert again.settings.adapter == read_run(home / "runs" / "first" / "run.toml").settings.adapter


@pytest.mark.parametrize(
    ("plan", "code", "words"),
    [
        ({"nan_at": 20}, 6, "diverged"),
        ({"oom_at": 20}, 5, "out of memory"),
        ({"fail_at": 20}, 70, "failed"),
    ],
)
def test_headless_returns_the_engines_exit_code(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], plan: dict[str, int], code: int, words: str
) -> None:
    fake_engine(**plan)
    outcome = run_cli(*train_arguments, "--headless")
    assert outcome.code == code, outcome.err
    assert words in outcome.err
    assert outcome.out == ""


def test_a_killed_engine_is_explained_and_resumed(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    fake_engine(die_at=30)
    outcome = run_cli(*train_arguments, "--headless", "--name", "victim")
    assert outcome.code == 137
    assert "The run died." in outcome.err
    assert "Resume it from step 20" in outcome.err
    fake_engine()
    resumed = run_cli("resume", "victim", "--headless")
    assert resumed.code == 0, resumed.err
    assert "resumed from step 20" in resumed.err
    assert liveness(RunDir.open(home / "runs" / "victim"), time.time()) is Liveness.ENDED


def test_an_engine_that_refuses_to_start_is_quoted(
    run_cli: Cli, monkeypatch: pytest.MonkeyPatch, fake_engine: FakeEngine, train_arguments: list[str]
) -> None:
    monkeypatch.setenv("SIDESTEP_FAKE", '{"bogus": 1}')
    outcome = run_cli(*train_arguments, "--detach")
    assert outcome.code == 4
    assert "did not start" in outcome.err
    assert "has no setting 'bogus'" in outcome.err
    assert "engine.log" in outcome.err


def test_detached_training_prints_its_directory_and_goes_on(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    fake_engine(steps=100_000)
    outcome = run_cli(*train_arguments, "--detach", "--name", "long")
    run = RunDir.open(home / "runs" / "long")
    assert (outcome.code, outcome.out.strip()) == (0, str(run.path))
    assert liveness(run, time.time()) is Liveness.RUNNING
    listed = run_cli("runs", "--json").json
    assert [(entry["name"], entry["liveness"]) for entry in listed] == [("long", "running")]
    stopped = run_cli("stop", "long", "--wait", "--json")
    assert stopped.code == 0
    assert stopped.json["state"] == "done"
    assert liveness(run, time.time()) is Liveness.ENDED
    assert run_cli("attach", "long", "--plain").code == 3


def test_pause_resume_and_checkpoint_are_acknowledged(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str]
) -> None:
    fake_engine(steps=100_000)
    assert run_cli(*train_arguments, "--detach", "--name", "long").code == 0
    assert "pause done" in run_cli("pause", "lo", "--wait").err
    assert run_cli("runs", "--json").json[0]["status"] == "paused"
    assert "goes on" in run_cli("resume", "long").err
    assert "checkpoint done" in run_cli("checkpoint", "long", "--wait").err
    busy = run_cli("resume", "long")
    assert busy.code == 4
    assert "is running" in busy.err
    assert run_cli("abort", "long", "--wait").code == 0
    late = run_cli("stop", "long")
    assert late.code == 4
    assert "not running" in late.err


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [(b"\xff\xfe", "UTF-8"), (b"", "[run]"), (b"[run]\n[adapter]\nrank = -4\n", "adapter.rank"), (b"a = ", "TOML")],
)
def test_a_spoilt_run_file_is_refused_before_an_engine_starts(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path, spoilt: bytes, word: str
) -> None:
    fake_engine(steps=4000, step_seconds=0.001, die_at=50)
    run_cli(*train_arguments, "--name", "spoilt", "--headless")
    run_dir = only_run(home)
    run_dir.run_toml.write_bytes(spoilt)
    journal = run_dir.events.read_bytes()
    outcome = run_cli("resume", "spoilt", "--headless")
    assert outcome.code == 4
    assert word in outcome.err
    assert run_dir.events.read_bytes() == journal


def test_a_finished_run_is_not_resumed(run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str]) -> None:
    assert run_cli(*train_arguments, "--headless", "--name", "done").code == 0
    outcome = run_cli("resume", "done")
    assert outcome.code == 4
    assert "nothing to resume" in outcome.err


def test_attach_plain_tells_a_finished_run(
    run_cli: Cli, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    assert run_cli(*train_arguments, "--headless").code == 0
    outcome = run_cli("attach", "--plain")
    assert outcome.code == 0
    assert outcome.out.splitlines()[0].startswith(only_run(home).name)
    assert "finished at step 40/40" in outcome.out
    assert run_cli("attach", "--json").out.encode() == only_run(home).events.read_bytes()


def _begin(background: Background, train_arguments: list[str], home: Path) -> tuple[subprocess.Popen[str], RunDir]:
    """A headless command with its engine in the middle of training."""
    process = background(*train_arguments, "--headless", "--name", "live")
    run = RunDir(home / "runs" / "live")
    await_event(Tail(run.events), lambda event: event["type"] == "step", process=process)
    return process, run


def test_sigterm_to_the_command_stops_and_saves(
    background: Background, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    fake_engine(steps=100_000, save_every=100_000)
    process, run = _begin(background, train_arguments, home)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 3, err
    assert "finishes its step and saves" in err
    assert "resume live" in err
    assert out == ""
    assert run.latest_checkpoint() is not None


def test_a_second_interrupt_aborts(
    background: Background, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    fake_engine(steps=100_000, save_every=100_000, step_seconds=0.5)
    process, run = _begin(background, train_arguments, home)
    process.send_signal(signal.SIGINT)
    await_event(Tail(run.events), lambda event: event.get("name") == "stop")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 3, err
    assert "Aborting" in err or "aborted" in err or "stopped" in err


def test_a_hangup_leaves_the_engine_training(
    background: Background, fake_engine: FakeEngine, train_arguments: list[str], home: Path
) -> None:
    fake_engine(steps=100_000)
    process, run = _begin(background, train_arguments, home)
    process.send_signal(signal.SIGHUP)
    process.communicate()
    assert process.returncode == -signal.SIGHUP
    assert liveness(run, time.time()) is Liveness.RUNNING
    await_event(Tail(run.events, run.events.stat().st_size), lambda event: event["type"] == "step")
    inbox.send(run, "abort", by="test")
    await_release(run)


def test_interrupting_the_wait_leaves_the_engine_starting(
    run_cli: Cli,
    fake_engine: FakeEngine,
    train_arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    fake_engine(steps=100_000)
    monkeypatch.setattr(start, "wait_until_started", interrupted)
    outcome = run_cli(*train_arguments, "--detach", "--name", "slow")
    assert outcome.code == 0
    assert "goes on starting" in outcome.err
    run = RunDir.open(home / "runs" / "slow")
    await_event(Tail(run.events), lambda event: event["type"] == "session_started")
    assert run_cli("abort", "slow", "--wait").code == 0


def test_dry_run_writes_nothing(run_cli: Cli, train_arguments: list[str], home: Path) -> None:
    before = sorted(home.rglob("*"))
    outcome = run_cli(*train_arguments, "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    assert sorted(home.rglob("*")) == before
    plan = outcome.json
    assert plan["origins"]["adapter.rank"] == "preset quick_test"
    assert {check["status"] for check in plan["checks"]} <= {"ok", "warn"}
    text = run_cli(*train_arguments, "--dry-run")
    assert "Nothing was started." in text.out


def test_a_failed_check_refuses_the_run(run_cli: Cli, train_arguments: list[str], home: Path, checkpoint: Path) -> None:
    (checkpoint.parent / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    outcome = run_cli(*train_arguments, "--headless")
    assert outcome.code == 4
    assert "diffusion_pytorch_model.safetensors does not exist" in outcome.err
    assert not (home / "runs").exists()
    assert run_cli(*train_arguments, "--dry-run").code == 4


def test_errors_are_json_when_json_was_asked_for(run_cli: Cli) -> None:
    outcome = run_cli("train", "recomended", "--headless", "--json")
    assert outcome.code == 4
    error = outcome.json["error"]
    assert error["code"] == 4
    assert "Did you mean 'recommended'?" in error["hint"]


def test_headless_and_detach_exclude_each_other(run_cli: Cli, train_arguments: list[str]) -> None:
    outcome = run_cli(*train_arguments, "--headless", "--detach")
    assert outcome.code == 2
    assert "exclude each other" in outcome.err


def test_every_wrong_setting_is_named(run_cli: Cli, train_arguments: list[str]) -> None:
    outcome = run_cli(*train_arguments, "-s", "adapter.rnk=8", "-s", "optim.lr=7")
    assert outcome.code == 4
    assert "adapter.rank" in outcome.err
    assert "at most 1" in outcome.err
