"""Songs become latents, texts and conditions once, and only what changed is done again."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import shutil
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from sidestep_tui.core.errors import DataError, ModelError
from sidestep_tui.dataset import captions, manifest, prompts
from sidestep_tui.engine import conditions, devices, encode, encode_plan, sound, text, vae, weights
from sidestep_tui.engine.cache import Cache, EncodedDataset, digest
from sidestep_tui.engine.variants import Checkpoint
from sidestep_tui.schema.data import DataSettings
from sidestep_tui.schema.settings import Settings

FP32 = torch.float32
RATE = 48_000


@pytest.fixture(scope="module")
def ckpt(tiny_checkpoint: Path) -> Checkpoint:
    return weights.find_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="module")
def model(ckpt: Checkpoint) -> Any:
    loaded = weights.load_vae(ckpt, FP32)
    vae.drop_identities(loaded)
    return loaded


@pytest.fixture
def songs(tiny_songs_dir: Path, tmp_path: Path) -> Path:
    """A copy of the songs to edit."""
    return Path(shutil.copytree(tiny_songs_dir, tmp_path / "songs"))


@pytest.fixture
def filled(ckpt: Checkpoint, tiny_songs_dir: Path, encoded_cache: Path, tmp_path: Path) -> Path:
    """A cache of one's own that holds all songs already."""
    run(ckpt, tiny_songs_dir, encoded_cache)
    return Path(shutil.copytree(encoded_cache, tmp_path / "cache"))


