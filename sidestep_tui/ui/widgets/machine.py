"""What the machine does, as rows: every GPU, who else is on it, processor, memory and disk. Pure.

One GPU is told in full; several take a line each, in a narrow panel as in a wide one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.core.nvml import THROTTLES
from sidestep_tui.protocol import alerts
from sidestep_tui.ui.widgets import braille
from sidestep_tui.ui.widgets.gauges import (
    BAR,
    FULL,
    NA,
    degrees,
    gauge,
    number,
    percent,
    share,
    used,
    watts,
)
from sidestep_tui.ui.widgets.panels import View
from sidestep_tui.ui.widgets.rows import Row, Span, row

_WIDE = 74
"""Cells from which on a panel tells everything of a GPU in one line, and the processes on it."""
_GIB = 1024**3
_COUNTLESS = 9_999
_HOT = frozenset({"heat", "brake", "slow"})


def machine_rows(view: View, width: int = 33) -> list[Row]:
    """GPUs, processor, memory and disk for a panel of so many cells."""
    gpus = view.state.gpus
    rows: list[Row] = []
    if not gpus:
        rows.append(row((f"no GPU seen; training on {view.state.device or 'the CPU'}"[:width], "muted")))
    elif width >= _WIDE:
        return [*_told_in_full(gpus), *_host_rows(view, width), *_holder_rows(gpus, width)]
    elif len(gpus) == 1:
        rows += _one_gpu(gpus[0], ascii_only=view.ascii_only)
    else:
        rows += [_short_line(gpu, ascii_only=view.ascii_only) for gpu in gpus]
    return rows + _host_rows(view, width)


def _host_rows(view: View, width: int) -> list[Row]:
    host, plain = view.state.host, view.ascii_only
    bar = BAR if width < _WIDE else 24
    rows = [
        gauge("cpu", (number(host.get("cpu")) or 0.0) / 100, percent(host.get("cpu")), ascii_only=plain, bar=bar),
        gauge("ram", share(host, "ram_used", "ram_total"), used(host, "ram_used", "ram_total"), ascii_only=plain,
              warn=True, bar=bar),
    ]  # fmt: skip
    free, total = number(host.get("disk_free")), number(host.get("disk_total"))
    if free is not None and total:
        disk = gauge("disk", 1 - free / total, f"{text.file_size(free)} free", ascii_only=plain, warn=True, bar=bar)
        rows.append((*disk, *_fitting(view)) if width >= _WIDE else disk)
    return rows


def _fitting(view: View) -> Row:
    fits = alerts.checkpoints_that_fit(view.state)
    if fits is None or fits > _COUNTLESS:
        return ()
    return row((f"  room for {text.plural(fits, 'checkpoint')}", "muted"))


def _one_gpu(gpu: Mapping[str, Any], *, ascii_only: bool) -> list[Row]:
    memory = gauge("vram", share(gpu, "mem_used", "mem_total"), used(gpu, "mem_used", "mem_total"),
                   ascii_only=ascii_only, warn=True)  # fmt: skip
    rows = [row(str(gpu.get("name", "GPU"))[:33]), memory]
    if (split := _ours_and_others(gpu)) is not None:
        ours, others = split
        rows.append(
            row(("     ours ", "muted"), f"{ours / _GIB:5.1f}", ("  others ", "muted"), f"{others / _GIB:5.1f} GiB")
        )
    util = (number(gpu.get("util")) or 0.0) / 100
    rows.append(gauge("util", util, percent(gpu.get("util")), ascii_only=ascii_only))
    heat = degrees(gpu.get("temp"), gpu.get("temp_limit")).strip()
    rows.append(
        row((f"{'heat':<5}", "muted"), f"{heat:<12}", f" {watts(gpu.get('power'), gpu.get('power_limit')).strip():>15}")
    )
    if gpu.get("throttle") in _HOT:
        rows.append(row((f"     {THROTTLES[gpu['throttle']]}: it slows down", "warn")))
    return rows


def _short_line(gpu: Mapping[str, Any], *, ascii_only: bool) -> Row:
    """One GPU in 33 cells."""
    util, memory = number(gpu.get("util")), share(gpu, "mem_used", "mem_total")
    full, rest = braille.bar((util or 0.0) / 100, 4, ascii_only=ascii_only)
    a, b = number(gpu.get("mem_used")), number(gpu.get("mem_total"))
    held = f"{f'{a / _GIB:.1f}/{b / _GIB:.0f}G':>10}" if a is not None and b else f"{NA:>10}"
    hot = gpu.get("throttle") in _HOT
    return row(
        (f"{_index(gpu):<2}", "muted"), (full, "fill"), (rest, "faint"),
        f"{util:4.0f}%" if util is not None else f"{NA:>5}",
        (f" {held}", "warn" if memory >= FULL else ""),
        (f" {degrees(gpu.get('temp')).replace(' °', '°')}", "warn" if hot else ""),
        ("  hot" if hot else f"{watts(gpu.get('power')).replace(' W', 'W')[-5:]:>5}", "warn" if hot else ""),
    )  # fmt: skip


def _told_in_full(gpus: Sequence[Mapping[str, Any]]) -> list[Row]:
    kinds = dict.fromkeys(str(gpu.get("name", "GPU")) for gpu in gpus)
    return [row((text.listing(list(kinds)), "muted")), *(_long_line(gpu) for gpu in gpus)]


def _holder_rows(gpus: Sequence[Mapping[str, Any]], width: int) -> list[Row]:
    """Who holds memory of which GPU."""
    held = [(gpu, item) for gpu in gpus for item in alerts.holders(gpu)]
    held.sort(key=lambda pair: bool(pair[1].get("ours")))  # Who else is there is what one comes for.
    if not held:
        return []
    return [row(""), row(("processes", "muted")), *(_holder_row(gpu, item, width) for gpu, item in held)]


def _long_line(gpu: Mapping[str, Any]) -> Row:
    """One GPU in 76 cells."""
    spans: list[Span] = [
        (f"gpu{_index(gpu):<2}", "muted"),
        (percent(gpu.get("util")), ""),
        (f" {used(gpu, 'mem_used', 'mem_total'):>14}", "warn" if share(gpu, "mem_used", "mem_total") >= FULL else ""),
    ]
    if (split := _ours_and_others(gpu)) is not None:
        spans += [(" ours", "muted"), (f"{split[0] / _GIB:6.1f}", "")]
        spans += [(" others", "muted"), (f"{split[1] / _GIB:5.1f}", "")]
    throttle = gpu.get("throttle")
    spans.append((f" {degrees(gpu.get('temp'), gpu.get('temp_limit'))}", "warn" if throttle in _HOT else ""))
    spans.append((f" {watts(gpu.get('power'), gpu.get('power_limit'))}", ""))
    if throttle in THROTTLES:
        spans.append((f"  {THROTTLES[throttle]}", "warn" if throttle in _HOT else "muted"))
    return row(*spans)


def _holder_row(gpu: Mapping[str, Any], item: Mapping[str, Any], width: int) -> Row:
    memory = number(item.get("memory"))
    held = text.gibibytes(memory) if memory is not None else NA
    name = str(item.get("name") or "not visible from this container")
    room = max(width - 42, 20)
    whose = ("this run", "good") if item.get("ours") else ("", "")
    return row(
        (f"gpu{_index(gpu):<2}", "muted"), f" {name[:room]:<{room}}", f" {held:>10}",
        (f"  pid {item.get('pid')!s:<8}", "muted"), whose,
    )  # fmt: skip


def _ours_and_others(gpu: Mapping[str, Any]) -> tuple[float, float] | None:
    """Bytes that this run holds, and what all others do; None where the driver does not tell ours."""
    ours = [number(item.get("memory")) for item in alerts.holders(gpu) if item.get("ours")]
    total = number(gpu.get("mem_used"))
    if not ours or total is None or None in ours:
        return None
    held = sum(value for value in ours if value is not None)
    return held, max(total - held, 0.0)


def _index(gpu: Mapping[str, Any]) -> int:
    index = gpu.get("index")
    return index if type(index) is int else 0
