"""The report of an import while it is made: what became of every key of somebody else's preset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.values import check_value, format_value, parse_value

Verdict = Literal["taken", "translated", "refused"]


class Row(NamedTuple):
    """What became of one key of the file. `wrong` tells a value that cannot be from a key that has no counterpart, and
    `fix` says what to write instead."""

    key: str
    verdict: Verdict
    detail: str
    wrong: bool = False
    fix: str = ""


@dataclass(slots=True)
class Translation:
    """The report while it is made. `given` remembers which key decided a setting."""

    source: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)

    def take(self, key: str, path: str, raw: Any, *, original: Any = None, note: str = "") -> None:
        """Set `path` to `raw`; `original` is the value in the file where that was another."""
        spec = fields_by_path()[path]
        try:
            value = parse_value(spec, raw) if isinstance(raw, str) else check_value(spec, _plain(spec.kind, raw))
        except SettingsError as error:
            self.wrong(key, error.title, f"Write {format_value(spec, spec.default)}, for example.")
            return
        if isinstance(raw, str) and spec.kind in ("int", "float", "bool") and original in (None, raw):
            note = ", ".join(filter(None, (note, f"read from the text {shown(raw)}")))
        if path in self.given and self.values[path] != value:
            self.refuse(key, f"{path} is already {format_value(spec, self.values[path])} from {self.given[path]}")
            return
        self.values[path] = value
        self.given[path] = key
        changed = original is not None and original != raw
        detail = f"{path} = {format_value(spec, value)}" + (f" ({note})" if note else "")
        self.rows.append(Row(key, "translated" if changed or note else "taken", detail))

    def refuse(self, key: str, reason: str) -> None:
        """Leave out a key that has no counterpart here."""
        self.rows.append(Row(key, "refused", reason))

    def wrong(self, key: str, reason: str, fix: str = "") -> None:
        """Leave out a key whose value cannot be."""
        self.rows.append(Row(key, "refused", reason, wrong=True, fix=fix))

    def idle(self, key: str, reason: str) -> None:
        """Pass over a key that does nothing where it comes from either, so that nothing is lost."""
        self.rows.append(Row(key, "taken", f"without effect there too: {reason}"))


def number(value: Any) -> float | None:
    """A number from a number or from text; None for anything else, truth values too."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value) if isinstance(value, (int, float, str)) else None
    except (ValueError, OverflowError):
        return None
    return found


def shown(value: Any) -> str:
    """A value in a message: short, and never the inside of a list or table that somebody else made."""
    if isinstance(value, (str, int, float)) or value is None:
        written = json.dumps(value, ensure_ascii=False)
        return written if len(written) <= 40 else written[:39] + "…"
    return "a list" if isinstance(value, list) else "a table" if isinstance(value, dict) else type(value).__name__


def _plain(kind: str, raw: Any) -> Any:
    return bool(raw) if kind == "bool" and type(raw) is int and raw in (0, 1) else raw
