"""The panels of the dashboard as rows: what they say is decided here, how they are painted elsewhere. Pure.

Numbers have fixed widths and stand right-aligned, so that nothing moves when a value changes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidestep_tui.core import paths, text
from sidestep_tui.protocol.facts import CheckpointInfo, LogLine
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.series import Series
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.widgets import braille, gauges
from sidestep_tui.ui.widgets.anatomy import time_row
from sidestep_tui.ui.widgets.plot import axis_for
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, spread, width_of
from sidestep_tui.ui.widgets.status import condition, is_live

SMOOTHING_SHOWN = 0.98
"""The average that the numbers row calls ema, whatever the chart shows."""

_ROOMY = 72
"""Cells from which on a live run tells how long it has been going."""

_PHASES = {
    "loading": "loading the model",
    "encoding_audio": "encoding audio",
    "encoding_text": "encoding text",
    "encoding_conditions": "encoding conditions",
    "validating": "measuring held-out songs",
    "training": "training",
    "saving": "saving",
    "exporting": "exporting the adapter",
    "verifying": "verifying the adapter",
}


@dataclass(frozen=True, slots=True)
class View:
    """Everything the panels look at for one paint."""

    state: RunState
    name: str
    now: float
    folder: Path = Path()
    liveness: Liveness | None = None
    heartbeat: float | None = None
    rate_hz: float = 2.0
    frozen: bool = False
    slowed: bool = False
    readonly: bool = False
    relaunching: bool = False
    """An engine is being started again and has not spoken yet: the journal still tells the old story."""
    notice: Row = ()
    ascii_only: bool = False

    @property
    def live(self) -> bool:
        """Whether an engine is there to take commands."""
        return is_live(self.state.status, self.liveness)


def measure(value: float | None, width: int = 8, digits: int = 4) -> str:
    """A loss or norm in a fixed width; NaN and infinity stay visible, an unknown value is a dash."""
    if value is None:
        return "–".rjust(width)
    if not math.isfinite(value):
        return text.number(value).rjust(width)
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        whole = len(str(int(abs(value))))
        shown = f"{value:.{max(digits + 1 - whole, 0)}f}"
    else:
        shown = f"{value:.2e}"
    return shown.rjust(width)


def learning_rate(value: float | None) -> str:
    """A learning rate in a fixed width."""
    if value is None:
        return "–".rjust(8)
    return (f"{value:.2e}" if math.isfinite(value) else text.number(value)).rjust(8)


def clock(t: float) -> str:
    """The local time of day of a unix time."""
    return time.strftime("%H:%M:%S", time.localtime(t)) if math.isfinite(t) and 0 <= t < 4e9 else "--:--:--"


def newest(state: RunState, name: str) -> float | None:
    """The newest value of a metric; from the engine's summary while the journal has not been read."""
    last = state.series[name].last
    return last if last is not None else state.metrics.get(name)


def header_rows(view: View, width: int) -> list[Row]:
    """The four rows on top: condition, progress, numbers, and the notice (or the machine, where it has no panel)."""
    if width < 1:
        return []
    wide = width >= 100
    return [
        fit(_condition_row(view, width), width),
        fit(_progress_row(view, width), width),
        fit(_numbers_row(view, width), width),
        fit(_notice_row(view, wide=wide), width),
    ]


def _condition_row(view: View, width: int) -> Row:
    state = view.state
    shown = condition("starting", None) if view.relaunching else condition(state.status, view.liveness)
    left: list[Span] = [(f" {shown.label(ascii_only=view.ascii_only)}", shown.style), (f"  {view.name}", "strong")]
    if view.readonly:
        left.append(("  read-only", "muted"))
    if shown.word == "silent" and view.heartbeat is not None:
        left.append((f"  no heartbeat for {text.duration(view.now - view.heartbeat)}", "warn"))
    elapsed = state.elapsed_seconds(view.now if view.live else state.last_t or view.now)
    right: list[Span] = [("elapsed ", "muted"), (f"{text.duration(elapsed) if elapsed is not None else '–':>9}", "")]
    if view.live and width < _ROOMY:
        right = []  # The name of the run and the time that is left matter more.
    if view.live:
        eta = None if view.relaunching else state.eta_seconds(view.now)
        right += [("  eta ", "muted"), (f"{text.duration(eta) if eta is not None else '–':>9}", "")]
    if view.live or view.frozen:
        right.append((f"  {_rate(view):>9} ", "warn" if view.frozen or view.slowed else "muted"))
    else:
        right.append((" ", ""))
    return spread(row(*left), row(*right), width)


