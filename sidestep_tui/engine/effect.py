"""How much an adapter changes what the model says, at strength 1: the meter that shows whether it does anything.

The same crops, noise and noise levels go through the plain model and through the adapted one. The effect is the size
of the difference of both velocities against the size of the plain one: ‖v' − v‖ / ‖v‖ over all frames and channels,
so 0 is no change and 1 a change as large as the answer itself. Beside it stands what the change is good for, the loss
of both on the same crops. There are no words for weak or strong: that depends on the style, and only ears can tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import torch

from sidestep_tui.core import atomic, text
from sidestep_tui.engine import objective
from sidestep_tui.engine.batches import PATCH, generator
from sidestep_tui.engine.cache import EncodedSong
from sidestep_tui.engine.tracking import BANDS

MOST_SONGS: Final = 4
CROP_FRAMES: Final = 250
"""Ten seconds: long enough for every kind of attention, short enough for a processor."""

Source = Literal["held-out", "training", "given", "made-up"]
"""Whose songs: the run's held-out or trained ones, others that were named, or noise where there are none."""

_CARD_ROW: Final = "| Made with |"


class Song(Protocol):
    """What is needed of an encoded song."""

    @property
    def name(self) -> str: ...

    def latents(self) -> torch.Tensor: ...

    def condition(self) -> torch.Tensor: ...


@dataclass(frozen=True, slots=True)
class Effect:
    """The change that an adapter makes, measured on `songs` crops."""

    change: float
    """‖v' − v‖ / ‖v‖ over all crops and levels."""
    by_band: dict[str, float]
    """The same by noise level (1 is pure noise)."""
    loss_before: float
    """Mean squared error of the plain model on these crops, levels weighed alike."""
    loss_after: float
    songs: int
    source: Source

    def event(self) -> dict[str, Any]:
        """Fields for the journal; the loss on made-up input says nothing and is left out."""
        fields = asdict(self)
        if self.source == "made-up":
            del fields["loss_before"], fields["loss_after"]
        return fields

    @property
    def sentence(self) -> str:
        """The measurement in words: `At strength 1 the adapter changes the output by 12.3 % (…)`."""
        bands = ", ".join(f"{name}: {share(value)}" for name, value in self.by_band.items())
        said = f"At strength 1 the adapter changes the model's output by {share(self.change)} (by noise level {bands})"
        if self.source == "made-up":
            return f"{said}, measured on made-up input: songs would tell more."
        losses = f"{text.number(self.loss_before)} to {text.number(self.loss_after)}"
        return f"{said}; on {text.plural(self.songs, f'{self.source} song')} the loss goes from {losses}."


def share(value: float) -> str:
    """`0.1234` as `12.3 %`; what is not zero never reads as zero."""
    if not math.isfinite(value):
        return str(value)
    return f"{100 * value:.1f} %" if value == 0 or value >= 0.001 else f"{100 * value:.1g} %"


def relative_change(plain: torch.Tensor, changed: torch.Tensor) -> float:
    """‖changed − plain‖ / ‖plain‖ of two tensors of one shape; infinite where there is nothing to compare with."""
    difference, size = float((changed.double() - plain.double()).norm()), float(plain.double().norm())
    return difference / size if size else (math.inf if difference else 0.0)


class Meter:
    """Keeps the crops and asks models about them. Songs are read when they are needed; nothing is drawn at random."""

    def __init__(
        self,
        songs: Sequence[Song],
        silence: torch.Tensor,
        device: torch.device,
        dtype: torch.dtype,
        *,
        source: Source,
        seed: int = 0,
    ) -> None:
        self._songs = list(songs)[:MOST_SONGS]
        self._silence = silence
        self._device = device
        self._dtype = dtype
        self._source: Source = source
        self._seed = seed
        self.levels = torch.tensor([(band + 0.5) / BANDS for band in range(BANDS)])

    @classmethod
    def of(
        cls,
        training: Sequence[EncodedSong],
        held_out: Sequence[EncodedSong],
        silence: torch.Tensor,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Meter:
        """A meter on songs that were held out, or on some of the training where there are none."""
        source: Source = "held-out" if held_out else "training"
        return cls(held_out or training, silence, device, dtype, source=source)

    def hear(self, transformer: torch.nn.Module) -> list[torch.Tensor]:
        """The model's velocities for every song, each [levels, T, C] on the CPU, in evaluation mode."""
        was_training = transformer.training
        transformer.eval()
        silence = self._silence.to(self._device)
        answers = []
        try:
            for song in self._songs:
                x0, noise, condition = (tensor.to(self._device) for tensor in self._material(song))
                count, frames = len(self.levels), x0.shape[0]
                t = self.levels.to(self._device)
                x_t = objective.interpolate(x0.expand(count, -1, -1), noise.expand(count, -1, -1), t)
                context = objective.context_latents(silence, count, frames)
                with torch.no_grad():
                    velocity = objective.predict(
                        transformer, x_t, t, condition.expand(count, -1, -1), context, dtype=self._dtype
                    )
                answers.append(velocity.float().cpu())
        finally:
            transformer.train(was_training)
        return answers

    def compare(self, plain: list[torch.Tensor], changed: list[torch.Tensor]) -> Effect:
        """What lies between two answers of `hear`."""
        by_band = {
            f"{band / BANDS:.2f}-{(band + 1) / BANDS:.2f}": relative_change(
                torch.cat([answer[band] for answer in plain]), torch.cat([answer[band] for answer in changed])
            )
            for band in range(BANDS)
        }
        return Effect(
            change=relative_change(_flat(plain), _flat(changed)),
            by_band=by_band,
            loss_before=self._loss(plain),
            loss_after=self._loss(changed),
            songs=len(self._songs),
            source=self._source,
        )

    def _loss(self, answers: list[torch.Tensor]) -> float:
        losses = []
        for song, answer in zip(self._songs, answers, strict=True):
            x0, noise, _ = self._material(song)
            losses.append(objective.example_losses(answer, objective.velocity(x0, noise).expand_as(answer)).mean())
        return float(torch.stack(losses).mean())

    def _material(self, song: Song) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Latents and noise [T, C] of the song's middle, and its condition [tokens, D]; the same every time."""
        latents = song.latents()
        length = min(CROP_FRAMES, latents.shape[0]) // PATCH * PATCH
        start = (latents.shape[0] - length) // 2
        x0 = latents[start : start + length].float()
        noise = torch.randn(x0.shape, generator=generator(self._seed, "effect", song.name))
        return x0, noise, song.condition()


def _flat(answers: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([answer.flatten() for answer in answers])


def note_in_card(card: Path, effect: Effect) -> None:
    """Add the effect to the model card of an export, in one step; a card of another form stays as it is."""
    words = card.read_text("utf-8")
    row = f"| Change at strength 1 | {share(effect.change)} of the model's output |\n"
    if _CARD_ROW in words and row not in words:
        atomic.write_text(card, words.replace(_CARD_ROW, row + _CARD_ROW, 1))
