"""`python -m sidestep_tui.engine.adapter_job`: what is done to adapter files and takes torch.

The request comes on standard input as JSON, `{"do": "export", …}` or `{"do": "effect", …}`; standard output gets one
JSON object a line: progress, at the end a `result` or an `error`. The exit code is that of the error.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from sidestep_tui.core.errors import ExitCode, SidestepError
from sidestep_tui.engine import failures
from sidestep_tui.schema.settings import Settings


def main() -> int:
    """Answer one request; returns the process's exit code."""
    # Libraries print to standard output as they like: lines of JSON keep a descriptor to themselves.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as sink:
        os.dup2(2, 1)
        try:
            result = _carry_out(json.load(sys.stdin), sink)
        except (SidestepError, OSError, RuntimeError, MemoryError) as error:
            known = failures.known(error)
            if known is None:
                raise
            _say(sink, event="error", kind=known.kind, words=[known.title, known.message, known.hint])
            return int(known.exit_code)
        except KeyboardInterrupt:
            return int(ExitCode.STOPPED)
        _say(sink, event="result", **result)
    return int(ExitCode.DONE)


def _carry_out(request: dict[str, Any], sink: TextIO) -> dict[str, Any]:
    """Export or measure; plain values for JSON. Imports are late: an export needs torch alone, not the model's code."""
    path = Path(request["path"])
    if request["do"] == "export":
        from sidestep_tui.engine import export_files

        output, model = request.get("output"), request.get("model")
        return export_files.export(
            path, request["to"], Path(output) if output else None, Path(model) if model else None
        )
    # 5 s and more (diffusers, peft).
    from sidestep_tui.engine import effect_job

    def progress(phase: str, done: int, total: int, detail: str) -> None:
        _say(sink, event="progress", phase=phase, done=done, total=total, detail=detail)

    return effect_job.measure(path, Settings.model_validate(request["settings"]), request["source"], progress)


def _say(sink: TextIO, **message: Any) -> None:
    sink.write(json.dumps(message) + "\n")
    sink.flush()


if __name__ == "__main__":
    sys.exit(main())
