"""What a safetensors file says about itself, read from its header: names, shapes, metadata, and whether it is whole.

The format is eight bytes of length, that much JSON, then the data; reading the header needs neither torch nor the
safetensors library, and never touches the data except for single scalars asked for by name.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidestep_tui.core import text
from sidestep_tui.core.errors import ModelError, SidestepError

_MOST_HEADER_BYTES = 100_000_000
_SCALAR_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file; `start` and `end` are byte positions in the data section."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class TensorFile:
    """The header of one file."""

    path: Path
    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]
    data_start: int

    @property
    def parameters(self) -> int:
        """Elements of all tensors together."""
        return sum(info.elements for info in self.tensors.values())

    def scalar(self, name: str) -> float | None:
        """The value of a one-element tensor, or None when it is absent or of a type that plain Python cannot read."""
        info = self.tensors.get(name)
        if info is None or info.elements != 1 or info.dtype not in (*_SCALAR_FORMATS, "BF16"):
            return None
        with self.path.open("rb") as handle:
            handle.seek(self.data_start + info.start)
            raw = handle.read(info.end - info.start)
        if info.dtype == "BF16":
            return float(struct.unpack("<f", b"\0\0" + raw)[0])
        return float(struct.unpack(_SCALAR_FORMATS[info.dtype], raw)[0])


def read_header(path: Path, *, error: type[SidestepError] = ModelError) -> TensorFile:
    """Read and check the header of `path`; a missing, foreign or truncated file raises `error` and is named."""
    remedy = "Copy or download the file again."
    try:
        size = path.stat().st_size
        with path.open("rb") as handle:
            prefix = handle.read(8)
            length = int.from_bytes(prefix, "little")
            if len(prefix) < 8 or not 2 <= length <= _MOST_HEADER_BYTES:
                raise error(f"{path.name} is not a safetensors file.", f"{path} has no readable header.", remedy)
            raw = handle.read(length)
    except OSError as problem:
        raise error(f"{path.name} cannot be read.", f"{path}: {problem.strerror}.", remedy) from problem
    if len(raw) < length:
        raise error(f"{path.name} is cut off.", f"{path} ends inside its header after {text.file_size(size)}.", remedy)
    try:
        header = json.loads(raw)
        tensors, metadata = _entries(header)
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise error(f"{path.name} is not a safetensors file.", f"{path} has a malformed header.", remedy) from problem
    expected = 8 + length + max((info.end for info in tensors.values()), default=0)
    if size < expected:
        raise error(
            f"{path.name} is cut off.",
            f"{path} holds {text.file_size(size)} of the {text.file_size(expected)} that its header announces.",
            remedy,
        )
    return TensorFile(path, tensors, metadata, 8 + length)


def _entries(header: dict[str, Any]) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    metadata = {str(key): str(value) for key, value in header.pop("__metadata__", {}).items()}
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = TensorInfo(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), int(start), int(end))
    return tensors, metadata
