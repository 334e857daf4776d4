"""What is done to adapter files in a process of the engine: writing them in other formats, measuring their effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sidestep_tui.launch import job
from sidestep_tui.schema.settings import Settings

FORMATS: Final = ("comfyui", "diffusers", "peft", "lycoris")

_IF_KILLED = "Close what else uses memory, then try again."
_EXPORT = job.Job("export", "The engine", _IF_KILLED)
_EFFECT = job.Job("effect", "The engine", _IF_KILLED)


def export(path: Path, target: str, output: Path | None, model: Path | None) -> dict[str, Any]:
    """Write the adapter at `path` in the format `target`; returns path, kind, modules, tensors, bytes, notes."""
    request = {
        "path": str(path),
        "to": target,
        "output": str(output) if output else None,
        "model": str(model) if model else None,
    }
    return job.ask(_EXPORT, request, lambda _: None)


def effect(path: Path, settings: Settings, source: str, report: job.Report) -> dict[str, Any]:
    """How much the adapter changes the model of `settings`, measured on songs of the kind `source`."""
    request = {"path": str(path), "settings": settings.model_dump(mode="json"), "source": source}
    return job.ask(_EFFECT, request, report)
