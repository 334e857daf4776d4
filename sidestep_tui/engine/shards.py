"""Safetensors files as a set of named tensors, checked before a byte of data is read.

A checkpoint is one file or an index with shards. The header says how long the file must be, so a download that broke
off is found at once and by name. Tensors are read one at a time and cast while loading: 20 GB of float32 shards never
sit in memory beside their bfloat16 copy.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidestep_tui.core.errors import ModelError

if TYPE_CHECKING:
    import torch

_HEADER_LIMIT = 100 * 1024 * 1024
_SAMPLE_BYTES = 64
_STEMS = ("model", "diffusion_pytorch_model")
_DOWNLOAD_AGAIN = "The download probably broke off: fetch this file again."


@dataclass(frozen=True, slots=True)
class Entry:
    """What a header says of one tensor; offsets count from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorFile:
    """One safetensors file whose header agrees with its length."""

    path: Path
    entries: dict[str, Entry]
    metadata: dict[str, str]
    header_hash: str


def read_header(path: Path) -> TensorFile:
    """Read and check the header of a safetensors file; ModelError names the file when it is missing or cut short."""
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            prefix = handle.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
            if not 0 <= length <= min(_HEADER_LIMIT, max(size - 8, 0)):
                raise ModelError(
                    f"{path} is not a complete safetensors file.", "Its header is cut short.", _DOWNLOAD_AGAIN
                )
            raw = handle.read(length)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} is missing.", "", "Download the checkpoint again, or point to a complete one."
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read.", str(error), "Check its permissions and the disk.") from error
    try:
        header: dict[str, Any] = json.loads(raw)
        metadata = header.pop("__metadata__", None) or {}
        entries = {name: _entry(value, 8 + length) for name, value in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path} is not a safetensors file.", f"Its header is unreadable: {error}", _DOWNLOAD_AGAIN
        ) from error
    needed = max((entry.end for entry in entries.values()), default=8 + length)
    if size != needed:
        raise ModelError(
            f"{path} is truncated." if size < needed else f"{path} is damaged.",
            f"Its header promises {needed:,} bytes, the file has {size:,}.",
            _DOWNLOAD_AGAIN,
        )
    return TensorFile(path, entries, dict(metadata), hashlib.sha256(raw).hexdigest())


def _entry(value: dict[str, Any], start: int) -> Entry:
    begin, end = value["data_offsets"]
    return Entry(str(value["dtype"]), tuple(int(n) for n in value["shape"]), start + int(begin), start + int(end))


@dataclass(frozen=True, slots=True)
class TensorSet:
    """All tensors of a component, whichever of its files they are in."""

    directory: Path
    files: tuple[TensorFile, ...]
    home: dict[str, TensorFile]

    def names(self) -> list[str]:
        """Every tensor name, in the order of the files."""
        return list(self.home)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header."""
        return self.home[name].entries[name].shape

    def dtype(self, name: str) -> str:
        """Type of a tensor as the header spells it: `BF16`, `F32`, …"""
        return self.home[name].entries[name].dtype

    def read(self, names: list[str], dtype: torch.dtype, device: torch.device | str) -> dict[str, torch.Tensor]:
        """Read tensors one by one, floating ones cast to `dtype`; copies on `device`, so no mapping stays open."""
        return dict(self.each(names, dtype, device))

    def each(
        self, names: list[str], dtype: torch.dtype, device: torch.device | str
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """As `read`, in the order of the files, for those who need no two tensors at the same time."""
        from safetensors import SafetensorError, safe_open

        for file in self.files:
            wanted = [name for name in names if self.home.get(name) is file]
            if not wanted:
                continue
            try:
                with safe_open(str(file.path), framework="pt", device="cpu") as handle:
                    for name in wanted:
                        tensor = handle.get_tensor(name)
                        kind = dtype if tensor.is_floating_point() else tensor.dtype
                        yield name, tensor.to(device=device, dtype=kind, copy=True)
            except (SafetensorError, OSError) as error:
                raise ModelError(f"{file.path} cannot be read.", str(error), _DOWNLOAD_AGAIN) from error

    def fingerprint(self) -> str:
        """A hash of the headers and a sample of every tensor: cheap at 20 GB, blind to paths and dates."""
        digest = hashlib.sha256()
        for file in sorted(self.files, key=lambda item: item.header_hash):
            digest.update(file.header_hash.encode())
            with file.path.open("rb") as handle:
                for entry in sorted(file.entries.values(), key=lambda item: item.begin):
                    handle.seek(max(entry.begin, (entry.begin + entry.end - _SAMPLE_BYTES) // 2))
                    digest.update(handle.read(min(_SAMPLE_BYTES, entry.end - entry.begin)))
        return digest.hexdigest()


def open_tensors(directory: Path) -> TensorSet:
    """The safetensors of a component directory: a single file, or the shards that its index names."""
    for stem in _STEMS:
        single, index = directory / f"{stem}.safetensors", directory / f"{stem}.safetensors.index.json"
        if index.is_file():
            return _open_sharded(directory, index)
        if single.is_file():
            file = read_header(single)
            return TensorSet(directory, (file,), dict.fromkeys(file.entries, file))
    raise ModelError(
        f"{directory} holds no weights.",
        f"Neither {_STEMS[0]}.safetensors nor {_STEMS[1]}.safetensors (or an index of shards) is there.",
        "Download the checkpoint again; weights in .bin or .pt files are not read, because those formats can run code.",
    )


def _open_sharded(directory: Path, index: Path) -> TensorSet:
    try:
        weight_map: dict[str, str] = json.loads(index.read_text("utf-8"))["weight_map"]
        shards = sorted(set(weight_map.values()))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ModelError(f"{index} is not an index of shards.", str(error), _DOWNLOAD_AGAIN) from error
    for shard in shards:
        if not (directory / shard).is_file():
            raise ModelError(
                f"The shard {shard} is missing.",
                f"{index} names it, but it is not in {directory}.",
                "Download the missing shard; all of them are needed.",
            )
    files = {shard: read_header(directory / shard) for shard in shards}
    for name, shard in weight_map.items():
        if name not in files[shard].entries:
            raise ModelError(
                f"{directory / shard} has no tensor '{name}'.",
                f"{index.name} says that it should.",
                "The index and the shards come from different downloads; fetch them again.",
            )
    for shard, file in files.items():
        for name in file.entries:
            if weight_map.get(name) != shard:
                raise ModelError(
                    f"{directory / shard} has a tensor '{name}' that {index.name} does not place there.",
                    "",
                    "The index and the shards come from different downloads; fetch them again.",
                )
    return TensorSet(directory, tuple(files.values()), {name: files[shard] for name, shard in weight_map.items()})
