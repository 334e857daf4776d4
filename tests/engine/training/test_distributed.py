"""Two processes train like one with twice the accumulation, and agree about everything."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sidestep_tui.core.errors import OutOfMemoryError, SettingsError, UsageError
from sidestep_tui.engine import __main__ as engine
from sidestep_tui.engine import adapters, devices, resumption
from sidestep_tui.engine.batches import Sampler, SongStore
from sidestep_tui.engine.ranks import World
from sidestep_tui.engine.trainer import Trainer
from sidestep_tui.launch import failures, spawn
from sidestep_tui.protocol import inbox
from sidestep_tui.protocol.events import encode
from sidestep_tui.protocol.liveness import explain_death, real_exit_code
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.train import TrainSettings

ROOT = Path(__file__).resolve().parents[3]


def run_two(out: Path) -> list[tuple[dict[str, Any], dict[str, torch.Tensor]]]:
    """What both processes of `two_processes.py` left behind."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.training.two_processes", str(out)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)}, text=True
        )
        for rank in range(2)
    ]
    assert [process.wait() for process in processes] == [5, 5], "the second ran out of memory at last"
    return [
        (json.loads((out / f"rank{rank}.json").read_text()), load_file(out / f"rank{rank}.safetensors"))
        for rank in range(2)
    ]


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_accumulation_and_resume_exactly(
    tmp_path: Path, new_trainer: Callable[..., Trainer], new_settings: Callable[..., Settings]
):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.toml").touch()
    (said, tensors), (said_by_other, tensors_of_other) = run_two(tmp_path)
    assert said == said_by_other
    assert all(torch.equal(value, tensors_of_other[name]) for name, value in tensors.items())

    alone = new_trainer(settings=new_settings(train={"accumulation": 4}))
    for number in range(6):
        result = alone.step()
        assert result.loss == pytest.approx(said["losses"][number], rel=1e-6)
        assert result.grad_norm == pytest.approx(said["norms"][number], rel=1e-6)
        assert result.examples == said["examples"][number]
        if alone.at_end_of_epoch:
            alone.end_epoch()
    for name, parameter in alone.parameters.items():
        apart = (tensors[f"whole|{name}"] - parameter).norm() / parameter.norm()
        assert apart < 1e-6, name
        assert torch.equal(tensors[f"whole|{name}"], tensors[f"resumed|{name}"]), name
    assert said["steps"] == [alone.steps_per_epoch, alone.total_steps] == [2, 6]
    assert said["songs"] == ["a", "b", "c", "d", "e"]
    # Each epoch's second step has one example only, which is the first process's.
    assert said["skipped"] == [True, False] * 3
    title, message, kind = json.loads((tmp_path / "end.json").read_text())
    assert (title, kind) == ("Memory ran out.", "out_of_memory")
    assert "process 1 of 2" in message


def test_examples_are_dealt_out_whole_and_each_process_knows_them_all(songs: list[Any]):
    train = TrainSettings(batch_size=2, accumulation=1)
    store = SongStore(songs, "ram", 0)
    sampler = Sampler(store, DataSettings(crop_seconds=2.0), train, seed=1, processes=2)
    step = sampler.examples(0, 0)
    assert len(step) == sampler.window == 4
    shares = [sampler.share(step, rank) for rank in range(2)]
    assert [len(share) for share in shares] == [2, 2]
    assert sorted(example.index for share in sampler.computed(step) for example in share) == [0, 1, 2, 3]
    alone = Sampler(store, DataSettings(crop_seconds=2.0), TrainSettings(accumulation=4), seed=1)
    assert alone.examples(0, 0) == step
    last = sampler.examples(0, 4)
    assert [len(sampler.share(last, rank)) for rank in range(2)] == [1, 0]
    assert sampler.steps_left(0, 4, 2) == 1 + 2


