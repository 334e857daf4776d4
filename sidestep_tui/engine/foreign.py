"""Reading the tensor files of Side-Step and of ACE-Step's own trainer, and what is wrong with them.

Layouts and defects are those of INTEROP.md §5.1 to §5.3. A `.pt` file is a pickle inside a ZIP and may hold anything:
it is looked at as a ZIP first, loaded with `weights_only=True` and never otherwise, and its tensors are measured before
anything is computed with them.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

CHANNELS: Final = 64
FRAMES_PER_SECOND: Final = 25
PADDED_TOKENS: Final = 769
"""512 lyric tokens, one of timbre, 256 of prompt: what these trainers store for every song."""
LYRIC_TOKENS: Final = 512

MOST_BYTES: Final = 1 << 30
"""A song of ten minutes takes 14 MB; what is larger than this holds something else."""
_MOST_PICKLE_BYTES: Final = 16 << 20
_MOST_VALUES: Final = 1 << 28
_MOST_RECORDS: Final = 10_000
_FLOATS: Final = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
_MASKS: Final = _FLOATS | {torch.bool, torch.uint8, torch.int32, torch.int64}
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_TEXT_FIELDS: Final = (
    "audio_path",
    "filename",
    "caption",
    "lyrics",
    "keyscale",
    "timesignature",
    "genre",
    "custom_tag",
    "prompt_override",
    "language",
)
_NUMBER_FIELDS: Final = ("bpm", "duration", "repeat")
_LONGEST_TEXT: Final = 100_000


class RefusedFileError(Exception):
    """A file that is not read, and why; the reason continues a sentence that begins with the file's name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The tensors of one song, as far as they are what they should be."""

    latents: torch.Tensor
    """[T, 64]."""
    condition: torch.Tensor
    """[L, D], padding removed."""


@dataclass(slots=True)
class Found:
    """What one file holds."""

    kind: str = "other"
    """`final` trains, `intermediate` lacks the conditions, `other` is something else."""
    shapes: dict[str, list[int]] = field(default_factory=dict)
    frames: int = 0
    tokens: int = 0
    real_tokens: int = 0
    width: int = 0
    metadata: dict[str, str | float | bool] = field(default_factory=dict)
    defects: dict[str, str] = field(default_factory=dict)
    """By code: what is wrong in this file in particular; may be empty where the code says it all."""
    problem: str = ""
    """Why the file cannot be used at all."""
    entry: Entry | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, without the tensors."""
        names = ("kind", "shapes", "frames", "tokens", "real_tokens", "width", "metadata", "defects", "problem")
        return {name: getattr(self, name) for name in names}


def load(path: Path) -> dict[str, Any]:
    """The dictionary in a `.pt` file; RefusedFileError for everything that is none or takes more than reading."""
    _check_container(path)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = _GLOBAL.search(str(error))
        wants = f" ({named[1]})" if named else ""
        raise RefusedFileError(f"runs code when it is loaded{wants}, which could do anything") from error
    except (RecursionError, MemoryError, OverflowError) as error:
        raise RefusedFileError("is built to exhaust whoever loads it") from error
    # A damaged file makes torch raise whatever its parser stumbles over.
    except (RuntimeError, OSError, EOFError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise RefusedFileError(f"is damaged: {str(error).splitlines()[0][:200] if str(error) else error!r}") from error
    if not isinstance(value, dict):
        raise RefusedFileError("holds no dictionary of tensors")
    return {key: item for key, item in value.items() if isinstance(key, str)}


def _check_container(path: Path) -> None:
    """Refuse by the ZIP's table of contents what is not as torch writes it, before any of it is unpacked."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise RefusedFileError(f"is larger ({size >> 20:,} MiB) than any song's tensors")
        if size == 0:
            raise RefusedFileError("is empty")
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise RefusedFileError("is damaged, or older than torch 1.6: it is not in the format of torch.save") from error
    except OSError as error:
        raise RefusedFileError(f"cannot be read: {error.strerror or error}") from error
    if len(records) > _MOST_RECORDS or sum(record.file_size for record in records) > MOST_BYTES:
        raise RefusedFileError("would unpack to more than any song's tensors")
    for record in records:
        if record.compress_type != zipfile.ZIP_STORED or record.file_size > record.compress_size:
            raise RefusedFileError("is compressed, which torch.save never does")
        if record.filename.endswith(".pkl") and record.file_size > _MOST_PICKLE_BYTES:
            raise RefusedFileError("holds far more than tensors and a few words")


def inspect(path: Path) -> Found:
    """What a file holds and what is wrong with it; a file that is refused says so in `problem`."""
    found = Found()
    try:
        values = load(path)
        found.shapes = {name: list(value.shape) for name, value in values.items() if isinstance(value, torch.Tensor)}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                _check_size(name, value)
        _describe(values, found)
    except RefusedFileError as error:
        found.problem = str(error)
    return found


