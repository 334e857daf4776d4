"""Tensor files of another trainer, looked at by a child of the engine: what they are worth, and where their audio is.

The child reads the files, because that takes torch; nothing in them reaches this process but numbers and words.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final

from sidestep_tui.core import paths
from sidestep_tui.core.errors import DataError, RunError
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import dataset_folder
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES
from sidestep_tui.dataset.tensor_defects import DEFECTS
from sidestep_tui.launch import spawn

WRITER_MODULE: Final = "sidestep_tui.engine.foreign_files"
QUIET_SECONDS: Final = 300.0
"""Loading torch from a slow disk takes a minute; a file that takes longer than this is built to."""

Progress = Callable[[int, int, str], None]

_FRAMES_PER_SECOND: Final = 25
_MOST_INDEXED: Final = 200_000
_MOST_META_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class TensorFile:
    """What the child found in one file, and the song's audio if it is there."""

    path: str
    """Posix, relative to the folder."""
    bytes: int
    kind: str
    shapes: dict[str, list[int]]
    frames: int
    tokens: int
    real_tokens: int
    width: int
    metadata: dict[str, Any]
    defects: dict[str, str]
    problem: str
    audio: Path | None = None

    @property
    def name(self) -> str:
        """The path without its suffixes."""
        return self.path.rsplit(".", 1)[0].removesuffix(".tmp")

    @property
    def seconds(self) -> float:
        """Length of the latents."""
        return self.frames / _FRAMES_PER_SECOND

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "audio"}
        return {**plain, "audio": str(self.audio) if self.audio else None}


@dataclass(frozen=True, slots=True)
class Report:
    """A whole folder."""

    folder: Path
    files: tuple[TensorFile, ...]
    variant: str = ""
    """The model that the conditions were made with, if anything says so."""
    meta: dict[str, Any] = field(default_factory=dict)
    """What `preprocess_meta.json` says, as far as it is known."""

    @property
    def songs(self) -> list[TensorFile]:
        """Files that can be read."""
        return [file for file in self.files if not file.problem]

    def counts(self) -> Counter[str]:
        """How many files have each defect."""
        return Counter(code for file in self.songs for code in file.defects)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for scripts."""
        return {
            "folder": str(self.folder),
            "variant": self.variant or None,
            "files": [file.to_dict() for file in self.files],
            "defects": {
                code: {"files": count, "title": DEFECTS[code].title, "why": DEFECTS[code].why}
                for code, count in self.counts().most_common()
                if code in DEFECTS
            },
            "refused": sum(1 for file in self.files if file.problem),
            "seconds": sum(file.seconds for file in self.songs),
            "with_audio": sum(1 for file in self.songs if file.audio),
        }


def inspect(folder: Path | str, audio: Sequence[Path] = (), progress: Progress | None = None) -> Report:
    """Look at every tensor file beneath `folder`; `audio` names more folders where the songs may be.

    DataError when there is no such file, RunError when the child could not do its work.
    """
    home = dataset_folder(folder)
    search = [dataset_folder(path) for path in audio]
    raw = [line["file"] for line in answers({"folder": str(home)}, progress) if "file" in line]
    if not raw:
        raise DataError(
            f"{printable(str(home))} holds no tensor files.",
            "Side-Step and ACE-Step's trainer write one .pt file a song.",
            "Give the folder that their preprocessing wrote.",
        )
    files = [TensorFile(**fields) for fields in raw]
    meta = _meta(home)
    finder = AudioFinder(home, search)
    return Report(
        folder=home,
        files=tuple(_with_audio(file, finder) for file in files),
        variant=str(meta.get("model_variant", ""))[:80],
        meta=meta,
    )


def adopt(report: Report, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Have the child take over what is usable into a new folder; returns the songs, and what was left out and why."""
    request = {"folder": str(report.folder), "out": str(paths.expand(out).absolute()), "variant": report.variant}
    result: dict[str, Any] = {}
    for line in answers(request, progress):
        result = line.get("result", result)
    return result


