"""Where the time of the newest steps went, as rows, with one sentence on what that means. Pure."""

from __future__ import annotations

import textwrap

from sidestep_tui.core import text
from sidestep_tui.protocol.anatomy import FEWEST_STEPS, WORDS, verdict
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.rows import Row, row


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
            row((f"{WORDS[part.name]:<{label}.{label - 1}}", "muted"), (full, "fill"), (rest, "faint"),
                f" {_seconds(part.seconds / steps)}  {100 * part.share:5.1f} %")
        )  # fmt: skip
    if steps < FEWEST_STEPS:
        return [*rows, row(""), row(("Too few steps for a verdict.", "muted"))]
    sentence, style = verdict(shares, on_gpu=bool(state.gpus) or state.device.startswith("cuda"))
    return [*rows, row(""), *(row((line, style)) for line in textwrap.wrap(sentence, max(width, 10)))]


def _seconds(value: float) -> str:
    """Ten cells: milliseconds below a second."""
    return f"{1000 * value:7.1f} ms" if value < 1 else f"{value:8.2f} s"
