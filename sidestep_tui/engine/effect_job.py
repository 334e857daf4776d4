"""The effect of an adapter file outside of a run: on the songs of its run, on others, or on made-up input."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from sidestep_tui.dataset import manifest, split
from sidestep_tui.engine import (
    adapter_formats,
    adapters,
    devices,
    effect,
    encode,
    export_files,
    export_formats,
    weights,
)
from sidestep_tui.engine.adapter_facts import AdapterFacts, Parts, refuse_other_model
from sidestep_tui.engine.effect import CROP_FRAMES, Meter, Source
from sidestep_tui.engine.variants import LATENT_CHANNELS, Checkpoint
from sidestep_tui.schema.settings import Settings

Progress = Callable[[str, int, int, str], None]

_MADE_UP_TOKENS: Final = 128


@dataclasses.dataclass(frozen=True, slots=True)
class _MadeUp:
    """Noise in the place of a song, the same every time."""

    name: str
    width: int

    def latents(self) -> torch.Tensor:
        return self._draw((CROP_FRAMES, LATENT_CHANNELS), 0)

    def condition(self) -> torch.Tensor:
        return self._draw((_MADE_UP_TOKENS, self.width), 1)

    def _draw(self, shape: tuple[int, int], stream: int) -> torch.Tensor:
        source = torch.Generator().manual_seed(2 * len(self.name) + stream)
        return torch.randn(shape, generator=source)


def measure(path: Path, settings: Settings, source: Source, progress: Progress) -> dict[str, Any]:
    """The effect of the adapter at `path` on the model of `settings`; the `event` of an Effect, its sentence, notes.

    `source` says what the songs of `settings.data` are to the adapter; with `made-up` they are not looked at.
    """
    facts, parts = adapter_formats.read_parts(path)
    device = devices.choose(settings.memory)
    dtype = devices.precision(settings.memory, device)
    devices.prepare(device)
    ckpt = weights.find_checkpoint(settings.model.path, settings.model.variant, settings.model.components)
    meter = _meter(ckpt, settings, source, device, dtype, progress)
    progress("listening", 0, 2, "the plain model")
    transformer = weights.load_transformer(ckpt, dtype, device)
    refuse_other_model(facts, transformer)
    plain = meter.hear(transformer)
    progress("listening", 1, 2, "the adapted model")
    load(transformer, facts, parts, autocast=dtype != torch.float32)
    found = meter.compare(plain, meter.hear(transformer))
    return {"file": str(facts.file), **found.event(), "sentence": found.sentence, "notes": list(facts.notes)}


def load(transformer: torch.nn.Module, facts: AdapterFacts, parts: dict[str, Parts], *, autocast: bool) -> int:
    """Put an adapter of any format into a plain transformer; returns the number of tensors."""
    target: export_formats.Target = "lycoris" if facts.kind in ("lokr", "loha") else "peft"
    base = export_files.base_of_model(transformer) if facts.dora_on_base else None
    converted = export_formats.convert(facts, parts, target, base)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "adapter"
        if target == "lycoris":
            directory.mkdir()
            export_files.write(converted, directory / f"{facts.kind}_weights.safetensors", facts, parts)
        else:
            export_files.write(converted, directory, facts, parts)
        return adapters.load_adapter(transformer, directory, autocast=autocast)


def _meter(
    ckpt: Checkpoint,
    settings: Settings,
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    progress: Progress,
) -> Meter:
    if source == "made-up":
        width = int(ckpt.config.get("encoder_hidden_size") or ckpt.config["hidden_size"])
        songs = [_MadeUp("noise" + "!" * number, width) for number in range(effect.MOST_SONGS)]
        return Meter(songs, weights.load_silence_latent(ckpt), device, dtype, source=source)
    found = manifest.scan(settings.data.path, settings.data.txt_role, settings.data.language, may_be_tensors=True)
    parted = split.split(found.songs, settings.data.validation if source != "given" else 0)
    chosen = list(parted.held_out or parted.training)[: effect.MOST_SONGS]
    few = dataclasses.replace(found, songs=tuple(song for song in found.songs if song.name in chosen))
    dataset = encode.encode_dataset(few, ckpt, settings, device, dtype, progress, lambda: False, _ignore)
    if source != "given":
        source = "held-out" if parted.held_out else "training"
    return Meter(dataset.songs, dataset.silence, device, dtype, source=source)


def _ignore(code: str, message: str, hint: str = "") -> None:
    """Warnings about songs are the run's business."""
