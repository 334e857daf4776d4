"""What the panels say: fixed widths, missing sensors, odd numbers, and the words for every condition."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from sidestep_tui.engine.fake_history import SCENARIOS, history
from sidestep_tui.protocol.facts import LogLine, Status
from sidestep_tui.protocol.liveness import Death, Liveness
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.screens.dashboard.info import settings_rows
from sidestep_tui.ui.screens.dashboard.title import title_for
from sidestep_tui.ui.screens.dashboard.verdict import verdict_rows
from sidestep_tui.ui.widgets import panels
from sidestep_tui.ui.widgets.rows import Row, fit, row, spread, width_of
from sidestep_tui.ui.widgets.status import condition, is_live

NOW = 1_790_000_600.0
ODD = [0.0, 1.0, -1.0, 0.123456, 99999.9, 1e-9, 1e12, math.nan, math.inf, -math.inf, None]


def view_of(scenario: str = "live", liveness: Liveness = Liveness.RUNNING, **options: Any) -> panels.View:
    return panels.View(
        RunState.from_events(history(400, scenario=scenario, **options)), "drums", NOW, liveness=liveness
    )


def text(rows: list[Row]) -> str:
    return "\n".join("".join(part for part, _ in cells) for cells in rows)


@pytest.mark.parametrize("value", ODD)
def test_every_number_has_the_width_of_its_column(value: float | None) -> None:
    assert len(panels.measure(value, 9)) == 9
    assert len(panels.learning_rate(value)) in (8, 9)


def test_header_columns_stand_still_while_a_run_advances() -> None:
    events = history(400, scenario="live", at=200)
    steps = [index for index, event in enumerate(events) if event["type"] == "step"]
    places = set()
    for index in steps[3:]:
        state = RunState.from_events(events[: index + 1])
        header = text(panels.header_rows(panels.View(state, "drums", NOW, liveness=Liveness.RUNNING), 120))
        places.add(tuple(header.index(word) for word in ("ema", "best", "lr", "grad", "epoch", "elapsed", "eta")))
    assert len(places) == 1


@pytest.mark.parametrize("width", [1, 20, 60, 80, 99, 100, 120, 300])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_header_rows_never_overflow(scenario: str, width: int) -> None:
    for cells in panels.header_rows(view_of(scenario), width):
        assert width_of(cells) <= width


def test_missing_sensors_are_said_to_be_missing() -> None:
    view = view_of()
    view.state.gpus = [{"index": 0, "name": "GPU", "util": None, "mem_used": None, "mem_total": 8, "temp": None}]
    view.state.host = {}
    shown = text(panels.machine_rows(view))
    assert shown.count("n/a") >= 6
    assert "n/a" in text(panels.header_rows(view, 80))


def test_machine_panel_says_that_there_is_no_gpu() -> None:
    assert "no GPU seen; training on cpu" in text(panels.machine_rows(view_of(gpus=0)))


def test_several_gpus_take_two_rows_each() -> None:
    shown = text(panels.machine_rows(view_of(gpus=4)))
    assert [f"gpu{index}" in shown for index in range(5)] == [True, True, True, True, False]
    assert shown.count("vram") == 4


def test_sparks_survive_values_that_are_not_finite() -> None:
    view = view_of("live")
    for step, value in enumerate([math.nan, math.inf, -math.inf], start=1000):
        view.state.series["grad_norm"].append(step, value)
    rows = panels.schedule_rows(view, 30)
    assert len(rows) == 6
    assert all(width_of(cells) <= 30 for cells in rows)


def test_every_status_has_a_glyph_and_a_word() -> None:
    labels = [condition(status, None).label() for status in get_args(Status)]
    assert len(set(labels)) == len(labels)
    assert all(len(label.split(" ", 1)[0]) == 1 and len(label) > 2 for label in labels)
    assert condition("running", Liveness.DIED).word == "died"
    assert condition("running", Liveness.STALE).word == "silent"
    assert condition("a status of tomorrow", None).word == "unknown"


def test_a_run_is_live_while_its_lock_is_held() -> None:
    assert is_live("running", Liveness.STALE)
    assert not is_live("running", Liveness.DIED)
    assert is_live("running", None)
    assert not is_live("finished", None)


def test_a_silent_engine_is_told_with_the_age_of_its_heartbeat() -> None:
    view = replace(view_of(liveness=Liveness.STALE), heartbeat=NOW - 90)
    assert "no heartbeat for 1 m 30 s" in text(panels.header_rows(view, 120))


def test_an_engine_that_is_started_again_is_not_said_to_train_yet() -> None:
    header = text(panels.header_rows(replace(view_of(), relaunching=True), 120))
    assert "○ starting" in header
    assert "training" not in header


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("diverged", "The loss stopped being a number."),
        ("out_of_memory", "The GPU ran out of memory."),
        ("failed", "The engine hit a bug."),
        ("stopped", "The run was stopped at step 248."),
    ],
)
def test_unplanned_ends_are_explained_with_the_way_on(scenario: str, words: str, tmp_path: Path) -> None:
    view = view_of(scenario, Liveness.ENDED)
    shown = text(verdict_rows(view, None, RunDir(tmp_path), 100))
    assert words in shown
    assert "R resume from step" in shown
    assert "resume" not in text(verdict_rows(replace(view, readonly=True), None, RunDir(tmp_path), 100)).replace(
        "Resume", ""
    )


@pytest.mark.parametrize(("scenario", "liveness"), [("live", Liveness.RUNNING), ("finished", Liveness.ENDED)])
def test_planned_ends_and_living_runs_need_no_explanation(scenario: str, liveness: Liveness, tmp_path: Path) -> None:
    assert verdict_rows(view_of(scenario, liveness), None, RunDir(tmp_path), 100) == []


def test_a_death_without_a_checkpoint_starts_again(tmp_path: Path) -> None:
    death = Death("It was killed.", "Free memory.", (), None)
    shown = text(verdict_rows(view_of("live", Liveness.DIED), death, RunDir(tmp_path), 100))
    assert "start again from the beginning" in shown


def test_the_title_holds_no_control_characters() -> None:
    view = replace(view_of(), name="evil\x1b]0;name\x07")
    assert title_for(view) == "● training 62 % · evil]0;name"


def test_log_lines_name_their_level_and_hold_one_row() -> None:
    line = panels.log_row(LogLine(NOW, "warning", "two\nlines\x1b[31m"))
    assert text([line]).startswith(panels.clock(NOW) + "  warning  two lines")
    assert "\x1b" not in text([line])


def test_filters_look_at_text_and_level() -> None:
    lines = [LogLine(0.0, "info", "Alpha"), LogLine(0.0, "error", "beta")]
    assert panels.matching(lines, "ALPHA") == lines[:1]
    assert panels.matching(lines, "error") == lines[1:]
    assert panels.matching(lines, "") == lines


def test_wide_characters_count_as_two_cells() -> None:
    cells = row("曲名")
    assert width_of(cells) == 4
    assert width_of(fit(cells, 3)) <= 3
    assert text([spread(row("曲名"), row("right"), 12)]) == "曲名   right"


def test_settings_name_their_origin() -> None:
    rows = settings_rows(
        {
            "run": {"name": "drums"},
            "adapter": {"rank": 64, "targets": ["q", "v"], "bias": False},
            "origins": {"adapter.rank": "yours"},
        }
    )
    shown = text(rows)
    assert "yours" in next(line for line in shown.splitlines() if "rank" in line)
    assert "q, v" in shown
    assert "off" in shown