def answers(request: dict[str, Any], progress: Progress | None = None) -> Iterator[dict[str, Any]]:
    """What a child says to a request, line by line; its refusals arrive as DataError."""
    child = subprocess.Popen(
        spawn.python(WRITER_MODULE),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=spawn.environment(),
    )
    last = ""
    finished = False
    try:
        assert child.stdin is not None
        with suppress(BrokenPipeError):  # one that died at once has no more to say
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
        for line in _lines(child):
            message = json.loads(line)
            if "error" in message:
                raise DataError(*message["error"])
            if "done" in message:
                last = str(message["name"])
                if progress is not None:
                    progress(message["done"], message["total"], last)
            finished = finished or "result" in message
            yield message
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
    if not finished:
        where = f"The last file was {printable(last)}: move it away and try again." if last else ""
        raise RunError(
            "Reading the tensor files ended unexpectedly.",
            f"The process stopped with status {child.returncode}.",
            where or "`sidestep-tui doctor` checks the packages.",
        )


def _lines(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """Whole lines of the child's output; nothing more once it has been silent for too long."""
    assert child.stdout is not None
    descriptor = child.stdout.fileno()
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while selector.select(QUIET_SECONDS):
            data = os.read(descriptor, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            yield from lines


class AudioFinder:
    """Finds the audio that a tensor file was made from."""

    def __init__(self, folder: Path, search: Sequence[Path]) -> None:
        self._folder = folder
        self._search = list(search)
        self._index: dict[str, list[Path]] | None = None

    def find(self, file: TensorFile) -> Path | None:
        """By the path that the metadata tells, else by name: beside the tensors, then in the folders to search."""
        told = str(file.metadata.get("audio_path", ""))
        names = [PureWindowsPath(text).name for text in (told, str(file.metadata.get("filename", ""))) if text]
        stem = PurePosixPath(file.name).name
        names += [f"{stem}{suffix}" for suffix in sorted(AUDIO_SUFFIXES)]
        candidates = [Path(told)] if told and Path(told).is_absolute() else []
        candidates += [(self._folder / file.path).parent / name for name in names]
        for path in candidates:
            if _is_audio(path):
                return path
        for name in names:
            if len(there := self._named(name)) == 1:
                return there[0]
        return None

    def _named(self, name: str) -> list[Path]:
        """Files of that name in the folders to search; two of one name are as good as none."""
        if self._index is None:
            self._index = {}
            for path in _audio_beneath(self._search):
                self._index.setdefault(path.name, []).append(path)
        return self._index.get(name, [])


def _audio_beneath(folders: Sequence[Path]) -> Iterator[Path]:
    seen = 0
    for folder in folders:
        for home, _, names in os.walk(folder):
            for name in names:
                seen += 1
                if seen > _MOST_INDEXED:
                    return
                if _is_audio(path := Path(home) / name):
                    yield path


def _is_audio(path: Path) -> bool:
    try:
        return path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    except (OSError, ValueError):
        return False


def _with_audio(file: TensorFile, finder: AudioFinder) -> TensorFile:
    if file.problem or not (audio := finder.find(file)):
        return file
    return TensorFile(**{name: getattr(file, name) for name in file.__slots__ if name != "audio"}, audio=audio)


def _meta(folder: Path) -> dict[str, Any]:
    """What preprocessing wrote down about itself; empty where it did not or cannot be understood."""
    path = folder / "preprocess_meta.json"
    try:
        if path.stat().st_size > _MOST_META_BYTES:
            return {}
        value = json.loads(path.read_text("utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return {}
    known = ("model_variant", "normalize", "custom_tag", "tag_position", "genre_ratio", "total", "processed", "failed")
    return {name: value[name] for name in known if name in value} if isinstance(value, dict) else {}
