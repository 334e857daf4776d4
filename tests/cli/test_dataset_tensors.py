"""`dataset tensors`: from files of another trainer back to songs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.core.errors import RunError
from sidestep_tui.dataset.manifest import scan
from sidestep_tui.engine import foreign_files
from sidestep_tui.launch import tensors
from tests.cli.conftest import Outcome, write_wav

Run = Callable[..., Outcome]


def write_tensors(folder: Path, name: str, *, frames: int = 100, **metadata: Any) -> Path:
    """A finished file in the layout of Side-Step."""
    known = {
        "audio_path": f"/gone/{name}.wav",
        "filename": f"{name}.wav",
        "caption": f"{name}, slow drums",
        "lyrics": "[Verse]\nwords",
        "duration": 0,
        "bpm": "90",
        "keyscale": "N/A",
        "timesignature": "4",
        "genre": "jazz",
        "is_instrumental": False,
        "custom_tag": "drm",
        "repeat": 2,
    }
    path = folder / f"{name}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {
        "target_latents": torch.zeros(frames, 64, dtype=torch.bfloat16),
        "attention_mask": torch.ones(frames),
        "encoder_hidden_states": torch.zeros(769, 16),
        "encoder_attention_mask": torch.arange(769) < 40,
        "context_latents": torch.zeros(frames, 128),
        "metadata": {**known, **metadata},
    }
    torch.save(values, path)
    return path


@pytest.fixture(autouse=True)
def here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child's answers, made in this process: another one would load torch each time."""
    if "child" not in request.node.name:
        monkeypatch.setattr(tensors, "answers", lambda asked, _progress=None: foreign_files.answer(asked))


@pytest.fixture
def folder(home: Path) -> Path:
    """Two songs, one of them with its audio elsewhere, a broken file and what preprocessing wrote about itself."""
    there = home / "tensors"
    write_tensors(there, "night")
    write_tensors(there, "deep/day", lyrics="[Instrumental]", is_instrumental=True)
    (there / "broken.pt").write_bytes(b"PK")
    (there / "preprocess_meta.json").write_text(json.dumps({"model_variant": "turbo", "checksums": {}}))
    (home / "music").mkdir()
    write_wav(home / "music" / "night.wav", 1.0)
    return there


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_report_of_the_child_names_defects_and_offers_a_way_back(run_cli: Run, folder: Path, home: Path) -> None:
    before = snapshot(folder)
    outcome = run_cli("dataset", "tensors", folder, "--audio", home / "music")
    assert outcome.code == 0
    assert "40 of 769" in outcome.out
    assert "Padding in the condition (every song)" in outcome.out
    assert "Refused: broken.pt" in outcome.err
    assert "made for turbo" in outcome.err
    assert "audio of 1 song is there: --recover OUT" in outcome.err
    assert "audio of 1 song was not found" in outcome.err
    assert snapshot(folder) == before


def test_recovered_songs_load_like_any_others(run_cli: Run, folder: Path, home: Path) -> None:
    out = home / "songs again"
    arguments = ("dataset", "tensors", folder, "--audio", home / "music", "--recover", out, "--json")
    outcome = run_cli(*arguments)
    assert outcome.code == 0
    plain = outcome.json
    assert (plain["refused"], plain["with_audio"], plain["variant"]) == (1, 1, "turbo")
    assert plain["defects"]["no_duration"]["files"] == 2
    assert [song["name"] for song in plain["recovered"]["songs"]] == ["night"]
    assert {item["path"] for item in plain["recovered"]["left_out"]} == {"broken.pt", "deep/day.pt"}
    (song,) = scan(out).songs
    assert (song.caption, song.lyrics, song.bpm, song.tag, song.genre) == (
        "night, slow drums",
        "[Verse]\nwords",
        90,
        "drm",
        "jazz",
    )
    assert (song.keyscale, song.repeats, song.instrumental) == ("", 2, False)
    before = snapshot(out)
    assert run_cli(*arguments).code == 0
    assert snapshot(out) == before


