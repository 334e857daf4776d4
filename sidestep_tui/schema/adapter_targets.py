"""Which matrices of which layers learn, and how large each one's adapter is: the settings that are written as text.

A matrix is a layer and a part: `self.q`, `cross.o`, `mlp.up`, … A pattern is a list of entries `self.q=128,
layers.0-7=32`; of several entries about one matrix the last counts. Everything is compared by number and by whole
name, so that layer 1 is never taken for layer 11.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidestep_tui.schema.adapter import AdapterSettings

MANY_LAYERS: Final = 1000
"""Stands for the number of layers while the model is not known."""
MLP_PARTS: Final = ("mlp.gate", "mlp.up", "mlp.down")
_ATTENTIONS: Final = {"both": ("self", "cross"), "self": ("self",), "cross": ("cross",), "none": ()}
_ORIGINAL: Final = {"self": "self_attn", "cross": "cross_attn", "mlp": "mlp"}

Matrix = tuple[int, str]
"""A layer's number and a part's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a pattern: `layers.0-7.self=32` gives 32 to the self-attention of the first eight layers."""

    text: str
    first: int
    last: int
    part: str
    value: float

    def matches(self, layer: int, part: str) -> bool:
        """Whether the entry is about this matrix."""
        if not self.first <= layer <= self.last:
            return False
        return self.part in ("", part, *part.split("."))


def original_name(matrix: Matrix) -> str:
    """A matrix as the original code calls it: `layers.3.self_attn.q_proj`."""
    layer, part = matrix
    block, _, projection = part.partition(".")
    return f"layers.{layer}.{_ORIGINAL[block]}.{projection}_proj"


def matrix_of(original: str) -> Matrix | None:
    """The matrix that a module path of the original code names; None for modules outside the layers."""
    match = re.fullmatch(r"layers\.(\d+)\.(self|cross|mlp)(?:_attn)?\.(q|k|v|o|gate|up|down)_proj", original)
    return (int(match[1]), f"{match[2]}.{match[3]}") if match else None


def parts(adapter: AdapterSettings) -> tuple[str, ...]:
    """The chosen matrices of one layer, in the order of the settings."""
    attention = [
        f"{block}.{projection}"
        for block in _ATTENTIONS[adapter.attention]
        for projection in dict.fromkeys(adapter.projections)
    ]
    return (*attention, *(MLP_PARTS if adapter.mlp else ()))


def spans(layers: str) -> list[tuple[int, int]]:
    """`0-11, 20` as first and last layers: [(0, 11), (20, 20)]."""
    found = []
    for item in filter(None, (item.strip() for item in layers.split(","))):
        first, _, last = item.partition("-")
        found.append((int(first), int(last or first)))
    return found


def layers_of(adapter: AdapterSettings, layers: int) -> list[int]:
    """Those of a model's layers that learn, ascending."""
    if not adapter.layers.strip():
        return list(range(layers))
    chosen = spans(adapter.layers)
    return [layer for layer in range(layers) if any(first <= layer <= last for first, last in chosen)]


def layers_text(numbers: list[int]) -> str:
    """The shortest way to write layers: [0, 1, 2, 5] → `0-2, 5`."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def matrices(adapter: AdapterSettings, layers: int) -> list[Matrix]:
    """Every matrix that learns in a model of so many layers."""
    return [(layer, part) for layer in layers_of(adapter, layers) for part in parts(adapter)]


def entries(pattern: str) -> list[Entry]:
    """The entries of a pattern that has the form which the settings ask for."""
    return [_entry(item.strip()) for item in pattern.split(",") if item.strip()]


def _entry(item: str) -> Entry:
    selector, _, value = (side.strip() for side in item.partition("="))
    match = re.fullmatch(r"(?:layers\.(?P<first>\d+)(?:-(?P<last>\d+))?)?\.?(?P<part>.*)", selector)
    assert match is not None
    first = int(match["first"]) if match["first"] else 0
    last = int(match["last"]) if match["last"] else first if match["first"] else MANY_LAYERS
    return Entry(f"{selector}={value}", first, last, match["part"], float(value))


def _decided(pattern: str, matrix: Matrix) -> Entry | None:
    return next((entry for entry in reversed(entries(pattern)) if entry.matches(*matrix)), None)


def rank_of(adapter: AdapterSettings, matrix: Matrix) -> int:
    """The rank on one matrix."""
    entry = _decided(adapter.rank_pattern, matrix) if adapter.rank_pattern else None
    return adapter.rank if entry is None else int(entry.value)


def held_rank_of(adapter: AdapterSettings, matrix: Matrix) -> int:
    """The rank that is computed with and stored: PiSSA's is twice what learns."""
    return rank_of(adapter, matrix) * (2 if adapter.init == "pissa" else 1)


