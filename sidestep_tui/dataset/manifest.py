"""The songs of a folder with all that is known about each, as the wizard shows it and the engine encodes it."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sidestep_tui.core import paths
from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import archives, probe
from sidestep_tui.dataset.editing import own_file
from sidestep_tui.dataset.files import OWN_FILE, Folder, Tree, printable, walk
from sidestep_tui.dataset.layouts import Found, Library
from sidestep_tui.dataset.merge import FILE_NAME, SETTING, FolderRole, Merged, decide_roles, merge
from sidestep_tui.dataset.sidecars import TxtSetting

Progress = Callable[[int, int], None]
"""Called with songs looked at and songs in all; raising from it stops the scan."""

_DELIBERATE: Final = frozenset({"other_format", "folder", "link_broken", "link_folder", "link_outside"})
ENCODED_FILE: Final = "encoded.json"
"""Describes a folder whose songs are tensors, taken over from another trainer."""

_FORMATS: Final = "wav, flac, ogg, mp3 and opus files are read, in subfolders too."


@dataclass(frozen=True, slots=True)
class Song:
    """One song: where its sound is, what it is called by, and where each of these words comes from."""

    name: str
    """Relative posix path without suffix; with its suffix where two files would share a name. Unique."""
    audio: Path
    caption: str = ""
    lyrics: str = ""
    language: str = "unknown"
    bpm: int | None = None
    keyscale: str = ""
    timesignature: str = ""
    genre: str = ""
    instrumental: bool = False
    tag: str = ""
    repeats: int = 1
    duration: float = 0.0
    """Seconds, by the header."""
    sample_rate: int = 0
    channels: int = 0
    origins: dict[str, str] = field(default_factory=dict)
    """Source of each field that was found: a path from the root, `file name`, `setting` or `no lyrics found`."""
    size: int = 0
    """Bytes of the audio file."""
    source: str = ""
    """The song that this one is a slice of, as slicing wrote it down; empty for whole songs."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that might have been a song, and why it is none."""

    path: Path
    """Relative to the root."""
    reason: str
    """Continues a sentence that begins with the path: `is empty (0 bytes).`"""
    code: str = "unreadable"
    """The same for programs; it stays when the wording changes: a `probe.Fault`, a `files.LeftOutCode`, or
    `other_format`."""

    @property
    def sentence(self) -> str:
        """Path and reason."""
        return f"{self.path.as_posix()} {self.reason}"

    @property
    def is_deliberate(self) -> bool:
        """Whether it was left out on purpose: nothing is damaged, but a song may be missing."""
        return self.code in _DELIBERATE


