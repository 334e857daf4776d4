"""A session from run.toml to its end: what it writes, obeys, refuses, and how it fails."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sidestep_tui.core.errors import DivergedError, ExitCode, RunError, SettingsError, SidestepError
from sidestep_tui.engine import __main__ as entry
from sidestep_tui.engine import adapters, checkpoint, devices, export, failures, weights
from sidestep_tui.engine.control import Orders
from sidestep_tui.engine.loop import TrainingRun
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.trainer import EpochResult, Trainer
from sidestep_tui.protocol.inbox import Command
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.memory import MemorySettings
from sidestep_tui.schema.run import RunFile, read_run, write_run

STEPS_PER_EPOCH = 3


class Script:
    """A control that gives prepared orders, one per safe point."""

    def __init__(self, *orders: Orders) -> None:
        self.orders: Iterator[Orders] = iter(orders)
        self.answers: list[tuple[str, str]] = []
        self.leaving = False

    def poll(self) -> Orders:
        return next(self.orders, Orders())

    def wait_while_paused(self, step: int) -> Orders:
        self.answers.append(("paused", str(step)))
        return next(self.orders, Orders())

    def should_stop(self) -> bool:
        return self.leaving

    def should_abort(self) -> bool:
        return False

    def done(self, command: Command, detail: str = "") -> None:
        self.answers.append((command.id, detail))

    def refused(self, command: Command, detail: str) -> None:
        self.answers.append((command.id, f"refused: {detail}"))


def request(name: str) -> Command:
    return Command(id=name, name="checkpoint", by="test", t=0.0)


@pytest.fixture
def session(new_run) -> Callable[..., Any]:
    """`session(run_dir, script)`: carry out one session in this process; the reason of its end."""

    def carry_out(run_dir: RunDir, script: Script | None = None) -> str:
        with Reporter(run_dir, "test", sample_seconds=0) as reporter:
            return TrainingRun(run_dir, reporter, script or Script()).carry_out()

    return carry_out


def events(run_dir: RunDir, kind: str | None = None) -> list[dict[str, Any]]:
    told = Tail(run_dir.events).read(limit_bytes=2**30)
    return [event for event in told if kind in (None, event["type"])]


def checkpoints(run_dir: RunDir) -> list[str]:
    return [path.name for path in run_dir.published_checkpoints()]


def edit(run_dir: RunDir, **groups: dict[str, Any]) -> None:
    """Change settings in run.toml, as a person may before resuming."""
    run = read_run(run_dir.run_toml)
    values = run.settings.model_dump()
    for group, fields in groups.items():
        values[group].update(fields)
    settings = type(run.settings).model_validate(values)
    write_run(run_dir.run_toml, RunFile(name=run.name, settings=settings, created=run.created))


def test_a_run_trains_saves_exports_and_verifies(new_run, session, tiny_checkpoint):
    run_dir, _ = new_run(train={"epochs": 6, "best_after": 0})
    assert session(run_dir) == "finished"
    started = events(run_dir, "session_started")[0]
    assert (started["total_steps"], started["epochs"], started["steps_per_epoch"]) == (18, 6, STEPS_PER_EPOCH)
    assert started["resumed_from"] is None
    final = load_file(run_dir.adapter / "final" / "adapter_model.safetensors")
    assert started["adapter_parameters"] == sum(tensor.numel() for tensor in final.values())
    phases = list(dict.fromkeys(event["name"] for event in events(run_dir, "phase")))
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
    steps = events(run_dir, "step")
    assert [event["step"] for event in steps] == list(range(1, 19))
    assert all(math.isfinite(event["loss"]) and event["grad_norm"] > 0 for event in steps)
    assert [event["epoch"] for event in steps] == [1 + index // STEPS_PER_EPOCH for index in range(18)]
    epochs = events(run_dir, "epoch")
    assert [event["smoothed_loss"] is None for event in epochs] == [True] * 4 + [False] * 2
    last = [event["loss"] for event in epochs[-5:]]
    assert epochs[-1]["smoothed_loss"] == pytest.approx(sum(last) / 5)
    assert [event["reason"] for event in events(run_dir, "checkpoint")] == ["final"]
    assert [event["kind"] for event in events(run_dir, "adapter")][-1] == "final"
    assert any("maximum difference 0" in event["msg"] for event in events(run_dir, "log"))
    assert (run_dir.adapter / "best" / adapters.WEIGHTS_FILE).is_file()
    assert export.read_provenance(run_dir.adapter / "final")["variant"] == "turbo"
    base = weights.find_checkpoint(str(tiny_checkpoint), "auto", "")
    fresh = weights.load_transformer(base, torch.float32, torch.device("cpu"))
    assert adapters.load_adapter(fresh, run_dir.adapter / "final") == 64


@pytest.mark.parametrize("checkpoint_fixture", ["tiny_xl_checkpoint", "tiny_diffusers_checkpoint"])
def test_xl_and_the_diffusers_layout_train_too(new_run, session, request, checkpoint_fixture):
    path = request.getfixturevalue(checkpoint_fixture)
    run_dir, _ = new_run(model={"path": str(path)}, adapter={"kind": "dora", "mlp": True}, train={"max_steps": 2})
    assert session(run_dir) == "finished"
    assert (run_dir.adapter / "final" / adapters.WEIGHTS_FILE).is_file()


def test_learning_lowers_the_loss_of_what_is_learnt(new_run, session, new_trainer, new_settings):
    """The same crops, noise and levels before and after: the adapter must have learnt something."""
    settings = new_settings(train={"epochs": 30, "accumulation": 5})
    trainer = new_trainer(settings)

    def loss() -> float:
        collator, sampler = trainer._collator, trainer._sampler
        with torch.no_grad():
            groups = sampler.micro_batches(sampler.examples(0, 0))
            return sum(trainer.losses(collator.collate(group, torch.device("cpu"))).sum().item() for group in groups)

    before = loss()
    while not trainer.is_done:
        trainer.step()
        trainer.end_epoch()
    assert loss() < 0.97 * before


def test_checkpoints_come_by_epochs_and_by_steps_and_only_the_newest_stay(new_run, session):
    run_dir, _ = new_run(output={"save_every_epochs": 2, "save_every_steps": 4, "keep_last": 2}, train={"epochs": 5})
    session(run_dir)
    told = [(event["step"], event["reason"]) for event in events(run_dir, "checkpoint")]
    assert told == [(4, "schedule"), (6, "schedule"), (8, "schedule"), (12, "schedule"), (15, "final")]
    assert checkpoints(run_dir) == ["step_000012", "step_000015"]


def test_the_step_limit_ends_the_run_inside_an_epoch_with_an_export(new_run, session):
    run_dir, _ = new_run(train={"epochs": 50, "max_steps": 4})
    assert session(run_dir) == "finished"
    assert events(run_dir, "step")[-1]["step"] == 4
    assert events(run_dir, "session_started")[0]["total_steps"] == 4
    assert (run_dir.adapter / "final").is_dir()


def test_stop_saves_and_exports_nothing(new_run, session):
    run_dir, _ = new_run()
    assert session(run_dir, Script(Orders(), Orders(), Orders(stop=True))) == "stopped"
    assert checkpoints(run_dir) == ["step_000002"]
    assert events(run_dir, "checkpoint")[-1]["reason"] == "stop"
    assert not run_dir.adapter.exists()
    assert session(run_dir) == "finished"
    assert events(run_dir, "session_started")[-1]["resumed_from"] == 2


def test_abort_leaves_without_saving(new_run, session):
    run_dir, _ = new_run()
    assert session(run_dir, Script(Orders(), Orders(stop=True, abort=True))) == "aborted"
    assert checkpoints(run_dir) == []


def test_stop_while_encoding_leaves_before_training(new_run, session):
    run_dir, _ = new_run()
    script = Script()
    script.leaving = True
    assert session(run_dir, script) == "stopped"
    assert events(run_dir, "step") == []


def test_a_checkpoint_is_made_when_asked_even_while_paused(new_run, session):
    run_dir, _ = new_run()
    script = Script(
        Orders(checkpoint=(request("too-early"),)),
        Orders(checkpoint=(request("now"),)),
        Orders(paused=True),
        Orders(paused=True, checkpoint=(request("while-paused"), request("twice"))),
        Orders(),
    )
    assert session(run_dir, script) == "finished"
    assert script.answers == [
        ("too-early", "refused: no step has been trained yet"),
        ("now", "step_000001"),
        ("paused", "2"),
        ("while-paused", "step_000002"),
        ("twice", "step_000002"),
        ("paused", "2"),
    ]
    told = [(event["step"], event["reason"]) for event in events(run_dir, "checkpoint")]
    assert told == [(1, "requested"), (2, "requested"), (9, "final")]


def poison(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Make the loss of steps `first` to `last` (counted from 1) not a number."""
    losses = Trainer.losses

    def poisoned(self: Trainer, batch):
        factor = math.nan if first <= self.position.step + 1 <= last else 1.0
        return losses(self, batch) * factor

    monkeypatch.setattr(Trainer, "losses", poisoned)


