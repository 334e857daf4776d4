"""What is offered before anything is typed, what a paste means, and what a change would cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep_tui.core.nvml import Gpu
from sidestep_tui.launch import discover, nearby
from sidestep_tui.schema import drafts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.ui.forms.effects import effect
from sidestep_tui.ui.forms.line import pasted, pasted_path
from sidestep_tui.ui.forms.numbers import nearest
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.screens.wizard.offers import found_models, found_songs, offers
from sidestep_tui.ui.theme import UNICODE
from tests.ui.conftest import GIB
from tests.ui.places import write_checkpoint


def songs_in(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def session(**texts: str) -> FormSession:
    made = FormSession(Draft(), lambda: None, clock=lambda: 0.0)
    for path, text in texts.items():
        made.draft.set(path.replace("__", "."), text)
    made.machine_known([Gpu(0, "GPU-0", "NVIDIA RTX 3060", 12 * GIB, GIB, 11 * GIB, 3, 41, 20.0, 170.0)])
    return made


def test_enter_waits_for_what_is_offered() -> None:
    made = FormSession(Draft(), lambda: None, clock=lambda: 0.0)
    assert made.take_offer("adapter.rank") is True
    assert made.take_offer("model.path") is False, "the machine has not been looked at"
    made.offers = {"model.path": "/checkpoints/turbo"}
    made.machine_known([])
    assert made.take_offer("model.path") is True
    assert made.draft.value("model.path") == "/checkpoints/turbo"
    assert made.take_offer("data.path") is True, "there is nothing to offer, and nothing is looked for any more"


def test_folders_with_songs_are_found_here_and_among_the_music(home: Path, tmp_path: Path) -> None:
    songs_in(home / "drums", "a.wav", "b.FLAC")
    songs_in(home / "papers", "a.pdf", "b.txt", "c.wav")
    songs_in(home / ".hidden", "a.wav", "b.wav")
    songs_in(tmp_path / "Music" / "album", "a.mp3", "b.mp3")
    assert nearby.song_folders() == [home / "drums", tmp_path / "Music" / "album"]


def test_what_was_used_last_comes_first_and_once(home: Path) -> None:
    songs_in(home / "a", "1.wav", "2.wav")
    songs_in(home / "b", "1.wav", "2.wav")
    write_checkpoint(home / "checkpoints", "acestep-v15-base")
    write_checkpoint(home / "checkpoints")
    discover.remember(model=home / "checkpoints" / "acestep-v15-turbo", dataset=home / "b")
    models, songs = found_models(), found_songs()
    assert [model.name for model in models] == ["acestep-v15-turbo", "acestep-v15-base"]
    assert songs == [home / "b", home / "a"]
    assert offers(models, songs)["data.path"] == str(home / "b")
    assert offers([], []) == {}


def test_checkpoints_are_found_in_the_home_of_the_user(home: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "ACE-Step-1.5" / "checkpoints")
    assert [model.name for model in found_models()] == ["acestep-v15-turbo"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/data/songs\n/data/other\n", "/data/songs"),
        ("'/data/my songs'", "/data/my songs"),
        ('"/data/my songs" ', "/data/my songs"),
        ("file:///data/my%20songs", "/data/my songs"),
        ("/data/my\\ songs", "/data/my songs"),
        ("", ""),
    ],
)
def test_a_pasted_path_is_what_was_meant(text: str, path: str) -> None:
    assert pasted_path(text) == path


def test_a_pasted_text_is_its_first_line() -> None:
    assert pasted(" a b \nc") == "a b"


def test_the_cost_of_the_next_value_is_a_difference() -> None:
    specs = fields_by_path()
    made = session(adapter__rank="64")
    words = effect(made, specs["adapter.rank"], UNICODE)
    assert words.startswith("64 → 128: +")
    assert "GiB" in words
    assert "+44.0 M weights" in words
    assert effect(made, specs["optim.lr"], UNICODE) == "", "it costs nothing"
    assert effect(session(adapter__kind="lokr"), specs["adapter.rank"], UNICODE) == "", "it has no effect"
    assert effect(session(adapter__rank="512"), specs["adapter.rank"], UNICODE).startswith("512 → 256: -")


def test_the_nearest_bound_is_what_a_number_out_of_bounds_is_put_to() -> None:
    specs = fields_by_path()
    assert nearest(specs["adapter.rank"], "9999") == 512
    assert nearest(specs["adapter.rank"], "-3") == 1
    assert nearest(specs["adapter.rank"], "many") is None
    assert nearest(specs["optim.lr"], "0") is None, "the bound itself is no value"


def test_a_setting_that_the_rules_object_to_is_shown_at_every_level() -> None:
    spec = fields_by_path()["optim.schedule"]
    assert not session().shows(spec)
    assert session(optim__optimizer="prodigy").shows(spec)


def test_looking_around_in_a_draft_of_another_window_makes_no_copy() -> None:
    mine = session(adapter__rank="8")
    assert mine.save() is False
    other = drafts.load(mine.draft.id)
    other.set("adapter.rank", "9")
    drafts.save(other, 1.0)
    mine.draft.step = "optim"
    assert mine.save() is False
    assert [item.id for item in drafts.list_drafts()] == [other.id]
    mine.set("adapter.rank", "10")
    assert mine.save() is True
    assert len(drafts.list_drafts()) == 2
