"""Advice about what a run writes: how often it saves, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.core import text
from sidestep_tui.schema import disk_maths
from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.plan_maths import checkpoints_written
from sidestep_tui.schema.settings import Settings

_GIB = 1024**3
_LARGE_RUN = 20 * _GIB
_ENOUGH = 5
"""Checkpoints worth keeping where nobody can say how many there will be."""


def _disk(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if facts.shape is None:
        return
    known = {"songs": facts.songs, "steps_per_epoch": facts.steps_per_epoch}
    count = checkpoints_written(settings, **known)
    total = disk_maths.run_bytes(settings, facts.shape, **known)
    sentence = f"{text.plural(count, 'checkpoint')} and the final and best adapters take {text.file_size(total)}"
    if facts.free_disk_bytes is not None and total > facts.free_disk_bytes:
        size = disk_maths.checkpoint_size(facts.shape, settings)
        keep = max(1, (facts.free_disk_bytes - 2 * size.adapter) // (2 * size.total))
        yield Advice(
            "warning",
            "output.keep_last",
            f"{sentence}; {text.file_size(facts.free_disk_bytes)} are free.",
            **(fix_of(f"Keep the newest {keep}", output__keep_last=keep) if keep < count else {}),
        )
    elif total > _LARGE_RUN:
        every = max(1, settings.train.epochs // 20)
        by_epochs = not (settings.output.save_every_steps or settings.output.save_every_minutes)
        helps = by_epochs and every > settings.output.save_every_epochs
        yield Advice(
            "advice",
            "output.save_every_epochs",
            f"{sentence}.",
            **(fix_of(f"Save every {text.plural(every, 'epoch')}", output__save_every_epochs=every) if helps else {}),
        )


def _never_saved_by_schedule(settings: Settings, facts: Facts) -> Iterator[Advice]:
    output = settings.output
    if not (output.save_every_epochs or output.save_every_steps or output.save_every_minutes):
        every = max(1, settings.train.epochs // 10)
        yield Advice(
            "advice",
            "output.save_every_epochs",
            "Nothing is saved before the end: a power cut loses the whole run.",
            **fix_of(f"Save every {text.plural(every, 'epoch')}", output__save_every_epochs=every),
        )


def _best_ones_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    output = settings.output
    if output.keep_best and not output.keep_last:
        yield Advice(
            "advice",
            "output.keep_best",
            "The number of best checkpoints has no effect while all are kept.",
            **fix_of("Keep the newest too", output__keep_last=1),
        )


def _minutes_without_limit(settings: Settings, facts: Facts) -> Iterator[Advice]:
    output = settings.output
    if output.save_every_minutes and not output.keep_last:
        yield Advice(
            "advice",
            "output.keep_last",
            f"Nobody can say how many checkpoints a run writes that saves every {output.save_every_minutes} minutes "
            "and keeps all.",
            **fix_of(f"Keep the newest {_ENOUGH}", output__keep_last=_ENOUGH),
        )


RULES: tuple[Rule, ...] = (_disk, _never_saved_by_schedule, _best_ones_inert, _minutes_without_limit)
