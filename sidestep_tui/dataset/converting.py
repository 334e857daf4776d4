"""Writing down all that is known about the songs of a folder, in one layout, in a new place.

Scanning the result gives the same canonical fields. What was only guessed (a caption made from the file name, music
taken for instrumental because no lyrics were found) is not written: it would become a fact.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from sidestep_tui.core import atomic, paths
from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import tables, values
from sidestep_tui.dataset.files import LARGEST_TABLE, LARGEST_TEXT, name_key
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.merge import FILE_NAME, NO_LYRICS

Layout = Literal["text", "split", "json", "csv", "dataset-json"]
Audio = Literal["none", "copy", "link"]
LAYOUTS: Final[dict[Layout, str]] = {
    "text": "name.txt beside each song: key: value lines (Side-Step)",
    "split": "name.caption.txt, name.lyrics.txt and name.json (ACE-Step)",
    "json": "name.json beside each song",
    "csv": "one metadata.csv for all songs",
    "dataset-json": "one dataset.json for all songs (Side-Step, ACE-Step)",
}

# Our names of the fields, and what the tools that read the layouts call them; lyrics come last.
_NAMES: Final = {
    "caption": "caption",
    "genre": "genre",
    "bpm": "bpm",
    "keyscale": "keyscale",
    "timesignature": "timesignature",
    "language": "language",
    "instrumental": "is_instrumental",
    "tag": "custom_tag",
    "repeats": "repeat",
    "lyrics": "lyrics",
}
_KEYS: Final = {**_NAMES, "keyscale": "key", "timesignature": "signature"}
_SOURCE: Final = ("source", "source_start")
_LARGEST_CELL: Final = 100_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Converted:
    """What was written."""

    folder: Path
    files: tuple[str, ...]
    """Posix paths of the texts, from the folder."""
    songs: int
    """How many audio files are there too."""


def convert(
    found: Manifest, target: Path, layout: Layout, *, audio: Audio = "none", progress: Progress | None = None
) -> Converted:
    """Write `found` to `target`, which must not exist yet, or be empty; it appears whole or not at all."""
    _refuse_target(found, target)
    texts = _texts(found, layout)
    if audio == "copy":
        _check_room(found, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic.publish_dir(target) as scratch:
        for name, text in texts.items():
            path = scratch / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode("utf-8"))
        for done, song in enumerate(found.songs if audio != "none" else ()):
            if progress is not None:
                progress(done, len(found.songs))
            _bring(song, scratch / place_of(song, found), audio)
    return Converted(target, tuple(texts), len(found.songs) if audio != "none" else 0)


def fields_of(song: Song) -> dict[str, Any]:
    """What is known about a song, by our names: nothing that is guessed, nothing that is empty."""
    known: dict[str, Any] = {name: getattr(song, name) for name in _NAMES}
    if song.origins.get("caption") == FILE_NAME:
        del known["caption"]
    if song.instrumental and song.origins.get("instrumental", NO_LYRICS) == NO_LYRICS:
        del known["instrumental"]
    if song.origins.get("lyrics") == NO_LYRICS:
        del known["lyrics"]
    if song.language == values.UNKNOWN_LANGUAGE:
        del known["language"]
    if song.repeats == 1:
        del known["repeats"]
    return {name: value for name, value in known.items() if value not in ("", None)}


def place_of(song: Song, found: Manifest) -> str:
    """Posix path of a song's audio from the root."""
    return song.audio.relative_to(found.root).as_posix()


def _texts(found: Manifest, layout: Layout) -> dict[str, str]:
    """All files of a layout, by path."""
    if layout == "csv":
        return {"metadata.csv": _within(_csv(found), "metadata.csv", LARGEST_TABLE)}
    if layout == "dataset-json":
        return {"dataset.json": _within(_dataset_json(found), "dataset.json", LARGEST_TABLE)}
    write = {"text": _key_values, "split": _split, "json": _json}[layout]
    texts: dict[str, str] = {}
    owners: dict[str, Song] = {}
    for song in found.songs:
        place = PurePosixPath(place_of(song, found))
        stem = place.with_name(place.stem).as_posix()
        other = owners.setdefault(stem, song)
        if other is not song and fields_of(other) != fields_of(song):
            raise DataError(
                f"{other.audio.name} and {song.audio.name} would share their sidecars.",
                "They lie in one folder, and differ only in their suffix and in what is said of them.",
                "Choose csv or dataset-json, or rename one of them.",
            )
        for ending, text in write(song):
            texts[f"{stem}{ending}"] = _within(text, f"{stem}{ending}", LARGEST_TEXT)
    if layout == "split":
        _refuse_borrowed(texts, {name_key(stem): song for stem, song in owners.items()})
    return texts


def _refuse_borrowed(texts: Iterable[str], owners: Mapping[str, Song]) -> None:
    """`a.caption.txt` of the song `a` would be read as the text of a song `a.caption`."""
    for name in texts:
        if name.endswith((".caption.txt", ".lyrics.txt")) and (other := owners.get(name_key(name[:-4]))):
            raise DataError(
                f"{name} would be taken for the text of {other.audio.name}.",
                "A song is called like the sidecar of another.",
                "Choose another layout, or rename one of them.",
            )