@dataclass(frozen=True, slots=True)
class Manifest:
    """All songs of a folder."""

    root: Path
    songs: tuple[Song, ...]
    skipped: tuple[Skipped, ...] = ()
    txt_role: FolderRole = "none"
    """What plain `name.txt` files hold here: `caption`, `lyrics`, `mixed` (decided file by file), or `none` exist."""
    warnings: tuple[str, ...] = ()
    """Sentences about sidecars that could not be used or contradict each other."""

    @property
    def seconds(self) -> float:
        """Length of all songs together."""
        return sum(song.duration for song in self.songs)

    def known(self) -> dict[str, int]:
        """How many songs have each field from a source of their own; lyrics count when something is sung.

        A caption made from the file name does not count: it teaches the model nothing.
        """
        counts = Counter(
            name
            for song in self.songs
            for name, origin in song.origins.items()
            if origin not in (FILE_NAME, SETTING) and not (name == "lyrics" and song.instrumental)
        )
        return {
            name: counts[name] for name in ("caption", "lyrics", "bpm", "keyscale", "timesignature", "genre", "tag")
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for scripts and other processes."""
        return {
            "root": str(self.root),
            "txt_role": self.txt_role,
            "songs": [{**asdict(song), "audio": str(song.audio)} for song in self.songs],
            "skipped": [
                {"path": item.path.as_posix(), "reason": item.reason, "code": item.code} for item in self.skipped
            ],
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Manifest:
        """The manifest that `to_dict` wrote."""
        return cls(
            root=Path(plain["root"]),
            songs=tuple(Song(**{**song, "audio": Path(song["audio"])}) for song in plain["songs"]),
            skipped=tuple(
                Skipped(Path(item["path"]), item["reason"], item.get("code", "unreadable")) for item in plain["skipped"]
            ),
            txt_role=plain["txt_role"],
            warnings=tuple(plain["warnings"]),
        )

    def song(self, name: str) -> Song:
        """The song of that name; `KeyError` if there is none."""
        for song in self.songs:
            if song.name == name:
                return song
        raise KeyError(name)


def scan(
    root: Path | str,
    txt_role: TxtSetting = "auto",
    language: str = "unknown",
    progress: Progress | None = None,
    *,
    may_be_empty: bool = False,
    may_be_tensors: bool = False,
) -> Manifest:
    """Find the songs beneath `root`, read their headers and everything that describes them.

    Files that cannot be used are named in `skipped` and `warnings`; `DataError` when no song is left, unless
    `may_be_empty` (for whoever has more to say about a folder without songs than that). A folder whose songs are
    tensors is refused unless `may_be_tensors`: there is no sound to look at. Nothing outside `root` is read. The
    cost is one directory listing per folder and one audio header per song.

    `txt_role` on `auto` is what a person has noted for the folder; if nobody has, the files are asked.
    """
    folder = dataset_folder(root)
    if (folder / ENCODED_FILE).is_file():
        # Deferred: it builds on this module.
        from sidestep_tui.dataset import adopted

        found = adopted.read(folder)
        if may_be_tensors:
            return found
        raise DataError(
            f"The {wording.plural(len(found.songs), 'song')} in {printable(str(folder))} are tensors.",
            "They were taken over from another trainer; their sound is not here, and their words cannot be changed.",
            "Train on the folder as it is.",
        )
    tree = walk(folder)
    noted = own_file.read(folder)
    if noted.problem:
        tree.warnings.append(f"{OWN_FILE} {noted.problem}; the review marks and the role of name.txt are not known.")
    if txt_role == "auto":
        txt_role = noted.txt_role or "auto"
    candidates = [(home, name) for home in tree.folders for name in sorted(home.files) if _suffix(name) in _SUFFIXES]
    skipped = [*_left_out(tree), *_not_unpacked(tree)]
    if not candidates and not may_be_empty:
        raise _no_songs(tree, skipped)
    readable: list[tuple[Folder, str, probe.AudioHeader]] = []
    for done, (home, name) in enumerate(candidates):
        if progress is not None:
            progress(done, len(candidates))
        try:
            readable.append((home, name, probe.read_header(home.files[name])))
        except probe.BadAudioError as error:
            skipped.append(Skipped(Path(home.where(name)), _reason(error, name), error.fault))
    if progress is not None:
        progress(len(candidates), len(candidates))
    if not readable and not may_be_empty:
        raise _nothing_left(folder, skipped)
    library = Library.open(tree)
    described = [library.describe(home, name) for home, name, _ in readable]
    return _manifest(folder, library, readable, described, skipped, txt_role=txt_role, language=language)


def fingerprint(manifest: Manifest) -> str:
    """A digest of what training would see: names and sizes of the audio, and every word about it.

    Two copies of a folder on two machines have the same; editing a caption or replacing a song by one of another size
    changes it. The samples themselves are not read; the cache of encoded songs is keyed by those.
    """
    facts = []
    for song in sorted(manifest.songs, key=lambda song: song.name):
        known = asdict(song)
        # The length is left out: decoders of different versions count the frames of an mp3 differently.
        del known["audio"], known["origins"], known["duration"]
        # Nothing that is heard or read; left out where it says nothing, so that older runs keep their fingerprints.
        if not known["source"]:
            del known["source"]
        facts.append(known)
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


_SUFFIXES: Final = probe.AUDIO_SUFFIXES
_TENSOR_SUFFIXES: Final = frozenset({".pt", ".pth"})


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _manifest(
    root: Path,
    library: Library,
    readable: list[tuple[Folder, str, probe.AudioHeader]],
    described: list[list[Found]],
    skipped: list[Skipped],
    *,
    txt_role: TxtSetting,
    language: str,
) -> Manifest:
    """Merge what was found into songs."""
    fallback, shown_role = decide_roles(described, txt_role)
    names = _names([home.where(name) for home, name, _ in readable])
    songs = []
    trouble: list[str] = []
    for (home, name, header), found in zip(readable, described, strict=True):
        path = home.where(name)
        merged = merge(path, found, wanted=txt_role, fallback=fallback, language=language)
        trouble += merged.warnings
        songs.append(_song(names[path], home.files[name], header, merged))
    warnings = [*library.tree.warnings, *library.warnings, *trouble, *library.table_warnings()]
    return Manifest(
        root=root,
        songs=tuple(sorted(songs, key=lambda song: song.name)),
        skipped=tuple(sorted(skipped, key=lambda item: item.path.as_posix())),
        txt_role=shown_role,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _song(name: str, audio: Path, header: probe.AudioHeader, merged: Merged) -> Song:
    return Song(
        name=name,
        audio=audio,
        caption=merged.caption,
        lyrics=merged.lyrics,
        language=merged.language,
        bpm=merged.bpm,
        keyscale=merged.keyscale,
        timesignature=merged.timesignature,
        genre=merged.genre,
        instrumental=merged.instrumental,
        tag=merged.tag,
        repeats=merged.repeats,
        duration=header.seconds,
        sample_rate=header.sample_rate,
        channels=header.channels,
        origins=merged.origins,
        size=header.bytes,
        source=merged.source,
    )


def _names(paths: list[str]) -> dict[str, str]:
    """A unique name for each path: without its suffix where that is unambiguous, else the whole path."""
    shortened = {path: path[: -len(_suffix(path))] for path in paths}
    counts = Counter(shortened.values())
    whole = set(paths)
    return {path: short if counts[short] == 1 and short not in whole else path for path, short in shortened.items()}


def _left_out(tree: Tree) -> list[Skipped]:
    """What the walk saw and could not take, as far as it bears a song's name; and sound in other formats."""
    skipped = [Skipped(item.path, f"{item.reason}.", item.code) for item in tree.left_out if _sounds(item.path.name)]
    for folder in tree.folders:
        if folder.relative and _sounds(folder.path.name):
            skipped.append(Skipped(Path(folder.relative), "is a folder, not an audio file.", "folder"))
        for name in folder.files:
            if _suffix(name) in probe.OTHER_AUDIO_SUFFIXES:
                reason = f"is a {_suffix(name)} file, which is not read; convert it to wav or flac."
                skipped.append(Skipped(Path(folder.where(name)), reason, "other_format"))
    tree.warnings += [f"{item.path} {item.reason}." for item in tree.left_out if not _sounds(item.path.name)]
    return skipped


def _not_unpacked(tree: Tree) -> list[Skipped]:
    """What stayed behind when the folder was made from a ZIP."""
    left_out = archives.left_out_of(tree.root)
    tree.warnings += [item.sentence for item in left_out if not _sounds(item.name)]
    return [Skipped(Path(item.name), f"{item.reason}.", item.code) for item in left_out if _sounds(item.name)]


def _reason(error: DataError, name: str) -> str:
    """What is wrong, without the name that the error begins with."""
    return " ".join(filter(None, (error.title.removeprefix(name).lstrip(), error.message)))


def _sounds(name: str) -> bool:
    return _suffix(name) in probe.AUDIO_SUFFIXES | probe.OTHER_AUDIO_SUFFIXES


def dataset_folder(path: Path | str) -> Path:
    """The absolute path of an existing folder (`~` expanded), or of what a ZIP holds, unpacked in the cache.

    `DataError` for anything else.
    """
    shown = printable(str(path))
    try:
        root = paths.expand(path).absolute()
        if root.is_dir():
            return root
        if archives.is_zip(root):
            return archives.unpacked(root)
        exists = root.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"The dataset folder {shown!r} cannot be opened.", f"{error}.", "Check the path.") from error
    if exists:
        raise DataError(
            f"{shown} is a file, not a folder.", hint="Give the folder that holds the songs, or a ZIP of it."
        )
    raise DataError(
        f"There is no folder {shown}.", hint="Check the spelling; a path without a leading / starts in this directory."
    )


def _no_songs(tree: Tree, skipped: list[Skipped]) -> DataError:
    shown = printable(str(tree.root))
    if any(_suffix(name) in _TENSOR_SUFFIXES for home in tree.folders for name in home.files):
        return DataError(
            f"{shown} holds tensors of another trainer, and no songs.",
            "They were made under other conditions than the model is used under.",
            f"`sidestep-tui dataset tensors {shlex.quote(shown)}` says what they are worth and finds their songs.",
        )
    if skipped:
        reasons = [item.sentence for item in skipped]
        return DataError(f"No readable songs in {shown}.", wording.listing(reasons, most=3), _FORMATS)
    return DataError(f"No songs in {shown}.", "It holds no audio files.", f"Put your songs there: {_FORMATS}")


def _nothing_left(root: Path, skipped: list[Skipped]) -> DataError:
    reasons = [item.sentence for item in skipped]
    return DataError(
        f"None of the {wording.plural(len(skipped), 'song')} in {printable(str(root))} can be read.",
        wording.listing(reasons, most=3),
        "Copy or export them again, as wav or flac.",
    )
