"""What the panels say: fixed widths, missing sensors, odd numbers, and the words for every condition."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from sidestep_tui.engine.fake_history import SCENARIOS, history
from sidestep_tui.protocol import anatomy as verdicts
from sidestep_tui.protocol.facts import LogLine, Status
from sidestep_tui.protocol.liveness import Death, Liveness
from sidestep_tui.protocol.pace import Share
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.state import RunState
from sidestep_tui.ui.screens.dashboard.info import settings_rows
from sidestep_tui.ui.screens.dashboard.title import title_for
from sidestep_tui.ui.screens.dashboard.verdict import verdict_rows
from sidestep_tui.ui.widgets import anatomy, machine, panels
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
    shown = text(machine.machine_rows(view))
    assert shown.count("n/a") >= 6
    assert "n/a" in text(panels.header_rows(view, 80))


def test_machine_panel_says_that_there_is_no_gpu() -> None:
    assert "no GPU seen; training on cpu" in text(machine.machine_rows(view_of(gpus=0)))


@pytest.mark.parametrize("width", [33, 58, 76, 116])
def test_several_gpus_take_a_line_each(width: int) -> None:
    view = view_of(gpus=4, gpu_heat=86)
    rows = [cells for cells in machine.machine_rows(view, width) if "°C" in text([cells])]
    assert len(rows) == 4
    assert all("hot" in text([cells]) for cells in rows)
    assert all("24" in text([cells]) and "%" in text([cells]) for cells in rows)


@pytest.mark.parametrize("width", [33, 58, 74, 76, 116, 196])
@pytest.mark.parametrize("gpus", [0, 1, 2, 8])
def test_the_machine_fits_its_panel(gpus: int, width: int) -> None:
    rows = machine.machine_rows(view_of(gpus=gpus), width)
    assert all(width_of(cells) <= width for cells in rows)


def test_one_gpu_is_told_with_whose_memory_it_is_its_limits_and_its_trouble() -> None:
    shown = text(machine.machine_rows(view_of(gpu_heat=86), 33))
    assert "ours  11." in shown
    assert "others   0.3 GiB" in shown
    assert "/83 °C" in shown
    assert "/350 W" in shown
    assert "too hot: it slows down" in shown
    assert "GiB free" in shown


def test_processes_are_told_where_there_is_room() -> None:
    shown = text(machine.machine_rows(view_of(), 76))
    assert "Xorg" in shown
    assert "this run" in shown
    assert "room for 1," in shown
    assert "Xorg" not in text(machine.machine_rows(view_of(), 33))


def test_a_process_that_cannot_be_seen_is_told_as_such() -> None:
    view = view_of()
    view.state.gpus[0]["processes"] = [{"pid": 7, "name": "", "memory": None, "ours": False}, "odd"]
    shown = text(machine.machine_rows(view, 76))
    assert "not visible from" in shown
    assert "ours" not in shown


def shares(**parts: float) -> list[Share]:
    rest = {
        "forward": 0.3,
        "backward": 0.6,
        "optimizer": 0.03,
        "data": 0.02,
        "save": 0.01,
        "measure": 0.0,
        "other": 0.04,
    }
    return [Share(name, share, share) for name, share in (rest | parts).items()]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({}, "as it should be"),
        ({"data": 0.31}, "The GPU waits for data 31 % of the time: set memory.preload to ram."),
        ({"save": 0.12}, "Saving takes 12 %"),
        ({"measure": 0.4, "data": 0.2}, "Measuring held-out songs takes 40 %"),
        ({"optimizer": 0.25}, "The optimizer takes 25 %"),
        ({"other": 0.3}, "Between steps 30 %"),
        ({"backward": 0.45}, "take 75 %; nothing else stands out"),
    ],
)
def test_the_verdict_on_the_time_names_the_worst_part(parts: dict[str, float], words: str) -> None:
    assert words in verdicts.verdict(shares(**parts))[0]


def test_the_verdict_names_settings_that_exist() -> None:
    from sidestep_tui.schema.fields import all_fields

    known = {spec.path for spec in all_fields()}
    sentences = " ".join(sentence for _, sentence in verdicts._COMPLAINTS.values())
    named = set(re.findall(r"\b[a-z]+\.[a-z_]+\b", sentences))
    assert named
    assert named <= known


@pytest.mark.parametrize("width", [46, 58, 76, 156])
def test_the_time_fits_its_panel(width: int) -> None:
    state = view_of().state
    rows = anatomy.anatomy_rows(state, width)
    assert all(width_of(cells) <= width for cells in rows)
    assert "waiting for data" in text(rows)
    assert "as it should be" in " ".join(text(rows).split())
    assert width_of(anatomy.time_row(state)) <= 33
    assert "No two steps yet." in text(anatomy.anatomy_rows(RunState(), width))


def test_an_engine_that_does_not_tell_forward_from_backward_is_told_in_fewer_parts() -> None:
    events = history(400, scenario="live")
    kept = [
        {name: value for name, value in event.items() if name not in ("forward_s", "backward_s", "optimizer_s")}
        for event in events
    ]
    state = RunState.from_events(kept)
    assert "compute" in text([anatomy.time_row(state)])
    assert "forward and backward" in text(anatomy.anatomy_rows(state, 76))


def test_the_best_loss_says_whose_it_is() -> None:
    view = view_of()
    assert "best training" in text(panels.header_rows(view, 120))
    assert "best train " in text(panels.header_rows(view, 80))
    view.state.best = replace(view.state.best, by="held_out")  # type: ignore[type-var]
    assert "best held out" in text(panels.header_rows(view, 120))
    assert "best held " in text(panels.header_rows(view, 80))


def test_sparks_survive_values_that_are_not_finite() -> None:
    view = view_of("live")
    for step, value in enumerate([math.nan, math.inf, -math.inf], start=1000):
        view.state.series["grad_norm"].append(step, value)
    rows = panels.schedule_rows(view, 33)
    assert len(rows) == 7
    assert all(width_of(cells) <= 33 for cells in rows)


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
    assert "● training" not in header


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
