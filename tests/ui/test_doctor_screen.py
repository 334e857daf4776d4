"""The doctor's screen: what it lists, how it is walked, what its keys write, and how it ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import apart, apart_tasks
from sidestep_tui.dataset.health.doctor_findings import Finding, Fix
from sidestep_tui.ui.app import SidestepApp
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.paper import Paper
from sidestep_tui.ui.screens.doctor import rows as doctor_rows
from sidestep_tui.ui.screens.doctor.screen import DoctorScreen
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.theme import ASCII, UNICODE
from sidestep_tui.ui.widgets.rows import Rows, width_of
from tests.ui.conftest import make_app, settle
from tests.ui.places import write_songs

SIZE = (80, 24)


@pytest.fixture
def songs(home: Path) -> Path:
    """Two silent songs, one with a sidecar that can be repaired, and a broken file."""
    folder = write_songs(home / "songs", count=2)
    (folder / "song_00.caption.txt").unlink()
    (folder / "song_00.txt").write_text("caption: drums\nbpm: 90 BPM\nkey: Em\ninstrumental: yes\n")
    return folder


REAL_CALL = apart.call


def call_here(task: str, parameters: dict[str, Any], report: Any = None, **options: Any) -> Any:
    """What the child would answer, without a second for its start."""
    answer = apart_tasks.TASKS[task](json.loads(json.dumps(parameters)), report or (lambda *step: None))
    return json.loads(json.dumps(answer))


@pytest.fixture(autouse=True)
def without_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks run in this process."""
    monkeypatch.setattr(apart, "call", call_here)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Examinations get half way and wait until the event is set."""
    opened, real = threading.Event(), call_here

    def slow(task: str, parameters: dict[str, Any], report: Any = None, **options: Any) -> Any:
        if report is not None:
            report("sound", 1, 2)
        while not opened.wait(0.01):
            if report is not None:
                report("sound", 1, 2)
        return real(task, parameters, report, **options)

    monkeypatch.setattr(apart, "call", slow)
    yield opened
    opened.set()


async def examined(pilot: Pilot[Any], folder: Path, **place: Any) -> DoctorScreen:
    """The screen over the wizard, once it has an answer."""
    screen = DoctorScreen(SongsPlace(folder, **place))
    await pilot.app.push_screen(screen)
    await settle(pilot)
    return screen


def listing(screen: DoctorScreen) -> str:
    return screen.query_one("#findings", Rows).plain


def pane(screen: DoctorScreen) -> str:
    return screen.query_one("#pane", Rows).plain


def go_to(screen: DoctorScreen, words: str) -> None:
    """Put the bar on the first line whose kind or sentence holds `words`."""
    said = [line.finding.sentence if line.finding else line.kind.title for line in screen.lines]
    screen.action_move(next(at for at, sentence in enumerate(said) if words in sentence) - screen.at)


async def test_findings_stand_under_their_kind_gravest_first(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        lines = listing(screen).splitlines()
        assert "error" in lines[0] and "empty audio" in lines[0]
        assert "broken.flac" in lines[1] and "0 bytes" in lines[1]
        severities = [line.kind.severity for line in screen.lines]
        assert severities == sorted(severities, key=["error", "warning", "advice"].index)
        heading = screen.query_one("#heading", Rows).plain
        assert "✕ 3 errors" in heading and "fixable" in heading and "tokens estimated" in heading
        assert all(len(line) <= 80 for line in [*lines, *heading.splitlines(), *pane(screen).splitlines()])


async def test_pane_says_why_what_to_do_and_the_exact_edit(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        go_to(screen, "would better be 'E minor'")
        shown = pane(screen)
        assert "why" in shown and "do" in shown
        assert "repairs the key in song_00.txt" in shown
        assert "'Em' → 'E minor'" in shown


async def test_fix_of_one_finding_is_shown_first_and_then_written_with_a_backup(songs: Path) -> None:
    sidecar = songs / "song_00.txt"
    before = sidecar.read_text()
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        go_to(screen, "would better be 'E minor'")
        await pilot.press("F")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Paper)
        assert "song_00.txt.bak" in pilot.app.screen.plain
        assert "before  Em" in pilot.app.screen.plain
        await pilot.press("escape")
        await settle(pilot)
        assert sidecar.read_text() == before
        await pilot.press("F")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert sidecar.read_text() == before.replace("Em", "E minor")
        assert (songs / "song_00.txt.bak").read_text() == before
        assert "song_00.txt.bak" in screen.query_one("#written", Rows).plain
        assert "key spelling" not in listing(screen)
        assert screen.report is not None
        assert [fix.code for fix in screen.report.fixes()] == ["bpm_spelling"]


async def test_all_fixes_of_what_is_listed_are_written_by_a_child(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "call", REAL_CALL)
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        await pilot.press("A")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert "bpm: 90\nkey: E minor\n" in (songs / "song_00.txt").read_text()
        assert screen.check_action("fix_all", ()) is None
        assert screen.check_action("fix", ()) is None


async def test_a_file_that_changes_after_it_was_shown_is_left_alone(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        await pilot.press("A")
        await settle(pilot)
        (songs / "song_00.txt").write_text("caption: drums\nbpm: 91 BPM\nkey: Em\n")
        await pilot.press("enter")
        await settle(pilot)
        assert (songs / "song_00.txt").read_text() == "caption: drums\nbpm: 91 BPM\nkey: Em\n"
        assert "not written: song_00.txt has changed meanwhile" in screen.query_one("#written", Rows).plain


async def test_fixes_that_the_child_refuses_say_why(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        await examined(pilot, songs)
        await pilot.press("A")
        await settle(pilot)

        def refuse(*given: Any, **options: Any) -> Any:
            raise DataError("The folder does not answer.", "Nothing could be read.", "Check the disk.")

        monkeypatch.setattr(apart, "call", refuse)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Tell)


async def test_kinds_fold_and_the_bar_stays_on_what_it_was_on(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        lines = len(screen.lines)
        await pilot.press("j", "space")
        assert screen.focused_line is not None
        assert screen.focused_line.finding is None
        assert "empty audio" in screen.focused_line.kind.title
        assert len(screen.lines) == lines - 1
        await pilot.press("enter")
        assert len(screen.lines) == lines
        await pilot.press("z")
        assert all(line.finding is None for line in screen.lines)
        await pilot.press("z")
        assert len(screen.lines) == lines


async def test_filter_narrows_findings_and_fixes_and_escape_clears_it(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        await pilot.press("slash", *"bpm sp", "enter")
        await settle(pilot)
        assert [kind.title for kind in screen.kinds] == ["BPM spelling"]
        assert [fix.code for fix in screen.listed_fixes] == ["bpm_spelling"]
        await pilot.press("slash", *"xyz", "enter")
        await settle(pilot)
        assert "Nothing matches" in listing(screen)
        await pilot.press("escape")
        await settle(pilot)
        assert len(screen.kinds) > 3
        assert pilot.app.screen is screen


async def test_escape_stops_and_then_closes(songs: Path, gate: threading.Event) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = DoctorScreen(SongsPlace(songs))
        await pilot.app.push_screen(screen)
        while "1 of 2" not in listing(screen):
            await pilot.pause(0.01)
        assert "Listening" in listing(screen)
        await pilot.press("escape")
        await settle(pilot)
        assert "Stopped" in listing(screen)
        await pilot.press("escape")
        await pilot.pause()
        assert pilot.app.screen is not screen


async def test_closing_while_it_runs_stops_the_child(songs: Path, gate: threading.Event) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = DoctorScreen(SongsPlace(songs))
        await pilot.app.push_screen(screen)
        while "1 of 2" not in listing(screen):
            await pilot.pause(0.01)
        await pilot.press("q")
        await settle(pilot)
        assert pilot.app.screen is not screen
        assert not [worker for worker in pilot.app.workers if worker.group == "examine" and not worker.is_finished]


async def test_running_again_looks_at_the_folder_anew(songs: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        (songs / "broken.flac").unlink()
        await pilot.press("r")
        await settle(pilot)
        assert "empty audio" not in listing(screen)


async def test_a_missing_folder_is_explained_and_tried_again(home: Path) -> None:
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, home / "nowhere")
        assert "There is no folder" in listing(screen)
        assert screen.check_action("fix_all", ()) is None
        write_songs(home / "nowhere", count=1)
        await pilot.press("r")
        await settle(pilot)
        assert "empty audio" in listing(screen)


async def test_a_folder_without_songs_is_a_report_too(home: Path) -> None:
    (home / "empty").mkdir()
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, home / "empty")
        assert "no usable song" in listing(screen)


async def test_path_of_the_file_in_question_is_copied(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(SidestepApp, "copy_to_clipboard", lambda self, words: copied.append(words))
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs)
        for words in ("0 bytes", "never rises", "would better be 'E minor'"):
            go_to(screen, words)
            await pilot.press("y")
        assert copied == [str(songs / name) for name in ("broken.flac", "song_00.wav", "song_00.txt")]


async def test_what_the_draft_says_about_tag_and_role_is_heeded(songs: Path) -> None:
    (songs / "song_01.json").unlink()
    (songs / "song_01.txt").write_text("[verse]\nla la\nla")
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = await examined(pilot, songs, txt_role="caption", tag="sks")
        codes = [item.code for item in screen.report.findings] if screen.report else []
        assert "tag_missing" not in codes
        assert "missing_caption" not in codes


async def test_a_mistake_in_a_worker_is_a_sentence_and_leaves_the_screen(
    songs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **options: Any) -> Any:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(apart, "call", broken)
    async with make_app("runs").run_test(size=SIZE) as pilot:
        screen = DoctorScreen(SongsPlace(songs))
        await pilot.app.push_screen(screen)
        while screen.state == "running":
            await pilot.pause(0.01)
        assert "Stopped" in listing(screen)


# Rows


def many(count: int) -> list[Finding]:
    return [Finding("missing_bpm", f"album/song number {number}", "has no BPM.") for number in range(count)]


def test_kinds_with_many_findings_begin_folded() -> None:
    kinds = doctor_rows.kinds_of([Finding("silent", "a", "is silent."), *many(2000)])
    assert [len(kind.findings) for kind in kinds] == [1, 2000]
    assert len(doctor_rows.lines_of(kinds, doctor_rows.folded_at_first(kinds))) == 3


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_row_is_wider_than_the_screen_whatever_a_name_holds(width: int, glyphs: Any) -> None:
    fix = Fix("mojibake", "長い名前" * 20 + ".txt", "a", "caption")
    name = "とても長い曲の名前" * 9 + "\x1b[2J"
    kinds = doctor_rows.kinds_of([Finding("mojibake", name, "caption " + "ä" * 300, fix)])
    names = doctor_rows.name_width_of(kinds, width)
    shown = {fix: ("vorher " * 40, "vorher " * 20 + "nachher " * 20)}
    for line in doctor_rows.lines_of(kinds, ()):
        rows = [doctor_rows.line_row(line, width, glyphs, selected=True, folded=False, name_width=names)]
        rows += doctor_rows.pane_rows(line, shown, width, 8, glyphs)
        assert len(rows) <= 9
        for cells in rows:
            assert width_of(cells) <= width
            assert all(part.isprintable() for part, _ in cells)


def test_signs_without_colour_differ_by_severity() -> None:
    for glyphs in (UNICODE, ASCII):
        assert len({doctor_rows.severity_sign(name, glyphs) for name in ("error", "warning", "advice")}) == 3


def test_excerpts_begin_shortly_before_the_first_difference() -> None:
    before, after = "word " * 50 + "Ã©", "word " * 50 + "é"
    old, new = doctor_rows.excerpts(before, after, 30)
    assert old.startswith("…") and "Ã©" in old and "é" in new
    assert doctor_rows.excerpts("Em", "E minor", 30) == ("Em", "E minor")


def test_unfixable_fixes_say_what_is_in_the_way() -> None:
    fix = Fix("bpm_spelling", "a.csv", "a.wav", "bpm")
    finding = Finding("bpm_spelling", "a", "BPM '90 BPM'.", fix, not_fixable="mixes line endings")
    (kind,) = doctor_rows.kinds_of([finding])
    rows = doctor_rows.pane_rows(doctor_rows.Line(kind, finding), {}, 80, 8, UNICODE)
    assert "mixes line endings" in "".join(part for cells in rows for part, _ in cells)
    assert json.dumps(doctor_rows.as_parameters([fix]))
