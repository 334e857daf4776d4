"""What the real engine does with damaged models, songs, caches, checkpoints and journals: a sentence, and nothing lost.

Every engine here runs in this process, on one tiny model and one short song that are made and encoded once.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sidestep_tui.engine import __main__ as engine
from sidestep_tui.engine import tiny, tiny_songs
from sidestep_tui.protocol.lock import RunLock
from sidestep_tui.protocol.registry import summarise
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail
from sidestep_tui.schema.run import RunFile, read_run, write_run
from sidestep_tui.schema.settings import Settings

CHECKPOINT = "acestep-v15-turbo"
SONG = "night_drive"


@dataclass(frozen=True)
class Place:
    """A model, a song and their cache, for one test to spoil."""

    root: Path

    @property
    def model(self) -> Path:
        return self.root / "model"

    @property
    def songs(self) -> Path:
        return self.root / "songs"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    def run(self, name: str = "run", **train: Any) -> RunDir:
        """A run directory with its run.toml: two steps unless `train` says otherwise."""
        values: dict[str, Any] = {
            "model": {"path": str(self.model / CHECKPOINT)},
            "data": {"path": str(self.songs), "cache": str(self.cache), "crop_seconds": 2.0},
            "adapter": {"rank": 4, "alpha": 8.0, "projections": ["q"]},
            "optim": {"warmup_steps": 0},
            "train": {"epochs": 20, "max_steps": 2, "best_after": 0, "batch_size": 1, "accumulation": 1} | train,
            "memory": {"device": "cpu", "precision": "float32", "gradient_checkpointing": False},
            "output": {"path": str(self.root), "save_every_steps": 1, "save_every_epochs": 0},
        }
        run_dir = RunDir.create(self.root, name)
        write_run(run_dir.run_toml, RunFile(name=name, settings=Settings.model_validate(values)))
        return run_dir

    def longer(self, run_dir: RunDir, steps: int) -> None:
        """Let a run that ended train on, as a hand in run.toml would."""
        text = run_dir.run_toml.read_text("utf-8")
        before = f"max_steps = {read_run(run_dir.run_toml).settings.train.max_steps}"
        assert before in text
        run_dir.run_toml.write_text(text.replace(before, f"max_steps = {steps}"), "utf-8")


@dataclass(frozen=True)
class Session:
    """What one session of an engine said."""

    code: int
    events: list[dict[str, Any]]

    @property
    def error(self) -> str:
        """The error's sentences; fails when there was none, or a bug."""
        (error,) = [event for event in self.events if event["type"] == "error"]
        assert error["traceback_path"] is None
        assert error["title"] and error["hint"], error
        return " ".join((error["title"], error["msg"], error["hint"]))

    @property
    def warnings(self) -> str:
        return "\n".join(event["msg"] for event in self.events if event["type"] == "warning")

    def losses(self) -> dict[int, float]:
        return {event["step"]: event["loss"] for event in self.events if event["type"] == "step"}


def train(run_dir: RunDir) -> Session:
    """Run one session in this process."""
    offset = run_dir.events.stat().st_size if run_dir.events.exists() else 0
    code = engine.main([str(run_dir.path)])
    assert not list(run_dir.path.glob("*traceback*"))
    return Session(code, Tail(run_dir.events, offset).read_all())


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The tiny model, one song, and the cache that a first run leaves."""
    place = Place(tmp_path_factory.mktemp("original"))
    tiny.write_model(place.model)
    made = place.root / "all-songs"
    tiny_songs.write_songs(made)
    place.songs.mkdir()
    for path in made.glob(f"{SONG}*"):
        shutil.copy(path, place.songs)
    assert train(place.run()).code == 0
    return place


@pytest.fixture
def place(original: Place, tmp_path: Path) -> Place:
    """A copy to spoil."""
    for name in ("model", "songs", "cache"):
        shutil.copytree(getattr(original, name), tmp_path / name)
    return Place(tmp_path)


def cut(path: Path) -> None:
    """Keep half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


MODEL_FILES = [
    f"{CHECKPOINT}/config.json",
    f"{CHECKPOINT}/model.safetensors",
    f"{CHECKPOINT}/silence_latent.pt",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "Qwen3-Embedding-0.6B/config.json",
    "Qwen3-Embedding-0.6B/model.safetensors",
    "Qwen3-Embedding-0.6B/tokenizer.json",
]


@pytest.mark.parametrize("spoil", [Path.unlink, cut, empty])
@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_partial_model_is_refused_and_the_part_is_named(
    place: Place, name: str, spoil: Callable[[Path], None]
) -> None:
    spoil(place.model / name)
    session = train(place.run())
    assert session.code == 4
    assert str(place.model / Path(name).parent) in session.error or name in session.error


