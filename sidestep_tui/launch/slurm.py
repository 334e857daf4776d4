"""A Slurm batch script that trains a preset without a terminal, and goes on by itself when its time is up."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core.errors import UsageError

_TIME = re.compile(r"\d+(:\d{2}){0,2}|\d+-\d{1,2}(:\d{2}){0,2}")
_NAME = re.compile(r"[\w.,:@+-]+")
_WARNING_SECONDS = 300
"""How long before its end Slurm tells the script: enough to finish a step and save."""

_SCRIPT = """\
#!/bin/bash
{options}
# Submit it with `sbatch`. Told that its time is nearly up, it stops the run, which saves, and queues itself again; the
# job keeps its number, so that the next turn finds the run and goes on. Preempted, it stops and Slurm queues it again.
set -u
cd {folder}
tui=({command})
name={name}-"${{SLURM_JOB_ID:-0}}"
run={output}/"$name"
again=no

stop() {{
    "${{tui[@]}}" stop "$run"
}}
trap 'again=yes; stop' USR1
trap stop TERM

if [ -f "$run/run.toml" ]; then
    "${{tui[@]}}" resume "$run" --headless &
else
    "${{tui[@]}}" {arguments} --name "$name" --headless &
fi
engine=$!
# A signal ends `wait` before the engine has ended.
while kill -0 "$engine" 2>/dev/null; do
    wait "$engine"
done
wait "$engine"
code=$?
if [ "$code" -eq 3 ] && [ "$again" = yes ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Job:
    """What Slurm is asked for; empty texts leave it to the cluster's own defaults."""

    gpus: int = 1
    time: str = ""
    partition: str = ""
    account: str = ""

    def options(self, name: str) -> list[str]:
        """The `#SBATCH` lines. UsageError where a value is none that Slurm takes."""
        if self.time and not _TIME.fullmatch(self.time):
            raise UsageError(
                f"--time {self.time} is not a time.", "", "Write 90 (minutes), 08:00:00, 2-12 or 1-06:30:00."
            )
        for option, value in (("--partition", self.partition), ("--account", self.account)):
            if value and not _NAME.fullmatch(value):
                raise UsageError(f"{option} {value!r} is not a name.", "", "`sinfo` lists the partitions.")
        asked = {
            "job-name": name,
            "nodes": "1",
            "ntasks": "1",
            "gpus-per-node": str(self.gpus),
            "cpus-per-task": str(4 * self.gpus),
            "time": self.time,
            "partition": self.partition,
            "account": self.account,
            "signal": f"B:USR1@{_WARNING_SECONDS}",
            "open-mode": "append",
        }
        lines = [f"#SBATCH --{option}={value}" for option, value in asked.items() if value]
        return [*lines, "#SBATCH --requeue"]


def script(job: Job, command: Sequence[str], arguments: Sequence[str], *, name: str, output: Path, folder: Path) -> str:
    """The batch script. `command` starts sidestep-tui, `arguments` are those of `train`, without name and --headless.

    `folder` is the one that relative paths among the arguments start from. One task on one node is asked for:
    processes for several GPUs are the engine's own, by torchrun.
    """
    return _SCRIPT.format(
        options="\n".join(job.options(name)),
        folder=shlex.quote(str(folder)),
        command=shlex.join(command),
        name=shlex.quote(name),
        output=shlex.quote(str(output)),
        arguments=shlex.join(["train", *arguments]),
    )
