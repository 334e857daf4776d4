"""`train --sbatch`: a script that bash understands, that stops in time and goes on after a requeue."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.core.errors import UsageError
from sidestep_tui.launch import gpus, slurm, spawn
from sidestep_tui.launch.slurm import Job
from sidestep_tui.schema.settings import Settings

from .conftest import Outcome

Cli = Callable[..., Outcome]

STUB = """\
#!/bin/bash
# Stands for sidestep-tui: notes what it is told; trains until it is stopped, resumes to the end at once.
printf '%s\\n' "$*" >> "$NOTES/calls"
run="$RUNS/mine-7"
case "$1" in
train) mkdir -p "$run"; touch "$run/run.toml"; echo "$$" > "$NOTES/training"
       read -r _ < "$NOTES/stop"; exit 3 ;;
stop) echo now > "$NOTES/stop" ;;
esac
"""


def job_in(folder: Path) -> tuple[Path, dict[str, str]]:
    """A batch script over the stub, and the environment of its job."""
    folder.mkdir()
    os.mkfifo(folder / "stop")
    os.mkfifo(folder / "training")
    for name, text in {"tui": STUB, "scontrol": f'#!/bin/bash\necho "$@" >> "{folder}/requeued"\n'}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    runs = folder / "the runs"
    text = slurm.script(
        Job(),
        [str(folder / "tui")],
        ["quick test", "-s", "data.tag=it's $HOME"],
        name="mine",
        output=runs,
        folder=folder,
    )
    (folder / "job.sh").write_text(text)
    path = f"{folder}:{os.environ['PATH']}"
    return folder / "job.sh", {**os.environ, "PATH": path, "NOTES": str(folder), "RUNS": str(runs), "SLURM_JOB_ID": "7"}


def test_a_job_whose_time_is_up_stops_queues_itself_again_and_resumes(tmp_path: Path):
    script, env = job_in(tmp_path / "a folder")
    notes = script.parent
    job = subprocess.Popen(["bash", str(script)], env=env)
    (notes / "training").read_text()  # opened for writing when training has begun
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 3
    assert (notes / "requeued").read_text() == "requeue 7\n"
    run = notes / "the runs" / "mine-7"
    assert (notes / "calls").read_text().splitlines() == [
        "train quick test -s data.tag=it's $HOME --name mine-7 --headless",
        f"stop {run}",
    ]
    assert subprocess.run(["bash", str(script)], env=env, check=False).returncode == 0
    assert (notes / "calls").read_text().splitlines()[2:] == [f"resume {run} --headless"]


def test_a_preempted_job_stops_and_leaves_the_queue_to_slurm(tmp_path: Path):
    script, env = job_in(tmp_path / "job")
    job = subprocess.Popen(["bash", str(script)], env=env)
    (script.parent / "training").read_text()
    job.terminate()
    assert job.wait() == 3
    assert not (script.parent / "requeued").exists()


def test_sbatch_prints_a_script_and_starts_nothing(run_cli: Cli, train_arguments: list[str], home: Path):
    outcome = run_cli(*train_arguments, "--sbatch", "--gpus", "2", "--time", "1-06:30:00", "--partition", "a100")
    assert outcome.code == 0, outcome.err
    assert subprocess.run(["bash", "-n"], input=outcome.out, text=True, check=False).returncode == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in ("--gpus-per-node=2", "--time=1-06:30:00", "--partition=a100", "--signal=B:USR1@300", "--requeue"):
        assert f"#SBATCH {line}" in lines
    assert f"tui=({spawn.interpreter()} -m sidestep_tui)" in lines
    assert "-s memory.device=gpus:2" in outcome.out
    assert f"cd {home}" in lines
    assert not (home / "runs").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--time", "08:00:00"],
        ["--sbatch", "--time", "soon"],
        ["--sbatch", "--partition", "a\nb"],
        ["--sbatch", "--gpus", "all"],
        ["--gpus", "0"],
        ["--gpus", "two"],
    ],
)
def test_what_slurm_would_not_understand_is_refused(run_cli: Cli, train_arguments: list[str], options: list[str]):
    assert run_cli(*train_arguments, *options).code == 2


def test_times_of_slurm_are_taken():
    for time in ("90", "90:00", "08:00:00", "2-12", "2-12:30", "1-06:30:00"):
        assert f"#SBATCH --time={time}" in Job(time=time).options("x")
    with pytest.raises(UsageError):
        Job(time="2h").options("x")


def gpu(index: int, free: int) -> gpus.Gpu:
    return gpus.Gpu(index, f"GPU-{index}", "NVIDIA A100", 80 << 30, 0, free << 30, 0, 30, None, None)


def test_several_gpus_make_a_team_of_the_freest_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    present = [gpu(0, 10), gpu(1, 70), gpu(2, 60), gpu(3, 5)]

    def settings(device: str) -> Settings:
        return Settings.model_validate({"memory": {"device": device}})

    two = gpus.team(settings("gpus:2"), present)
    assert two is not None
    assert two.visible == "GPU-1,GPU-2"
    assert gpus.processes(settings("all"), present) == 4
    assert gpus.processes(settings("auto"), present) == gpus.processes(settings("gpus:1"), present) == 1
    assert gpus.processes(settings("all"), present[:1]) == 1
    assert gpus.choose(settings("gpus:5"), present) is None
    assert gpus.choose(settings("all"), []) is None
    # All hold the same, so the fullest decides what fits.
    device = gpus.choose(settings("gpus:2"), present)
    assert device is not None
    assert (device.index, device.free) == (2, 60 << 30)
    assert [item.index for item in gpus.visible(present, {"CUDA_VISIBLE_DEVICES": "GPU-3, 1"})] == [1, 3]
    assert gpus.visible(present, {"CUDA_VISIBLE_DEVICES": ""}) == []


def test_the_command_line_of_several_processes_is_torchruns(tmp_path: Path):
    command = spawn.engine_command(tmp_path, processes=2)
    assert command[1:] == [
        "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "sidestep_tui.engine", str(tmp_path),
    ]  # fmt: skip


def test_the_estimate_knows_the_size_of_every_precision():
    settings = {name: Settings.model_validate({"memory": {"precision": name}}) for name in ("float16", "auto")}
    for kind, size in (("cuda", 2.0), ("mps", 2.0), ("cpu", 4.0)):
        device = gpus.Device(kind, "here", 0, 0)  # type: ignore[arg-type]
        assert gpus.base_bytes(settings["float16"], device) == 2.0
        assert gpus.base_bytes(settings["auto"], device) == size
