"""The list of runs as functions: filter, order, columns, bar and marks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from sidestep_tui.launch.ledger import LedgerRow, RunFacts
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.registry import RunSummary
from sidestep_tui.ui.screens.runs.columns import BY_NAME, Order, arrange, layout, measure, next_order
from sidestep_tui.ui.screens.runs.entries import Entry, ended_word, entry_of_run
from sidestep_tui.ui.screens.runs.listing import Listing
from sidestep_tui.ui.screens.runs.query import parse
from sidestep_tui.ui.screens.runs.rows import entry_row, title_row
from sidestep_tui.ui.widgets.rows import width_of

NOW = 1_790_000_000.0
DAY = 86400.0


def entry(
    name: str, status: str = "finished", *, life: Liveness = Liveness.ENDED, facts: RunFacts | None = None, **more: Any
) -> Entry:
    size, seconds, reachable = more.pop("size", None), more.pop("seconds", 60.0), more.pop("reachable", True)
    told: dict[str, Any] = {
        "step": 10,
        "total_steps": 40,
        "epoch": 1,
        "epochs": 4,
        "loss": 0.5,
        "best_loss": 0.4,
        "started": NOW - DAY,
        "ended": NOW,
        "reason": "",
    }
    path = Path("/runs") / name
    summary = RunSummary(path=path, name=name, status=status, liveness=life, **(told | more))
    return entry_of_run(LedgerRow(path, summary, facts or RunFacts(kind="lora", rank=64), seconds, size, reachable))


DRUMS = entry(
    "drums_v3", facts=RunFacts(kind="lora", rank=64, dataset="drums", dataset_path="/songs/drums", model="turbo")
)
BASS = entry("bass", "diverged", facts=RunFacts(kind="lokr"), loss=float("nan"), size=5 << 30)
LIVE = entry("live_drums", "running", life=Liveness.RUNNING, facts=RunFacts(kind="dora", rank=8), started=NOW - 60)
AWAY = entry("old", reachable=False)
DRAFT = Entry("draft", "ab12", "idea · preset vram_8gb", facts=RunFacts(dataset="piano"), t=NOW - 5)
ALL = [LIVE, DRUMS, BASS, AWAY, DRAFT]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ALL),
        ("drums", [LIVE, DRUMS]),
        ("DRUMS v3", [DRUMS]),
        ("-drums", [BASS, AWAY, DRAFT]),
        ("state:failed", [BASS]),
        ("state:fail", [BASS]),
        ('state:"not reach"', [AWAY]),
        ("state:diverged", [BASS]),
        ("state:training", [LIVE]),
        ("state:running", [LIVE]),
        ("state:alive", [LIVE]),
        ("state:over", [DRUMS, BASS]),
        ("state:away", [AWAY]),
        ("state:draft", [DRAFT]),
        ("-state:draft -state:away", [LIVE, DRUMS, BASS]),
        ("kind:lokr", [BASS]),
        ("kind:lora data:drums", [DRUMS]),
        ("model:turbo", [DRUMS]),
        ("preset:8gb", [DRAFT]),
        ('name:"drums_v3"', [DRUMS]),
        ("rank:>32", [DRUMS, AWAY]),
        ("rank:8", [LIVE]),
        ("size:>1g", [BASS]),
        ("age:<5min", [LIVE, DRAFT]),
        ("loss:<0.6", [LIVE, DRUMS]),
        ("best:0.4 time:>=60s", [LIVE, DRUMS, BASS]),
    ],
)
def test_the_filter_finds(typed: str, found: list[Entry]) -> None:
    query = parse(typed)
    assert query.problems == ()
    assert [item.title for item in ALL if query.matches(item, NOW)] == [item.title for item in found]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("knd:lora", "Did you mean 'kind'?"),
        ("rank:", "still without a value"),
        ("rank:many", "rank:>8"),
        ("size:>1x", "size:>1g"),
    ],
)
def test_a_part_that_is_not_understood_hides_nothing_and_says_so(typed: str, problem: str) -> None:
    query = parse(f"{typed} drums")
    assert problem in query.problems[0]
    assert [item for item in ALL if query.matches(item, NOW)] == [LIVE, DRUMS]


def test_order_is_stable_unknown_values_come_last_and_drafts_after_all() -> None:
    twins = [entry(name, loss=0.5) for name in ("b", "a", "c")]
    rows = [DRAFT, BASS, *twins, AWAY, entry("best", loss=0.1)]
    assert [item.title for item in arrange(rows, Order("loss"))] == [
        "best", "b", "a", "c", "bass", "old", DRAFT.title,
    ]  # fmt: skip
    falling = [item.title for item in arrange(rows, Order("loss", falling=True))]
    assert falling == ["b", "a", "c", "best", "bass", "old", DRAFT.title]
    assert arrange(rows, Order()) == rows


def test_every_column_sorts_whatever_is_known() -> None:
    for name in BY_NAME:
        for falling in (False, True):
            assert len(arrange(ALL, Order(name, falling))) == len(ALL)


def test_sorting_goes_through_every_column_and_back() -> None:
    order, seen = Order(), []
    for _ in range(len(BY_NAME) + 1):
        order = next_order(order)
        seen.append(order.by)
    assert seen == [*BY_NAME, ""]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 200, 240])
def test_rows_fit_and_stand_under_their_titles(width: int) -> None:
    shown = layout(width)
    title = title_row(width, Order("name"))
    assert width_of(title) <= width
    for item in ALL:
        cells = entry_row(item, shown, width, NOW, selected=True, marked=True, ascii_only=False)
        assert width_of(cells) == width
        text = "".join(words for words, _ in cells)
        at = 2
        for part in shown:
            cell = text[at : at + part.width]
            assert cell_len(cell) == part.width
            at += part.width + 1
            assert text[at - 1] == " "


def test_wider_windows_show_more_and_never_lose_a_column() -> None:
    before: set[str] = set()
    for width in range(60, 260, 4):
        names = {part.column.name for part in layout(width)}
        assert before <= names
        before = names
    assert before == set(BY_NAME)
    assert {part.column.name for part in layout(80)} == {"state", "name", "adapter", "step", "loss", "started"}


def test_wide_characters_do_not_push_columns() -> None:
    shown = layout(80)
    wide, plain = entry("演歌" * 12), entry("x")
    rows = [entry_row(item, shown, 80, NOW, selected=False, marked=False, ascii_only=True) for item in (wide, plain)]
    assert width_of(rows[0]) == width_of(rows[1])


def test_the_bar_stays_on_its_run_and_marks_leave_with_theirs() -> None:
    listing = Listing()
    listing.take(ALL, NOW)
    listing.move(2)
    assert listing.current is BASS
    listing.toggle_mark()
    listing.take([BASS, LIVE], NOW)
    assert (listing.index, listing.current) == (0, BASS)
    assert listing.marked == [BASS]
    listing.take([LIVE, DRUMS], NOW)
    assert listing.marked == []
    assert listing.current is LIVE
    listing.filter("nothing like it")
    assert listing.current is None
    listing.move(1)


def test_drafts_are_not_marked() -> None:
    listing = Listing()
    listing.take([DRAFT], NOW)
    listing.toggle_mark()
    assert listing.marks == []


def test_the_window_follows_the_bar_over_a_thousand_runs() -> None:
    listing = Listing()
    listing.take([entry(f"run_{number}") for number in range(1000)], NOW)
    for by, first, last in ((0, 0, 19), (19, 0, 19), (1, 1, 20), (99999, 980, 999), (-1, 980, 999), (-99999, 0, 19)):
        listing.move(by)
        window = listing.window(20)
        assert (window[0].title, window[-1].title) == (f"run_{first}", f"run_{last}")


def test_a_run_that_ended_while_one_watched_is_told() -> None:
    after = entry("live_drums", "finished")
    assert ended_word(LIVE, after) == "live_drums: finished"
    assert ended_word(LIVE, entry("live_drums", "died", life=Liveness.DIED)) == "live_drums: the engine died"
    assert ended_word(LIVE, LIVE) == ended_word(after, after) == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "NaN"),
        (0.58412, "0.5841"),
        (12.3456, "12.346"),
        (123456.0, "1.23e+05"),
        (0, "0.0000"),
    ],
)
def test_losses_fit_their_column(value: float | None, shown: str) -> None:
    assert measure(value) == shown