def test_a_loss_that_is_not_a_number_changes_no_weight_and_names_the_songs(new_trainer, new_song):
    trainer = new_trainer(songs=[new_song("quiet", 60, 9), new_song("deafening", 60, 9, fill=1e30)])
    before = {name: parameter.detach().clone() for name, parameter in trainer.parameters.items()}
    result = trainer.step()
    assert result.skipped
    assert result.suspects == ("deafening",)
    assert not math.isfinite(result.loss)
    assert all(torch.equal(parameter, before[name]) for name, parameter in trainer.parameters.items())
    assert trainer.optimizer.state == {}
    assert math.isnan(trainer.end_epoch().loss)


def test_single_bad_steps_are_survived_and_told(new_run, session, monkeypatch):
    poison(monkeypatch, 2, 5)
    run_dir, _ = new_run()
    assert session(run_dir) == "finished"
    steps = events(run_dir, "step")
    assert [math.isnan(event["loss"]) for event in steps] == [1 < event["step"] < 6 for event in steps]
    warnings = [event for event in events(run_dir, "warning") if event["code"] == "step_skipped"]
    assert len(warnings) == 4
    assert "songs: " in warnings[0]["msg"]
    # Epoch 1 had one good step, epoch 2 one: their means are finite, since skipped steps taught nothing.
    assert all(math.isfinite(event["loss"]) for event in events(run_dir, "epoch"))