class Command:
    """A pickle that would make a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_that_runs_code_is_refused_and_runs_none(place: Place) -> None:
    trace = place.root / "was-run"
    (place.model / CHECKPOINT / "silence_latent.pt").write_bytes(pickle.dumps(Command(trace)))
    session = train(place.run())
    assert session.code == 4
    assert "silence_latent.pt" in session.error
    assert not trace.exists()


@pytest.mark.parametrize(
    "value", [torch.zeros(1, 10, 3), torch.zeros(5), {"silence": 1}], ids=["shape", "flat", "dict"]
)
def test_a_silence_of_another_kind_is_refused(place: Place, value: object) -> None:
    torch.save(value, place.model / CHECKPOINT / "silence_latent.pt")
    session = train(place.run())
    assert session.code == 4
    assert "silence_latent.pt" in session.error


def test_a_configuration_that_disagrees_with_the_weights_is_refused(place: Place) -> None:
    path = place.model / CHECKPOINT / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_size": 96}))
    session = train(place.run())
    assert session.code == 4
    assert "config.json" in session.error


def test_weights_that_are_no_numbers_end_as_diverged_and_write_no_adapter(place: Place) -> None:
    path = place.model / CHECKPOINT / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in sorted(tensors) if name.startswith("decoder.") and "proj_out" in name)
    tensors[name].fill_(float("nan"))
    save_file(tensors, path)
    run_dir = place.run(max_steps=0)
    session = train(run_dir)
    assert session.code == 6
    assert session.events[-1]["reason"] == "diverged"
    assert SONG in session.error
    assert not any(run_dir.adapter.rglob("*.safetensors"))
    assert summarise(run_dir, now=0.0).status == "diverged"


def test_songs_that_cannot_be_read_are_named_and_left_out(place: Place) -> None:
    whole = (place.songs / f"{SONG}.wav").read_bytes()
    (place.songs / "nothing.wav").write_bytes(b"")
    (place.songs / "noise.flac").write_bytes(os.urandom(5000))
    (place.songs / "half.wav").write_bytes(whole[: len(whole) // 2])
    session = train(place.run())
    assert session.code == 0
    for name in ("nothing", "noise", "half"):
        assert name in session.warnings


def test_a_folder_whose_songs_are_all_unreadable_is_refused(place: Place) -> None:
    (place.songs / f"{SONG}.wav").write_bytes(b"")
    session = train(place.run())
    assert session.code == 4
    assert f"{SONG}.wav" in session.error


def flip(path: Path) -> None:
    """Change the last byte."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize("spoil", [pytest.param(cut, marks=pytest.mark.slow), flip])
def test_damaged_cache_entries_are_made_again_and_change_nothing(
    original: Place, place: Place, spoil: Callable[[Path], None]
) -> None:
    for path in place.cache.rglob("*.safetensors"):
        spoil(path)
    session = train(place.run())
    assert session.code == 0
    assert "damaged" in session.warnings
    assert session.losses() == Session(0, Tail(original.root.joinpath("run", "events.jsonl")).read_all()).losses()


def test_a_cache_that_cannot_be_written_is_no_fault_of_a_song(place: Place) -> None:
    shutil.rmtree(place.cache)
    place.cache.write_text("a file")
    session = train(place.run())
    assert session.code == 4
    assert str(place.cache) in session.error
    assert "data.cache" in session.error


CHECKPOINT_DAMAGES: dict[str, Callable[[Path], object]] = {
    "half an adapter": lambda path: cut(path / "adapter_model.safetensors"),
    "no adapter": lambda path: (path / "adapter_model.safetensors").unlink(),
    "no adapter config": lambda path: (path / "adapter_config.json").unlink(),
    "half an optimizer": lambda path: cut(path / "optimizer_state.safetensors"),
    "no optimizer": lambda path: (path / "optimizer_state.safetensors").unlink(),
    "half a state": lambda path: cut(path / "training_state.json"),
    "no state": lambda path: (path / "training_state.json").unlink(),
}


@pytest.fixture
def trained(original: Place, tmp_path: Path) -> RunDir:
    """A copy of the finished run of two steps, which is to go on to a third."""
    run_dir = RunDir(tmp_path / "run")
    shutil.copytree(original.root / "run", run_dir.path)
    original.longer(run_dir, 3)
    return run_dir


@pytest.mark.parametrize("damage", CHECKPOINT_DAMAGES)
def test_a_damaged_checkpoint_is_named_with_the_remedy(trained: RunDir, damage: str) -> None:
    newest = trained.checkpoint_path(2)
    CHECKPOINT_DAMAGES[damage](newest)
    before = sorted(path for path in trained.checkpoints.rglob("*"))
    session = train(trained)
    assert session.code == 4
    assert str(newest) in session.error
    assert "Delete it" in session.error
    assert sorted(path for path in trained.checkpoints.rglob("*")) == before


def test_without_the_damaged_checkpoint_the_one_before_resumes(trained: RunDir) -> None:
    shutil.rmtree(trained.checkpoint_path(2))
    session = train(trained)
    assert session.code == 0
    assert set(session.losses()) == {2, 3}


@pytest.mark.slow
def test_changed_songs_or_models_between_sessions_are_refused_until_they_are_restored(place: Place) -> None:
    run_dir = place.run()
    assert train(run_dir).code == 0
    place.longer(run_dir, 3)
    caption = next(path for path in place.songs.iterdir() if path.suffix == ".txt")
    weights = place.model / CHECKPOINT / "model.safetensors"
    for path, sentence in ((caption, "captions"), (weights, "base model")):
        content = path.read_bytes()
        if path is caption:
            path.write_text("something else entirely")
        else:
            tensors = load_file(path)
            next(iter(tensors.values())).add_(1)
            save_file(tensors, path)
        session = train(run_dir)
        assert session.code == 4
        assert sentence in session.error
        path.write_bytes(content)
    assert train(run_dir).code == 0


def test_a_second_engine_is_refused_and_leaves_the_first_alone(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    run_dir = place.run()
    with RunLock(run_dir, "first", now=0.0):
        assert engine.main([str(run_dir.path)]) == 4
    assert f"process {os.getpid()}" in capfd.readouterr().err
    assert not run_dir.events.exists()


def test_a_torn_journal_is_repaired_and_goes_on_in_order(trained: RunDir) -> None:
    trained.events.write_bytes(trained.events.read_bytes()[:-9])
    assert summarise(trained, now=0.0).status == "died"
    session = train(trained)
    assert session.code == 0
    assert "half a line" in session.warnings
    everything = Tail(trained.events).read_all()
    assert [event["seq"] for event in everything] == list(range(len(everything)))
