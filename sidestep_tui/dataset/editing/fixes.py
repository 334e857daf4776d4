"""Repairing sidecars in place: one field at a time, nothing else in the file changed, a backup beside it.

A file is edited by replacing the characters of one value. Afterwards it is read again, and unless exactly the wanted
values have changed it stays as it was. Audio is never opened here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidestep_tui.dataset import lyrics, values
from sidestep_tui.dataset.editing import fixes_slots as slots
from sidestep_tui.dataset.editing import rewriting
from sidestep_tui.dataset.editing.fixes_slots import NotFixableError, Slot, Slots
from sidestep_tui.dataset.health.doctor_findings import Fix

FIX_CODES: Final = (
    "mojibake",
    "lrc_stamps",
    "bpm_spelling",
    "key_spelling",
    "time_signature_spelling",
    "tag_missing",
)
"""What can be repaired, in the order in which it is done."""

_RUN: Final = re.compile(r"[^\x00-\x7f]{2,}")
_TYPOGRAPHY: Final = frozenset("‘’‚“”„‹›«»–—…•™ ")
_LIKELY: Final = re.compile(r"[\u0080-\u017f\u0370-\u04ff]")
_BPM: Final = re.compile(r"\s*([0-9]{1,9}(?:[.,][0-9]{1,9})?)\s*(?:bpm)?\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after."""

    fix: Fix
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Edit:
    """A file before and after."""

    path: Path
    origin: str
    before: bytes
    after: bytes
    mode: int
    changes: tuple[Change, ...]