def test_five_bad_steps_in_a_row_end_the_run_with_the_last_good_checkpoint(new_run, session, monkeypatch):
    poison(monkeypatch, 4, 99)
    run_dir, _ = new_run(output={"save_every_steps": 3}, train={"epochs": 9, "rollbacks": 0})
    with pytest.raises(DivergedError, match="not a number") as caught:
        session(run_dir)
    assert caught.value.exit_code == ExitCode.DIVERGED
    assert "step_000006" in caught.value.hint
    assert events(run_dir, "step")[-1]["step"] == 8
    assert math.isnan(events(run_dir, "step")[-1]["loss"])
    _, tensors = adapters.read_adapter(run_dir.checkpoint_path(6))
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    assert not (run_dir.adapter / "final").exists()


def test_patience_ends_the_run_early_with_an_export(new_run, session, monkeypatch):
    end_epoch = Trainer.end_epoch

    def constant(self: Trainer) -> EpochResult:
        result = end_epoch(self)
        return EpochResult(result.epoch, result.step, 1.0)

    monkeypatch.setattr(Trainer, "end_epoch", constant)
    run_dir, _ = new_run(train={"epochs": 40, "best_after": 0, "patience": 2})
    assert session(run_dir) == "early_stop"
    assert events(run_dir, "epoch")[-1]["epoch"] == 7  # best at 5, then two epochs of patience
    assert (run_dir.adapter / "final").is_dir()
    assert [event["epoch"] for event in events(run_dir, "best")] == [5]


def test_a_run_killed_before_its_export_only_exports_when_resumed(new_run, session, monkeypatch):
    run_dir, _ = new_run(train={"epochs": 2})
    monkeypatch.setattr(export, "publish_contents", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        session(run_dir)
    monkeypatch.undo()
    assert session(run_dir) == "finished"
    assert len(events(run_dir, "step")) == 6
    assert (run_dir.adapter / "final").is_dir()


def test_a_best_adapter_that_a_kill_left_between_two_names_is_there_after_a_resume(new_run, session):
    run_dir, _ = new_run(train={"epochs": 6, "best_after": 0})
    session(run_dir)
    best = run_dir.adapter / "best"
    before = (best / adapters.WEIGHTS_FILE).read_bytes()
    best.rename(run_dir.adapter / ".best.old")
    assert session(run_dir) == "finished"
    assert (best / adapters.WEIGHTS_FILE).read_bytes() == before
    assert sorted(path.name for path in run_dir.adapter.iterdir()) == ["best", "final"]


def test_a_finished_run_with_more_epochs_goes_on_and_replaces_its_own_export(new_run, session):
    run_dir, _ = new_run(train={"epochs": 1})
    session(run_dir)
    before = (run_dir.adapter / "final" / adapters.WEIGHTS_FILE).read_bytes()
    edit(run_dir, train={"epochs": 2})
    assert session(run_dir) == "finished"
    assert events(run_dir, "step")[-1]["step"] == 6
    assert (run_dir.adapter / "final" / adapters.WEIGHTS_FILE).read_bytes() != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adapter": {"rank": 8}}, "adapter.rank was 4 and is 8"),
        ({"adapter": {"attention": "self"}}, "other layers"),
        ({"data": {"tag": "drms"}}, "captions"),
    ],
)
def test_a_resume_that_cannot_be_exact_is_refused(new_run, session, change, words):
    run_dir, _ = new_run()
    session(run_dir, Script(Orders(), Orders(stop=True)))
    edit(run_dir, **change)
    with pytest.raises(RunError, match=words):
        session(run_dir)
    assert len(events(run_dir, "step")) == 1


