"""Where the time of the newest steps went, as rows, with one sentence on what that means. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from sidestep_tui.core import text
from sidestep_tui.protocol.pace import Share
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row, row

FEWEST_STEPS = 8
"""Steps before anything is said: the first ones compile, cache and allocate."""

_WORDS = {
    "data": "waiting for data",
    "forward": "forward",
    "backward": "backward",
    "compute": "forward and backward",
    "optimizer": "optimizer",
    "save": "saving",
    "measure": "held-out songs",
    "other": "between steps",
}

_COMPLAINTS = {
    "data": (0.15, "The {who} waits for data {percent} of the time: set memory.preload to ram."),
    "save": (0.10, "Saving takes {percent} of the time: save less often, or turn on output.async_saving."),
    "measure": (0.15, "Measuring held-out songs takes {percent} of the time: raise train.validate_every."),
    "optimizer": (0.20, "The optimizer takes {percent} of the time: more accumulation would call it less often."),
    "other": (0.20, "Between steps {percent} of the time is lost: is something else using the {who}?"),
}
"""Parts with the share from which on they are worth a word, and the word."""


def verdict(shares: Sequence[Share], *, on_gpu: bool = True) -> tuple[str, str]:
    """One sentence on where the time goes, and the style it is shown in."""
    share = {part.name: part.share for part in shares}
    excess = {name: share.get(name, 0.0) / limit for name, (limit, _) in _COMPLAINTS.items()}
    worst = max(excess, key=excess.__getitem__)
    if excess[worst] >= 1.0:
        sentence = _COMPLAINTS[worst][1]
        who = "GPU" if on_gpu else "processor"
        return sentence.format(percent=f"{100 * share[worst]:.0f} %", who=who), "warn"
    learning = sum(share.get(name, 0.0) for name in ("forward", "backward", "compute"))
    if learning >= 0.85:
        return "Nearly all is forward and backward: as it should be.", "good"
    return f"Forward and backward take {100 * learning:.0f} %; nothing else stands out.", ""


def time_row(state: RunState) -> Row:
    """The parts of a step in 33 cells, in percent of the time."""
    shares = {part.name: part.share for part in state.anatomy.shares()}
    if not shares:
        return row((f"{'time by part':<24}{'–':>9}", "muted"))
    if "compute" in shares:
        cells = [("data", "data"), ("compute", "compute"), ("save", "save")]
    else:
        cells = [("data", "data"), ("fwd", "forward"), ("bwd", "backward"), ("opt", "optimizer")]
    spans: list[tuple[str, str]] = []
    for label, name in cells:
        spans += [(label, "muted"), (f"{100 * shares[name]:3.0f} ", "")]
    return row(*spans, ("%", "muted"))


def anatomy_rows(state: RunState, width: int, *, ascii_only: bool = False) -> list[Row]:
    """Every part with its bar, seconds a step and share; the verdict below."""
    shares = state.anatomy.shares()
    if not shares:
        return [row(("No two steps yet.", "muted"))]
    steps = max(state.anatomy.steps, 1)
    whole = sum(part.seconds for part in shares) / steps
    label = 21 if width >= 64 else 17
    bar = max(min(width - label - 21, 60), 4)
    over = f"over {text.plural(steps, 'step')}" if bar >= 14 else ""
    rows = [row((f"{'a step takes':<{label}}{over:<{bar}}", "muted"), f" {_seconds(whole)}")]
    for part in shares:
        full, rest = braille.bar(part.share, bar, ascii_only=ascii_only)
        rows.append(
            row((f"{_WORDS[part.name]:<{label}.{label - 1}}", "muted"), (full, "fill"), (rest, "faint"),
                f" {_seconds(part.seconds / steps)}  {100 * part.share:5.1f} %")
        )  # fmt: skip
    if steps < FEWEST_STEPS:
        return [*rows, row(""), row(("Too few steps for a verdict.", "muted"))]
    sentence, style = verdict(shares, on_gpu=bool(state.gpus) or state.device.startswith("cuda"))
    return [*rows, row(""), *(row((line, style)) for line in textwrap.wrap(sentence, max(width, 10)))]


def _seconds(value: float) -> str:
    """Ten cells: milliseconds below a second."""
    return f"{1000 * value:7.1f} ms" if value < 1 else f"{value:8.2f} s"