@pytest.mark.parametrize("copy", [False, True])
def test_audio_is_linked_or_copied_and_never_changed(run_cli: Run, folder: Path, home: Path, copy: bool) -> None:
    source = home / "music" / "night.wav"
    out = home / "again"
    options = ["--copy"] if copy else []
    run_cli("dataset", "tensors", folder, "--audio", home / "music", "--recover", out, *options)
    assert (out / "night.wav").read_bytes() == source.read_bytes()
    assert (out / "night.wav").samefile(source) is not copy
    assert sorted(path.name for path in out.iterdir()) == ["night.json", "night.wav"]


@pytest.mark.parametrize("name", ["night.json", "night.wav"])
def test_nothing_is_overwritten(run_cli: Run, folder: Path, home: Path, name: str) -> None:
    out = home / "again"
    out.mkdir()
    (out / name).write_text("mine")
    outcome = run_cli("dataset", "tensors", folder, "--audio", home / "music", "--recover", out)
    assert outcome.code == 4
    assert "never overwritten" in outcome.err
    assert {path.name: path.read_text() for path in out.iterdir()} == {name: "mine"}


def test_tensors_are_taken_over_into_a_folder_to_train_on(run_cli: Run, folder: Path, home: Path) -> None:
    outcome = run_cli("dataset", "tensors", folder, "--adopt", home / "adopted")
    assert outcome.code == 0
    assert "2 songs as tensors in" in outcome.err
    assert "Left out: broken.pt" in outcome.err
    assert [song.name for song in scan(home / "adopted", may_be_tensors=True).songs] == ["deep/day", "night"]
    again = run_cli("dataset", "tensors", folder, "--adopt", home / "adopted", "--json")
    assert again.code == 4
    assert "there already" in again.json["error"]["title"]
    listed = run_cli("dataset", "scan", home / "adopted")
    assert "night, slow drums" in listed.out
    assert "timbre" in listed.err
    for command in ("doctor", "slice", "read"):
        where = [home / "cut"] if command == "slice" else []
        refused = run_cli("dataset", command, home / "adopted", *where)
        assert refused.code == 4
        assert "2 songs" in refused.err
        assert "are tensors" in refused.err


def test_two_files_of_one_song_become_one(home: Path) -> None:
    folder = home / "tensors"
    write_wav(home / "one.wav", 1.0)
    for name in ("a", "b"):
        write_tensors(folder, name, audio_path=str(home / "one.wav"))
    from sidestep_tui.launch import recover

    songs, left = recover.plan(tensors.inspect(folder), home / "out")
    assert [song.name for song in songs] == ["a"]
    assert [why for _, why in left] == ["was made from the same audio as a.pt"]


def test_audio_beside_the_tensors_is_found_and_other_files_are_not(home: Path) -> None:
    folder = home / "tensors"
    write_tensors(folder, "night", audio_path="C:\\music\\night.wav")
    write_tensors(folder, "secret", audio_path="/etc/passwd", filename="")
    write_wav(folder / "night.wav", 1.0)
    night, secret = tensors.inspect(folder).files
    assert night.audio == folder / "night.wav"
    assert secret.audio is None


def test_a_folder_without_tensors_and_one_without_usable_ones(run_cli: Run, home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()
    outcome = run_cli("dataset", "tensors", empty, "--json")
    assert outcome.code == 4
    assert "holds no tensor files" in outcome.json["error"]["title"]
    (empty / "x.pt").write_bytes(b"x")
    assert run_cli("dataset", "tensors", empty).code == 4


def test_a_child_that_dies_names_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = 'import os; print(\'{"done": 0, "total": 1, "name": "x.pt"}\', flush=True); os._exit(9)'
    monkeypatch.setattr(tensors.spawn, "python", lambda _module: [tensors.spawn.interpreter(), "-c", dying])
    with pytest.raises(RunError, match="ended unexpectedly") as caught:
        list(tensors.answers({"folder": str(home)}))
    assert "x.pt" in caught.value.hint


def test_a_folder_of_tensors_is_no_folder_of_songs_and_says_what_it_is(run_cli: Run, folder: Path) -> None:
    outcome = run_cli("dataset", "scan", folder)
    assert outcome.code == 4
    assert "sidestep-tui dataset tensors" in outcome.err
