"""`dataset convert` and `dataset unpack`, and a ZIP wherever a folder of songs is asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .conftest import Outcome

Cli = Callable[..., Outcome]


@pytest.fixture
def album(home: Path) -> Path:
    """Two described songs and a file that is no sound."""
    folder = home / "album"
    folder.mkdir()
    random = np.random.default_rng(1)
    for name in ("one", "two"):
        soundfile.write(folder / f"{name}.wav", random.uniform(-0.5, 0.5, (2000, 2)), 8000)
        (folder / f"{name}.json").write_text(json.dumps({"caption": f"{name}, slow", "bpm": 120}), encoding="utf-8")
    (folder / "broken.flac").write_bytes(b"nonsense")
    return folder


@pytest.fixture
def packed(album: Path) -> Path:
    return Path(shutil.make_archive(str(album.parent / "my songs"), "zip", album))


def test_converting_says_what_it_wrote_and_where_the_songs_are(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "convert", album, "out", "--to", "text")
    assert (outcome.code, outcome.out) == (0, "")
    assert sorted(path.name for path in Path("out").iterdir()) == ["one.txt", "two.txt"]
    assert Path("out/one.txt").read_text() == "caption: one, slow\nbpm: 120\n"
    assert "2 text files written to" in outcome.err and "--link or --copy" in outcome.err
    assert "Skipped: broken.flac" in outcome.err


def test_converted_songs_come_along_on_request(run_cli: Cli, album: Path) -> None:
    outcome = run_cli("dataset", "convert", album, "out", "--to", "dataset-json", "--link", "--json")
    assert outcome.json["files"] == ["dataset.json"] and outcome.json["songs"] == 2
    scanned = run_cli("dataset", "scan", "out", "--json").json
    assert [(song["caption"], song["bpm"]) for song in scanned["songs"]] == [("one, slow", 120), ("two, slow", 120)]


def test_an_existing_place_and_contradicting_wishes_are_refused(run_cli: Cli, album: Path) -> None:
    assert run_cli("dataset", "convert", album, album, "--to", "csv").code == 4
    assert run_cli("dataset", "convert", album, "out", "--to", "csv", "--copy", "--link").code == 2
    assert run_cli("dataset", "convert", album, "out").code == 2
    assert not Path("out").exists()


def test_a_zip_is_scanned_like_the_folder_it_holds(run_cli: Cli, album: Path, packed: Path) -> None:
    of_zip, of_folder = (run_cli("dataset", "scan", path, "--json").json for path in (packed, album))
    assert [song["caption"] for song in of_zip["songs"]] == [song["caption"] for song in of_folder["songs"]]
    assert of_zip["skipped"] == of_folder["skipped"]


def test_a_zip_is_not_repaired_but_unpacked_to_be(run_cli: Cli, packed: Path) -> None:
    refused = run_cli("dataset", "doctor", packed, "--fix", "--quick")
    assert refused.code == 4
    assert f"dataset unpack '{packed}' FOLDER" in refused.err
    done = run_cli("dataset", "unpack", packed, "mine")
    assert done.code == 0 and "5 files" in done.err
    assert sorted(path.name for path in Path("mine").iterdir()) == sorted(
        ["one.wav", "one.json", "two.wav", "two.json", "broken.flac"]
    )
    assert run_cli("dataset", "unpack", packed, "mine").code == 4
    assert run_cli("dataset", "unpack", "nothing.zip", "other").code == 4


def test_what_stays_in_the_zip_is_named(run_cli: Cli, album: Path) -> None:
    (album / "inner.zip").write_bytes(b"PK")
    packed = shutil.make_archive(str(album.parent / "s"), "zip", album)
    outcome = run_cli("dataset", "unpack", packed, "mine", "--json")
    assert [item["code"] for item in outcome.json["left_out"]] == ["archive"]
    assert "Left out: inner.zip is an archive" in run_cli("dataset", "unpack", packed, "again").err