def test_somebody_elses_adapter_is_not_overwritten(new_run, session):
    run_dir, _ = new_run(train={"epochs": 1})
    (run_dir.adapter / "final").mkdir(parents=True)
    (run_dir.adapter / "final" / "mine.txt").write_text("keep")
    with pytest.raises(RunError, match="another adapter"):
        session(run_dir)
    assert (run_dir.adapter / "final" / "mine.txt").read_text() == "keep"
    assert checkpoints(run_dir) == ["step_000003"]


@pytest.mark.parametrize(
    "change",
    [{"adapter": {"attention": "none"}}, {"optim": {"optimizer": "adamw8bit"}}, {"memory": {"device": "cuda:9"}}],
)
def test_what_can_never_train_is_refused_before_encoding(new_run, session, monkeypatch, change):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    run_dir, _ = new_run(**change)
    with pytest.raises(SidestepError) as caught:
        session(run_dir)
    assert caught.value.exit_code == ExitCode.REFUSED
    assert events(run_dir) == []


def test_a_drawn_seed_is_recorded_and_kept_by_a_resume(new_run, session):
    run_dir, _ = new_run(train={"seed": -1})
    session(run_dir, Script(Orders(), Orders(stop=True)))
    session(run_dir)
    drawn = [event["msg"] for event in events(run_dir, "log") if event["msg"].startswith("Seed ")]
    assert len(drawn) == 2
    assert drawn[0] == drawn[1]


def test_a_warm_up_longer_than_the_run_is_shortened_and_told(new_run, session):
    run_dir, _ = new_run(train={"epochs": 2}, optim={"warmup_steps": 100})
    session(run_dir)
    assert "warmup_shortened" in [event["code"] for event in events(run_dir, "warning")]


# The border.


