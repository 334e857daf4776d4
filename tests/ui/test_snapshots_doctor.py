"""Pictures of the dataset doctor: running, findings, what a fix writes, what was written, nothing, and a refusal."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart
from sidestep_tui.dataset.health import doctor
from sidestep_tui.dataset.health.doctor_findings import Finding, Fix
from sidestep_tui.ui.screens.doctor.screen import DoctorScreen
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.widgets.rows import Rows
from tests.ui.conftest import make_app, settle

SnapCompare = Callable[..., bool]
SIZES = [(80, 24), (120, 40)]
by_size = pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x40"])
SIDECAR = "caption: musique franÃ§aise, calme, guitare\nbpm: 96\nkey: Em\n"


def report_on(root: Path, *, fixed: bool = False, songs: int = 13, clean: bool = False) -> doctor.Report:
    """Something of everything, on songs that exist only as words."""
    names = [f"disc {1 + number // 10}/{number:02d} night drive" for number in range(songs)]
    garbled = Fix("mojibake", "disc 1/03 night drive.txt", "disc 1/03 night drive.flac", "caption")
    key = Fix("key_spelling", "disc 1/03 night drive.txt", "disc 1/03 night drive.flac", "keyscale")
    audio = [
        Finding("truncated", "disc 2/11 night drive.mp3", "is cut short. At least 1.2 MiB of it are missing."),
        Finding("silent", names[4], "never rises above -60 dBFS."),
        Finding("clipped", names[5], "clips 4,073 times (5.86% of samples)."),
        Finding("near_duplicate", names[8], f"sounds like {names[7]}."),
    ]
    words = [
        *(Finding("missing_caption", name, "has no caption.") for name in names[5:]),
        Finding("mojibake", names[3], "caption is garbled: 'franÃ§aise,' should be 'française,'.", garbled),
        *(Finding("missing_bpm", name, "has no BPM.") for name in names[9:]),
        Finding("key_spelling", names[3], "key 'Em' would better be 'E minor'.", key),
        Finding("key_spelling", names[2], "key 'Am' would better be 'A minor'.", key, "mixes line endings"),
        Finding("few_songs", "", f"{songs} songs. 5 to 10 good ones beat 50 mixed ones (Turbo Trainer guide)."),
    ]
    if fixed:
        words = [item for item in words if not item.is_fixable]
    files = {name: f"{name}.flac" for name in names}
    return doctor.Report(root, files, songs * 211.0, () if clean else tuple(audio), () if clean else tuple(words))


@pytest.fixture
def songs(home: Path) -> Path:
    """A folder with the one sidecar that can be repaired."""
    folder = home / "songs"
    (folder / "disc 1").mkdir(parents=True)
    (folder / "disc 1" / "03 night drive.txt").write_text(SIDECAR, encoding="utf-8")
    return folder


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the child find what is given, or raise it."""

    def give(found: doctor.Report | Exception) -> None:
        def call(task: str, parameters: dict[str, Any], report: Any = None, **options: Any) -> Any:
            if isinstance(found, Exception):
                raise found
            if task == "doctor":
                return {"report": found.to_dict(), "preview": doctor.preview(doctor.planned(found))}
            left = report_on(found.root, fixed=True)
            name = "disc 1/03 night drive.txt"
            written = [
                {"path": name, "backup": "03 night drive.txt.bak", "problem": ""},
                {"path": "list.csv", "backup": "", "problem": "has changed meanwhile"},
            ]
            return {"report": left.to_dict(), "preview": [], "written": written}

        monkeypatch.setattr(apart, "call", call)

    return give


@pytest.fixture
def half_way(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An examination that does not come to an end until the test does."""
    ended = threading.Event()

    def call(task: str, parameters: dict[str, Any], report: Any = None, **options: Any) -> Any:
        while not ended.wait(0.05):
            report("sound", 37, 120)  # raises once nobody waits any more
        raise DataError("Stopped.")

    monkeypatch.setattr(apart, "call", call)
    yield
    ended.set()


def shown(folder: Path, *keys: str) -> Callable[[Pilot[Any]], Awaitable[None]]:
    """Open the doctor, wait for what it finds, press keys."""

    async def steps(pilot: Pilot[Any]) -> None:
        await pilot.app.push_screen(DoctorScreen(SongsPlace(folder)))
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return steps


@by_size
def test_findings(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None], size: tuple[int, int]) -> None:
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=size, run_before=shown(songs, "j"))


def test_a_finding_that_can_be_fixed(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs))
    keys = ("G", "k", "k", "k")
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs, *keys))


def test_what_would_be_written(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs, "A"))


@by_size
def test_fixed(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None], size: tuple[int, int]) -> None:
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=size, run_before=shown(songs, "A", "enter"))


@by_size
def test_running(snap_compare: SnapCompare, songs: Path, half_way: None, size: tuple[int, int]) -> None:
    async def watch(pilot: Pilot[Any]) -> None:
        screen = DoctorScreen(SongsPlace(songs))
        await pilot.app.push_screen(screen)
        while "37 of 120" not in screen.query_one("#findings", Rows).plain:
            await pilot.pause(0.01)

    assert snap_compare(make_app("runs"), terminal_size=size, run_before=watch)


def test_nothing_found(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs, songs=60, clean=True))
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs))


def test_refused(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(
        DataError(
            "The folder does not answer.",
            "Nothing could be read for 120 seconds.",
            "Check the disk or the network share it is on.",
        )
    )
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs))


def test_filtered(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs, "slash", *"03"))


def test_two_thousand_songs(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs, songs=2000))
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs))


def test_ascii_only(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs))
    app = make_app("runs", ascii_only=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=shown(songs, "z"))


def test_without_colour(
    snap_compare: SnapCompare, songs: Path, answer: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=(80, 24), run_before=shown(songs))


def test_smallest_window(snap_compare: SnapCompare, songs: Path, answer: Callable[..., None]) -> None:
    answer(report_on(songs))
    assert snap_compare(make_app("runs"), terminal_size=(60, 18), run_before=shown(songs))
