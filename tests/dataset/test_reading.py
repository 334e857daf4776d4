"""What the model reads of a song: texts, counts, crops, and how much of it an epoch hears."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sidestep_tui.core.errors import DataError, ModelError
from sidestep_tui.dataset import apart, captions, manifest, prompts, reading
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.dataset.prompts import Tokens
from sidestep_tui.dataset.reading import Reading, ReadingSettings

WriteSong = Callable[..., Path]


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that makes a token of every character and appends the closing one."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({"?": 0, "<|endoftext|>": 1}, unk_token="?"))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 1)]
    )
    directory = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.fixture
def tokens(tokenizer_dir: Path) -> Tokens:
    return Tokens(tokenizer_dir)


def song(name: str = "a", **fields: object) -> Song:
    known = {"caption": "piano", "duration": 100.0, "sample_rate": 44_100, "bpm": 90, "keyscale": "C major"}
    return Song(name=name, audio=Path(f"{name}.wav"), **{**known, **fields})  # type: ignore[arg-type]


def read_one(described: Song, tokens: Tokens | None, **settings: object) -> Reading:
    (item,) = reading.read(
        Manifest(Path("/x"), (described,)),
        ReadingSettings(**settings),  # type: ignore[arg-type]
        tokens,
    )
    return item


def test_texts_are_those_of_the_templates_with_tag_and_duration(tokens: Tokens) -> None:
    item = read_one(song(lyrics="la la"), tokens, tag="zyx", tag_position="append", max_duration=61.9)
    expected = captions.prompt(song(), tag="zyx", tag_position="append", seconds=61)
    assert item.prompt == expected
    assert item.lyrics_text == "# Languages\nunknown\n\n# Lyric\nla la<|endoftext|>"
    assert item.prompt_tokens == len(expected) - len("<|endoftext|>") + 2
    assert (item.prompt_tokens_cut, item.lyrics_tokens_cut, item.caption_cut) == (0, 0, 0)
    assert item.lyrics_left_out == item.caption_left_out == ""


def test_what_is_cut_is_counted(tokens: Tokens) -> None:
    long = song(caption="slow strings, " * 30, lyrics="x" * 3000)
    item = read_one(long, tokens)
    assert item.prompt_tokens is not None
    assert item.prompt_tokens <= prompts.PROMPT_TOKENS
    assert item.prompt.endswith("- duration: 100 seconds\n<|endoftext|>\n")
    kept = item.prompt.split("# Caption\n")[1].split("\n\n# Metas")[0]
    assert item.caption_cut == len(long.caption) - len(kept) > 0
    assert kept + item.caption_left_out == long.caption
    assert item.lyrics_tokens == prompts.LYRIC_TOKENS
    read = item.lyrics_text.removesuffix(item.lyrics_left_out)
    assert tokens.count(read) == prompts.LYRIC_TOKENS
    assert tokens.ids(item.lyrics_text, prompts.LYRIC_TOKENS) == tokens.ids(read, prompts.LYRIC_TOKENS)
    assert item.lyrics_tokens_cut == tokens.count(item.lyrics_text) - prompts.LYRIC_TOKENS > 900


def test_a_tag_that_pushes_the_metas_out_is_noticed(tokens: Tokens) -> None:
    item = read_one(song(), tokens, tag="t" * 300, tag_position="replace")
    assert item.prompt_tokens == prompts.PROMPT_TOKENS
    assert item.prompt_tokens_cut is not None
    assert item.prompt_tokens_cut > 100


def test_without_a_tokenizer_nothing_is_counted_or_invented() -> None:
    item = read_one(song(caption="slow strings, " * 300), None)
    assert item.prompt.count("slow strings") == 300
    counts = (item.prompt_tokens, item.prompt_tokens_cut, item.lyrics_tokens, item.lyrics_tokens_cut, item.caption_cut)
    assert counts == (None,) * 5


@pytest.mark.parametrize(
    ("seconds", "rate", "longest", "frames"),
    [
        (1.0, 48_000, 240, 25),
        (49_919 / 48_000, 48_000, 240, 25),
        (49_920 / 48_000, 48_000, 240, 26),
        (100.0, 44_100, 240, 2500),
        (300.0, 44_100, 240, 6000),
        (300.0, 22_050, 10.03, 250),
    ],
)
def test_frames_are_whole_hops_of_what_max_duration_leaves(
    seconds: float, rate: int, longest: float, frames: int
) -> None:
    item = read_one(song(duration=seconds, sample_rate=rate), None, max_duration=longest)
    assert item.frames == frames
    assert item.seconds == frames / 25


def test_crops_count_repeats_of_the_song_and_of_the_settings(tokens: Tokens) -> None:
    item = read_one(song(repeats=3), tokens, repeats=2, crop_seconds=60.0)
    assert (item.crops_per_epoch, item.crop_frames) == (6, 1500)
    assert item.visits == pytest.approx(6 * 1500 / 2500)


def test_whole_songs_and_songs_shorter_than_a_crop_are_heard_whole() -> None:
    for crop in (0.0, 200.0):
        item = read_one(song(), None, crop_seconds=crop)
        assert (item.crop_frames, item.coverage, item.visits) == (2500, 1.0, 1.0)


def test_the_stated_duration_follows_the_crop_on_request() -> None:
    assert read_one(song(), None, crop_seconds=60.0).stated_seconds == 100.0
    item = read_one(song(), None, crop_seconds=60.0, duration_text="crop")
    assert item.stated_seconds == 60.0
    assert "- duration: 60 seconds" in item.prompt


def test_a_song_without_a_second_of_sound_has_no_crops() -> None:
    item = read_one(song(duration=0.9), None)
    assert item.crops_per_epoch == 0
    assert item.coverage == 0.0
    assert "shorter than one second" in item.problem


@pytest.mark.parametrize(("frames", "crop", "visits"), [(40, 10, 1), (40, 10, 5), (41, 30, 2), (40, 39, 3), (7, 7, 1)])
def test_expected_coverage_is_what_drawing_crops_gives(frames: int, crop: int, visits: int) -> None:
    draw = random.Random(5)
    heard = 0
    trials = 20_000
    for _ in range(trials):
        starts = [draw.randrange(frames - crop + 1) for _ in range(visits)]
        heard += len({start + step for start in set(starts) for step in range(crop)})
    assert reading.expected_coverage(frames, crop, visits) == pytest.approx(heard / trials / frames, abs=0.005)


def test_a_share_of_the_songs_is_read_by_genre_whichever_are_asked_for() -> None:
    found = Manifest(Path("/x"), tuple(song(name, genre=f"genre of {name}") for name in "abcdefgh"))
    settings = ReadingSettings(genre_ratio=25)
    items = reading.read(found, settings, None)
    by_genre = [item for item in items if item.described_by == "genre"]
    assert len(by_genre) == 2
    for item in by_genre:
        assert f"# Caption\ngenre of {item.name}\n" in item.prompt
        assert reading.read(found, settings, None, [item.name]) == [item]


def test_held_out_songs_have_no_crops() -> None:
    found = Manifest(Path("/x"), tuple(song(name) for name in ("red", "green", "blue", "white")))
    items = reading.read(found, ReadingSettings(validation=25), None)
    (held,) = [item for item in items if item.held_out]
    assert (held.crops_per_epoch, held.coverage, held.visits) == (0, 0.0, 0.0)
    assert all(item.crops_per_epoch == 1 for item in items if item is not held)
    (alone,) = reading.read(Manifest(Path("/x"), (song(),)), ReadingSettings(validation=25), None)
    assert not alone.held_out


def test_named_songs_come_in_the_folders_order_and_unknown_names_are_refused(tokens: Tokens) -> None:
    found = Manifest(Path("/x"), (song("alpha"), song("beta"), song("gamma")))
    steps: list[tuple[int, int]] = []
    items = reading.read(
        found, ReadingSettings(), tokens, ["gamma", "alpha"], lambda done, total: steps.append((done, total))
    )
    assert [item.name for item in items] == ["alpha", "gamma"]
    assert steps[0] == (0, 2)
    assert steps[-1] == (2, 2)
    with pytest.raises(DataError, match="no song 'betta'") as caught:
        reading.read(found, ReadingSettings(), tokens, ["betta"])
    assert "beta" in caught.value.hint


def test_the_child_reads_a_folder_or_a_manifest_with_edits(
    write_song: WriteSong, tmp_path: Path, tokenizer_dir: Path, tokens: Tokens
) -> None:
    write_song("a.wav", seconds=1.5)
    (tmp_path / "a.txt").write_text("soft rain, piano")
    settings = ReadingSettings(tag="zyx", repeats=2)
    common = {"settings": dataclasses.asdict(settings), "tokenizer": str(tokenizer_dir), "names": None}
    folder = {"root": str(tmp_path), "txt_role": "auto", "language": "unknown"}
    found = manifest.scan(tmp_path)
    expected = [dataclasses.asdict(item) for item in reading.read(found, settings, tokens)]
    assert apart.call("read", {**common, **folder}) == expected
    edited = dataclasses.replace(found, songs=(dataclasses.replace(found.songs[0], caption="loud rain"),))
    (item,) = apart.call("read", {**common, "tokenizer": None, "manifest": edited.to_dict()})
    assert "zyx, loud rain" in item["prompt"]
    assert item["prompt_tokens"] is None


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        reading.tokens_of(tmp_path)
