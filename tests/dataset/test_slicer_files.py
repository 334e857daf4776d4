"""Slices on disk: the very samples of the source, the words of the song, and nothing ever overwritten."""

from __future__ import annotations

import errno
import io
import json
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidestep_tui.core import atomic
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import manifest
from sidestep_tui.dataset.cutting import slicer, slices, slices_sound
from sidestep_tui.dataset.cutting.slicer import Cutting
from sidestep_tui.dataset.cutting.slices import Job, Wish, Written

RATE = 8000
QUICK = Cutting(seconds=2.0, overlap=0.25, window_ms=20, tail="drop", min_tail=1.0)
KEEP = Cutting(seconds=2.0, overlap=0.25, window_ms=20, tail="keep", min_tail=1.0)
Make = Callable[..., Path]


def music(seconds: float, channels: int, rate: int = RATE) -> np.ndarray:
    """Tones that differ by channel, with noise: no two samples alike, [samples, channels]."""
    time = np.arange(round(seconds * rate)) / rate
    waves = [0.4 * np.sin(2 * np.pi * (110 + 37 * channel) * time + channel) for channel in range(channels)]
    noise = np.random.default_rng(3).standard_normal((len(time), channels)) * 0.1
    return np.clip(np.stack(waves, axis=1) + noise, -0.99, 0.99)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a song of random musical noise and a caption into `songs`."""

    def write(
        name: str = "song.wav", *, seconds: float = 9.0, channels: int = 2, subtype: str = "PCM_16", **words: object
    ) -> Path:
        path = tmp_path / "songs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
        rate = 44100 if path.suffix == ".mp3" else RATE
        soundfile.write(path, music(seconds, channels, rate), rate, format=kinds[path.suffix], subtype=subtype)
        said = {"caption": "dub techno, deep", **words}
        path.with_suffix(".json").write_text(json.dumps(said), encoding="utf-8")
        return path

    return write


def prepared(tmp_path: Path, wish: Wish) -> list[Job]:
    return [slices.prepare(song, wish) for song in manifest.scan(tmp_path / "songs").songs]


def cut(tmp_path: Path, wish: Wish, *, resume: bool = False) -> list[Written]:
    """Slice everything in `songs` into `out`."""
    written = []
    for job in prepared(tmp_path, wish):
        written += list(slices.write(job, tmp_path / "out", keep_lyrics=wish.keep_lyrics, resume=resume))
    return written


def joined(folder: Path, pieces: list[Written], dtype: str) -> np.ndarray:
    """The hops of the slices one after the other, and all of the last slice."""
    parts = []
    for number, piece in enumerate(pieces):
        samples = soundfile.read(folder / piece.file, dtype=dtype, always_2d=True)[0]
        following = pieces[number + 1].piece.start if number + 1 < len(pieces) else None
        parts.append(samples[: following - piece.piece.start] if following else samples)
    return np.concatenate(parts)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("name", "subtype", "dtype", "stored"),
    [
        ("song.wav", "PCM_16", "int16", "PCM_16"),
        ("song.wav", "PCM_24", "int32", "PCM_24"),
        ("song.wav", "PCM_U8", "int16", "PCM_16"),
        ("song.flac", "PCM_16", "int16", "PCM_16"),
        ("song.flac", "PCM_24", "int32", "PCM_24"),
    ],
)
def test_the_hops_are_the_source_bit_for_bit(
    tmp_path: Path, make: Make, name: str, subtype: str, dtype: str, stored: str, channels: int
) -> None:
    path = make(name, subtype=subtype, channels=channels)
    before = path.read_bytes()
    source = soundfile.read(path, dtype=dtype, always_2d=True)[0]
    (job,) = prepared(tmp_path, Wish(KEEP))
    assert job.is_exact
    pieces = cut(tmp_path, Wish(KEEP))
    assert len(pieces) > 4
    for piece in pieces:
        info = soundfile.info(tmp_path / "out" / piece.file)
        assert (info.frames, info.samplerate, info.channels, info.subtype) == (2 * RATE, RATE, channels, stored)
        own = soundfile.read(tmp_path / "out" / piece.file, dtype=dtype, always_2d=True)[0]
        assert np.array_equal(own, source[piece.piece.start : piece.piece.end])
    assert np.array_equal(joined(tmp_path / "out", pieces, dtype), source)
    assert path.read_bytes() == before


def test_flac_slices_hold_the_samples_of_a_wav(tmp_path: Path, make: Make) -> None:
    source = soundfile.read(make(subtype="PCM_24"), dtype="int32")[0]
    pieces = cut(tmp_path, Wish(KEEP, format="flac"))
    assert all(piece.file.endswith(".flac") for piece in pieces)
    assert np.array_equal(joined(tmp_path / "out", pieces, "int32"), source)


def test_every_cut_is_near_a_zero_of_every_channel_and_quieter_than_chance(tmp_path: Path, make: Make) -> None:
    source = soundfile.read(make(), always_2d=True)[0]
    window = round(0.02 * RATE)
    moved = [piece for piece in cut(tmp_path, Wish(QUICK)) if piece.piece.start and not piece.piece.is_tail]
    assert moved
    for written in moved:
        piece = written.piece
        assert abs(piece.moved) <= window
        nominal = piece.start - piece.moved
        near = source[nominal - window : nominal + window + 1]
        assert all((np.diff(np.sign(near[:, channel])) != 0).any() for channel in range(2))
        assert piece.crosses
        assert piece.level == np.abs(source[piece.start]).max()
        assert piece.level < np.percentile(np.abs(near).max(axis=1), 10)


def test_starts_do_not_drift_through_a_long_song(tmp_path: Path, make: Make) -> None:
    make(seconds=120.0, channels=1)
    pieces = cut(tmp_path, Wish(QUICK))
    assert len(pieces) == 69  # the last is the tail, of 1 s
    for number, written in enumerate(pieces[:-1]):
        assert abs(written.piece.start - number * 1.75 * RATE) <= round(0.02 * RATE)


def test_without_overlap_nothing_is_lost_between_slices(tmp_path: Path, make: Make) -> None:
    source = soundfile.read(make(), dtype="int16")[0]
    wish = Wish(Cutting(seconds=2.0, overlap=0, window_ms=20, tail="keep"))
    pieces = cut(tmp_path, wish)
    assert np.array_equal(joined(tmp_path / "out", pieces, "int16"), source)


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_32", "ULAW"])
def test_what_has_no_whole_numbers_is_rounded_to_24_bits(tmp_path: Path, make: Make, subtype: str) -> None:
    source = soundfile.read(make(subtype=subtype), dtype="float64")[0]
    assert not prepared(tmp_path, Wish(KEEP))[0].is_exact
    pieces = cut(tmp_path, Wish(KEEP))
    assert soundfile.info(tmp_path / "out" / pieces[0].file).subtype == "PCM_24"
    assert np.abs(joined(tmp_path / "out", pieces, "float64") - source).max() <= 2.0**-24
    assert not any(piece.clipped for piece in pieces)


def test_sixteen_bits_of_a_24_bit_song_are_rounded_not_cut_off(tmp_path: Path, make: Make) -> None:
    source = soundfile.read(make(subtype="PCM_24"), dtype="float64")[0]
    pieces = cut(tmp_path, Wish(KEEP, format="wav16"))
    assert np.abs(joined(tmp_path / "out", pieces, "float64") - source).max() <= 2.0**-16


@pytest.mark.parametrize(("name", "subtype"), [("song.mp3", "MPEG_LAYER_III"), ("song.ogg", "VORBIS")])
def test_a_lossy_song_is_cut_as_it_decodes(tmp_path: Path, make: Make, name: str, subtype: str) -> None:
    source = soundfile.read(make(name, subtype=subtype), dtype="float64")[0]
    pieces = cut(tmp_path, Wish(KEEP))
    result = joined(tmp_path / "out", pieces, "float64")
    assert result.shape == source.shape
    assert np.abs(result - np.clip(source, -1, 1 - 2.0**-23)).max() <= 2.0**-24


def test_samples_beyond_full_scale_are_clipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    wave = music(3.0, 1)
    wave[100:105] = 1.5
    soundfile.write(tmp_path / "songs" / "loud.wav", wave, RATE, subtype="FLOAT")
    (first, *_) = cut(tmp_path, Wish(QUICK))
    assert first.clipped == 5
    assert first.peak == 1.5


def test_slices_inherit_what_the_song_is_known_by(tmp_path: Path, make: Make) -> None:
    make("live/one.flac", bpm=142, keyscale="G# minor", timesignature="3", genre="psytrance", custom_tag="ZX", repeat=2)
    before = manifest.scan(tmp_path / "songs").songs[0]
    cut(tmp_path, Wish(QUICK))
    found = manifest.scan(tmp_path / "out")
    assert [song.name for song in found.songs][:2] == ["live/one_001", "live/one_002"]
    for song in found.songs:
        for name in (
            "caption",
            "bpm",
            "keyscale",
            "timesignature",
            "genre",
            "tag",
            "repeats",
            "instrumental",
            "lyrics",
        ):
            assert getattr(song, name) == getattr(before, name), name
        said = json.loads((tmp_path / "out" / f"{song.name}.json").read_text(encoding="utf-8"))
        assert said["source"] == "live/one.flac"
        assert said["samples"] == 2 * RATE
        assert said["source_start"] == said["source_start_sample"] / RATE
    assert not found.warnings


def test_slices_of_a_slice_belong_to_the_song_of_both(tmp_path: Path, make: Make) -> None:
    make("live/one.wav")
    cut(tmp_path, Wish(QUICK))
    (tmp_path / "songs").rename(tmp_path / "whole")
    (tmp_path / "out").rename(tmp_path / "songs")
    cut(tmp_path, Wish(Cutting(seconds=0.5, overlap=0.1, window_ms=20)))
    found = manifest.scan(tmp_path / "out").songs
    assert {song.source for song in found} == {"live/one.wav"}
    said = json.loads((tmp_path / "out/live/one_002_001.json").read_text(encoding="utf-8"))
    assert (said["sliced_from"], said["source_start_sample"]) == ("live/one_002.wav", 0)


def test_the_words_of_a_whole_song_do_not_go_with_a_slice_unless_wanted(tmp_path: Path, make: Make) -> None:
    make(lyrics="[Verse]\nOne line\nAnother", language="en")
    cut(tmp_path, Wish(QUICK))
    song = manifest.scan(tmp_path / "out").songs[0]
    assert (song.lyrics, song.instrumental, song.language) == ("", False, "en")
    (tmp_path / "out").rename(tmp_path / "bare")
    cut(tmp_path, Wish(QUICK, keep_lyrics=True))
    song = manifest.scan(tmp_path / "out").songs[0]
    assert (song.lyrics, song.instrumental) == ("[Verse]\nOne line\nAnother", False)


def test_what_nobody_stated_stays_unstated(tmp_path: Path, make: Make) -> None:
    make().with_suffix(".json").unlink()
    cut(tmp_path, Wish(QUICK))
    song = manifest.scan(tmp_path / "out").songs[0]
    assert song.origins["caption"] == "file name"
    assert song.origins["instrumental"] == "no lyrics found"


def test_songs_that_differ_only_in_suffix_keep_apart(tmp_path: Path, make: Make) -> None:
    make("a.wav", seconds=2.5)
    make("a.flac", seconds=2.5)
    assert {piece.file for piece in cut(tmp_path, Wish(QUICK))} == {"a.wav_001.wav", "a.flac_001.wav"}
    said = json.loads((tmp_path / "out" / "a.flac_001.json").read_text(encoding="utf-8"))
    assert said["source"] == "a.flac"


def test_tails_and_short_songs_follow_the_choice(tmp_path: Path, make: Make) -> None:
    make("long.wav", seconds=4.25)  # 0, 1.75, and a tail of 0.75 s from 3.5
    make("short.wav", seconds=1.5)
    long, short = prepared(tmp_path, Wish(QUICK))
    assert [piece.is_tail for piece in long.plan.slices] == [False, False]
    assert 0 < long.plan.left_over <= 0.52 * RATE
    assert short.plan.slices == ()
    long, short = prepared(tmp_path, Wish(KEEP))
    assert [piece.is_tail for piece in long.plan.slices] == [False, False, True]
    assert [piece.length for piece in short.plan.slices] == [1.5 * RATE]


def test_on_bars_the_search_begins_at_the_bar(tmp_path: Path, make: Make) -> None:
    make(seconds=20.0, bpm=150, timesignature="3")
    (job,) = prepared(tmp_path, Wish(QUICK, bars=True))
    assert job.on_bars
    for piece in job.plan.slices[1:]:
        if not piece.is_tail:
            assert (piece.start - piece.moved) % (1.2 * RATE) == 0
    (own,) = prepared(tmp_path, Wish(QUICK, bars=True, bpm=120))
    assert own.plan.slices[1].start - own.plan.slices[1].moved == 1.5 * RATE


def test_an_existing_file_is_refused_by_name_and_left_alone(tmp_path: Path, make: Make) -> None:
    make()
    (job,) = prepared(tmp_path, Wish(QUICK))
    mine = tmp_path / "out" / "song_002.wav"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match=r"song_002\.wav is there already"):
        slices.check_free(tmp_path / "out", [job])
    with pytest.raises(DataError, match=r"song_002\.wav is there already"):
        cut(tmp_path, Wish(QUICK), resume=True)
    assert mine.read_bytes() == b"mine"


def test_resuming_leaves_identical_slices_alone_and_makes_the_missing(tmp_path: Path, make: Make) -> None:
    make()
    first = cut(tmp_path, Wish(QUICK))
    everything = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / first[1].file).unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = cut(tmp_path, Wish(QUICK), resume=True)
    assert [piece.was_there for piece in again] == [number != 1 for number in range(len(again))]
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == everything
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


@pytest.mark.parametrize("place", ["songs", "songs/out", ".", "link/out"])
def test_slices_never_go_where_the_songs_are(tmp_path: Path, make: Make, place: str) -> None:
    make()
    (tmp_path / "link").symlink_to(tmp_path / "songs")
    with pytest.raises(DataError, match="the folder with the songs"):
        slices.check_places(tmp_path / "songs", tmp_path / place)
    slices.check_places(tmp_path / "songs", tmp_path / "songs_sliced")


def test_a_link_in_the_destination_is_not_followed_out_of_it(tmp_path: Path, make: Make) -> None:
    make("live/one.wav")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "live").symlink_to(tmp_path / "songs" / "live")
    with pytest.raises(DataError, match="leads out of the destination"):
        cut(tmp_path, Wish(QUICK))
    assert sorted(path.name for path in (tmp_path / "songs" / "live").iterdir()) == ["one.json", "one.wav"]


def test_a_full_disk_is_a_sentence_and_leaves_whole_files(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make()
    synced: list[int] = []

    def sync(fd: int) -> None:
        synced.append(fd)
        if len(synced) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", sync)
    with pytest.raises(DiskFullError) as error:
        cut(tmp_path, Wish(QUICK))
    assert "--resume" in error.value.hint
    left = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert left and not [name for name in left if name.endswith(".tmp")]
    for name in left:
        if name.endswith(".wav"):
            assert soundfile.info(tmp_path / "out" / name).frames == 2 * RATE


def test_an_interruption_leaves_whole_files_only(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make()
    replace = Path.replace
    done: list[Path] = []

    def interrupted(self: Path, target: Path) -> Path:
        done.append(target)
        if len(done) == 4:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path, Wish(QUICK))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "song_001.json",
        "song_001.wav",
        "song_002.json",
    ]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Python's own answer to Ctrl-C: a shell starts its background jobs, such as a test run, without it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("moment", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("call", ["write", "seek", "tell"])
def test_an_interruption_inside_the_codec_is_neither_lost_nor_half_a_file(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, call: str, moment: int
) -> None:
    make(seconds=5.0)
    calls: list[str] = []

    class Interrupting(io.BytesIO):
        """Memory whose `call` is interrupted once, as a key would."""

        def write(self, data: object) -> int:
            self._count("write")
            return super().write(data)  # type: ignore[arg-type]

        def seek(self, offset: int, whence: int = 0) -> int:
            self._count("seek")
            return super().seek(offset, whence)

        def tell(self) -> int:
            self._count("tell")
            return super().tell()

        def _count(self, name: str) -> None:
            calls.append(name)
            if name == call and calls.count(call) == moment:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(slices.io, "BytesIO", Interrupting)
    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path, Wish(QUICK))
    assert signal.getsignal(signal.SIGINT) is usual
    monkeypatch.undo()
    assert all(soundfile.info(path).frames == 2 * RATE for path in (tmp_path / "out").glob("*.wav"))
    cut(tmp_path, Wish(QUICK), resume=True)
    source = soundfile.read(tmp_path / "songs" / "song.wav", dtype="int16")[0]
    first = soundfile.read(tmp_path / "out" / "song_001.wav", dtype="int16")[0]
    assert np.array_equal(first, source[: 2 * RATE])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_refuse_the_song(tmp_path: Path, value: float) -> None:
    (tmp_path / "songs").mkdir()
    wave = music(3.0, 1)
    wave[7] = value
    soundfile.write(tmp_path / "songs" / "odd.wav", wave, RATE, subtype="FLOAT")
    with pytest.raises(DataError, match="not numbers"):
        prepared(tmp_path, Wish(QUICK))


def test_a_song_that_shrinks_between_the_passes_is_named(tmp_path: Path, make: Make) -> None:
    path = make()
    (job,) = prepared(tmp_path, Wish(QUICK))
    soundfile.write(path, music(3.0, 2), RATE)
    with pytest.raises(slices_sound.DamagedSongError, match="shorter while it was sliced"):
        list(slices.write(job, tmp_path / "out", keep_lyrics=False, resume=False))


def test_no_more_than_the_slices_under_way_are_held(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(seconds=60.0)
    (job,) = prepared(tmp_path, Wish(QUICK))
    monkeypatch.setattr(slices_sound, "BLOCK_FRAMES", 1000)
    starts = [piece.start for piece in job.plan.slices]
    position = 0
    for written in slices.write(job, tmp_path / "out", keep_lyrics=False, resume=False):
        # Published as soon as its last sample was read, so at most this one and the next are open.
        position = written.piece.end
        assert sum(start < position + 1000 for start in starts) <= starts.index(written.piece.start) + 2
    assert position


# Any rate, any length, any number of channels


def _crosses_at(samples: np.ndarray, at: int) -> bool:
    """Whether every channel crosses zero between a sample and one beside it."""
    return bool(slicer.sign_changes(samples)[at].all())


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 11025, 22050, 48000]),
    wanted=st.sampled_from([None, 8000, 44100, 48000]),
    frames=st.integers(1000, 30000),
    channels=st.integers(1, 3),
    storage=st.sampled_from(["wav16", "wav24", "flac", None]),
    subtype=st.sampled_from(["PCM_16", "PCM_24", "FLOAT"]),
    tail=st.sampled_from(["drop", "keep"]),
    noise=st.booleans(),
)
def test_whatever_the_song_is_slices_are_exact_and_cut_where_all_channels_cross(
    tmp_path_factory: pytest.TempPathFactory,
    rate: int,
    wanted: int | None,
    frames: int,
    channels: int,
    storage: str | None,
    subtype: str,
    tail: str,
    noise: bool,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "songs").mkdir()
    wave = music(frames / rate, channels, rate) if noise else np.abs(music(frames / rate, channels, rate)) + 0.001
    soundfile.write(folder / "songs" / "song.wav", wave, rate, subtype=subtype)
    source = soundfile.read(folder / "songs" / "song.wav", always_2d=True)[0]
    cutting = Cutting(seconds=0.25, overlap=0.05, window_ms=20, tail=tail, min_tail=0.1)  # type: ignore[arg-type]
    wish = Wish(cutting, format=storage, rate=wanted)  # type: ignore[arg-type]
    (job,) = prepared(folder, wish)
    own_rate = wanted or rate
    heard = source if own_rate == rate else soxr.resample(source, rate, own_rate, quality="VHQ")
    pieces = cut(folder, wish)
    length = round(0.25 * own_rate)
    window = round(0.02 * own_rate)
    if len(heard) < length:
        assert [piece.piece.length for piece in pieces] == ([len(heard)] if tail == "keep" else [])
        return
    step = 2.0**-15 if job.bits == 16 else 2.0**-23
    for piece in pieces:
        own = soundfile.read(folder / "out" / piece.file, always_2d=True)[0]
        assert own.shape == (length, channels)
        assert soundfile.info(folder / "out" / piece.file).samplerate == own_rate
        difference = own - heard[piece.piece.start : piece.piece.end]
        if job.is_exact:
            assert not difference.any()
        else:
            assert np.abs(difference).max() <= step / 2 + 1e-12
        if piece.piece.start and not piece.piece.is_tail:
            nominal = piece.piece.start - piece.piece.moved
            assert abs(piece.piece.moved) <= window
            assert piece.piece.crosses == _crosses_at(heard, piece.piece.start)
            if not piece.piece.crosses:
                allowed = range(max(nominal - window, 0), min(nominal + window, len(heard) - length) + 1)
                assert not any(_crosses_at(heard, at) for at in allowed if at <= piece.piece.start)


@pytest.mark.parametrize("wanted", [44100, 48000, 8001])
def test_at_another_rate_slices_are_those_of_the_resampled_song(tmp_path: Path, make: Make, wanted: int) -> None:
    source = soundfile.read(make(subtype="PCM_24"))[0]
    (job,) = prepared(tmp_path, Wish(KEEP, rate=wanted))
    assert (job.resampled, job.is_exact, job.rate) == (True, False, wanted)
    pieces = cut(tmp_path, Wish(KEEP, rate=wanted))
    whole = soxr.resample(source, RATE, wanted, quality="VHQ")
    assert np.abs(joined(tmp_path / "out", pieces, "float64") - whole).max() <= 2.0**-24
    said = json.loads((tmp_path / "out" / pieces[1].file).with_suffix(".json").read_text(encoding="utf-8"))
    assert said["resampled_from"] == RATE
    assert said["source_start"] == said["source_start_sample"] / wanted
    assert said["samples"] == 2 * wanted


def test_the_rate_of_the_song_is_copied_not_resampled(tmp_path: Path, make: Make) -> None:
    make()
    (job,) = prepared(tmp_path, Wish(KEEP, rate=RATE))
    assert (job.resampled, job.is_exact) == (False, True)
    pieces = cut(tmp_path, Wish(KEEP, rate=RATE))
    assert "resampled_from" not in (tmp_path / "out" / pieces[0].file).with_suffix(".json").read_text(encoding="utf-8")


def test_what_resampling_lifts_over_full_scale_is_clipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    square = np.where(np.arange(3 * RATE) // 40 % 2, 0.999, -0.999)  # overshoots between its samples
    soundfile.write(tmp_path / "songs" / "square.wav", square, RATE, subtype="PCM_16")
    (first, *_) = cut(tmp_path, Wish(QUICK, rate=44100))
    assert first.peak > 1
    assert first.clipped > 0
    own = soundfile.read(tmp_path / "out" / first.file, dtype="int16")[0]
    assert (own.max(), own.min()) == (32767, -32768)


@pytest.mark.parametrize("rate", [1, 3999, 800_000])
def test_rates_that_no_sound_has_are_not_resampled(tmp_path: Path, rate: int) -> None:
    (tmp_path / "songs").mkdir()
    soundfile.write(tmp_path / "songs" / "odd.wav", music(1.0, 1), rate)
    with pytest.raises(DataError, match="sample rate of"):
        prepared(tmp_path, Wish(QUICK, rate=44100))


def test_more_channels_than_flac_has_are_refused_with_a_way_out(tmp_path: Path, make: Make) -> None:
    make(channels=9)
    with pytest.raises(DataError, match="cannot be stored as flac"):
        prepared(tmp_path, Wish(QUICK, format="flac"))
    assert cut(tmp_path, Wish(QUICK))


def _peak_memory(tmp_path: Path, wish: Wish, seconds: float) -> int:
    """The most that slicing a song of so many seconds holds at once."""
    folder = tmp_path / f"{seconds:.0f}_{wish.rate}"
    (folder / "songs").mkdir(parents=True)
    soundfile.write(folder / "songs" / "song.wav", music(seconds, 2), RATE)
    tracemalloc.start()
    try:
        pieces = cut(folder, wish)
        assert len(pieces) > seconds / 2
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("rate", [None, 11025])
def test_memory_is_flat_with_the_length_of_the_song(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int | None
) -> None:
    monkeypatch.setattr(slices_sound, "BLOCK_FRAMES", 2048)
    wide = Wish(Cutting(seconds=1.0, overlap=0.25, window_ms=300, min_tail=1.0), rate=rate)
    _peak_memory(tmp_path, wide, 5)  # what is imported and cached once
    short, long = (_peak_memory(tmp_path, wide, seconds) for seconds in (20, 160))
    # The list of slices itself grows, by some hundred bytes each.
    assert long < short + 400_000
    assert long < 160 * RATE * 2 * 2 / 2
