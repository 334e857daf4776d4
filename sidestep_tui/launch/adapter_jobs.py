"""What is done to adapter files in a process of the engine: writing them in other formats, measuring their effect."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import failures, spawn
from sidestep_tui.schema.settings import Settings

MODULE: Final = "sidestep_tui.engine.adapter_job"
FORMATS: Final = ("comfyui", "diffusers", "peft", "lycoris")

Progress = Callable[[str, int, int, str], None]
"""Phase, done, total, what is at hand."""

_PATIENCE_SECONDS: Final = 10.0


def export(path: Path, target: str, output: Path | None, model: Path | None) -> dict[str, Any]:
    """Write the adapter at `path` in the format `target`; returns path, kind, modules, tensors, bytes, notes."""
    request = {
        "do": "export",
        "path": str(path),
        "to": target,
        "output": str(output) if output else None,
        "model": str(model) if model else None,
    }
    return _ask(request, lambda *_: None)


def effect(path: Path, settings: Settings, source: str, progress: Progress) -> dict[str, Any]:
    """How much the adapter changes the model of `settings`, measured on songs of the kind `source`."""
    request = {"do": "effect", "path": str(path), "settings": settings.model_dump(mode="json"), "source": source}
    return _ask(request, progress)


def _ask(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Blocks until the answer. Raises what the engine refused; on Ctrl-C the engine cleans up and ends first."""
    with tempfile.TemporaryFile() as words:
        child = subprocess.Popen(
            spawn.python(MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            env=spawn.environment(),
            start_new_session=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
            for line in child.stdout:
                message = json.loads(line)
                if message["event"] == "result":
                    return {name: value for name, value in message.items() if name != "event"}
                if message["event"] == "error":
                    raise failures.refusal(message["kind"], *message["words"])
                progress(message["phase"], message["done"], message["total"], message["detail"])
            raise _death(child.wait(), words)
        except BrokenPipeError:
            raise _death(child.wait(), words) from None
        finally:
            _dismiss(child)


def _dismiss(child: subprocess.Popen[bytes]) -> None:
    """Let the engine take away what it has half written, and be sure that it is gone."""
    try:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            child.wait(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _death(code: int, words: IO[bytes]) -> SidestepError:
    return failures.silent_death(
        "The engine",
        code,
        words,
        if_killed="Close what else uses memory, then try again.",
        hint="`sidestep-tui doctor` checks the packages.",
    )