class Log:
    """Everything that encoding said."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int, int, str]] = []
        self.warnings: list[tuple[str, str]] = []

    def progress(self, phase: str, done: int, total: int, detail: str) -> None:
        self.phases.append((phase, done, total, detail))

    def warn(self, code: str, message: str, hint: str) -> None:
        assert hint
        self.warnings.append((code, message))


def run(
    ckpt: Checkpoint,
    songs: Path,
    cache: Path,
    log: Log | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    **data: Any,
) -> EncodedDataset:
    log = log or Log()
    settings = Settings(data=DataSettings(path=str(songs), cache=str(cache), **data))
    found = manifest.scan(songs)
    return encode.encode_dataset(found, ckpt, settings, "cpu", FP32, log.progress, should_stop, log.warn)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts what is computed and loaded."""
    counts: Counter[str] = Counter()

    def counted(module: Any, name: str, label: str) -> None:
        real = getattr(module, name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            counts[label] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    counted(vae, "encode", "latents")
    counted(text, "prompt_states", "prompts")
    counted(text, "lyric_states", "lyrics")
    counted(conditions, "encode", "conditions")
    for name in ("load_vae", "load_text_encoder", "load_condition_encoder", "load_transformer"):
        counted(weights, name, name)
    return counts


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(str(path), samples, rate, subtype="FLOAT")
    return path


# Audio


@pytest.mark.parametrize(
    ("rate", "channels"), [(48_000, 2), (44_100, 1), (22_050, 2), (96_000, 6), (8_000, 1)], ids=str
)
def test_any_rate_and_channel_count_becomes_48_khz_stereo(tmp_path: Path, rate: int, channels: int) -> None:
    seconds = np.arange(int(rate * 1.5)) / rate
    wave = np.stack([0.5 * np.sin(2 * np.pi * 440 * (1 + c) * seconds) for c in range(channels)], axis=1)
    samples = vae.load_audio(write_wav(tmp_path / "a.wav", wave, rate), 240)
    assert samples.shape == (2, 72_000)
    assert samples.dtype == FP32
    if channels == 1:
        assert torch.equal(samples[0], samples[1])
    spectrum = torch.fft.rfft(samples[:, 4800:-4800]).abs()
    peak = spectrum.argmax(dim=1) * RATE / (72_000 - 9600)
    assert peak.tolist() == pytest.approx([440.0, 440.0 if channels == 1 else 880.0], abs=1.0)


def test_audio_is_clamped_and_cut(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "loud.wav", np.full((RATE * 14, 2), 1.7))
    samples = vae.load_audio(path, 10)
    assert samples.shape == (2, 480_000)
    assert float(samples.max()) == 1.0


def test_float_audio_that_is_absurdly_loud_is_refused_by_name(tmp_path: Path) -> None:
    wave = np.full((2, 60_000), 0.5, np.float32)
    wave[1, 30_000] = 90.0
    assert float(vae.load_audio(write_wav(tmp_path / "hot.wav", wave.T), 10).max()) == 1.0
    wave[1, 30_000] = -1e30
    with pytest.raises(DataError, match=r"broken\.wav is far too loud"):
        vae.load_audio(write_wav(tmp_path / "broken.wav", wave.T), 10)


@pytest.mark.parametrize(("samples", "frames"), [(48_000, 25), (49_919, 25), (49_920, 26)])
def test_frames_are_whole_hops(model: Any, samples: int, frames: int) -> None:
    latents = vae.encode(model, torch.rand(2, samples) - 0.5)
    assert latents.shape == (frames, 64)
    assert latents.dtype == FP32


def test_latents_are_the_mean_and_the_same_every_time(ckpt: Checkpoint, model: Any) -> None:
    samples = torch.rand(2, RATE) - 0.5
    once = vae.encode(model, samples)
    assert torch.equal(vae.encode(model, samples), once)
    stock = weights.load_vae(ckpt, FP32)
    with torch.no_grad():
        mean = stock.encode(samples[None]).latent_dist.mean[0].T
    assert torch.equal(once, mean)


def test_dropped_units_are_those_that_add_nothing(ckpt: Checkpoint) -> None:
    loaded = weights.load_vae(ckpt, FP32)
    assert vae.drop_identities(loaded) == 9
    assert vae.drop_identities(loaded) == 0


def test_tiles_join_without_a_seam(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.rand(2, 1920 * 105) - 0.5
    whole = vae.encode(model, samples)
    monkeypatch.setattr(model, "tile_sample_min_length", 1920 * 100)
    monkeypatch.setattr(model, "tile_sample_overlap", 1920 * 30)
    tiled = vae.encode(model, samples)
    assert tiled.shape == whole.shape
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=1e-4)


def test_tiles_are_those_of_diffusers_and_only_one_is_on_the_device(
    ckpt: Checkpoint, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory on the device is bounded by a tile, however long the song is."""
    samples = torch.rand(2, 1920 * 50 + 700) - 0.5
    stock = weights.load_vae(ckpt, FP32)
    vae.drop_identities(stock)
    for each in (stock, model):
        monkeypatch.setattr(each, "tile_sample_min_length", 1920 * 20)
        monkeypatch.setattr(each, "tile_sample_overlap", 1920 * 4)
    stock.enable_tiling()
    with torch.no_grad():
        expected = stock.encode(samples[None, :, : 1920 * 50]).latent_dist.mean[0].T
    seen: list[int] = []
    real = model.encode
    monkeypatch.setattr(model, "encode", lambda tile: seen.append(tile.shape[-1]) or real(tile))
    assert torch.equal(vae.encode(model, samples), expected)
    assert max(seen) == 1920 * 20
    assert len(seen) == 5


def test_a_vae_of_another_ratio_is_refused(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = model.encode
    monkeypatch.setattr(model, "encode", lambda tile: real(tile[..., : tile.shape[-1] // 2]))
    with pytest.raises(ModelError, match="12 frames where 25 were due"):
        vae.encode(model, torch.rand(2, RATE))


def test_tiles_are_halved_until_they_fit(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = model.encode

    def small_gpu(batch: torch.Tensor) -> Any:
        asked.append(model.tile_sample_min_length)
        if model.tile_sample_min_length > 10 * RATE:
            raise torch.cuda.OutOfMemoryError("no room")
        return real(batch)

    monkeypatch.setattr(model, "tile_sample_min_length", 30 * RATE)
    monkeypatch.setattr(model, "encode", small_gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert vae.encode(model, torch.rand(2, RATE)).shape == (25, 64)
    assert asked == [30 * RATE, 15 * RATE, 7.5 * RATE // 1920 * 1920]


# The whole path


def test_every_format_is_encoded_with_its_condition(
    ckpt: Checkpoint, tiny_songs_dir: Path, encoded_cache: Path
) -> None:
    log = Log()
    dataset = run(ckpt, tiny_songs_dir, encoded_cache, log)
    found = manifest.scan(tiny_songs_dir)
    assert [song.name for song in dataset.songs] == [song.name for song in found.songs]
    assert not dataset.skipped
    assert not dataset.stopped
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    for encoded, song in zip(dataset.songs, found.songs, strict=True):
        latents, condition = encoded.latents(), encoded.condition()
        assert latents.shape == (encoded.frames, 64)
        assert latents.dtype == condition.dtype == FP32
        assert abs(encoded.frames - song.duration * 25) <= 1.5
        assert encoded.prompt == captions.prompt(song, tag="", tag_position="prepend", seconds=song.duration)
        assert encoded.lyrics == captions.lyrics_text(song)
        length = tokens.count(encoded.lyrics) + 1 + tokens.count(encoded.prompt)
        assert condition.shape == (length, ckpt.encoder_hidden_size)
        assert encoded.tokens == length
    assert dataset.silence.shape == (1, 15_000, 64)
    assert dataset.null_condition.shape == (1, 1, 64)
    names = list(dict.fromkeys(phase for phase, *_ in log.phases))
    assert names == ["encoding_audio", "encoding_text", "encoding_conditions"]
    for name in names:
        steps = [(done, total) for phase, done, total, _ in log.phases if phase == name]
        assert steps == [(index, 5) for index in range(6)]


def test_latents_of_tiny_songs_are_scaled_like_real_ones(
    ckpt: Checkpoint, tiny_songs_dir: Path, encoded_cache: Path
) -> None:
    latents = torch.cat([song.latents() for song in run(ckpt, tiny_songs_dir, encoded_cache).songs])
    assert abs(float(latents.mean())) < 0.5
    assert 0.4 < float(latents.std()) < 2.0
    assert float(latents.std(dim=0).min()) > 0.05


def test_half_precision_on_disk_is_close_to_what_was_computed(
    ckpt: Checkpoint, model: Any, tiny_songs_dir: Path, encoded_cache: Path
) -> None:
    song = run(ckpt, tiny_songs_dir, encoded_cache).songs[0]
    computed = vae.encode(model, vae.load_audio(manifest.scan(tiny_songs_dir).songs[0].audio, 240))
    torch.testing.assert_close(song.latents(), computed, atol=1e-3, rtol=1e-3)


def test_a_second_run_loads_no_model(ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path, work: Counter[str]) -> None:
    dataset = run(ckpt, tiny_songs_dir, filled)
    assert len(dataset.songs) == 5
    assert not work


def test_an_edited_caption_encodes_one_text_and_one_condition(
    ckpt: Checkpoint, songs: Path, filled: Path, work: Counter[str]
) -> None:
    before = run(ckpt, songs, filled)
    (songs / "night_drive.txt").write_text("calm harp, slow strings")
    after = run(ckpt, songs, filled)
    assert work == {"prompts": 1, "conditions": 1, "load_text_encoder": 1, "load_condition_encoder": 1}
    assert after.fingerprint != before.fingerprint
    changed = [new.name for old, new in zip(before.songs, after.songs, strict=True) if old != new]
    assert changed == ["night_drive"]
    assert after.songs[2].latents_path == before.songs[2].latents_path


def test_a_renamed_song_is_not_encoded_again(ckpt: Checkpoint, songs: Path, filled: Path, work: Counter[str]) -> None:
    (songs / "night_drive.wav").rename(songs / "day_drive.wav")
    (songs / "night_drive.txt").rename(songs / "day_drive.txt")
    assert "day_drive" in {song.name for song in run(ckpt, songs, filled).songs}
    assert not work


def test_another_model_reuses_latents_and_texts(
    ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path, work: Counter[str]
) -> None:
    other = dataclasses.replace(ckpt, fingerprint="other")
    before = run(ckpt, tiny_songs_dir, filled)
    after = run(other, tiny_songs_dir, filled)
    assert work == {"conditions": 5, "load_condition_encoder": 1}
    assert after.fingerprint == before.fingerprint


def test_one_model_is_in_memory_at_a_time(
    ckpt: Checkpoint, tiny_songs_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Any]] = []
    loaded: list[str] = []

    def watched(name: str) -> None:
        real = getattr(weights, name)

        def wrapper(*args: Any) -> Any:
            gc.collect()
            assert not [ref for ref in alive if ref() is not None], f"{name} while another model is loaded"
            result = real(*args)
            alive.append(weakref.ref(result[1] if isinstance(result, tuple) else result))
            loaded.append(name)
            return result

        monkeypatch.setattr(weights, name, wrapper)

    for name in ("load_vae", "load_text_encoder", "load_condition_encoder"):
        watched(name)
    run(ckpt, tiny_songs_dir, tmp_path)
    assert loaded == ["load_vae", "load_text_encoder", "load_condition_encoder"]
    gc.collect()
    assert not [ref for ref in alive if ref() is not None]


def test_encoding_continues_where_it_was_stopped(
    ckpt: Checkpoint, tiny_songs_dir: Path, tmp_path: Path, work: Counter[str]
) -> None:
    for stop_after in (2, 8):
        work.clear()
        asked = iter([False] * stop_after + [True] * 99)
        partial = run(ckpt, tiny_songs_dir, tmp_path, should_stop=lambda asked=asked: next(asked))
        assert partial.stopped
        assert not partial.songs
    assert work["latents"] == 3
    assert work["prompts"] == 3
    whole = run(ckpt, tiny_songs_dir, tmp_path)
    assert len(whole.songs) == 5
    assert work["latents"] == 3
    assert work["prompts"] == 5
    assert work["conditions"] == 5


def test_a_damaged_entry_is_named_and_encoded_again(
    ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path, work: Counter[str]
) -> None:
    before = run(ckpt, tiny_songs_dir, filled).songs
    good = before[1].latents(), before[3].condition()
    before[1].latents_path.write_bytes(before[1].latents_path.read_bytes()[:-50])
    data = bytearray(before[3].condition_path.read_bytes())
    data[-1] ^= 1
    before[3].condition_path.write_bytes(data)
    log = Log()
    after = run(ckpt, tiny_songs_dir, filled, log).songs
    assert torch.equal(after[1].latents(), good[0])
    assert torch.equal(after[3].condition(), good[1])
    assert (work["latents"], work["prompts"], work["conditions"]) == (1, 0, 1)
    assert [code for code, _ in log.warnings] == ["cache_damaged", "cache_damaged"]
    assert before[1].name in log.warnings[0][1]
    assert before[3].name in log.warnings[1][1]


def test_unreadable_songs_are_named_and_left_out(ckpt: Checkpoint, songs: Path, filled: Path) -> None:
    found = manifest.scan(songs)
    wav, flac = songs / "night_drive.wav", songs / "paper_boats.flac"
    wav.write_bytes(b"")
    flac.write_bytes(flac.read_bytes()[:3000])
    (songs / "iron_tide.mp3").unlink()
    settings = Settings(data=DataSettings(path=str(songs), cache=str(filled)))
    dataset = encode.encode_dataset(found, ckpt, settings, "cpu", FP32, Log().progress, lambda: False)
    assert [song.name for song in dataset.songs] == ["glass_garden", "slow_lantern"]
    reasons = dict(dataset.skipped)
    assert set(reasons) == {"night_drive", "paper_boats", "iron_tide"}
    assert all(reasons.values())


@pytest.mark.parametrize("kind", ["empty", "noise", "nan", "instant"])
def test_nothing_left_is_refused_with_the_reasons(ckpt: Checkpoint, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "only.wav"
    write_wav(path, np.zeros((RATE * 2, 2)))
    found = manifest.scan(tmp_path)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 20)
    elif kind == "nan":
        write_wav(path, np.full((RATE * 2, 2), np.nan))
    else:
        write_wav(path, np.zeros((RATE // 2, 2)))
    settings = Settings(data=DataSettings(path=str(tmp_path), cache=str(tmp_path / "cache")))
    with pytest.raises(DataError, match="no song left") as caught:
        encode.encode_dataset(found, ckpt, settings, "cpu", FP32, Log().progress, lambda: False)
    assert "only" in caught.value.message


# Texts


def song(**fields: Any) -> manifest.Song:
    defaults: dict[str, Any] = {
        "name": "s",
        "audio": Path("s.wav"),
        "caption": "piano",
        "bpm": 90,
        "keyscale": "C major",
    }
    return manifest.Song(**(defaults | fields))


def test_a_long_caption_is_shortened_and_the_metas_stay(ckpt: Checkpoint) -> None:
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    caption = ", ".join(f"word{index} colour" for index in range(200))
    texts = prompts.texts_for(song(caption=caption), tokens, tag="mytag", tag_position="prepend", seconds=61.9)
    assert tokens.count(texts.prompt) <= prompts.PROMPT_TOKENS
    assert tokens.count(texts.prompt) > prompts.PROMPT_TOKENS - 30
    assert texts.prompt.endswith("- keyscale: C major\n- duration: 61 seconds\n<|endoftext|>\n")
    kept = texts.prompt.split("# Caption\n")[1].split("\n\n# Metas")[0]
    assert kept.startswith("mytag, word0 colour")
    kept = kept.removeprefix("mytag, ")
    assert caption.startswith(kept)
    assert caption[len(kept)] in " ,"
    assert texts.caption_cut == len(caption) - len(kept)


def test_a_long_caption_without_spaces_is_shortened_too(ckpt: Checkpoint) -> None:
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    texts = prompts.texts_for(song(caption="夜" * 500), tokens, tag="", tag_position="prepend", seconds=30)
    assert prompts.PROMPT_TOKENS - 4 <= tokens.count(texts.prompt) <= prompts.PROMPT_TOKENS
    assert "夜夜" in texts.prompt


def test_a_caption_that_fits_is_left_alone(ckpt: Checkpoint) -> None:
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    texts = prompts.texts_for(song(), tokens, tag="", tag_position="prepend", seconds=30)
    assert texts.caption_cut == texts.lyric_tokens_cut == 0
    assert texts.prompt == captions.prompt(song(), tag="", tag_position="prepend", seconds=30)


def test_long_lyrics_keep_their_beginning_and_their_end_token(ckpt: Checkpoint) -> None:
    tokens = prompts.Tokens(ckpt.tokenizer_dir)
    texts = prompts.texts_for(song(lyrics="la " * 5000), tokens, tag="", tag_position="prepend", seconds=30)
    ids = tokens.ids(texts.lyrics, prompts.LYRIC_TOKENS)
    assert len(ids) == prompts.LYRIC_TOKENS
    assert texts.lyric_tokens_cut == tokens.count(texts.lyrics) - prompts.LYRIC_TOKENS > 0
    assert ids[-1] == tokens.ids("", 8)[-1]


def test_shortened_texts_are_warned_about_by_name(ckpt: Checkpoint, songs: Path, filled: Path) -> None:
    (songs / "night_drive.txt").write_text("very long caption " * 200)
    (songs / "paper_boats.lyrics.txt").write_text("[Verse]\n" + "sing it once again\n" * 2000)
    log = Log()
    dataset = run(ckpt, songs, filled, log)
    assert sorted(code for code, _ in log.warnings) == ["caption_shortened", "lyrics_shortened"]
    assert {name for name in ("night_drive", "paper_boats") for _, message in log.warnings if name in message} == {
        "night_drive",
        "paper_boats",
    }
    by_name = {song.name: song for song in dataset.songs}
    assert by_name["paper_boats"].condition().shape[0] > prompts.LYRIC_TOKENS


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 200.0),
        ({"max_duration": 120.0}, 120.0),
        ({"duration_text": "crop", "crop_seconds": 60.0}, 60.0),
        ({"duration_text": "crop", "crop_seconds": 0.0}, 200.0),
        ({"duration_text": "crop", "crop_seconds": 300.0}, 200.0),
    ],
)
def test_the_stated_duration_is_the_songs_or_the_crops(settings: dict[str, Any], seconds: float) -> None:
    data = DataSettings(**settings)
    assert prompts.stated_seconds(200.0, data.max_duration, data.crop_seconds, data.duration_text) == seconds


def test_the_tag_reaches_the_prompt(ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path) -> None:
    dataset = run(ckpt, tiny_songs_dir, filled, tag="zyx style")
    assert all("# Caption\nzyx style, " in song.prompt for song in dataset.songs)


# A hundred songs


@pytest.fixture
def cheap_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the models compute, at no cost; they are loaded and asked all the same."""

    def text_states(_model: Any, ids: list[int]) -> torch.Tensor:
        return torch.ones(len(ids), 4)

    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    monkeypatch.setattr(devices, "release", lambda _device: None)
    monkeypatch.setattr(vae, "encode", lambda _model, samples, _name: torch.ones(samples.shape[1] // 1920, 64))
    monkeypatch.setattr(text, "prompt_states", text_states)
    monkeypatch.setattr(text, "lyric_states", text_states)
    monkeypatch.setattr(conditions, "encode", lambda _model, prompt, lyrics: torch.cat([lyrics, prompt]))


@pytest.fixture
def hundred_songs(tmp_path: Path) -> Path:
    folder = tmp_path / "hundred"
    folder.mkdir()
    for number in range(100):
        wave = np.random.default_rng(number).uniform(-0.3, 0.3, 8000)
        soundfile.write(str(folder / f"{number:03}.wav"), wave, 8000)
        (folder / f"{number:03}.txt").write_text(f"take {number}, drums")
    return folder


def test_of_a_hundred_songs_only_what_changed_is_encoded(
    ckpt: Checkpoint, hundred_songs: Path, tmp_path: Path, cheap_models: None, work: Counter[str]
) -> None:
    cache = tmp_path / "cache"

    def encoded(checkpoint: Checkpoint = ckpt, **data: Any) -> dict[str, int]:
        work.clear()
        dataset = run(checkpoint, hundred_songs, cache, **data)
        assert len(dataset.songs) == 100
        assert dataset.made == {kind: work[kind] for kind in ("latents", "conditions")} | {
            "text": work["prompts"] + work["lyrics"]
        }
        return {kind: count for kind, count in work.items() if not kind.startswith("load")}

    # Killed in the middle of each pass, it continues.
    done: Counter[str] = Counter()
    for stop_after in (40, 130, 250):
        work.clear()
        asked = iter([False] * stop_after + [True] * 9)
        assert run(ckpt, hundred_songs, cache, should_stop=lambda asked=asked: next(asked)).stopped
        done += work
    assert (done["latents"], done["prompts"], done["conditions"]) == (100, 100, 50)
    assert encoded() == {"conditions": 50}
    assert encoded() == {}

    (hundred_songs / "042.txt").write_text("take 42, strings")
    assert encoded() == {"prompts": 1, "conditions": 1}
    assert encoded(dataclasses.replace(ckpt, fingerprint="another model")) == {"conditions": 100}
    assert encoded(loudness="lufs") == {"latents": 100}
    (hundred_songs / "b").mkdir()
    for suffix in ("wav", "txt"):
        (hundred_songs / f"007.{suffix}").rename(hundred_songs / "b" / f"moved.{suffix}")
    assert encoded() == {}
    soundfile.write(str(hundred_songs / "001.wav"), np.zeros(8000) + 0.1, 8000)
    assert encoded() == {"latents": 1}


# Loudness, copies, genre


def test_caches_of_plain_songs_stay_valid(ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path) -> None:
    """Written down: these were the names before there were loudness and copies."""
    song = run(ckpt, tiny_songs_dir, filled).songs[0]
    content = Cache(filled).content_hash(manifest.scan(tiny_songs_dir).songs[0].audio)
    latents = digest("latents", 1, content, ckpt.vae_fingerprint, 240.0)
    texts = [
        digest(kind, 1, ckpt.text_encoder_fingerprint, "torch.float32", words)
        for kind, words in (("prompt", song.prompt), ("lyrics", song.lyrics))
    ]
    assert song.latents_path.stem == latents
    assert song.condition_path.stem == digest("condition", 1, ckpt.fingerprint, *texts)


def test_songs_are_as_loud_as_asked_for_when_the_vae_hears_them(
    ckpt: Checkpoint, tiny_songs_dir: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[torch.Tensor] = []
    real = vae.encode
    monkeypatch.setattr(vae, "encode", lambda *args: heard.append(args[1]) or real(*args))
    plain = run(ckpt, tiny_songs_dir, filled)
    equal = run(ckpt, tiny_songs_dir, filled, loudness="lufs")
    assert len(heard) == 5
    for samples in heard:
        assert float(samples.abs().max()) <= 10 ** (-1 / 20) + 1e-6
        loudness = sound.loudness(samples)
        assert loudness == pytest.approx(-14, abs=0.01) or float(samples.abs().max()) == pytest.approx(10 ** (-1 / 20))
    assert equal.fingerprint != plain.fingerprint
    assert [song.condition_path for song in equal.songs] == [song.condition_path for song in plain.songs]


def test_a_float_file_over_full_scale_is_turned_down_before_it_is_clipped(tmp_path: Path) -> None:
    wave = np.sin(np.arange(RATE * 2) / 20)
    path = write_wav(tmp_path / "hot.wav", np.stack([wave * 3, wave], axis=1))
    loud, problem = sound.load(path, 240, "peak")
    assert not problem
    torch.testing.assert_close(loud[0], 3 * loud[1])
    assert float(sound.load(path, 240)[0].max()) == 1.0


def test_a_silent_song_keeps_its_loudness_and_is_named(ckpt: Checkpoint, tmp_path: Path, cheap_models: None) -> None:
    write_wav(tmp_path / "hush.wav", np.zeros((RATE, 2)))
    log = Log()
    run(ckpt, tmp_path, tmp_path / "cache", log, loudness="lufs", variants=2)
    assert log.warnings == [("loudness_kept", "The loudness of hush is left as it is: it is silent.")]


def test_altered_copies_are_encoded_beside_their_song(
    ckpt: Checkpoint, songs: Path, filled: Path, work: Counter[str]
) -> None:
    for path in songs.iterdir():
        if not path.name.startswith("night_drive"):
            path.unlink()
    (plain,) = run(ckpt, songs, filled).songs
    log = Log()
    dataset = run(ckpt, songs, filled, log, variants=2)
    (song,) = dataset.songs
    assert dataclasses.replace(song, takes=()) == plain
    prompts_of_copies = {take.prompt for take in song.takes} - {song.prompt}
    assert prompts_of_copies
    assert (work["latents"], work["prompts"], work["lyrics"]) == (2, len(prompts_of_copies), 0)
    assert dataset.made == {"latents": 2, "text": len(prompts_of_copies), "conditions": len(prompts_of_copies)}
    assert [take.name for take in song.takes] == [f"night_drive, altered copy {number}" for number in (1, 2)]
    assert log.phases[-1][1:3] == (3, 3)
    for take in song.takes:
        (bpm,) = re.findall(r"night mood, (\d+) bpm", take.prompt)
        tempo = int(bpm) / 124
        assert 0.89 <= tempo <= 1.11
        assert take.frames == pytest.approx(song.frames / tempo, abs=2)
        assert take.latents().shape == (take.frames, 64)
        assert not torch.equal(take.latents()[:40], song.latents()[:40])
        assert take.condition().shape == (take.tokens, 64)
    work.clear()
    again = run(ckpt, songs, filled, variants=2)
    more = run(ckpt, songs, filled, variants=3)
    assert work["latents"] == 1
    assert (again.songs, again.fingerprint) == (dataset.songs, dataset.fingerprint)
    assert more.songs[0].takes[:2] == song.takes
    prints = {found.fingerprint for found in (dataset, more, run(ckpt, songs, filled))}
    assert len(prints) == 3
    assert run(ckpt, songs, filled, variants=2, pitch=0, stretch=0.0).songs == [plain]


def test_a_copy_is_cut_where_songs_are(ckpt: Checkpoint, tmp_path: Path, cheap_models: None) -> None:
    wave = np.random.default_rng(1).uniform(-0.3, 0.3, 8000 * 12)
    soundfile.write(str(tmp_path / "long.wav"), wave, 8000)
    (song,) = run(ckpt, tmp_path, tmp_path / "cache", max_duration=10.0, variants=4, pitch=0).songs
    assert {take.frames for take in song.takes} == {song.frames} == {250}
    assert all("- duration: 10 seconds" in take.prompt for take in song.takes)


def test_the_genre_takes_the_place_of_some_captions(
    ckpt: Checkpoint, hundred_songs: Path, tmp_path: Path, cheap_models: None, work: Counter[str]
) -> None:
    # Twenty are enough here.
    for path in hundred_songs.glob("0[2-9]*"):
        path.unlink()
    for path in hundred_songs.glob("*.txt"):
        path.with_suffix(".json").write_text(json.dumps({"caption": path.read_text(), "genre": f"genre {path.stem}"}))
        path.unlink()
    run(ckpt, hundred_songs, tmp_path / "cache")
    work.clear()
    dataset = run(ckpt, hundred_songs, tmp_path / "cache", genre_ratio=30)
    by_genre = [song for song in dataset.songs if f"# Caption\ngenre {song.name}\n" in song.prompt]
    assert len(by_genre) == 6
    assert (work["latents"], work["prompts"], work["conditions"]) == (0, 6, 6)


# The plan


def planned(ckpt: Checkpoint, songs: Path, cache: Path, **data: Any) -> encode_plan.EncodePlan:
    settings = Settings(data=DataSettings(path=str(songs), cache=str(cache), **data))
    return encode_plan.plan(manifest.scan(songs), ckpt, settings, FP32, Log().progress, lambda: False)


def reasons(plan: encode_plan.EncodePlan) -> dict[str, tuple[str, ...]]:
    return {song.name: song.reasons for song in plan.songs if song.reasons}


def test_a_plan_counts_what_encoding_then_does(
    ckpt: Checkpoint, songs: Path, tmp_path: Path, work: Counter[str]
) -> None:
    for name in ("iron_tide.mp3", "slow_lantern.opus"):
        (songs / name).unlink()
    (songs / "broken.wav").write_bytes(b"")
    (songs / "twin.wav").write_bytes((songs / "night_drive.wav").read_bytes())
    cache = tmp_path / "cache"
    plan = planned(ckpt, songs, cache, variants=1)
    totals = plan.to_dict()
    assert not work
    assert [path for path in cache.rglob("*") if path.suffix == ".safetensors"] == []
    dataset = run(ckpt, songs, cache, variants=1)
    assert dataset.made == {
        "latents": totals["latents"],
        "text": totals["texts"],
        "conditions": totals["conditions"],
    }
    assert totals["latents"] == 6, "three songs and their copies; the twin's sound is encoded once"
    made = sum(path.stat().st_size for path in cache.rglob("*.safetensors"))
    assert totals["bytes"] == pytest.approx(made, rel=0.2)
    frames = {take.latents_path: take.frames for song in dataset.songs for take in (song, *song.takes)}
    assert totals["seconds"] == pytest.approx(sum(frames.values()) / 25, abs=0.3)
    assert set(reasons(plan).values()) == {("new",)}
    after = planned(ckpt, songs, cache, variants=1)
    assert not reasons(after)
    assert after.to_dict() | {"songs": []} == {
        **{"latents": 0, "seconds": 0.0, "texts": 0, "conditions": 0, "bytes": 0, "songs": []}
    }


def test_a_plan_says_why(ckpt: Checkpoint, songs: Path, filled: Path) -> None:
    run(ckpt, songs, filled)
    for change, expected in (
        ({"loudness": "lufs"}, ("loudness changed",)),
        ({"variants": 1, "pitch": 1}, ("altered copies changed",)),
        ({"max_duration": 100.0}, ("longest song changed",)),
    ):
        assert set(reasons(planned(ckpt, songs, filled, **change)).values()) == {expected}
    other = planned(dataclasses.replace(ckpt, fingerprint="x"), songs, filled)
    assert (set(reasons(other).values()), other.to_dict()["texts"]) == ({("model changed",)}, 0)
    retagged = planned(ckpt, songs, filled, tag="zyx")
    assert (set(reasons(retagged).values()), retagged.to_dict()["latents"]) == ({("words changed",)}, 0)
    (songs / "night_drive.txt").write_text("calm harp")
    write_wav(songs / "night_drive.wav", np.full((RATE * 2, 2), 0.1))
    write_wav(songs / "added.wav", np.full((RATE * 2, 2), 0.2))
    assert reasons(planned(ckpt, songs, filled)) == {
        "added": ("new",),
        "night_drive": ("audio changed", "words changed"),
    }
    entry = run(ckpt, songs, filled).songs[1].latents_path
    entry.unlink()
    assert list(reasons(planned(ckpt, songs, filled)).values()) == [("gone from the cache",)]


def test_a_plan_names_songs_that_would_be_left_out(ckpt: Checkpoint, songs: Path, filled: Path) -> None:
    found = manifest.scan(songs)
    (songs / "night_drive.wav").unlink()
    settings = Settings(data=DataSettings(path=str(songs), cache=str(filled)))
    plan = encode_plan.plan(found, ckpt, settings, FP32, Log().progress, lambda: False)
    (gone,) = [song for song in plan.songs if song.problem]
    assert gone.name == "night_drive"
    assert "cannot be read" in gone.problem
