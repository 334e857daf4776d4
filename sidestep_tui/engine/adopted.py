"""Songs of another trainer as they are: its tensors in our files, for songs whose audio is gone.

What can be repaired is: padding is taken out of the conditions. What cannot is written down and said in every run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import adopted as folders
from sidestep_tui.dataset.files import printable
from sidestep_tui.dataset.manifest import ENCODED_FILE, Manifest
from sidestep_tui.engine import foreign, weights
from sidestep_tui.engine.cache import EncodedDataset, EncodedSong, digest, entry_shape
from sidestep_tui.engine.variants import Checkpoint

_REPAIRED = frozenset({"padded_condition"})
_WORDS = ("caption", "lyrics", "keyscale", "timesignature", "genre", "custom_tag")


def adopt(folder: Path, files: list[Path], out: Path, variant: str) -> Iterator[dict[str, Any]]:
    """Convert every usable file into a new folder `out`, which appears whole or not at all; yields progress.

    DataError when `out` exists, when nothing is usable, or when files were made for models of different widths.
    """
    if out.exists():
        raise DataError(
            f"{printable(str(out))} is there already.", "Existing files are never overwritten.", "Choose a new folder."
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    songs: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    widths: dict[int, str] = {}
    with atomic.publish_dir(out) as scratch:
        for done, path in enumerate(files):
            place = path.relative_to(folder)
            name = printable(place.as_posix())
            yield {"done": done, "total": len(files), "name": name}
            found = foreign.inspect(path)
            problem = found.problem or _unusable(found)
            if problem or found.entry is None:
                left.append({"path": name, "reason": problem})
                continue
            widths.setdefault(found.width, name)
            songs.append(_write(scratch, printable(place.with_suffix("").as_posix()), name, found))
        _refuse(songs, left, widths)
        atomic.write_json(
            scratch / ENCODED_FILE,
            {"format": folders.FORMAT, "variant": variant, "width": next(iter(widths)), "songs": songs},
        )
    yield {"result": {"songs": [song["name"] for song in songs], "left_out": left}}


def _unusable(found: foreign.Found) -> str:
    if "not_finite" in found.defects:
        return "holds values that are not numbers"
    if found.entry is None:
        return "has no condition"
    latents = found.entry.latents
    return "" if bool(torch.isfinite(latents.half()).all()) else "holds latents that are too large"


def _refuse(songs: list[dict[str, Any]], left: list[dict[str, str]], widths: dict[int, str]) -> None:
    if not songs:
        first = f"{left[0]['path']} {left[0]['reason']}." if left else ""
        raise DataError("No tensors here can be taken over.", first, "Look at them without --adopt.")
    if len(widths) > 1:
        told = " and ".join(f"{width} ({name})" for width, name in widths.items())
        raise DataError(
            "These tensors were made for different models.",
            f"Their conditions are {told} wide.",
            "Take them over folder by folder.",
        )


def _write(scratch: Path, name: str, source: str, found: foreign.Found) -> dict[str, Any]:
    """Latents and condition of one song; what `encoded.json` says about it."""
    assert found.entry is not None
    song: dict[str, Any] = {"name": name}
    hashes = []
    parts = {"latents": found.entry.latents.half(), "condition": found.entry.condition}
    for part, tensor in parts.items():
        # Named by content: two songs that differ in a letter's case stay apart on every disk.
        data = save({"value": tensor.contiguous()}, metadata={"song": name, "source": source})
        hashes.append(hashlib.sha256(data).hexdigest())
        song[part] = f"{part}/{hashes[-1][:32]}.safetensors"
        atomic.write_bytes(scratch / song[part], data, durable=False)
    repeat = found.metadata.get("repeat")
    return {
        **song,
        "frames": found.frames,
        "tokens": found.real_tokens,
        "repeats": max(1, min(1000, round(repeat))) if isinstance(repeat, float) else 1,
        "words": {name: found.metadata[name] for name in _WORDS if name in found.metadata},
        "defects": sorted(code for code in found.defects if code not in _REPAIRED),
        "source": source,
        "hashes": hashes,
    }


def load(manifest: Manifest, ckpt: Checkpoint) -> EncodedDataset:
    """The songs of an adopted folder; DataError when they were made for another model."""
    value = folders.document(manifest.root)
    null_condition = weights.load_null_condition(ckpt)
    _refuse_other_model(value, ckpt, null_condition.shape[-1])
    told = {song["name"]: song for song in value["songs"]}
    songs = [_song(manifest.root, told[song.name]) for song in manifest.songs if song.name in told]
    for song in songs:
        if len(shape := entry_shape(song.condition_path)) != 2 or shape[1] != null_condition.shape[-1]:
            raise DataError(f"The tensors of {song.name} do not fit the model.", f"Their shape is {list(shape)}.")
    facts = [f"{song.name}/{json.dumps(told[song.name].get('hashes'))}" for song in songs]
    return EncodedDataset(
        songs=songs,
        silence=weights.load_silence_latent(ckpt),
        null_condition=null_condition,
        fingerprint=digest("adopted", *facts),
    )


def _song(root: Path, told: dict[str, Any]) -> EncodedSong:
    latents, condition = root / told["latents"], root / told["condition"]
    return EncodedSong(
        name=told["name"],
        latents_path=latents,
        condition_path=condition,
        frames=entry_shape(latents)[0],
        tokens=entry_shape(condition)[0],
        repeats=told["repeats"],
        prompt=str(told.get("words", {}).get("caption", "")),
        lyrics=str(told.get("words", {}).get("lyrics", "")),
    )


def _refuse_other_model(value: dict[str, Any], ckpt: Checkpoint, width: int) -> None:
    """Conditions are the answer of one model's encoder; another model was never taught to read them."""
    if value.get("width") != width:
        raise DataError(
            "These tensors were made for another model.",
            f"Their conditions are {value.get('width')} wide; {ckpt.dir.name} reads {width}.",
            "Train the model that they were made with, or recover the songs: sidestep-tui dataset tensors.",
        )
    made_for = _variant(str(value.get("variant") or ""))
    if made_for and made_for != ckpt.variant:
        raise DataError(
            "These tensors were made for another model.",
            f"They were encoded for {made_for}; {ckpt.dir.name} is {ckpt.variant}.",
            f"Choose a {made_for} checkpoint, or recover the songs: sidestep-tui dataset tensors.",
        )


def _variant(told: str) -> str:
    """Our name of a variant that another trainer wrote down; empty where it is not understood."""
    words = told.casefold().replace("_", "-").split("-")
    kind = next((kind for kind in ("turbo", "sft", "base") if kind in words), "")
    return f"xl-{kind}" if kind and "xl" in words else kind
