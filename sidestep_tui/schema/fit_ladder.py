"""What to give up, and in which order, so that a run fits: the fit ladder of ENGINE.md §0.

Every rung but the last leaves the recipe as it is: the same examples in the same optimizer steps, with the same
gradient up to rounding. Pure: what the settings need of memory comes in as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sidestep_tui.core import text
from sidestep_tui.schema.memory import Base
from sidestep_tui.schema.settings import Settings

HEADROOM = 0.92
"""The share of the free memory to plan with; the rest is for what the estimate cannot see."""

FLAG = "memory.gradient_checkpointing"

Name = Literal["everything", "activation budget", "recompute", "fewer crops", "int8 base", "nf4 base", "shorter crop"]
Needs = Callable[[Settings], int]
"""Bytes that settings need at the peak of a step."""

_MOST_ACCUMULATION = 256
_SHORTEST_CROP = 10
_CROP_STEP = 5
_BUDGETS = (0.75, 0.5, 0.25)


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to run. `values` hold every setting that differs from those asked for; `needs` is in bytes."""

    name: Name
    sentence: str
    """What it does and what that costs."""
    values: Mapping[str, Any]
    needs: int
    changes_recipe: bool = False

    def fits(self, free: int) -> bool:
        """Whether it fits into `free` bytes with some to spare."""
        return self.needs <= HEADROOM * free


def rungs(settings: Settings, needs: Needs) -> tuple[Rung, ...]:
    """The ladder from the fastest to the most frugal rung; each keeps what those before it gave up.

    Settings below the first rung (checkpointing on, a quantised base) are where they are asked to be from there on, but
    the first rung is shown all the same: it may well fit.
    """
    values: dict[str, Any] = {FLAG: "off"}
    made = [_rung("everything", "Every activation is kept: the fastest.", settings, values, needs)]
    for budget in _BUDGETS if settings.speed.compile == "on" else ():
        if budget < settings.speed.activation_budget:
            values = {FLAG: "off", "speed.activation_budget": budget}
            sentence = f"The compiler keeps {budget:.0%} of the activations: some percent more time."
            made.append(_rung("activation budget", sentence, settings, values, needs))
    values = {FLAG: "on"}
    sentence = "Activations are recomputed: a third to a half more time."
    made.append(_rung("recompute", sentence, settings, values, needs))
    for size, accumulation in _smaller_batches(settings):
        values = {**values, "train.batch_size": size, "train.accumulation": accumulation}
        sentence = f"{text.plural(size, 'crop')} at once, {accumulation} times: smaller matrices, a little slower."
        made.append(_rung("fewer crops", sentence, settings, values, needs))
    for base, name, sentence in _BASES[settings.memory.base]:
        values = {**values, "memory.base": base}
        made.append(_rung(name, sentence, settings, values, needs))
    return tuple(made)


def shorter_crop(settings: Settings, needs: Needs, free: int) -> Rung | None:
    """The last rung: the longest crop that fits. It changes the recipe, as the model hears less of a song at a time."""
    frugal = rungs(settings, needs)[-1]
    asked = settings.data.crop_seconds or settings.data.max_duration
    for seconds in range(int((asked - 1) // _CROP_STEP) * _CROP_STEP, _SHORTEST_CROP - 1, -_CROP_STEP):
        sentence = f"Crops of {seconds} s: changes the recipe, as less of a song is heard at a time."
        values = {**frugal.values, "data.crop_seconds": float(seconds)}
        rung = _rung("shorter crop", sentence, settings, values, needs)
        if rung.fits(free):
            return Rung(rung.name, rung.sentence, rung.values, rung.needs, changes_recipe=True)
    return None


def proposal(settings: Settings, needs: Needs, free: int) -> Rung | None:
    """The first rung that fits into `free` bytes; None if nothing does."""
    return next((rung for rung in rungs(settings, needs) if rung.fits(free)), None) or shorter_crop(
        settings, needs, free
    )


def recomputes(settings: Settings, needs: Needs, free: int) -> bool:
    """What `auto` means where `free` bytes are free: recomputing only if the run would not fit without."""
    chosen = settings.memory.gradient_checkpointing
    if chosen != "auto":
        return chosen == "on"
    return needs(with_values(settings, {FLAG: "off"})) > HEADROOM * free


def settled(settings: Settings, needs: Needs, free: int) -> Settings:
    """The settings with `auto` decided."""
    return with_values(settings, {FLAG: "on" if recomputes(settings, needs, free) else "off"})


def to_apply(rung: Rung, settings: Settings, needs: Needs, free: int) -> dict[str, Any]:
    """What has to be set for a rung: `auto` is left alone where it comes to the same by itself."""
    others = {path: value for path, value in rung.values.items() if path != FLAG}
    if settings.memory.gradient_checkpointing != "auto" or FLAG not in rung.values:
        return dict(rung.values)
    by_itself = "on" if recomputes(with_values(settings, others), needs, free) else "off"
    return others if by_itself == rung.values[FLAG] else dict(rung.values)


def in_force(ladder: Sequence[Rung], decided: Settings) -> Rung | None:
    """The rung on which settings stand whose `auto` is decided."""
    standing = (rung for rung in reversed(ladder) if with_values(decided, rung.values) == decided)
    return next(standing, None)


def with_values(settings: Settings, values: Mapping[str, Any]) -> Settings:
    """The settings with some values, by path, replaced; they are taken as they are."""
    groups: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        group, _, name = path.partition(".")
        groups.setdefault(group, {})[name] = value
    return settings.model_copy(
        update={group: getattr(settings, group).model_copy(update=changed) for group, changed in groups.items()}
    )


def _rung(name: Name, sentence: str, settings: Settings, values: Mapping[str, Any], needs: Needs) -> Rung:
    changed = with_values(settings, values)
    differing = {
        path: value
        for path, value in values.items()
        for group, _, setting in [path.partition(".")]
        if getattr(getattr(settings, group), setting) != value
    }
    return Rung(name, sentence, differing, needs(changed))


def _smaller_batches(settings: Settings) -> Iterator[tuple[int, int]]:
    """Batch sizes below the one asked for, and the accumulation that keeps the examples of a step together."""
    train = settings.train
    together = train.batch_size * train.accumulation
    size = train.batch_size
    while size > 1:
        size = next(smaller for smaller in range(size // 2, 0, -1) if train.batch_size % smaller == 0)
        if together // size <= _MOST_ACCUMULATION:
            yield size, together // size


_INT8: tuple[Base, Name, str] = (
    "int8",
    "int8 base",
    "The frozen model in 8 bits: as exact as bfloat16, a few percent more time.",
)
_NF4: tuple[Base, Name, str] = (
    "nf4",
    "nf4 base",
    "The frozen model in 4 bits: noisier gradients, and some more time.",
)
_BASES: dict[Base, tuple[tuple[Base, Name, str], ...]] = {"full": (_INT8, _NF4), "int8": (_NF4,), "nf4": ()}
