"""From tensors of another trainer back to songs: audio and words in a folder of their own, to be encoded anew."""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset.files import printable
from sidestep_tui.launch.tensors import Report, TensorFile

_NONE_SAID: Final = frozenset({"", "n/a", "none", "unknown"})
_UNTITLED: Final = "[instrumental]"


@dataclass(frozen=True, slots=True)
class Recovered:
    """A song in its new place."""

    name: str
    audio: Path
    source: Path
    fields: dict[str, Any]


def plan(report: Report, out: Path) -> tuple[list[Recovered], list[tuple[TensorFile, str]]]:
    """Which songs would be written, and which cannot and why. Nothing is written."""
    target = paths.expand(out).absolute()
    found: list[Recovered] = []
    left: list[tuple[TensorFile, str]] = []
    heard: dict[Path, str] = {}
    for file in report.files:
        if file.problem:
            left.append((file, file.problem))
        elif file.audio is None:
            left.append((file, "has no audio that could be found"))
        elif (source := file.audio.resolve()) in heard:
            left.append((file, f"was made from the same audio as {heard[source]}"))
        else:
            heard[source] = file.path
            audio = target / f"{file.name}{source.suffix.lower()}"
            found.append(Recovered(file.name, audio, source, words(file)))
    return found, left


def words(file: TensorFile) -> dict[str, Any]:
    """A sidecar of what the metadata says; what it leaves open stays open."""
    told = file.metadata
    fields: dict[str, Any] = {}
    for name in ("caption", "genre", "keyscale", "timesignature", "custom_tag", "prompt_override", "language"):
        value = str(told.get(name, "")).encode("utf-8", "replace").decode().strip()
        if value.casefold() not in _NONE_SAID:
            fields[name] = value
    if isinstance(bpm := told.get("bpm"), float) and bpm > 0:
        fields["bpm"] = round(bpm)
    if isinstance(repeat := told.get("repeat"), float) and repeat > 1:
        fields["repeat"] = round(repeat)
    lyrics = str(told.get("lyrics", "")).encode("utf-8", "replace").decode().strip()
    instrumental = told.get("is_instrumental") is True or lyrics.casefold() == _UNTITLED
    if instrumental:
        fields["is_instrumental"] = True
    elif lyrics:
        fields["lyrics"] = lyrics
    return fields


def write(songs: list[Recovered], *, copy: bool = False) -> Iterator[Recovered]:
    """Write the songs one by one: linked where the disk can, else copied. What is there and equal is left alone.

    DataError before anything is written when something else is in the way.
    """
    for song in songs:
        for path, same in ((song.audio, _same_audio(song)), (_sidecar(song), _same_words(song))):
            if (path.exists() or path.is_symlink()) and not same:
                raise DataError(
                    f"{printable(str(path))} is there already.",
                    "Existing files are never overwritten.",
                    "Choose another folder.",
                )
    for song in songs:
        if not _sidecar(song).exists():
            atomic.write_bytes(_sidecar(song), _text(song))
        if not song.audio.exists():
            _place(song.source, song.audio, copy=copy)
        yield song


def _sidecar(song: Recovered) -> Path:
    return song.audio.with_suffix(".json")


def _text(song: Recovered) -> bytes:
    return (json.dumps(song.fields, ensure_ascii=False, indent=2) + "\n").encode()


def _same_audio(song: Recovered) -> bool:
    try:
        return song.audio.samefile(song.source) or filecmp.cmp(song.audio, song.source, shallow=False)
    except OSError:
        return False


def _same_words(song: Recovered) -> bool:
    try:
        return _sidecar(song).read_bytes() == _text(song)
    except OSError:
        return False


def _place(source: Path, target: Path, *, copy: bool) -> None:
    """A second name for the same file, or a copy; never over something that has appeared meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.tmp")
    try:
        if copy or not _linked(source, target):
            shutil.copyfile(source, scratch)
            if target.exists():
                raise FileExistsError(errno.EEXIST, "is there already", str(target))
            scratch.replace(target)
    except OSError as error:
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else DataError
        raise kind(
            f"{printable(str(target))} could not be written.", f"{error.strerror or error}.", "Try again with room."
        ) from error
    finally:
        scratch.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another disk, or one without links
        return False
    return True