def _key_values(song: Song) -> Iterator[tuple[str, str]]:
    known = fields_of(song)
    lines = [f"{_KEYS[name]}: {_word(value)}" for name, value in known.items() if name != "lyrics"]
    if song.source:
        # The first line must be one that every reader knows for a key.
        lines = [*(lines or [f"filename: {song.audio.name}"]), f"source: {song.source}", "source_start:"]
    if "lyrics" in known:
        lines.append(f"lyrics:\n{known['lyrics']}")
    if lines:
        yield ".txt", "\n".join(lines) + "\n"


def _split(song: Song) -> Iterator[tuple[str, str]]:
    known = fields_of(song)
    for name in ("caption", "lyrics"):
        if name in known:
            yield f".{name}.txt", f"{known.pop(name)}\n"
    if known or song.source:
        yield ".json", _dumped(_named(song, known))


def _json(song: Song) -> Iterator[tuple[str, str]]:
    known = fields_of(song)
    if known or song.source:
        yield ".json", _dumped(_named(song, known))


def _named(song: Song, known: dict[str, Any]) -> dict[str, Any]:
    plain = {_NAMES[name]: value for name, value in known.items()}
    if song.source:
        plain |= {"source": song.source, "source_start": None}
    return plain


def _csv(found: Manifest) -> str:
    """One row for each song, so that no row is lent to a song of the same name in another format."""
    sliced = _SOURCE if any(song.source for song in found.songs) else ()
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["filename", *_NAMES.values(), *sliced])
    for song in found.songs:
        known = fields_of(song)
        cells = [_word(known.get(name, "")) for name in _NAMES]
        if any(len(cell) > _LARGEST_CELL for cell in cells):
            raise DataError(
                f"{song.name} has lyrics too long for a table.",
                f"A cell holds at most {wording.thousands(_LARGEST_CELL)} characters.",
                "Choose another layout.",
            )
        writer.writerow([_written(place_of(song, found)), *cells, *([song.source, ""] if sliced else [])])
    return sink.getvalue()


def _dataset_json(found: Manifest) -> str:
    samples = []
    known = [fields_of(song) for song in found.songs]
    for song, fields in zip(found.songs, known, strict=True):
        place = place_of(song, found)
        words = fields.get("lyrics", "")
        samples.append(
            {
                "id": hashlib.sha256(place.encode()).hexdigest()[:8],
                "audio_path": _written(place),
                "filename": posixpath.basename(place),
                "caption": "",
                **_named(song, fields),
                "raw_lyrics": words,
                "formatted_lyrics": words,
                "duration": round(song.duration),
                "labeled": "caption" in fields,
                "prompt_override": None,
            }
        )
    metadata = {
        "name": found.root.name,
        "custom_tag": "",
        "tag_position": "prepend",
        "num_samples": len(samples),
        "all_instrumental": bool(samples) and all(fields.get("instrumental") is True for fields in known),
        "genre_ratio": 0,
    }
    return _dumped({"metadata": metadata, "samples": samples})


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _word(value: object) -> str:
    """A value as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _written(place: str) -> str:
    """A path that no reader takes for anything else: quotes, tildes, drive letters and backslashes may be in names."""
    written = place if place[:1].isalnum() and place[1:2] != ":" and "\\" not in place else f"./{place}"
    if tables.file_name(values.clean_text(written)) != (place, ""):
        raise DataError(
            f"{values.clean_text(place)} has a name that cannot stand in a table.",
            "It holds characters that are no text.",
            "Rename it, or choose text, split or json.",
        )
    return written


def _within(text: str, name: str, limit: int) -> str:
    """`text`, unless it is larger than a scan would read."""
    if len(text.encode("utf-8")) > limit:
        raise DataError(
            f"{name} would be larger than {wording.file_size(limit)}.",
            "A file of that size is not read as a text about songs.",
            "Choose another layout, or split the folder.",
        )
    return text


def _refuse_target(found: Manifest, target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(
            f"{paths.shorten(target)} exists already.",
            "Nothing was written.",
            "Choose the name of a folder that does not exist.",
        )
    if target.resolve().is_relative_to(found.root.resolve()):
        raise DataError(
            f"{paths.shorten(target)} lies in the folder itself.",
            "Its songs and texts would be taken for more of them.",
            "Choose a place beside it.",
        )


def _check_room(found: Manifest, target: Path) -> None:
    needed = sum(song.size for song in found.songs)
    free = shutil.disk_usage(paths.existing_ancestor(target)).free
    if needed > free:
        raise DiskFullError(
            "There is no room for a copy of the songs.",
            f"{wording.file_size(needed)} are needed, {wording.file_size(free)} are free.",
            "Free some space, or use --link, which takes none.",
        )


def _bring(song: Song, path: Path, audio: Audio) -> None:
    """Put a song's audio at `path`. Links are hard ones: a scan follows no link that leads out of its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if audio == "copy":
            shutil.copyfile(song.audio, path)
        else:
            os.link(song.audio.resolve(), path)
    except OSError as error:
        if error.errno in atomic.NO_ROOM:
            raise
        hint = "Use --copy: links work only within one file system." if audio == "link" else "Check the song."
        raise DataError(f"{song.name} cannot be brought along.", f"{error.strerror or error}.", hint) from error
