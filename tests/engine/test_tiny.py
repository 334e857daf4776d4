"""The embedded model and its songs are real in every respect but size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open

from sidestep_tui.dataset import manifest, prompts
from sidestep_tui.engine import tiny, tiny_songs, weights


def test_the_same_seed_writes_the_same_model(tiny_checkpoint: Path, tmp_path: Path) -> None:
    again = weights.find_checkpoint(tiny.write_model(tmp_path / "again"))
    other = weights.find_checkpoint(tiny.write_model(tmp_path / "other", seed=1))
    first = weights.find_checkpoint(tiny_checkpoint)
    assert again.fingerprint == first.fingerprint
    assert again.vae_fingerprint == first.vae_fingerprint
    assert again.text_encoder_fingerprint == first.text_encoder_fingerprint
    assert other.fingerprint != first.fingerprint


def test_writing_a_model_leaves_the_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    tiny.write_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_file_has_the_names_of_the_original(tiny_checkpoint: Path) -> None:
    with safe_open(str(tiny_checkpoint / "model.safetensors"), framework="pt") as handle:
        names = set(handle.keys())
    assert "decoder.layers.0.self_attn.q_proj.weight" in names
    assert "decoder.proj_in.1.weight" in names
    assert "encoder.timbre_encoder.special_token" in names
    assert "null_condition_emb" in names
    assert "tokenizer.attention_pooler.special_token" in names
    assert "detokenizer.special_tokens" in names
    assert not [name for name in names if "to_q" in name or "silence" in name]
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    assert (config["model_type"], config["is_turbo"], config["in_channels"]) == ("acestep", True, 192)


def test_the_model_is_small(tiny_checkpoint: Path) -> None:
    size = sum(path.stat().st_size for path in tiny_checkpoint.parent.rglob("*") if path.is_file())
    assert size < 20 * 2**20


def test_the_diffusers_layout_opens_as_a_stock_pipeline(tiny_diffusers_checkpoint: Path) -> None:
    from diffusers import AceStepPipeline

    pipe = AceStepPipeline.from_pretrained(str(tiny_diffusers_checkpoint), local_files_only=True)
    assert pipe.is_turbo
    assert pipe.latents_per_second == 25
    assert pipe.scheduler.config.shift == 1.0


def test_the_tokenizer_knows_any_text_and_ends_it(tiny_checkpoint: Path) -> None:
    tokenizer, model = weights.load_text_encoder(weights.find_checkpoint(tiny_checkpoint), torch.float32)
    tokens = prompts.Tokens(weights.find_checkpoint(tiny_checkpoint).tokenizer_dir)
    for string in ("quick brown fox", "日本語の歌詞", "naïve ♯♭ 🎵\n\n"):
        ids = tokens.ids(string, 256)
        assert ids[-1] == tokenizer.pad_token_id == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:-1]) == string
        assert max(ids) < model.config.vocab_size


def test_songs_have_the_formats_rates_and_channels_they_claim(tiny_songs_dir: Path) -> None:
    for song in tiny_songs.SONGS:
        facts = soundfile.info(str(tiny_songs_dir / (song.name + song.suffix)))
        assert (facts.samplerate, facts.channels) == (song.rate, song.channels)
        assert 1.9 < facts.duration < 4.0
        samples, _ = soundfile.read(str(tiny_songs_dir / (song.name + song.suffix)))
        assert 0.05 < float(np.sqrt(np.mean(samples**2))) < 0.5
    assert {song.suffix for song in tiny_songs.SONGS} == {".wav", ".flac", ".ogg", ".mp3", ".opus"}
    assert {song.channels for song in tiny_songs.SONGS} == {1, 2}
    assert {song.rate for song in tiny_songs.SONGS} == {22_050, 44_100, 48_000}


def test_every_song_is_described_in_a_layout_of_its_own(tiny_songs_dir: Path) -> None:
    found = manifest.scan(tiny_songs_dir)
    songs = {song.name: song for song in found.songs}
    assert not found.skipped
    assert set(songs) == {song.name for song in tiny_songs.SONGS}
    for song in tiny_songs.SONGS:
        assert songs[song.name].caption == song.caption
    assert songs["paper_boats"].lyrics.startswith("[Verse]\nPaper boats")
    assert (songs["glass_garden"].bpm, songs["glass_garden"].keyscale) == (110, "E minor")
    assert (songs["slow_lantern"].bpm, songs["slow_lantern"].keyscale) == (76, "G major")
    assert songs["iron_tide"].instrumental
    sources = {song.name: song.origins["caption"] for song in found.songs}
    assert len(set(sources.values())) == len(sources)


def test_songs_are_the_same_every_time() -> None:
    song = tiny_songs.SONGS[0]
    assert np.array_equal(tiny_songs.synthesise(song, 1.0), tiny_songs.synthesise(song, 1.0))


@pytest.mark.parametrize("song", tiny_songs.SONGS, ids=lambda song: song.name)
def test_the_beat_of_a_song_is_the_one_it_claims(song: tiny_songs.TinySong) -> None:
    mono = tiny_songs.synthesise(song, 8.0).mean(axis=0)
    frame = song.rate // 100
    energy = np.square(mono[: len(mono) // frame * frame]).reshape(-1, frame).mean(axis=1)
    onsets = np.maximum(np.diff(energy), 0)

    def strength(factor: float) -> float:
        """Mean onset at the beats of a tempo."""
        beat = 6000 / song.bpm * factor
        places = [round(beat * index) for index in range(1, int(len(onsets) / beat) - 1)]
        return float(np.mean([onsets[place : place + 3].max() for place in places]))

    assert strength(1.0) > 1.5 * max(strength(0.87), strength(1.13))
