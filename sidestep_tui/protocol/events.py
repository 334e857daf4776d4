"""The event types of the journal, and how one event becomes one line and back.

The hot path works on plain dictionaries; `protocol.strict` has the models that tests hold every event against.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from operator import gt
from typing import Any

from pydantic_core import from_json

Event = dict[str, Any]

VERSION = 1

EVENT_TYPES = frozenset(
    {
        "session_started",
        "phase",
        "step",
        "epoch",
        "eval",
        "checkpoint",
        "best",
        "sample",
        "gpu",
        "log",
        "warning",
        "command",
        "paused",
        "resumed",
        "adapter",
        "error",
        "session_ended",
    }
)

PHASES = (
    "loading",
    "encoding_audio",
    "encoding_text",
    "encoding_conditions",
    "validating",
    "training",
    "saving",
    "exporting",
    "verifying",
)

END_REASONS = (
    "finished",
    "early_stop",
    "stopped",
    "aborted",
    "failed",
    "diverged",
    "out_of_memory",
    "refused",
)

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

TEXT_FIELDS = frozenset(
    {
        "adapter",
        "boot_id",
        "by",
        "code",
        "detail",
        "device",
        "engine",
        "hint",
        "host",
        "id",
        "kind",
        "level",
        "message",
        "msg",
        "name",
        "path",
        "product_version",
        "prompt",
        "reason",
        "session",
        "state",
        "text",
        "title",
        "traceback_path",
        "type",
    }
)
"""Fields that are prose: a log line that reads "NaN" stays text, a loss that reads "NaN" becomes the number."""


def _plain(value: Any) -> Any:
    """What `json` cannot write by itself: paths become text."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} cannot be written to the journal; pass plain numbers, text and lists")


_compact = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode
_ascii = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False, default=_plain).encode


def _spell_out(value: Any) -> Any:
    """Replace NaN and the infinities, at any depth, by their names."""
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):
            return "NaN"
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _spell_out(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_spell_out(item) for item in value]
    return value


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_has_non_finite(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_non_finite(item) for item in value)
    return False


def encode(event: Mapping[str, Any]) -> bytes:
    """One event as one line of JSON with its newline; NaN and infinities as `"NaN"`, `"Infinity"`, `"-Infinity"`."""
    try:
        text = _compact(event)
    except ValueError:
        if not _has_non_finite(event):
            raise
        event = _spell_out(event)
        text = _compact(event)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        # A file name that is not UTF-8 carries lone surrogates; escaped, they survive the trip.
        return _ascii(event).encode("ascii") + b"\n"


def _restore(value: Any) -> Any:
    if type(value) is str:
        return _NON_FINITE.get(value, value)
    if type(value) is dict:
        for key, item in value.items():
            if key not in TEXT_FIELDS:
                value[key] = _restore(item)
        return value
    if type(value) is list:
        return [_restore(item) for item in value]
    return value


def _may_hold_names(data: bytes) -> bool:
    return b'"NaN"' in data or b'Infinity"' in data


def decode(line: bytes) -> Event:
    """One journal line as an event; raises ValueError if it is not one."""
    try:
        event = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply for an event") from error
    if type(event) is not dict:
        raise ValueError("a journal line must be a JSON object")
    return _restore(event) if _may_hold_names(line) else event


def decode_lines(data: bytes) -> tuple[list[Event], int]:
    """Every event in `data` (whole lines), and how many lines were not events.

    A whole block is parsed as one JSON array: three times as fast as line by line, which is what makes a
    journal of a day readable at once. A block with a bad line in it falls back to single lines.
    """
    body = data[:-1] if data.endswith(b"\n") else data
    if not body:
        return [], 0
    try:
        events = from_json(b"[" + body.replace(b"\n", b",") + b"]")
    except ValueError:
        return _decode_singly(body)
    if len(events) != body.count(b"\n") + 1 or not all(type(event) is dict for event in events):
        return _decode_singly(body)
    if _may_hold_names(body):
        events = [_restore(event) for event in events]
    return events, 0


def _decode_singly(body: bytes) -> tuple[list[Event], int]:
    events: list[Event] = []
    bad = 0
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            events.append(decode(line))
        except ValueError:
            bad += 1
    return events, bad


def is_complete(line: bytes) -> bool:
    """Whether `line` (without a newline) is a whole event all the same."""
    try:
        event = decode(line)
    except ValueError:
        return False
    return "seq" in event and "type" in event


def unseen(events: Sequence[Event], after: int) -> tuple[Sequence[Event], int]:
    """The events that come after number `after`, and the last number then: a journal may be read twice."""
    seqs = [event.get("seq") for event in events]
    if set(map(type, seqs)) == {int} and seqs[0] > after and all(map(gt, islice(seqs, 1, None), seqs)):  # type: ignore[operator, arg-type]
        return events, seqs[-1]  # type: ignore[return-value]
    fresh = []
    for event, seq in zip(events, seqs, strict=True):
        if type(seq) is int:
            if seq <= after:
                continue
            after = seq
        fresh.append(event)
    return fresh, after
