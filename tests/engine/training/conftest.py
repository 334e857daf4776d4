"""A transformer of two small layers, songs made of random latents, and settings to train one on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AceStepTransformer1DModel

from sidestep_tui.engine import trainer
from sidestep_tui.engine.batches import SongStore
from sidestep_tui.engine.trainer import Material, Trainer
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema.run import RunFile, write_run
from sidestep_tui.schema.settings import Settings
from tests.engine.models import WIDTH, make_transformer


@dataclass
class FakeSong:
    """An encoded song in memory."""

    name: str
    frames: int
    tokens: int
    fill: float | None = None
    repeats: int = 1
    takes: tuple[FakeSong, ...] = ()

    def latents(self) -> torch.Tensor:
        source = torch.Generator().manual_seed(self.frames * 1000 + self.tokens)
        made = torch.randn((self.frames, 64), generator=source)
        return made if self.fill is None else torch.full_like(made, self.fill)

    def condition(self) -> torch.Tensor:
        source = torch.Generator().manual_seed(self.tokens)
        return torch.randn((self.tokens, WIDTH), generator=source)


def make_settings(**groups: dict[str, Any]) -> Settings:
    """Settings for a few quick steps; `groups` override."""
    values: dict[str, dict[str, Any]] = {
        "data": {"crop_seconds": 2.0},
        "adapter": {"rank": 4, "alpha": 8.0},
        "optim": {"lr": 1e-2, "warmup_steps": 0},
        "train": {"epochs": 3, "accumulation": 2, "best_after": 0},
        "memory": {"device": "cpu", "gradient_checkpointing": False},
    }
    for group, fields in groups.items():
        values[group] = {**values.get(group, {}), **fields}
    return Settings.model_validate(values)


def make_material(songs: list[FakeSong], *, dtype: torch.dtype = torch.float32) -> Material:
    """What a trainer needs besides the model."""
    silence = torch.randn((1, 100, 64), generator=torch.Generator().manual_seed(7))
    return Material(
        store=SongStore(songs, "ram", 0),
        silence=silence,
        null_condition=torch.randn((1, 1, WIDTH), generator=torch.Generator().manual_seed(8)),
        timestep_mu=-0.4,
        timestep_sigma=1.0,
        device=torch.device("cpu"),
        dtype=dtype,
    )


SONGS = [
    FakeSong("a", 120, 9),
    FakeSong("b", 120, 9),
    FakeSong("c", 80, 12),
    FakeSong("d", 31, 9),
    FakeSong("e", 90, 9),
]


@pytest.fixture(autouse=True, scope="module")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Models this small are slower on two threads than on one, and far slower on a busy machine."""
    threads = torch.get_num_threads()
    if not request.module.__name__.endswith("real_size"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def new_transformer() -> Callable[..., AceStepTransformer1DModel]:
    return make_transformer


@pytest.fixture
def new_settings() -> Callable[..., Settings]:
    return make_settings


@pytest.fixture
def new_material() -> Callable[..., Material]:
    return make_material


@pytest.fixture
def new_song() -> type[FakeSong]:
    return FakeSong


@pytest.fixture
def songs() -> list[FakeSong]:
    return list(SONGS)


@pytest.fixture
def new_trainer() -> Callable[..., Trainer]:
    """`new_trainer(songs=…, settings=…)`: a trainer over a fresh small transformer."""

    def build(
        settings: Settings | None = None, songs: list[FakeSong] | None = None, dtype: torch.dtype = torch.float32
    ) -> Trainer:
        chosen = settings or make_settings()
        transformer = make_transformer().to(dtype)
        material = make_material(songs or SONGS, dtype=dtype)
        return trainer.build(transformer, material, chosen, seed=chosen.train.seed)

    return build


@pytest.fixture(scope="session")
def make_run(
    tiny_checkpoint: Path, tiny_songs_dir: Path, encoded_cache: Path
) -> Callable[..., tuple[RunDir, Settings]]:
    """`make_run(parent, name, train={…})`: a run directory over the tiny checkpoint and songs, not started yet.

    Five songs, two a step: three steps an epoch. Runs of one name differ in nothing but their place.
    """

    def make(parent: Path, name: str = "drums", **groups: dict[str, Any]) -> tuple[RunDir, Settings]:
        places = {
            "model": {"path": str(tiny_checkpoint)},
            "data": {"path": str(tiny_songs_dir), "cache": str(encoded_cache), "crop_seconds": 1.0},
            "output": {"save_every_epochs": 0},
        }
        merged = {group: {**places.get(group, {}), **groups.get(group, {})} for group in {*places, *groups}}
        settings = make_settings(**merged)
        run_dir = RunDir.create(parent, name)
        write_run(run_dir.run_toml, RunFile(name=name, settings=settings, created="2026-11-21T08:00:00+00:00"))
        return run_dir, settings

    return make


@pytest.fixture
def new_run(make_run: Callable[..., tuple[RunDir, Settings]], tmp_path: Path) -> Callable[..., tuple[RunDir, Settings]]:
    """`new_run(train={…})`: `make_run` in this test's directory."""
    return partial(make_run, tmp_path / "runs")
