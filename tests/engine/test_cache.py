"""Cache entries are whole or not there, and damage is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError, RunError
from sidestep_tui.engine.cache import Cache, digest, entry_shape

VALUE = torch.arange(600, dtype=torch.float32).reshape(30, 20)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_an_entry_comes_back_as_it_was_written(cache: Cache, dtype: torch.dtype) -> None:
    value = VALUE.to(dtype).T
    cache.write("latents", "ab12", value, song="x")
    assert cache.state("latents", "ab12") == "present"
    assert torch.equal(cache.read("latents", "ab12"), value)
    assert cache.read("latents", "ab12").dtype == dtype
    assert entry_shape(cache.path("latents", "ab12")) == (20, 30)


def test_an_entry_that_was_never_written_is_missing(cache: Cache) -> None:
    assert cache.state("text", "ab12") == "missing"
    with pytest.raises(DataError, match="cannot be read"):
        cache.read("text", "ab12")


@pytest.mark.parametrize("place", ["first byte", "header", "last byte", "cut", "empty", "other name"])
def test_every_kind_of_damage_is_noticed(cache: Cache, place: str) -> None:
    cache.write("latents", "ab12", VALUE)
    path = cache.path("latents", "ab12")
    data = bytearray(path.read_bytes())
    if place == "cut":
        data = data[:-7]
    elif place == "empty":
        data = bytearray()
    elif place == "other name":
        cache.write("latents", "ab99", VALUE)
        data = bytearray(cache.path("latents", "ab99").read_bytes())
    else:
        data[{"first byte": 0, "header": 12, "last byte": len(data) - 1}[place]] ^= 0x40
    path.write_bytes(data)
    assert cache.state("latents", "ab12") == "damaged"


def test_a_write_that_is_interrupted_leaves_no_entry(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.write("latents", "ab12", VALUE)
    assert cache.state("latents", "ab12") == "missing"
    assert not list(cache.path("latents", "ab12").parent.iterdir())


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(RunError, match="taken"):
        Cache(tmp_path / "taken").write("latents", "ab12", VALUE)


def test_names_depend_on_every_part_and_on_where_parts_end() -> None:
    names = [digest("a", "b"), digest("ab"), digest("a", "b", 1), digest("a", "b", 1.5), digest("b", "a")]
    assert len(set(names)) == len(names)
    assert digest("a", "b") == digest("a", "b")


def test_content_is_hashed_once_and_again_when_the_file_changes(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"one")
    first = cache.content_hash(path)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(b"one")
    assert cache.content_hash(copy) == first
    remembered: list[Path] = []
    real = atomic.write_text
    monkeypatch.setattr(atomic, "write_text", lambda p, *a, **k: (remembered.append(p), real(p, *a, **k)))
    assert cache.content_hash(path) == first
    assert not remembered
    path.write_bytes(b"another")
    assert cache.content_hash(path) != first
    assert len(remembered) == 1


def test_a_broken_memory_of_a_hash_is_not_believed(cache: Cache, tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(b"one")
    first = cache.content_hash(path)
    for memo in (cache.root / "audio").iterdir():
        memo.write_text("zz")
    assert cache.content_hash(path) == first


def test_a_file_that_is_gone_is_a_fault_of_the_data(cache: Cache, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.wav cannot be read"):
        cache.content_hash(tmp_path / "gone.wav")
