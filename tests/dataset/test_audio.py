"""Headers and decoding of real files in every format, whole and damaged."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset.audio import decode
from sidestep_tui.dataset.probe import read_header
from sidestep_tui.dataset.truncation import missing_bytes

WriteSong = Callable[..., Path]
FORMATS = [".wav", ".flac", ".ogg", ".mp3", ".opus"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_header_states_length_rate_and_channels(write_song: WriteSong, suffix: str) -> None:
    path = write_song(f"a{suffix}", seconds=1.0)
    header = read_header(path)
    assert (header.sample_rate, header.channels) == (48000, 2)
    assert header.seconds == pytest.approx(1.0, abs=0.06)
    assert header.bytes == path.stat().st_size


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_decodes_to_the_tone_that_was_written(write_song: WriteSong, suffix: str, channels: int) -> None:
    samples, rate = decode(write_song(f"a{suffix}", seconds=1.0, channels=channels))
    assert (rate, samples.shape[0], samples.dtype) == (48000, channels, np.float32)
    assert samples.flags.c_contiguous
    assert samples.shape[1] == pytest.approx(48000, abs=3000)
    spectrum = np.abs(np.fft.rfft(samples[0, :48000], n=48000))
    assert int(spectrum.argmax()) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000])
def test_rates_are_kept_as_they_are(write_song: WriteSong, rate: int) -> None:
    samples, found = decode(write_song("a.flac", rate=rate, seconds=0.25))
    assert (found, samples.shape[1]) == (rate, rate // 4)


def test_six_channels_are_all_returned(write_song: WriteSong) -> None:
    assert decode(write_song("a.wav", channels=6))[0].shape[0] == 6


def test_decoding_stops_at_the_wanted_length(write_song: WriteSong) -> None:
    path = write_song("a.wav", seconds=2.0)
    assert decode(path, 0.75)[0].shape[1] == 36000
    assert decode(path, 99)[0].shape[1] == 96000
    assert decode(path, 0)[0].shape[1] == 96000


def test_suffix_does_not_matter_to_the_decoder(write_song: WriteSong) -> None:
    path = write_song("a.flac").rename(write_song("a.flac").with_suffix(".MP3"))
    assert decode(path)[0].shape[0] == 2


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_a_file_is_refused(write_song: WriteSong, suffix: str) -> None:
    path = write_song(f"a{suffix}", seconds=3.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.\w+ is (cut short|damaged)"):
        decode(path)


@pytest.mark.parametrize("suffix", [".wav", ".ogg", ".opus"])
def test_header_alone_shows_that_a_file_was_cut_short(write_song: WriteSong, suffix: str) -> None:
    path = write_song(f"a{suffix}", seconds=2.0)
    whole = path.read_bytes()
    assert missing_bytes(path) == 0
    path.write_bytes(whole[:-1000])
    assert missing_bytes(path) > 0
    with pytest.raises(DataError, match="cut short") as caught:
        read_header(path)
    assert caught.value.hint


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFFFFF])
def test_streamed_wav_of_unknown_length_is_not_called_cut(write_song: WriteSong, length: int) -> None:
    path = write_song("a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = struct.pack("<I", length)
    path.write_bytes(data)
    assert missing_bytes(path) == 0


def test_junk_after_the_last_page_is_no_cut(write_song: WriteSong) -> None:
    path = write_song("a.ogg")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert missing_bytes(path) == 0
    assert decode(path)[0].shape[0] == 2


@pytest.mark.parametrize("suffix", [".flac", ".mp3", ".opus"])
def test_garbage_in_the_middle_is_refused_with_the_place(write_song: WriteSong, suffix: str) -> None:
    path = write_song(f"a{suffix}", seconds=4.0)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 6000] = np.random.default_rng(1).bytes(6000)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged after \d\.\d of \d\.\d seconds"):
        decode(path)


def test_beginning_of_a_damaged_file_can_still_be_used(write_song: WriteSong) -> None:
    path = write_song("a.flac", seconds=4.0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert decode(path, 1.0)[0].shape == (2, 48000)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    samples = np.zeros((4800, 2), dtype="float32")
    samples[100, 1] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 48000, subtype="FLOAT")
    with pytest.raises(DataError, match="not numbers"):
        decode(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"hello, I am no song" * 40, "not readable audio"), (b"RIFF\x00\x00\x00\x00WAVE", "a.wav")],
)
def test_what_is_no_audio_is_named_with_the_reason(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_header(path)


def test_wav_without_samples_holds_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((0, 2), dtype="float32"), 48000)
    with pytest.raises(DataError, match="no sound"):
        read_header(tmp_path / "a.wav")


def test_folder_and_missing_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").mkdir()
    with pytest.raises(DataError, match="folder"):
        read_header(tmp_path / "a.mp3")
    with pytest.raises(DataError, match="cannot be read"):
        read_header(tmp_path / "b.mp3")


def test_pipe_with_the_name_of_a_song_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    caught: list[DataError] = []

    def look() -> None:
        try:
            read_header(tmp_path / "a.wav")
        except DataError as error:
            caught.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert "not a regular file" in str(caught[0])
