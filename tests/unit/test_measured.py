"""An earlier run of this machine says how fast it is; one of another model, device or computer says nothing."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.launch import measured
from sidestep_tui.launch.gpus import Device
from sidestep_tui.protocol import snapshot
from sidestep_tui.protocol.journal import Journal
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.schema import memory_model, run
from sidestep_tui.schema.model_shape import SHAPE_2B, SHAPE_XL, ModelShape
from sidestep_tui.schema.settings import Settings

GIB = 1024**3
GPU = Device("cuda", "NVIDIA RTX 3060", 11 * GIB, 12 * GIB)
SETTINGS = Settings.model_validate({"train": {"batch_size": 2}, "memory": {"gradient_checkpointing": "on"}})


def past_run(
    folder: Path, name: str = "drums", times: tuple[float, ...] = (9.0, 0.5, 0.5, 0.6, 0.4, 0.5), **told: Any
) -> Path:
    """A run whose steps took these seconds."""
    run_dir = RunDir.create(folder, name)
    run.write_run(run_dir.run_toml, run.RunFile(name, SETTINGS))
    ticks = itertools.count(1_000)
    journal = Journal(run_dir, "s1", lambda: float(next(ticks)))
    about = {
        "device": "cuda:0 (NVIDIA RTX 3060, bfloat16)",
        "host": socket.gethostname(),
        "engine": "train",
        "adapter_parameters": memory_model.adapter_parameters(SHAPE_2B, SETTINGS),
    }
    events = [journal.append("session_started", **{**about, **told})]
    events += [
        journal.append("step", step=number, epoch=1, loss=1.0, lr=1e-4, grad_norm=1.0, samples_per_s=1.0, seconds=time)
        for number, time in enumerate(times, 1)
    ]
    journal.close()
    snapshot.write(run_dir, snapshot.describe(RunState.from_events(events), heartbeat=1.0, journal_offset=1))
    return run_dir.path


def test_the_newest_run_of_this_machine_tells_by_its_usual_step(tmp_path: Path) -> None:
    paths = [past_run(tmp_path, "older", times=(7.0,) * 6), past_run(tmp_path, "newer")]
    found = measured.earlier(GPU, SHAPE_2B, paths)
    assert found is not None
    assert (found.source, found.seconds_per_step) == ("newer", 0.5)
    assert found.settings.memory.recomputes
    assert found.settings.train.batch_size == 2


@pytest.mark.parametrize(
    "told",
    [
        {"device": "cuda:0 (NVIDIA RTX 3060 Ti, bfloat16)"},
        {"device": "cuda:0 (NVIDIA RTX 3060, bfloat16, one of 2 processes)"},
        {"device": "cpu (float32)"},
        {"host": "elsewhere"},
        {"engine": "fake"},
        {"adapter_parameters": 12},
        {"adapter_parameters": None},
        {"times": (0.5, 0.5)},
    ],
)
def test_other_runs_say_nothing(tmp_path: Path, told: dict[str, Any]) -> None:
    assert measured.earlier(GPU, SHAPE_2B, [past_run(tmp_path, **told)]) is None


@pytest.mark.parametrize("shape", [SHAPE_XL])
def test_another_size_of_model_says_nothing(tmp_path: Path, shape: ModelShape) -> None:
    assert measured.earlier(GPU, shape, [past_run(tmp_path)]) is None


def test_a_processor_is_one_of_its_kind(tmp_path: Path) -> None:
    cpu = Device("cpu", "this computer's CPU", 16 * GIB, 32 * GIB)
    assert measured.earlier(cpu, SHAPE_2B, [past_run(tmp_path, device="cpu (float32)")]) is not None


def test_what_a_probe_found_is_of_steps_that_were_not_compiled() -> None:
    found = measured.by_probe({"recomputes": True, "seconds_per_step": 0.25}, Settings())
    assert (found.source, found.seconds_per_step) == ("the probe", 0.25)
    assert (found.settings.memory.gradient_checkpointing, found.settings.speed.compile) == ("on", "off")


def test_an_earlier_run_stands_for_settings_without_auto(tmp_path: Path) -> None:
    found = measured.earlier(GPU, SHAPE_2B, [past_run(tmp_path)])
    assert found is not None
    assert found.settings.speed.compile == "on", "a run of unknown length on CUDA"
