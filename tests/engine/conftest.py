"""Shared by all engine tests: one tiny checkpoint, one set of songs, one cache of encoded songs for the session."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep_tui.engine import tiny, tiny_songs


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `acestep-v15-turbo` directory of a tiny checkpoint in the original layout."""
    return tiny.write_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_xl_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An XL-shaped tiny checkpoint: its DiT is wider than its condition encoder."""
    return tiny.write_model(tmp_path_factory.mktemp("tiny-xl"), xl=True)


@pytest.fixture(scope="session")
def tiny_diffusers_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as `tiny_checkpoint` in the diffusers layout."""
    return tiny.write_model(tmp_path_factory.mktemp("tiny-diffusers"), layout="diffusers")


@pytest.fixture(scope="session")
def tiny_songs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five songs of two seconds with sidecars: short, because encoding them is what takes the time."""
    return tiny_songs.write_songs(tmp_path_factory.mktemp("songs"), seconds=2.0)


@pytest.fixture(scope="session")
def encoded_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache directory for `data.cache`, shared by all tests, so that each song is encoded once a session."""
    return tmp_path_factory.mktemp("encoded")
