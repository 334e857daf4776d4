"""Advice about what makes a step faster."""

from __future__ import annotations

from collections.abc import Iterator

from sidestep_tui.schema.advice import Advice, Facts, Rule, fix_of
from sidestep_tui.schema.settings import Settings


def _compile_inert(settings: Settings, facts: Facts) -> Iterator[Advice]:
    speed = settings.speed
    if speed.compile != "off":
        return
    if speed.activation_budget < 1:
        yield Advice(
            "advice",
            "speed.activation_budget",
            "The activation budget has no effect without compiling.",
            **fix_of("Compile the blocks", speed__compile="on"),
        )
    if speed.cuda_graphs:
        yield Advice(
            "advice",
            "speed.cuda_graphs",
            "CUDA graphs are recorded of compiled blocks only.",
            **fix_of("Compile the blocks", speed__compile="on"),
        )


def _compile_in_pieces(settings: Settings, facts: Facts) -> Iterator[Advice]:
    if settings.speed.compile != "on":
        return
    auto = fix_of("Compile where it pays", speed__compile="auto")
    if settings.adapter.kind == "dora":
        sentence = "DoRA falls into pieces when it is compiled: long at the start, little faster later."
        yield Advice("warning", "speed.compile", sentence, **auto)
    elif settings.data.crop_seconds == 0:
        sentence = "Whole songs differ in length, and the blocks are compiled again for each length."
        yield Advice("warning", "speed.compile", sentence, **auto)


RULES: tuple[Rule, ...] = (_compile_inert, _compile_in_pieces)
