"""The wizard foretells what `auto` comes to by the numbers that the engine decides by."""

from __future__ import annotations

from sidestep_tui.engine.speed import compiled
from sidestep_tui.schema import automatic


def test_compiling_is_foretold_by_the_engines_own_numbers() -> None:
    assert automatic.WORTH_PASSES == compiled.WORTH_PASSES
    assert automatic.COMPILED_KINDS == compiled._UNBROKEN
