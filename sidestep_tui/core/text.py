"""How numbers, times and lists look to people. Stored numbers never pass through here."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def file_size(n_bytes: float) -> str:
    """`1536` → `1.5 KiB`."""
    value = float(n_bytes)
    for unit in _BINARY[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_BINARY[-1]}"


def gibibytes(n_bytes: float) -> str:
    """`5153960755` → `4.8 GiB`, always in GiB so that columns line up."""
    return f"{n_bytes / 1024**3:.1f} GiB"


def count(n: float) -> str:
    """`44040192` → `44.0 M`."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(n) >= size:
            return f"{n / size:.1f}{unit}"
    return f"{n:.0f}"


def thousands(n: int) -> str:
    """`4213` → `4,213`."""
    return f"{n:,}"


def duration(seconds: float) -> str:
    """`7384` → `2 h 03 m`; unknown or unending times are a dash."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def number(value: float, digits: int = 4) -> str:
    """A number with `digits` significant digits; NaN and infinity stay visible."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return f"{value:.{digits}g}"


def fixed(value: float, places: int = 4) -> str:
    """A number with so many decimal places, for columns that must not dance; NaN and infinity stay visible."""
    return f"{value:.{places}f}" if math.isfinite(value) else number(value)


def plural(n: int, noun: str, many: str | None = None) -> str:
    """`plural(1, "song")` → `1 song`; `plural(3, "song")` → `3 songs`."""
    return f"{n:,} {noun if n == 1 else many or noun + 's'}"


def listing(items: Sequence[str], most: int = 4) -> str:
    """`a, b, c and 7 more`."""
    shown = list(items[:most])
    if len(items) > most:
        return f"{', '.join(shown)} and {len(items) - most} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to a mistyped one, or None."""
    names = list(known)
    by_lower = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    if matches:
        return by_lower[matches[0]]
    tails = {name.rsplit(".", 1)[-1].lower(): name for name in names}
    matches = difflib.get_close_matches(word.rsplit(".", 1)[-1].lower(), tails, n=1, cutoff=0.7)
    return tails[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence for the nearest known word, or an empty string."""
    match = nearest(word, known)
    return f"Did you mean '{match}'?" if match else ""