@dataclass(slots=True)
class Plan:
    """What would be written, and what cannot be fixed in place."""

    edits: list[Edit] = field(default_factory=list)
    problems: dict[Fix, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of an edit."""

    edit: Edit
    backup: str = ""
    problem: str = ""


def plan(root: Path, wanted: Iterable[Fix]) -> Plan:
    """Work out all edits; nothing is written."""
    by_file: dict[str, list[Fix]] = {}
    for fix in dict.fromkeys(wanted):
        by_file.setdefault(fix.origin, []).append(fix)
    result = Plan()
    for origin, fixes in sorted(by_file.items()):
        fixes.sort(key=lambda fix: FIX_CODES.index(fix.code))
        try:
            edit = _edit(root, origin, fixes, result.problems)
        except (NotFixableError, rewriting.RefusedError, OSError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
            result.problems.update(dict.fromkeys(fixes, reason))
            continue
        if edit is not None:
            result.edits.append(edit)
    return result


def write(edit: Edit) -> Written:
    """Back the file up and write it, unless it has changed since it was read."""
    try:
        backup = rewriting.overwrite(edit.path, edit.before, edit.after, edit.mode)
    except (rewriting.RefusedError, OSError) as error:
        return Written(edit, problem=rewriting.reason(error))
    return Written(edit, backup=backup)


def transform(code: str, value: str, argument: str = "") -> str:
    """The repaired form of a value; the value itself where there is nothing to repair."""
    if code == "mojibake":
        return repair_mojibake(value)
    core = value.strip()
    start = value.find(core)
    before, after = value[:start], value[start + len(core) :]
    if code == "lrc_stamps":
        return before + remove_stamps(core) + after
    if code == "tag_missing":
        if values.is_blank(value) or slots.has_word(value, argument):
            return value
        return f"{before}{argument}, {core}{after}"
    return before + canonical_spelling(code, core) + after


def canonical_spelling(code: str, value: str) -> str:
    """A value as other tools understand it too; unchanged where that would need a guess."""
    try:
        if code == "time_signature_spelling":
            return values.timesignature(value)
        if code == "key_spelling":
            # A bare note is read as major; writing that down would turn a guess into a fact.
            return value if len(value.strip().rstrip("#b♯♭")) < 2 else values.keyscale(value)
        match = _BPM.fullmatch(value)
        return match.group(1).replace(",", ".") if match and values.bpm(value) else value
    except ValueError:
        return value


def remove_stamps(text: str) -> str:
    """Lyrics without time stamps and LRC headers, as the model reads them; text without stamps stays as it is."""
    return lyrics.clean(text) if lyrics.has_timestamps(text) else text


def repair_mojibake(text: str) -> str:
    """Undo UTF-8 that was read as Latin-1 or Windows-1252 (`Ã©` → `é`), however often; only where that is certain.

    A run of letters is replaced only if its bytes are valid UTF-8 and garbling the result gives the run again.
    """
    while (repaired := _RUN.sub(_repaired_run, text)) != text:
        text = repaired
    return text


def _repaired_run(match: re.Match[str]) -> str:
    run = match.group()
    for garble in (_as_windows, _as_latin):
        data = _bytes_of(run, garble)
        if data is None:
            continue
        try:
            decoded = data.decode("utf-8")
        except UnicodeDecodeError:
            continue
        if _garbled(decoded, garble) == run and _is_likely(match, decoded):
            return decoded
    return run


def _is_likely(match: re.Match[str], decoded: str) -> bool:
    """Whether nobody would have written the run on purpose: `IRMÃ”` or `Spaß…` may well be meant."""
    run = match.group()
    if not all(char.isprintable() or char == "\xa0" or "\x80" <= char <= "\x9f" for char in decoded):
        return False
    if len(run) > 2:
        return True
    if not _LIKELY.fullmatch(decoded):
        return False
    if run[1] not in _TYPOGRAPHY:
        return run[0] in "ÂÃÄÅÎÏÐÑÒ"
    return run[0] in "ÂÃ" and match.string[match.end() : match.end() + 1].isalpha()


def _as_windows(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def _as_latin(byte: int) -> str:
    return chr(byte)


_WINDOWS_BYTES: Final = {_as_windows(byte): byte for byte in range(256)}
_LATIN_BYTES: Final = {chr(byte): byte for byte in range(256)}


def _bytes_of(run: str, garble: object) -> bytes | None:
    table = _WINDOWS_BYTES if garble is _as_windows else _LATIN_BYTES
    try:
        return bytes(table[char] for char in run)
    except KeyError:
        return None


def _garbled(text: str, garble: object) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return "".join(map(_as_windows if garble is _as_windows else _as_latin, data))


def _edit(root: Path, origin: str, fixes: list[Fix], problems: dict[Fix, str]) -> Edit | None:
    """The edit of one file, or None if there is nothing to change; fixes that fail alone go to `problems`."""
    path, mode = rewriting.target(root, origin)
    before = path.read_bytes()
    text, encode = slots.decode(before)
    document = slots.read(text, origin, {fix.song for fix in fixes})
    replacements: dict[Slot, str] = {}
    changes: dict[tuple[Slot, str], Change] = {}
    for fix in fixes:
        try:
            slot = document.slot(fix.song, fix.field)
        except NotFixableError as error:
            problems[fix] = str(error)
            continue
        value = replacements.get(slot, slot.value)
        after = transform(fix.code, value, fix.argument)
        if after != value:
            if slot.is_single_line and "\n" in after:
                problems[fix] = "does not fit on one line"
                continue
            replacements[slot] = after
            changes.setdefault((slot, fix.code), Change(fix, value, after))
    if not replacements:
        return None
    edited = slots.splice(text, replacements)
    _verify(document, slots.read(edited, origin, {fix.song for fix in fixes}), replacements)
    return Edit(path, origin, before, encode(edited), mode, tuple(changes.values()))


def _verify(before: Slots, after: Slots, replacements: dict[Slot, str]) -> None:
    """Refuse an edit that would change anything but the wanted values."""
    expected = {key: replacements.get(slot, slot.value) for key, slot in before.by_field.items()}
    if {key: slot.value for key, slot in after.by_field.items()} != expected or before.rest(
        set(replacements)
    ) != after.rest({after.by_field[key] for key, slot in before.by_field.items() if slot in replacements}):
        raise NotFixableError("would read differently afterwards")
