"""`dataset read` shows, byte for byte, what the engine encodes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sidestep_tui.dataset import manifest, reading
from sidestep_tui.engine import batches, encode, tiny, tiny_songs, weights
from sidestep_tui.launch import models
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

from .conftest import Outcome, write_checkpoint

Cli = Callable[..., Outcome]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_songs.write_songs(tmp_path_factory.mktemp("music"), seconds=1.1, count=3)
    (folder / "night_drive.txt").write_text("very long caption, " * 100)
    return folder


def encoded(model: Path, music: Path, cache: Path, **data: Any) -> list[Any]:
    settings = Settings(data=DataSettings(path=str(music), cache=str(cache), **data))
    found = manifest.scan(music)
    ckpt = weights.find_checkpoint(model)
    result = encode.encode_dataset(found, ckpt, settings, "cpu", torch.float32, lambda *_: None, lambda: False)
    return result.songs


def test_texts_frames_and_tokens_are_those_that_the_engine_encodes(
    run_cli: Cli, model: Path, music: Path, tmp_path: Path
) -> None:
    options = ("-s", "data.tag=zyx", "-s", "data.tag_position=append", "-s", "data.max_duration=10")
    shown = run_cli("dataset", "read", music, "--model", model, *options, "--json").json
    assert shown["counted"] is True
    songs = encoded(model, music, tmp_path / "cache", tag="zyx", tag_position="append", max_duration=10.0)
    assert [item["name"] for item in shown["songs"]] == [song.name for song in songs]
    for item, song in zip(shown["songs"], songs, strict=True):
        assert item["prompt"].encode() == song.prompt.encode()
        assert item["lyrics_text"].encode() == song.lyrics.encode()
        assert item["frames"] == song.frames
        assert item["prompt_tokens"] + item["lyrics_tokens"] + 1 == song.tokens
    assert [bool(item["caption_cut"]) for item in shown["songs"]] == [False, True, False]


@pytest.mark.parametrize("seconds", [0.0, 0.04, 0.1, 1.0, 7.33, 60.0, 599.99])
def test_a_crop_is_as_long_here_as_in_training(seconds: float) -> None:
    assert reading.crop_frames(seconds) == batches.crop_frames(seconds)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_the_tokenizer_is_found_where_the_engine_finds_it(tmp_path: Path, layout: Any) -> None:
    model = tiny.write_model(tmp_path, layout=layout)
    expected = weights.find_checkpoint(model).tokenizer_dir
    assert models.tokenizer_dir(str(model)) == expected
    if layout == "original":
        assert models.tokenizer_dir(str(model.parent)) == weights.find_checkpoint(model.parent).tokenizer_dir
        link = tmp_path / "elsewhere" / model.name
        link.parent.mkdir()
        link.symlink_to(model)
        assert models.tokenizer_dir(str(link)).resolve() == weights.find_checkpoint(link).tokenizer_dir.resolve()


def test_the_components_directory_comes_first(home: Path, checkpoint: Path) -> None:
    other = write_checkpoint(home / "other").parent
    assert models.tokenizer_dir(str(checkpoint), components=str(other)) == other / models.TEXT_ENCODER


def test_a_missing_tokenizer_is_refused_by_name(run_cli: Cli, checkpoint: Path, songs: Path) -> None:
    (checkpoint.parent / models.TEXT_ENCODER / "tokenizer.json").unlink()
    outcome = run_cli("dataset", "read", songs, "--model", checkpoint)
    assert outcome.code == 4
    assert "tokenizer" in outcome.err


def test_a_named_song_is_shown_whole(run_cli: Cli, model: Path, music: Path) -> None:
    outcome = run_cli("dataset", "read", music, "paper_boats", "--model", model)
    assert outcome.code == 0
    assert "# Instruction\nFill the audio semantic mask" in outcome.out
    assert "Paper boats along the stream\n" in outcome.out
    assert "tokens" in outcome.out
    assert "night_drive" not in outcome.out
    assert run_cli("dataset", "read", music, "paper_bots").code == 4


def test_what_is_left_out_is_shown_apart(run_cli: Cli, model: Path, music: Path) -> None:
    long = music.parent / "long"
    long.mkdir()
    (long / "a.wav").write_bytes((music / "night_drive.wav").read_bytes())
    (long / "a.caption.txt").write_text("slow strings, " * 99 + "the end of the caption")
    (long / "a.lyrics.txt").write_text("[Verse]\n" + "sing it once again\n" * 2000 + "the last line\n")
    out = run_cli("dataset", "read", long, "a", "--model", model).out
    prompt, lyrics, words, caption, sound = re.split(r"── [^─]+─*\n", out)[1:]
    assert "# Metas" in prompt
    assert "the end of the caption" not in prompt
    assert caption.strip().endswith("the end of the caption")
    assert "the last line" not in lyrics
    assert words.strip().endswith("the last line<|endoftext|>")
    assert "Left out: last" in sound


def test_the_table_says_what_is_cut_and_that_counting_needs_a_checkpoint(
    run_cli: Cli, model: Path, music: Path
) -> None:
    counted = run_cli("dataset", "read", music, "--model", model)
    assert "characters of the caption" in counted.out
    assert "1 song with something left out" in counted.err
    bare = run_cli("dataset", "read", music)
    assert bare.code == 0
    assert "characters of the caption" not in bare.out
    assert "--model DIR" in bare.err
    assert run_cli("dataset", "read", music, "--json").json["songs"][0]["prompt_tokens"] is None


def test_songs_by_genre_and_held_out_ones_are_marked(run_cli: Cli, music: Path) -> None:
    options = ("-s", "data.validation=30", "-s", "data.genre_ratio=100")
    found = run_cli("dataset", "read", music, *options, "--json").json["songs"]
    assert sum(item["held_out"] for item in found) == 1
    (held,) = [item["name"] for item in found if item["held_out"]]
    outcome = run_cli("dataset", "read", music, *options)
    assert [line.split()[0] for line in outcome.out.splitlines() if "held out" in line] == [held]
    assert "Held out: it is measured" in run_cli("dataset", "read", music, held, *options).out


def test_settings_come_from_the_preset_and_the_command_line(run_cli: Cli, music: Path) -> None:
    found = run_cli("dataset", "read", music, "--preset", "quick_test", "-s", "data.repeats=7", "--json").json
    assert {item["crops_per_epoch"] for item in found["songs"]} == {7}
    assert run_cli("dataset", "read", music, "-s", "data.tags=x").code == 4


def test_a_name_cannot_command_the_terminal(run_cli: Cli, songs: Path) -> None:
    (songs / "drums.wav").rename(songs / "evil\x1b[2J.wav")
    outcome = run_cli("dataset", "read", songs)
    assert "\x1b" not in outcome.out