def alpha_of(adapter: AdapterSettings, matrix: Matrix) -> float:
    """Alpha on one matrix."""
    entry = _decided(adapter.alpha_pattern, matrix) if adapter.alpha_pattern else None
    return adapter.alpha if entry is None else entry.value


def scale_of(adapter: AdapterSettings, matrix: Matrix) -> float:
    """What a LoRA's change of one matrix is multiplied by: alpha / rank, or alpha / √rank with rsLoRA."""
    rank = rank_of(adapter, matrix)
    return alpha_of(adapter, matrix) / (math.sqrt(rank) if adapter.rslora else rank)


def scale_range(adapter: AdapterSettings, layers: int | None = None) -> tuple[float, float]:
    """The lowest and the highest number that a LoRA's change is multiplied by: alpha / rank, or alpha / √rank."""
    known = matrices(adapter, _mentioned(adapter) if layers is None else layers) or [(0, "")]
    found = [
        alpha_of(adapter, matrix)
        / (math.sqrt(rank_of(adapter, matrix)) if adapter.rslora else rank_of(adapter, matrix))
        for matrix in known
    ]
    return min(found), max(found)


def exceptions_text(adapter: AdapterSettings) -> str:
    """What rank and alpha alone do not say about the sizes: `; rank self.q=128`. Empty where there is nothing."""
    patterns = (("rank", adapter.rank_pattern), ("alpha", adapter.alpha_pattern))
    found = [f"; {name} {pattern}" for name, pattern in patterns if pattern]
    found += ["; twice the rank in the file, since it began as PiSSA"] if adapter.init == "pissa" else []
    return "".join(found)


def misfits(adapter: AdapterSettings, layers: int | None) -> Iterator[tuple[str, str]]:
    """What is wrong with the layers and patterns: the setting, and a sentence with what there is instead.

    Without a number of `layers` the model's depth is not checked.
    """
    for first, last in spans(adapter.layers):
        if first > last:
            yield "adapter.layers", f"{first}-{last} counts backwards: write {last}-{first}."
        elif layers is not None and last >= layers:
            yield "adapter.layers", f"Layer {last} does not exist: the model has layers 0 to {layers - 1}."
    depth = MANY_LAYERS if layers is None else layers
    known = matrices(adapter, depth if layers is not None or adapter.layers.strip() else _mentioned(adapter))
    for name in ("rank_pattern", "alpha_pattern"):
        yield from _idle(f"adapter.{name}", entries(adapter.model_dump()[name]), known, layers)


def _mentioned(adapter: AdapterSettings) -> int:
    """Layers enough for every entry to show what it matches, while the model is not known."""
    found = [entry for pattern in (adapter.rank_pattern, adapter.alpha_pattern) for entry in entries(pattern)]
    numbers = [number for entry in found for number in (entry.first, entry.last) if number < MANY_LAYERS]
    # One more than any entry names, so that an entry about all layers always has one of its own.
    return max(numbers, default=0) + 2


def _idle(path: str, found: list[Entry], known: list[Matrix], layers: int | None) -> Iterator[tuple[str, str]]:
    deciding = {
        id(next(entry for entry in reversed(found) if entry.matches(*matrix)))
        for matrix in known
        if any(entry.matches(*matrix) for entry in found)
    }
    for entry in found:
        if id(entry) in deciding:
            continue
        if any(entry.matches(*matrix) for matrix in known):
            yield path, f"{entry.text} decides nothing: what stands behind it overrules it. Write it last."
        else:
            yield path, f"{entry.text} matches nothing that learns; there is {_there_is(known, layers)}."


def _there_is(known: list[Matrix], layers: int | None) -> str:
    if not known:
        return "nothing"
    names = ", ".join(dict.fromkeys(part for _, part in known))
    numbers = sorted({layer for layer, _ in known})
    return names if layers is None and numbers[0] == 0 else f"{names} in layers {layers_text(numbers)}"