def _rate(view: View) -> str:
    if view.frozen:
        return "frozen"
    rate = f"{view.rate_hz:g} Hz"
    return f"slow {rate}" if view.slowed else rate


def _progress_row(view: View, width: int) -> Row:
    """A bar over the whole width that is left beside the words."""
    state = view.state
    phase = state.phase
    encoding = phase.name not in ("", "training") and view.live
    if encoding:
        done, total = phase.done, phase.total
        words = _PHASES.get(phase.name, phase.name.replace("_", " "))
        right = f"{words}  {done:>{len(str(total))},}/{total:,}" if total else words
        detail = f"  {phase.detail}" if phase.detail else ""
        room = max(width - len(right) - 24, 0)
        tail: Row = ((right, ""), (detail[:room].ljust(min(room, 40)), "muted"), (" ", ""))
    else:
        done, total = state.step, state.total_steps
        digits = len(text.thousands(total))
        share = f"{100 * done / total:5.1f} %" if total else "    –  "
        tail = row(
            ("step ", "muted"), f"{done:>{digits},}/{total:,}" if total else f"{done:,}",
            ("  ", ""), share,
            ("  epoch ", "muted"), f"{state.epoch:>{len(str(state.epochs))}}/{state.epochs} ",
        )  # fmt: skip
    bar_width = max(width - width_of(tail) - 3, 4)
    full, rest = braille.bar(done / total if total else 0.0, bar_width, ascii_only=view.ascii_only)
    return ((" ", ""), (full, "fill"), (rest + "  ", "faint"), *tail)


def _numbers_row(view: View, width: int) -> Row:
    state = view.state
    loss = state.series["loss"]
    smooth = loss.smoothed(1 - SMOOTHING_SHOWN)
    ema = smooth[-1] if len(smooth) else None
    best = state.best
    now = newest(state, "loss")
    bad = now is not None and not math.isfinite(now)
    cells: list[Span] = [
        (" loss", "muted"), (measure(now, 8), "bad" if bad else "strong"),
        ("  ema", "muted"), (measure(ema, 7), ""),
        (_best_label(state, wide=width >= 100), "muted"), (measure(best.loss if best else None, 7), ""),
        ((f" @ {best.step:,}" if best else " @ –").ljust(3 + len(text.thousands(state.total_steps))), "muted"),
        ("  lr", "muted"), (learning_rate(newest(state, "lr")).rjust(9), ""),
        ("  grad", "muted"), (measure(newest(state, "grad_norm"), 7, 2), ""),
    ]  # fmt: skip
    if width >= 100:
        cells += _speed(view)
    return row(*cells)


def _best_label(state: RunState, *, wide: bool) -> str:
    """The name of the best loss says whose it is: of held-out songs, or of training."""
    held_out = state.best is not None and state.best.by == "held_out"
    if wide:
        return "  best held out" if held_out else "  best training"
    return "  best held" if held_out else "  best train"


def _speed(view: View) -> list[Span]:
    state = view.state
    pace = state.seconds_per_step()
    if pace is None or pace <= 0:
        steps, unit = "–", "steps/s"
    elif pace < 1:
        steps, unit = f"{1 / pace:.2f}", "steps/s"
    else:
        steps, unit = f"{pace:.2f}", "s/step"
    speed: list[Span] = [
        (measure(newest(state, "samples_per_s"), 9, 2), ""),
        (" samples/s", "muted"),
    ]
    return [*speed, (f"{steps:>8}", ""), (f" {unit}", "muted")] if view.live else speed


def _notice_row(view: View, *, wide: bool) -> Row:
    """What just happened; else, on narrow screens, the machine in one line."""
    if view.notice:
        return ((" ", ""), *view.notice)
    state = view.state
    if state.status == "finished" and state.adapters:
        kinds = ", ".join(item.kind for item in state.adapters)
        folder = (view.folder / state.adapters[-1].path).parent
        return row((" adapter  ", "muted"), paths.shorten(folder), (f"  {kinds}", "muted"))
    if not wide:
        return _machine_row(view)
    newest = state.checkpoints[-1] if state.checkpoints else None
    if newest is None:
        return ((" no checkpoint yet", "muted"),)
    return row((f" last checkpoint  step {newest.step:,} at {clock(newest.t)} ({newest.reason})", "muted"))