def test_the_environment_says_which_process_this_is():
    assert World.of_environment({}) == World()
    env = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert World.of_environment(env) == World(3, 4, 1, 2)
    assert not World.of_environment(env).is_first
    for wrong in ({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2", "RANK": "two"}, {"WORLD_SIZE": "2", "RANK": "2"}):
        with pytest.raises(UsageError):
            World.of_environment(wrong)


def test_several_gpus_are_not_replaced_by_a_processor(
    new_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="no GPU"):
        devices.choose(new_settings(memory={"device": "all"}).memory)


def test_processes_cannot_share_a_device_that_is_named(new_settings: Callable[..., Settings], monkeypatch: Any):
    monkeypatch.setattr(devices.distributed, "size", lambda: 2)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.choose(new_settings(memory={"device": "cpu"}).memory) == torch.device("cpu")
    assert devices.choose(new_settings(memory={"device": "auto"}).memory) == torch.device("cuda:1")
    with pytest.raises(SettingsError, match="cannot share"):
        devices.choose(new_settings(memory={"device": "cuda:0"}).memory)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="a GPU each"):
        devices.choose(new_settings(memory={"device": "auto"}).memory)


def follow(process: subprocess.Popen[bytes], tail: Tail, until: str) -> list[dict[str, Any]]:
    """What the journal says until an event of that type, or until the process ends."""
    events: list[dict[str, Any]] = []
    while not any(event["type"] == until for event in events):
        is_over = process.poll() is not None
        events += tail.read()
        if is_over:
            return events
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return events


@pytest.mark.slow
def test_torchrun_obeys_and_finishes_a_run_as_one_process_would(
    new_run: Callable[..., tuple[RunDir, Settings]], make_run: Callable[..., tuple[RunDir, Settings]], tmp_path: Path
):
    run_dir, _ = new_run(train={"epochs": 2, "accumulation": 1}, data={"validation": 20})
    tail = Tail(run_dir.events)
    process = spawn.spawn(run_dir.path, processes=2)
    # Held before its first step: so short a run would be over before it looks.
    events = follow(process, tail, "session_started")
    for order, answer in (("pause", "paused"), ("checkpoint", "command"), ("resume", "session_ended")):
        inbox.send(run_dir, order, by="test")
        events += follow(process, tail, answer)
    assert process.wait() == 0, run_dir.log.read_text()
    assert events[-1]["reason"] == "finished"
    answers = {event["name"]: event["state"] for event in events if event["type"] == "command"}
    assert answers == {"pause": "done", "checkpoint": "refused", "resume": "done"}
    assert "Computing on cpu" in (run_dir.path / "engine.rank1.log").read_text()
    assert not is_held(run_dir)

    alone, _ = make_run(tmp_path / "alone", train={"epochs": 2, "accumulation": 2}, data={"validation": 20})
    assert engine.main([str(alone.path)]) == 0
    weights, expected = (adapters.read_adapter(run.adapter / "final")[1] for run in (run_dir, alone))
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert (weights[name] - value).norm() <= 1e-6 * value.norm(), name


@pytest.mark.slow
def test_accelerate_launches_the_engine_as_it_is(new_run: Callable[..., tuple[RunDir, Settings]]):
    run_dir, _ = new_run(train={"epochs": 1, "accumulation": 1})
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no"
    command = ["-m", "accelerate.commands.accelerate_cli", "launch", *options.split(), "-m", "sidestep_tui.engine"]
    done = subprocess.run(
        [sys.executable, *command, str(run_dir.path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    events = Tail(run_dir.events).read_all()
    assert events[-1]["reason"] == "finished"
    assert [event["step"] for event in events if event["type"] == "step"] == [1, 2, 3], "five songs, two at a time"
    assert "Computing on cpu" in (run_dir.path / "engine.rank1.log").read_text()


def test_with_another_number_of_processes_a_run_goes_on_at_the_same_song_and_says_so(
    new_trainer: Callable[..., Trainer],
):
    trainer = new_trainer()
    trainer.step()
    said: list[str] = []
    reporter = SimpleNamespace(log=said.append, warning=lambda code, message, hint: said.append(f"{code}: {message}"))
    resumption.report_changes(reporter, trainer, replace(trainer.state({}), processes=2))
    assert said == [
        "processes_changed: The run goes on with 1 process instead of 2: it continues at the same song, but a step "
        "now takes 2 songs."
    ]
    assert trainer.state({}).processes == 1
    resumption.report_changes(reporter, trainer, trainer.state({}))
    assert len(said) == 1


def test_the_exit_code_of_the_engine_is_found_behind_that_of_its_launcher(tmp_path: Path):
    run_dir = RunDir(tmp_path)
    assert real_exit_code(run_dir, 1) == 1
    run_dir.log.write_text(
        "Root Cause (first observed failure):\n[0]:\n  rank      : 1 (local_rank: 1)\n"
        "  exitcode  : -9 (pid: 4711)\n  error_file: <N/A>\n"
    )
    assert real_exit_code(run_dir, 1) == -9
    assert real_exit_code(run_dir, 3) == 3
    assert "killed from outside" in explain_death(run_dir, 1).cause
    assert isinstance(failures.early_death(run_dir, 1), OutOfMemoryError)
    run_dir.events.write_bytes(encode({"type": "session_ended", "seq": 0, "session": "a", "code": 3}))
    assert real_exit_code(run_dir, 1) == 3
