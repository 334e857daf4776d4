"""A folder of songs that are tensors already: taken over from another trainer, because their audio is gone.

`encoded.json` describes it; latents and conditions lie beside it as safetensors. Nothing of a song can be changed any
more, so all that is read here is names, words to show, and what is known to be wrong.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import merge
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import ENCODED_FILE, Manifest, Song
from sidestep_tui.dataset.tensor_defects import DEFECTS

FORMAT: Final = 1
FRAMES_PER_SECOND: Final = 25
_MOST_BYTES: Final = 64 << 20
_MOST_REPEATS: Final = 1000


def is_adopted(folder: Path) -> bool:
    """Whether the songs of a folder are tensors."""
    return (folder / ENCODED_FILE).is_file()


def document(folder: Path) -> dict[str, Any]:
    """What `encoded.json` says, checked; DataError for one that this version cannot use."""
    path = folder / ENCODED_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise _damaged(path, "it is too large")
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("songs"), list):
        raise _damaged(path, f"it is not of format {FORMAT}")
    seen: set[str] = set()
    for song in value["songs"]:
        problem = _problem(folder, song, seen)
        if problem:
            raise _damaged(path, problem)
    if not value["songs"]:
        raise _damaged(path, "it names no songs")
    return value


def read(folder: Path) -> Manifest:
    """The songs of the folder, with what is wrong with them as warnings."""
    value = document(folder)
    defects = Counter(code for song in value["songs"] for code in song.get("defects", []) if code in tuple(DEFECTS))
    count = len(value["songs"])
    warnings = [
        f"{DEFECTS[code].title} ({'every song' if number == count else text.plural(number, 'song')}): "
        f"{DEFECTS[code].why}"
        for code, number in defects.most_common()
    ]
    fixed = "Caption, lyrics and tag are part of these tensors: editing them or setting data.tag changes nothing."
    songs = sorted((_song(folder, song) for song in value["songs"]), key=lambda song: song.name)
    return Manifest(root=folder, songs=tuple(songs), warnings=(fixed, *warnings))


def _song(folder: Path, told: dict[str, Any]) -> Song:
    said = {name: value for name, value in told.get("words", {}).items() if _says_something(value)}
    caption = said.get("caption", "").strip()
    path = folder / told["latents"]
    return Song(
        name=told["name"],
        audio=path,
        caption=caption or merge.words_of(told["name"]),
        lyrics=said.get("lyrics", ""),
        keyscale=said.get("keyscale", ""),
        timesignature=said.get("timesignature", ""),
        genre=said.get("genre", ""),
        tag=said.get("custom_tag", ""),
        repeats=told["repeats"],
        duration=told["frames"] / FRAMES_PER_SECOND,
        origins={"caption": ENCODED_FILE if caption else merge.FILE_NAME},
        size=path.stat().st_size,
    )


def _says_something(value: Any) -> bool:
    return isinstance(value, str) and value.strip().casefold() not in ("", "n/a", "unknown")


def _problem(folder: Path, song: Any, seen: set[str]) -> str:
    """What makes an entry unusable; empty if nothing does."""
    if not isinstance(song, dict) or not isinstance(name := song.get("name"), str) or not name:
        return "a song has no name"
    if name in seen:
        return f"'{name}' is there twice"
    seen.add(name)
    for field in ("latents", "condition"):
        place = song.get(field)
        if not isinstance(place, str) or PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
            return f"'{name}' has no {field} in this folder"
        if not (folder / place).is_file():
            return f"{place} is missing"
    if not isinstance(song.get("words", {}), dict) or not isinstance(song.get("defects", []), list):
        return f"'{name}' is described in another way"
    numbers = (song.get("frames"), song.get("repeats"))
    if not all(type(number) is int and number > 0 for number in numbers) or song["repeats"] > _MOST_REPEATS:
        return f"'{name}' has no sound"
    return ""


def _damaged(path: Path, why: str) -> DataError:
    return DataError(
        f"{printable(str(path))} cannot be used.",
        f"{why[:1].upper()}{why[1:]}.",
        "Take the tensors over again: sidestep-tui dataset tensors DIR --adopt OUT.",
    )