def _machine_row(view: View) -> Row:
    state, cells = view.state, _speed(view)
    cells[0] = (" " + cells[0][0].strip(), "")
    if state.gpus:
        # Of several, the one that is fullest: it is the first to run out.
        gpu = max(state.gpus, key=lambda item: gauges.share(item, "mem_used", "mem_total"))
        label = f"   gpu {gpu.get('index', 0)} of {len(state.gpus)} " if len(state.gpus) > 1 else "   gpu "
        held = gauges.used(gpu, "mem_used", "mem_total")
        cells += [(label, "muted"), (f"{gauges.percent(gpu.get('util'))} {held}", "")]
        cells += [(f" {gauges.degrees(gpu.get('temp'))}", "")]
    else:
        cells += [("   cpu ", "muted"), (gauges.percent(state.host.get("cpu")), "")]
        cells += [("  ram ", "muted"), (gauges.used(state.host, "ram_used", "ram_total"), "")]
    return row(*cells)


def schedule_rows(view: View, width: int) -> list[Row]:
    """Learning rate, gradient norm and throughput: the number and its shape over the run; and the parts of a step."""
    series = view.state.series
    shown = [
        ("learning rate", learning_rate(newest(view.state, "lr")), series["lr"], False),
        ("grad norm", measure(newest(view.state, "grad_norm"), 8, 2), series["grad_norm"], True),
        ("samples/s", measure(newest(view.state, "samples_per_s"), 8, 2), series["samples_per_s"], False),
    ]
    rows: list[Row] = []
    for label, value, points, peaks in shown:
        rows.append(row((f"{label:<{max(width - 9, 1)}}", "muted"), f" {value}"))
        rows.append(row((_spark(points, width, peaks=peaks, growing=view.live, ascii_only=view.ascii_only), "fill")))
    return [*rows, time_row(view.state)]


def _spark(points: Series, width: int, *, peaks: bool, growing: bool, ascii_only: bool) -> str:
    """A series over the whole run in one row; peaks are kept where they matter."""
    first, last = points.first_x, points.last_x
    if first is None or last is None or width < 1:
        return ""
    axis = axis_for(first, last, (width + 1) // 2, growing=growing)
    buckets = points.window(axis.start, math.nextafter(axis.end, -math.inf), axis.columns * 2)[:width]
    end = max((i for i, bucket in enumerate(buckets) if bucket is not None), default=-1)
    values: list[float | None] = []
    for bucket in buckets[: end + 1]:
        values.append((values[-1] if values else None) if bucket is None else bucket[1 if peaks else 2])
    # Two values in front hold the scale to round bounds: it rarely moves, and so rarely the whole row.
    return braille.spark([*_round_bounds(values), *values], ascii_only=ascii_only)[2:]


def _round_bounds(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Bounds of the values, widened to multiples of a power of two near a quarter of what lies between them."""
    finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if not high - low > abs(high) * 1e-9:
        return None, None
    unit = 2.0 ** math.floor(math.log2((high - low) / 4))
    return math.floor(low / unit) * unit, math.ceil(high / unit) * unit


def checkpoint_rows(view: View, *, offset: int = 0) -> list[Row]:
    """Adapters, then checkpoints from the newest on."""
    state = view.state
    mark, done = ("c", "+") if view.ascii_only else ("◆", "✓")
    rows: list[Row] = [
        row((f"{done} ", "good"), f"{item.kind + ' adapter':<17}", (f"{clock(item.t)[:5]:>14}", "muted"))
        for item in reversed(state.adapters)
    ]
    rows += [_checkpoint_row(item, mark) for item in reversed(state.checkpoints)]
    if not rows:
        saves = state.status in ("running", "paused") and view.live and not view.readonly
        rows = [row(("none yet; c saves one now" if saves else "none yet" if view.live else "none", "muted"))]
    return rows[offset:] if offset < len(rows) else rows[-1:]


def _checkpoint_row(item: CheckpointInfo, mark: str) -> Row:
    return row(
        (f"{mark} ", "accent"), f"step {item.step:>8,}", (f"  {item.reason:<9.9}{clock(item.t)[:5]:>7}", "muted")
    )


_LEVEL_STYLE = {"warning": "warn", "error": "bad", "critical": "bad"}


def log_row(line: LogLine) -> Row:
    """One line of the log: time, the level where it matters, text."""
    style = _LEVEL_STYLE.get(line.level, "")
    level: list[Span] = [(f"{line.level}  ", style)] if style else []
    return row((f"{clock(line.t)}  ", "muted"), *level, line.text)


def matching(lines: Sequence[LogLine], wanted: str) -> list[LogLine]:
    """The lines that hold `wanted`, whatever its case; all of them without one."""
    needle = wanted.casefold()
    return [line for line in lines if needle in line.text.casefold() or needle in line.level] if needle else list(lines)
