"""Files of Side-Step and ACE-Step's trainer, written here in their layouts; and files that are up to no good."""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.engine import foreign, foreign_files

METADATA: dict[str, Any] = {
    "audio_path": "/music/night.wav",
    "filename": "night.wav",
    "caption": "slow drums",
    "lyrics": "[Verse]\nwords",
    "duration": 4,
    "bpm": 90,
    "keyscale": "A minor",
    "timesignature": "4",
    "genre": "",
    "is_instrumental": False,
    "custom_tag": "",
    "prompt_override": None,
    "repeat": 1,
}


def final(frames: int = 100, real: int = 40, width: int = 16, **changes: Any) -> dict[str, Any]:
    """The dictionary of a finished file: 769 tokens of which `real` come first."""
    states = torch.randn(769, width, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    values = {
        "target_latents": torch.randn(frames, 64, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16),
        "attention_mask": torch.ones(frames, dtype=torch.bfloat16),
        "encoder_hidden_states": states,
        "encoder_attention_mask": (torch.arange(769) < real).to(torch.long),
        "context_latents": torch.ones(frames, 128, dtype=torch.bfloat16),
        "metadata": METADATA,
    }
    return {**values, **changes}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def save(value: Any, name: str = "night.pt") -> Path:
        path = tmp_path / name
        torch.save(value, path)
        return path

    return save


def test_a_finished_file_is_described(write):
    found = foreign.inspect(write(final()))
    assert found.problem == ""
    assert (found.kind, found.frames, found.tokens, found.real_tokens, found.width) == ("final", 100, 769, 40, 16)
    assert found.shapes["context_latents"] == [100, 128]
    assert found.metadata["caption"] == "slow drums"
    assert found.metadata["bpm"] == 90
    assert "genre" not in found.metadata
    assert set(found.defects) == {"padded_condition", "zero_timbre", "bare_lyrics"}
    assert "729 of 769" in found.defects["padded_condition"]
    assert found.entry is not None
    assert found.entry.latents.shape == (100, 64)
    assert torch.equal(found.entry.condition, final()["encoder_hidden_states"][:40])


def with_metadata(**changes: Any) -> dict[str, Any]:
    return {"metadata": {**METADATA, **changes}}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (with_metadata(duration=0), "no_duration"),
        (with_metadata(duration=240), "other_duration"),
        (with_metadata(custom_tag="drm"), "tag_baked_in"),
        (with_metadata(caption=""), "no_caption"),
        (with_metadata(lyrics="la la\n" * 300), "lyrics_cut"),
        ({"metadata": None}, "no_metadata"),
        ({"attention_mask": torch.ones(99)}, "mask_length"),
        ({"context_latents": torch.ones(100, 65)}, "other_context"),
        ({"encoder_attention_mask": None}, "padding_unknown"),
        ({"target_latents": torch.full((100, 64), math.nan)}, "not_finite"),
        ({"encoder_hidden_states": torch.full((769, 16), math.inf)}, "not_finite"),
        ({"encoder_hidden_states": None}, "no_condition"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_defect_is_seen_and_only_then(write, changes, code):
    assert code not in foreign.inspect(write(final())).defects
    found = foreign.inspect(write(final(**changes)))
    assert code in found.defects
    assert found.problem == ""
    assert (found.entry is None) == (code in ("not_finite", "no_condition"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (final(target_latents=torch.zeros(100, 63)), "64 channels"),
        (final(target_latents=torch.zeros(0, 64)), "no sound"),
        (final(target_latents=torch.zeros(100, 64, dtype=torch.int32)), "64 channels"),
        (final(encoder_attention_mask=torch.zeros(769)), "all padding"),
        (final(target_latents=torch.zeros(1).expand(10**9, 64)), "claims 64,000,000,000 values"),
        (final(target_latents=torch.zeros(100, 64).to_sparse()), "form that no trainer writes"),
        ({"lora_A": torch.zeros(2, 2)}, "no target_latents"),
        ([1, 2], "no dictionary"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(write, value, words):
    found = foreign.inspect(write(value))
    assert words in found.problem
    assert found.entry is None


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch exploded",)


def test_code_in_a_file_is_refused_and_never_run(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = foreign.inspect(write(final(metadata=Bomb())))
    assert "runs code" in found.problem
    assert "system" in found.problem
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Bomb()))
    assert "not in the format of torch.save" in foreign.inspect(plain).problem
    assert not (tmp_path / "exploded").exists()


def test_damaged_files_say_so(write, tmp_path):
    whole = write(final()).read_bytes()
    cut = tmp_path / "cut.pt"
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        cut.write_bytes(whole[:length])
        assert foreign.inspect(cut).problem
    flipped = bytearray(whole)
    for place in range(200, len(flipped), 997):
        flipped[place] ^= 0xFF
    cut.write_bytes(flipped)
    foreign.inspect(cut)  # whatever it says, it comes back


def test_a_storage_that_is_smaller_than_declared_is_refused(write, tmp_path):
    """The table of contents is in order, and the pickle asks for more than there is."""
    source, target = write(final()), tmp_path / "short.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as short:
        for record in old.infolist():
            data = old.read(record)
            short.writestr(record.filename, data[:64] if "/data/" in record.filename else data)
    assert foreign.inspect(target).problem


def test_a_compressed_bomb_is_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    assert "compressed" in foreign.inspect(path).problem
    monkeypatch.setattr(foreign, "MOST_BYTES", 1000)
    assert "larger" in foreign.inspect(path).problem


def test_metadata_keeps_known_fields_of_known_kinds_only(write):
    odd = {
        "caption": ["a", "list"],
        "bpm": "120",
        "duration": 10**40,
        "genre": "x" * 200_000,
        "lyrics": "\ud800",
        "unknown": "secret",
        "is_instrumental": "yes",
    }
    kept = foreign.inspect(write(final(metadata=odd))).metadata
    assert kept["bpm"] == 120.0
    assert set(kept) == {"bpm", "genre", "lyrics"}
    assert len(kept["genre"]) == 100_000
    kept["lyrics"].encode()


def test_a_half_finished_file_is_told_apart(write):
    values = final()
    half = {name: values[name] for name in ("target_latents", "metadata")} | {"text_hidden_states": torch.zeros(9, 8)}
    found = foreign.inspect(write(half, "night.tmp.pt"))
    assert (found.kind, found.entry) == ("intermediate", None)
    assert "no_condition" in found.defects


def test_only_tensor_files_of_the_folder_are_looked_at(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.pt", "deep/a.PTH", ".hidden/c.pt", "d.txt"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "link.pt").symlink_to("/etc/passwd")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "folder.pt").mkdir()
    names = [path.relative_to(tmp_path).as_posix() for path in foreign_files.tensor_files(tmp_path)]
    assert names == ["b.pt", "deep/a.PTH"]
    lines = list(foreign_files.answer({"folder": str(tmp_path)}))
    assert [line["file"]["problem"] for line in lines if "file" in line] == ["is empty", "is empty"]
    assert lines[-1] == {"result": {"files": 2}}


ODD = [
    None,
    7,
    "text",
    [],
    {},
    {"bpm": True, 3: 4},
    torch.tensor(1.0),
    torch.zeros(0),
    torch.zeros(3, dtype=torch.bool),
    torch.zeros(100, 64, dtype=torch.complex64),
    torch.zeros(1, 100, 64),
    torch.zeros(1, 1, 769, 16),
    torch.zeros(64, 100).T,
    torch.zeros(100, 64, dtype=torch.float8_e4m3fn),
]


@pytest.mark.parametrize("key", sorted(final()))
def test_odd_values_anywhere_never_raise(write, key):
    for odd in ODD:
        found = foreign.inspect(write(final(**{key: odd})))
        assert found.problem or found.entry is not None or found.defects
        json.dumps(found.to_dict())
