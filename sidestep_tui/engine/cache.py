"""Encoded songs on disk: safetensors entries named by a hash of all that went into them.

An entry never changes: other audio, other words or another model have another name. Entries are written whole or not
at all, carry a checksum, and are shared by all runs. Latents are float16: at their size of one to five that is eight
times finer than bfloat16, and half of float32.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError, ModelError, RunError
from sidestep_tui.engine import shards

Kind = Literal["latents", "text", "conditions"]
State = Literal["present", "missing", "damaged"]

_TENSOR = "value"
_BLOCK = 1 << 20
_HASH = re.compile("[0-9a-f]{64}")


def digest(*parts: str | int | float) -> str:
    """A name for what these parts determine: 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).hexdigest()[:32]


class Cache:
    """A directory of entries."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: Counter[str] = Counter()
        """Entries written, by kind."""

    def path(self, kind: Kind, key: str) -> Path:
        """Where an entry is, or would be."""
        return self.root / kind / key[:2] / f"{key}.safetensors"

    def state(self, kind: Kind, key: str) -> State:
        """Whether an entry is there and whole: header, length, name and checksum."""
        path = self.path(kind, key)
        if not path.is_file():
            return "missing"
        try:
            file = shards.read_header(path)
            entry = file.entries[_TENSOR]
            with path.open("rb") as handle:
                handle.seek(entry.begin)
                checksum = 0
                while block := handle.read(_BLOCK):
                    checksum = zlib.crc32(block, checksum)
        except (ModelError, KeyError, OSError):
            return "damaged"
        sound = file.metadata.get("key") == key and file.metadata.get("crc32") == f"{checksum:08x}"
        return "present" if sound else "damaged"

    def write(self, kind: Kind, key: str, value: torch.Tensor, **notes: str) -> None:
        """Write an entry atomically; `notes` are for people who look into the file."""
        value = value.detach().to("cpu").contiguous()
        checksum = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        metadata = {**notes, "key": key, "crc32": f"{checksum:08x}"}
        with self._writing():
            atomic.write_bytes(self.path(kind, key), save({_TENSOR: value}, metadata=metadata))
        self.made[kind] += 1

    def read(self, kind: Kind, key: str) -> torch.Tensor:
        """The tensor of an entry."""
        return read_entry(self.path(kind, key))

    def content_hash(self, path: Path) -> str:
        """Hash of a file's bytes; DataError if it cannot be read.

        Remembered by path, size and time of change, so that gigabytes of songs are not read again at every start.
        """
        hasher = hashlib.sha256()
        try:
            facts = path.stat()
            memo = self.root / "audio" / digest(str(path.resolve()), facts.st_size, facts.st_mtime_ns)
            if memo.is_file() and _HASH.fullmatch(known := memo.read_text("ascii", errors="replace")):
                return known
            with path.open("rb") as handle:
                while block := handle.read(_BLOCK):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"{path.name} cannot be read.", f"{error.strerror}.", "Check the file.") from error
        with self._writing():
            atomic.write_text(memo, hasher.hexdigest(), durable=False)
        return hasher.hexdigest()

    def remember(self, song: Path, facts: dict[str, Any]) -> None:
        """Note what decided the entries of a song file, so that a later plan can say what changed since."""
        if self.remembered(song) != facts:
            with self._writing():
                atomic.write_json(self._note(song), facts, durable=False, indent=None)

    def remembered(self, song: Path) -> dict[str, Any]:
        """The facts of the last time that this file was encoded; empty if it never was."""
        try:
            facts = json.loads(self._note(song).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return facts if isinstance(facts, dict) else {}

    def _note(self, song: Path) -> Path:
        return self.root / "songs" / f"{digest(str(song.resolve()))}.json"

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A directory that cannot be written is no fault of a song; a full disk says so itself."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"The cache of encoded songs cannot be written in {self.root}.",
                f"{error.strerror}.",
                "Set data.cache to a directory of your own, or correct the permissions of this one.",
            ) from error


def read_entry(path: Path) -> torch.Tensor:
    """The tensor of an entry file, a copy in memory; DataError if it has gone or broken since it was checked."""
    try:
        with safe_open(str(path), framework="pt", device="cpu") as handle:
            tensor: torch.Tensor = handle.get_tensor(_TENSOR)
            return tensor.clone()
    except (SafetensorError, OSError) as error:
        raise _lost_entry(path, str(error)) from error


def entry_shape(path: Path) -> tuple[int, ...]:
    """Shape of an entry's tensor, from its header; DataError if it has gone or broken since it was written."""
    try:
        return shards.read_header(path).entries[_TENSOR].shape
    except ModelError as error:
        raise _lost_entry(path, error.message or error.title) from error


def _lost_entry(path: Path, reason: str) -> DataError:
    return DataError(
        "An encoded song cannot be read.", f"{path}: {reason}", "It is encoded again when the run is started again."
    )


@dataclass(frozen=True, slots=True)
class EncodedSong:
    """A song as training reads it; its tensors wait on disk."""

    name: str
    latents_path: Path
    condition_path: Path
    frames: int
    """Latent frames, 25 a second."""
    tokens: int
    """Length of the condition: lyric tokens, the timbre token, prompt tokens."""
    repeats: int
    """The song's own repeats; those of the settings come on top."""
    prompt: str
    lyrics: str
    takes: tuple[EncodedSong, ...] = ()
    """Its altered copies: a visit hears the song or one of them."""

    def latents(self) -> torch.Tensor:
        """Float32 [frames, 64]."""
        return read_entry(self.latents_path).to(torch.float32)

    def condition(self) -> torch.Tensor:
        """[tokens, D] in the precision it was computed in."""
        return read_entry(self.condition_path)


@dataclass(frozen=True, slots=True)
class EncodedDataset:
    """All songs of a run. Incomplete (`stopped`) if encoding was asked to stop; what was done is kept in the cache."""

    songs: list[EncodedSong]
    silence: torch.Tensor
    """Float32 [1, 15000, 64]: the source of text-to-music."""
    null_condition: torch.Tensor
    """Float32 [1, 1, D]: the condition that stands for none."""
    fingerprint: str
    """Of names, audio and words; independent of model, device and precision."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Songs that could not be used, and why."""
    stopped: bool = False
    made: dict[str, int] = field(default_factory=dict)
    """Entries that were not there and had to be encoded: latents, text, conditions."""
