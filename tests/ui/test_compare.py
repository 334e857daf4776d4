"""Runs side by side: exact values at the cursor, what fits, and following a run that is alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.engine.fake_history import FakeRun, history
from sidestep_tui.launch import comparison
from sidestep_tui.launch.comparison import Difference, Side
from sidestep_tui.protocol.events import encode
from sidestep_tui.ui.screens.compare import rows as painted
from sidestep_tui.ui.screens.compare.rows import View, figure
from sidestep_tui.ui.screens.compare.screen import CompareScreen
from sidestep_tui.ui.widgets.rows import Rows, width_of
from tests.ui.watching import NOW, SIZE, app_on, make_run, until, utc

__all__ = ["make_run", "utc"]
pytestmark = pytest.mark.usefixtures("utc")
MakeRun = Callable[..., FakeRun]


def sides_of(*runs: FakeRun) -> list[Side]:
    return [comparison.read(run.run_dir, now=NOW) for run in runs]


def test_the_cursor_reads_the_values_of_the_journals(make_run: MakeRun) -> None:
    runs = [make_run("finished", "one", steps=60), make_run("stopped", "two", steps=60, at=20)]
    sides = sides_of(*runs)
    at_ten = [next(e["loss"] for e in run.events if e["type"] == "step" and e["step"] == 10) for run in runs]
    shown = painted.cursor_row(sides, View(keep=None, cursor=10.9), 120)
    words = "".join(text for text, _ in shown)
    assert words == f" step 10   a {at_ten[0]:.6g}   b {at_ten[1]:.6g}"
    beyond = "".join(text for text, _ in painted.cursor_row(sides, View(keep=None, cursor=40.0), 120))
    assert beyond.endswith("b –")
    near = "".join(text for text, _ in painted.cursor_row(sides, View(keep=None, cursor=20.9, reach=1.0), 120))
    assert "b –" not in near


@pytest.mark.parametrize("across", ["step", "samples", "minutes"])
def test_every_axis_begins_at_the_first_and_ends_at_the_last_point(make_run: MakeRun, across: Any) -> None:
    sides = sides_of(make_run("finished", "one", steps=60), make_run("stopped", "two", steps=60, at=20))
    shown = figure(sides, View(across=across), ascii_only=False)
    ends = [line.ruler.at(line.series.xs[-1]) for line in painted.lines_of(sides, "loss", across)]
    assert shown.last == max(ends) == ends[0]
    assert ends[0] == pytest.approx(3 * ends[1], rel=0.05)
    assert [trace.sign for trace in shown.traces] == ["a", "b"]


def test_metrics_are_those_that_two_runs_have(make_run: MakeRun) -> None:
    alone = sides_of(make_run("finished", "one", steps=60, held_out=2), make_run("finished", "two", steps=60))
    assert painted.HELD_OUT not in dict(painted.metrics_of(alone))
    both = sides_of(make_run("finished", "a", steps=60, held_out=2), make_run("finished", "b", steps=60, held_out=2))
    assert painted.HELD_OUT in dict(painted.metrics_of(both))


def test_runs_without_a_step_have_no_curve_and_no_fault(make_run: MakeRun) -> None:
    sides = sides_of(make_run("starting", "one"), make_run("encoding", "two"))
    assert figure(sides, View(), ascii_only=False).traces == []
    assert painted.metrics_of(sides) == [painted.METRICS[0]]
    assert len(painted.result_rows(sides, 60, ascii_only=True)) == 3


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_rows_fit_the_window(make_run: MakeRun, width: int) -> None:
    (side,) = sides_of(make_run("finished", "a_run_with_a_rather_long_name_that_is_cut_somewhere", steps=20))
    sides = [side, replace(side, problem="run.toml is not valid TOML. Restore it."), side]
    found = [Difference("data.path", "songs", ("/a/very/long/path/of/songs" * 4, "", None))]
    for shown in (
        *painted.result_rows(sides, width, ascii_only=False),
        *painted.difference_rows(found, sides, 12, width),
        painted.cursor_row(sides, View(cursor=3.0), width),
    ):
        assert width_of(shown) <= width
    plain = "".join(text for text, _ in painted.difference_rows(found, sides, 12, width)[2])
    assert "…" in plain and "none" in plain and "–" in plain


async def test_a_living_run_is_followed(make_run: MakeRun) -> None:
    runs = [make_run("live", "new", steps=200, at=50), make_run("finished", "old", steps=60)]
    async with app_on(None).run_test(size=SIZE) as pilot:
        screen = CompareScreen([run.path for run in runs], clock=lambda: NOW)
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: len(screen.sides) == 2, "both journals")
        old = screen.sides[1]
        longer = history(scenario="live", steps=200, at=80, t0=runs[0].events[0]["t"])
        runs[0].run_dir.events.write_bytes(b"".join(map(encode, longer)))
        screen._look_at_living()
        await until(pilot, lambda: len(screen.sides[0].state.series["loss"]) == 80, "the new steps")
        assert screen.sides[1] is old
        await pilot.pause()
        assert "80/200" in screen.query_one("#heading", Rows).plain


async def test_settings_scroll_under_the_letters(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("finished", name, steps=10) for name in ("one", "two")]
    text = runs[1].run_dir.run_toml.read_text()
    for number, name in enumerate(
        ("rank", "epochs", "batch_size", "accumulation", "keep_last", "patience", "best_after")
    ):
        text = "\n".join(
            f"{name} = {number + 3}" if line.startswith(f"{name} =") else line for line in text.split("\n")
        )
    runs[1].run_dir.run_toml.write_text(text)
    async with app_on(None).run_test(size=(60, 18)) as pilot:
        screen = CompareScreen([run.path for run in runs], clock=lambda: NOW)
        await pilot.app.push_screen(screen)
        await until(pilot, lambda: len(screen.sides) == 2, "both journals")
        assert len(screen.differences) == 7
        await pilot.press("G")
        shown = screen.query_one("#settings", Rows).plain.splitlines()
        assert shown[0].startswith(" settings that differ")
        assert shown[-1].strip().endswith("settings are the same")
        await pilot.press("g")
        assert screen.differences[0].label in screen.query_one("#settings", Rows).plain
