"""What headers and listening tell about songs, as findings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.health.doctor_findings import Finding
from sidestep_tui.dataset.health.listening import SILENT, Heard
from sidestep_tui.dataset.manifest import Manifest, Skipped, Song

_CLIP_RUNS: Final = 10
_CLIPPED_SHARE: Final = 1e-4
_MOSTLY: Final = 0.5
_QUIET_DB: Final = -40.0
_LOUD_DB: Final = -6.0
_OUT_OF_PHASE: Final = -0.5
_DC: Final = 0.01
_FINDING_OF: Final = {"truncated": "truncated", "empty": "empty", "no_sound": "empty"}
_LOW_RATE: Final = 32_000
"""Hertz below which treble is missing that every listener hears: nothing sounds above half of it."""


def skipped_findings(skipped: Iterable[Skipped]) -> Iterator[Finding]:
    """What the scan could not use."""
    for item in skipped:
        code = "left_out" if item.is_deliberate else _FINDING_OF.get(item.code, "unreadable")
        yield Finding(code, item.path.as_posix(), item.reason)


def header_findings(manifest: Manifest) -> Iterator[Finding]:
    """What headers tell: lengths, channels, sample rates."""
    for song in manifest.songs:
        length = f"lasts {song.duration:.1f} s."
        if song.duration < 1:
            sentence = f"lasts {song.duration:.2f} s; under a second it is left out of training."
            yield Finding("very_short", song.name, sentence, grave="error")
        elif song.duration < 10:
            yield Finding("very_short", song.name, length)
        elif song.duration < 29.5:
            yield Finding("short", song.name, length)
        elif song.duration > 600:
            yield Finding("very_long", song.name, f"lasts {wording.duration(song.duration)}.")
        elif song.duration > 240.5:
            yield Finding("long", song.name, f"lasts {wording.duration(song.duration)}.")
        if song.channels == 1:
            yield Finding("mono", song.name, "has one channel.")
        if song.sample_rate < _LOW_RATE:
            highest = song.sample_rate / 2000
            yield Finding("low_rate", song.name, f"has {song.sample_rate:,} Hz: nothing above {highest:g} kHz.")
    rates = Counter(song.sample_rate for song in manifest.songs)
    if len(rates) > 1:
        counts = [f"{wording.plural(count, 'song')} at {rate:,} Hz" for rate, count in rates.most_common()]
        yield Finding("mixed_rates", "", f"{wording.listing(counts)}.")


def sound_findings(song: Song, heard: Heard) -> Iterator[Finding]:
    """What listening tells about one song."""
    if not heard.is_finite:
        yield Finding("not_a_number", song.name, "holds samples that are NaN or infinite.")
    if heard.peak < SILENT:
        yield Finding("silent", song.name, f"never rises above {_db(SILENT):.0f} dBFS.")
        return
    if heard.silent_share > _MOSTLY:
        yield Finding("mostly_silent", song.name, f"is silent for {heard.silent_share:.0%} of its length.")
    if heard.clip_runs >= _CLIP_RUNS and heard.clipped_share > _CLIPPED_SHARE:
        yield Finding("clipped", song.name, f"clips {heard.clip_runs:,} times ({heard.clipped_share:.2%} of samples).")
    active = heard.rms / math.sqrt(max(1e-9, 1 - heard.silent_share)) if heard.silent_share < 1 else heard.rms
    level = _db(active)
    if level < _QUIET_DB:
        yield Finding("quiet", song.name, f"has an average level of {level:.0f} dBFS.")
    elif level > _LOUD_DB:
        yield Finding("loud", song.name, f"has an average level of {level:.1f} dBFS.")
    if heard.is_dual_mono:
        yield Finding("dual_mono", song.name, "has the same sound in both channels.")
    elif heard.correlation is not None and heard.correlation < _OUT_OF_PHASE:
        yield Finding("out_of_phase", song.name, f"has a stereo correlation of {heard.correlation:.2f}.")
    if heard.dc > _DC:
        yield Finding("dc_offset", song.name, f"is off centre by {heard.dc:.1%} of full scale.")


def damage(song: Song, error: DataError) -> Finding:
    """A song that its header promised and its content does not give."""
    code = "truncated" if "cut short" in error.title else "unreadable"
    return Finding(code, song.name, f"{error.title.removeprefix(song.audio.name).strip()} {error.message}".strip())


def _db(level: float) -> float:
    return 20 * math.log10(max(level, 1e-10))