def outcome(run_dir: RunDir) -> tuple[dict[str, Any], dict[str, Any]]:
    return events(run_dir, "error")[-1], events(run_dir, "session_ended")[-1]


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        RuntimeError("Invalid buffer size: 42.19 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_has_its_own_exit_code_and_a_remedy(new_run, monkeypatch, error):
    def fail(_: Trainer) -> None:
        raise error

    monkeypatch.setattr(Trainer, "step", fail)
    run_dir, _ = new_run()
    assert entry.main([str(run_dir.path)]) == ExitCode.OUT_OF_MEMORY
    told, ended = outcome(run_dir)
    assert "gradient checkpointing" in told["hint"]
    assert told["traceback_path"] is None
    assert (ended["reason"], ended["code"]) == ("out_of_memory", 5)


def test_a_bug_leaves_a_traceback_in_a_file_and_a_sentence_in_the_journal(new_run, monkeypatch, capfd):
    def fail(_: Trainer) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr(Trainer, "step", fail)
    run_dir, _ = new_run()
    assert entry.main([str(run_dir.path)]) == ExitCode.BUG
    told, ended = outcome(run_dir)
    assert "surprise" in told["msg"]
    report = run_dir.path / told["traceback_path"]
    assert report.name.startswith("engine-traceback-")
    assert "in fail" in report.read_text()
    assert (ended["reason"], ended["code"]) == ("failed", 70)
    assert "Traceback" not in capfd.readouterr().err


def test_a_refusal_is_a_sentence_and_exit_code_4(new_run, monkeypatch, tmp_path):
    run_dir, _ = new_run(data={"path": str(tmp_path / "nowhere")})
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    told, ended = outcome(run_dir)
    assert "nowhere" in told["title"] + told["msg"]
    assert told["hint"]
    assert (ended["reason"], ended["code"], ended["step"]) == ("refused", 4, 0)
    assert events(run_dir, "session_started") == []


@pytest.mark.parametrize("moment", ["before a step", "before a save"])
def test_a_run_that_was_moved_ends_at_once_and_leaves_nothing_at_its_old_place(new_run, monkeypatch, moment):
    run_dir, _ = new_run(output={"save_every_steps": 2, "async_saving": False})
    moved = RunDir(run_dir.path.with_name("moved"))
    plain_step, plain_write = Trainer.step, checkpoint.write

    def move(*_: Any) -> None:
        if not moved.path.exists():
            run_dir.path.rename(moved.path)

    def step(self: Trainer) -> Any:
        result = plain_step(self)
        if moment == "before a step":
            move()
        return result

    def write(*arguments: Any) -> Any:
        if moment == "before a save":
            move()
        return plain_write(*arguments)

    monkeypatch.setattr(Trainer, "step", step)
    monkeypatch.setattr(checkpoint, "write", write)
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert not run_dir.path.exists()
    told, ended = outcome(moved)
    assert "moved or deleted" in told["title"]
    assert told["hint"]
    assert (ended["reason"], ended["step"]) == ("refused", 1 if moment == "before a step" else 2)
    monkeypatch.undo()
    assert entry.main([str(moved.path)]) == ExitCode.DONE


@pytest.mark.parametrize(
    "spoil", [lambda run: edit(run, model={"path": "/nowhere"}), lambda run: run.run_toml.write_text("?")]
)
def test_a_refused_resume_says_at_which_step_the_run_rests(new_run, session, spoil):
    run_dir, _ = new_run()
    session(run_dir, Script(Orders(), Orders(), Orders(stop=True)))
    spoil(run_dir)
    assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert events(run_dir, "session_ended")[-1]["step"] == 2


def test_a_finished_run_exits_with_zero(new_run):
    run_dir, _ = new_run(train={"epochs": 1})
    assert entry.main([str(run_dir.path)]) == ExitCode.DONE
    ended = events(run_dir, "session_ended")[-1]
    assert (ended["reason"], ended["code"], ended["step"]) == ("finished", 0, STEPS_PER_EPOCH)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--help"]])
def test_wrong_arguments_are_usage_errors(arguments):
    assert entry.main(arguments) == ExitCode.USAGE


def test_a_directory_that_is_no_run_is_refused(tmp_path: Path, capsys):
    assert entry.main([str(tmp_path)]) == ExitCode.REFUSED
    assert str(tmp_path) in capsys.readouterr().err


def test_a_run_in_use_is_refused_and_says_by_whom(new_run, capsys):
    run_dir, _ = new_run()
    with RunLock(run_dir, "other", now=0.0):
        assert entry.main([str(run_dir.path)]) == ExitCode.REFUSED
    assert f"process {os.getpid()}" in capsys.readouterr().err
    assert not run_dir.events.exists()


def test_an_ordinary_runtime_error_is_not_taken_for_memory():
    assert not failures.is_out_of_memory(RuntimeError("shapes do not match"))
    assert not failures.is_out_of_memory(ValueError("out of memory"))


# Devices.


def test_auto_takes_the_cpu_in_float32_when_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    memory = MemorySettings()
    device = devices.choose(memory)
    assert (device.type, devices.precision(memory, device)) == ("cpu", torch.float32)
    assert devices.precision(MemorySettings(precision="bfloat16"), device) == torch.bfloat16


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingsError, match=name):
        devices.choose(MemorySettings(device=name))


def test_auto_takes_the_gpu_with_the_most_free_memory(monkeypatch):
    class Properties:
        def __init__(self, uuid: str) -> None:
            self.uuid = uuid

    class Gpu:
        def __init__(self, uuid: str, free: int) -> None:
            self.uuid, self.free = uuid, free

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties("abc"[index]))
    monkeypatch.setattr(devices.nvml, "gpus", lambda: [Gpu("GPU-c", 3), Gpu("GPU-a", 5), Gpu("GPU-b", 9)])
    assert devices.choose(MemorySettings()) == torch.device("cuda", 1)


class Parcel:
    """Stands for a tensor and writes down how it is sent."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def pin_memory(self) -> Parcel:
        self.calls.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool = False) -> Parcel:
        self.calls.append((device.type, non_blocking))
        return self


def test_a_batch_never_waits_for_cuda_and_never_runs_away_from_mps():
    def sent(name: str) -> list[Any]:
        parcel = Parcel()
        devices.send(parcel, torch.device(name))  # type: ignore[arg-type]
        return parcel.calls

    assert sent("cuda:0") == ["pinned", ("cuda", True)]
    assert sent("mps") == [("mps", False)]
    assert sent("cpu") == [("cpu", False)]


def test_bfloat16_on_a_processor_without_fast_kernels_is_called_slow(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert devices.is_slow(torch.device("cpu"), torch.bfloat16)
    assert not devices.is_slow(torch.device("cpu"), torch.float32)
    assert not devices.is_slow(torch.device("mps"), torch.bfloat16)
