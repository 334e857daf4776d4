"""`dataset edit`: what it refuses before a screen is drawn, and what it opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.cli.main import main
from tests.ui.places import write_checkpoint


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The places that the interface was asked to show; none is drawn."""
    found: list[Any] = []

    def run(*, songs: Any) -> int:
        found.append(songs)
        return 0

    monkeypatch.setattr("sidestep_tui.ui.app.run", run)
    return found


def test_a_missing_folder_is_refused_before_anything_is_drawn(
    opened: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "edit", "no_such_folder"]) == 4
    assert "no_such_folder" in capsys.readouterr().err
    assert not opened


def test_a_model_without_a_tokenizer_is_refused(
    tmp_path: Path, opened: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dataset", "edit", str(tmp_path), "--model", str(tmp_path)]) == 4
    assert capsys.readouterr().err
    assert not opened


def test_the_songs_are_opened_with_what_was_asked_for(tmp_path: Path, opened: list[Any]) -> None:
    model = write_checkpoint(tmp_path / "checkpoints")
    songs = tmp_path / "songs"
    songs.mkdir()
    assert main(["dataset", "edit", str(songs), "--model", str(model), "--tag", "zx", "--txt-role", "lyrics"]) == 0
    (place,) = opened
    assert (place.root, place.model, place.tag, place.txt_role) == (songs, model, "zx", "lyrics")