def _check_size(name: str, tensor: torch.Tensor) -> None:
    """A tensor can claim any shape over a few bytes; computing with it would then fill the memory."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        raise RefusedFileError(f"holds {name} in a form that no trainer writes")
    held = tensor.untyped_storage().nbytes() // max(tensor.element_size(), 1)
    if tensor.numel() > _MOST_VALUES or tensor.numel() > held:
        raise RefusedFileError(f"claims {tensor.numel():,} values for {name} and holds {held:,}")


def _describe(values: dict[str, Any], found: Found) -> None:
    latents = values.get("target_latents")
    states = values.get("encoder_hidden_states")
    if not isinstance(latents, torch.Tensor):
        raise RefusedFileError("holds no target_latents: it is not from ACE-Step's trainer or Side-Step")
    found.kind = "final" if isinstance(states, torch.Tensor) else "intermediate"
    found.metadata = _metadata(values.get("metadata"))
    latents = _latents(latents)
    found.frames = latents.shape[0]
    _judge_frames(values, latents, found)
    _judge_words(found)
    if not isinstance(states, torch.Tensor):
        found.defects["no_condition"] = ""
        return
    condition = _condition(states, values.get("encoder_attention_mask"), found)
    if "not_finite" not in found.defects:
        found.entry = Entry(latents, condition)


def _latents(latents: torch.Tensor) -> torch.Tensor:
    """[T, 64] of floats."""
    if latents.ndim == 3 and latents.shape[0] == 1:
        latents = latents[0]
    if latents.ndim != 2 or latents.shape[1] != CHANNELS or latents.dtype not in _FLOATS:
        shape = " x ".join(map(str, latents.shape))
        raise RefusedFileError(f"holds latents of {shape} {_kind(latents)}; ACE-Step 1.5 has {CHANNELS} channels")
    if latents.shape[0] < 2:
        raise RefusedFileError("holds no sound: its latents are empty")
    return latents


def _kind(tensor: torch.Tensor) -> str:
    return "values" if tensor.dtype in _FLOATS else str(tensor.dtype).removeprefix("torch.")


def _judge_frames(values: dict[str, Any], latents: torch.Tensor, found: Found) -> None:
    frames = found.frames
    if not bool(torch.isfinite(latents).all()):
        found.defects["not_finite"] = "The latents hold values that are not numbers."
    mask = values.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.numel() != frames:
        found.defects["mask_length"] = f"{frames:,} latent frames, a mask of {mask.numel():,}."
    context = values.get("context_latents")
    if isinstance(context, torch.Tensor) and tuple(context.shape[-2:]) != (frames, 2 * CHANNELS):
        shape = " x ".join(map(str, context.shape))
        found.defects["other_context"] = f"The context has {shape} values instead of {frames:,} x {2 * CHANNELS}."
    seconds = found.metadata.get("duration")
    actual = frames / FRAMES_PER_SECOND
    if not seconds:
        found.defects["no_duration"] = ""
    elif isinstance(seconds, float) and abs(seconds - actual) > max(1.5, 0.02 * actual):
        found.defects["other_duration"] = f"The prompt says {seconds:.0f} s; the latents last {actual:.0f} s."


def _judge_words(found: Found) -> None:
    """What can be told from the metadata, and what these trainers do to every file."""
    words = found.metadata
    if not words:
        found.defects["no_metadata"] = ""
    elif not words.get("caption"):
        found.defects["no_caption"] = ""
    if words.get("custom_tag"):
        found.defects["tag_baked_in"] = f"The tag is '{words['custom_tag']}'."
    lyrics = str(words.get("lyrics", ""))
    tokens = len(re.findall(r"[a-zA-Z']+|[^\sa-zA-Z']|\n", lyrics))
    if tokens > LYRIC_TOKENS:
        found.defects["lyrics_cut"] = f"The lyrics have about {tokens:,} tokens."
    if found.kind == "final":
        found.defects["zero_timbre"] = ""
        found.defects["bare_lyrics"] = ""


def _condition(states: torch.Tensor, mask: Any, found: Found) -> torch.Tensor:
    """The states that stand for something, [L, D]; the mask tells which."""
    if states.ndim == 3 and states.shape[0] == 1:
        states = states[0]
    if states.ndim != 2 or states.dtype not in _FLOATS or 0 in states.shape:
        raise RefusedFileError("holds a condition that is no table of states")
    found.tokens, found.width = states.shape
    if not bool(torch.isfinite(states).all()):
        found.defects["not_finite"] = "The condition holds values that are not numbers."
    found.real_tokens = found.tokens
    states = states.float() if states.dtype == torch.float64 else states
    if not isinstance(mask, torch.Tensor) or mask.numel() != found.tokens or mask.dtype not in _MASKS:
        if found.tokens == PADDED_TOKENS:
            found.defects["padding_unknown"] = f"{found.tokens} tokens, and no mask that says which are padding."
        return states
    real = mask.reshape(-1) != 0
    found.real_tokens = int(real.sum())
    if found.real_tokens == 0:
        raise RefusedFileError("holds a condition that is all padding")
    if found.real_tokens < found.tokens:
        padding = found.tokens - found.real_tokens
        found.defects["padded_condition"] = f"{padding} of {found.tokens} tokens are padding."
    return states[real]


def _metadata(value: Any) -> dict[str, str | float | bool]:
    """The known fields with values of the known kinds; anything else in there is nobody's business."""
    if not isinstance(value, dict):
        return {}
    kept: dict[str, str | float | bool] = {}
    for name in _TEXT_FIELDS:
        text = value.get(name)
        if isinstance(text, str) and text.strip():
            kept[name] = text[:_LONGEST_TEXT].encode("utf-8", "replace").decode()
    for name in _NUMBER_FIELDS:
        number = value.get(name)
        if isinstance(number, str) and re.fullmatch(r"\s*\d{1,6}(\.\d{1,6})?\s*", number):
            number = float(number)
        if isinstance(number, int | float) and not isinstance(number, bool) and -1e9 < number < 1e9:
            kept[name] = float(number)
    if isinstance(value.get("is_instrumental"), bool):
        kept["is_instrumental"] = value["is_instrumental"]
    return {name: item for name, item in kept.items() if not (isinstance(item, float) and math.isnan(item))}
