"""The end of a run: its export loaded by others' means, compared, measured, and written for ComfyUI."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import AdapterError
from sidestep_tui.engine import adapter_formats, adapters, effect, export, export_files, export_formats, weights
from sidestep_tui.engine.effect import Meter
from sidestep_tui.engine.reporter import Reporter
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.settings import Settings

COMFYUI_DIR: Final = "comfyui"
"""A folder of its own: beside adapter_model.safetensors, diffusers would not know which of the two to load."""

_UNSCALED: Final = "- **ComfyUI** and others that"
"""How a model card without that file begins to say that the strength must make up for alpha."""


def prove(
    run_dir: RunDir,
    base: Checkpoint,
    expected: torch.Tensor,
    meter: Meter,
    reporter: Reporter,
    *,
    device: torch.device,
    dtype: torch.dtype,
    settings: Settings,
) -> dict[str, Any]:
    """Load the final adapter into a fresh model and hold its answers against `expected`; returns its effect.

    The effect is that of the file as it was reloaded, on a base as it was trained on. Where the settings say so, the
    final and the best adapter get their file for ComfyUI. Raises AdapterError if an export is not what was trained.
    """
    final, best = run_dir.adapter / "final", run_dir.adapter / "best"
    fresh = weights.load_transformer(base, dtype, device, base=settings.memory.base)
    plain = meter.hear(fresh)
    count = export.verify(final, fresh, expected, dtype=dtype)
    reporter.log(f"Reloaded {count} of {count} tensors into a fresh model: maximum difference 0.")
    found = meter.compare(plain, meter.hear(fresh))
    reporter.log(found.sentence)
    effect.note_in_card(final / export.CARD_FILE, found)
    if best.is_dir():
        _, tensors = adapters.read_adapter(best)
        adapters.load_state_dict(fresh, tensors, best)
    if settings.output.comfyui:
        for directory, name in ((final, run_dir.path.name), (best, f"{run_dir.path.name}_best")):
            if directory.is_dir():
                _write_for_comfyui(directory, name, base, reporter)
    return found.event()


def _write_for_comfyui(directory: Path, name: str, base: Checkpoint, reporter: Reporter) -> None:
    """ComfyUI's file of the adapter in `directory`, unless it is there; where it cannot be, the journal says why."""
    place = directory / COMFYUI_DIR / f"{name}.safetensors"
    if place.exists():
        return
    facts, parts = adapter_formats.read_parts(directory)
    try:
        converted = export_formats.convert(facts, parts, "comfyui", export_files.base_of_checkpoint(base))
    except AdapterError as error:
        reporter.log(f"There is no file for ComfyUI. {error.title} {error.message}")
        return
    place.parent.mkdir(exist_ok=True)
    export_files.write(converted, place, facts, parts)
    card = directory / export.CARD_FILE
    if card.is_file():
        named = f"- **ComfyUI**: `{place.relative_to(directory)}` as a LoRA, at strength 1.\n- Others that"
        atomic.write_text(card, card.read_text("utf-8").replace(_UNSCALED, named))
    reporter.log(f"For ComfyUI, at strength 1: {place.relative_to(directory.parent.parent)}.")
