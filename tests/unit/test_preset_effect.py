"""What a preset would do to a draft, before it does it; and the list of presets with its filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import presets
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.layers import Layer
from sidestep_tui.schema.model_shape import shape_for_variant
from sidestep_tui.ui.screens.presets.effect import Bench, cost_of, effect_of, short_origin
from sidestep_tui.ui.screens.presets.listing import OPENED, PROJECT, YOURS, Heading, Item, Listing, look, notes_of
from sidestep_tui.ui.screens.presets.preview import preview_rows, window_of
from sidestep_tui.ui.theme import ASCII, UNICODE
from sidestep_tui.ui.widgets.rows import row, width_of

GIB = 1024**3
BASE = Layer("preset a", {"adapter.rank": 16, "train.epochs": 50})
OTHER = Layer("preset b", {"adapter.rank": 128, "optim.optimizer": "adamw8bit"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CONFIG", "STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bench_of(draft: Draft, *, free: int = 12 * GIB) -> Bench:
    return Bench(draft.to_json(), shape_for_variant("turbo"), Device("cuda", "NVIDIA RTX 3060", free, free))


def edited() -> Draft:
    draft = Draft([BASE])
    draft.set("data.path", "songs")
    draft.set("adapter.rank", "24")
    return draft


def test_an_effect_lists_what_would_read_differently_and_says_which_edits_go() -> None:
    effect = effect_of(bench_of(edited()), [OTHER])
    changes = {change.path: change for change in effect.changes}
    assert set(changes) == {"adapter.rank", "optim.optimizer", "train.epochs"}
    rank, epochs = changes["adapter.rank"], changes["train.epochs"]
    assert (rank.now, rank.then, rank.origin_now, rank.origin_then, rank.yours) == (
        "24",
        "128",
        "yours",
        "preset b",
        True,
    )
    assert (epochs.now, epochs.origin_now, epochs.origin_then, epochs.yours) == ("50", "preset a", "default", False)
    assert effect.lost == (rank,)
    assert effect.settings.data.path == "songs"


def test_edits_that_stay_are_no_change() -> None:
    effect = effect_of(bench_of(edited()), [OTHER], keep=["adapter.rank"])
    assert "adapter.rank" not in {change.path for change in effect.changes}
    assert effect.settings.adapter.rank == 24


def test_an_effect_leaves_the_draft_alone_and_costs_what_the_draft_costs_once_applied() -> None:
    draft = edited()
    effect = effect_of(bench_of(draft), [OTHER])
    assert draft.value("adapter.rank") == 24
    draft.apply_layer(OTHER)
    assert effect.cost == cost_of(bench_of(draft), draft.settings)
    assert effect_of(bench_of(draft), [OTHER]).changes == ()


def test_a_preset_that_is_too_large_says_so() -> None:
    assert effect_of(bench_of(edited()), [OTHER]).cost.verdict == "fits"
    assert effect_of(bench_of(edited(), free=2 * GIB), [OTHER]).cost.verdict == "over"
    nowhere = Bench(edited().to_json(), shape_for_variant("turbo"))
    assert effect_of(nowhere, [OTHER]).cost.verdict == "unknown"


@pytest.mark.parametrize(
    ("origin", "short"), [("preset vram_12gb", "vram_12gb"), ("run a_1", "a_1"), ("default", "default"), ("yours",) * 2]
)
def test_origins_are_short(origin: str, short: str) -> None:
    assert short_origin(origin) == short


# The list


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_every_place_is_listed_and_a_broken_file_stands_among_the_others(home: Path) -> None:
    presets.save("mine", {"adapter.rank": 24})
    write(home / "config/sidestep-tui/presets/odd.toml", "[adaptr]\nrank = 3\n")
    write(home / "presets/band.toml", "[adapter]\nrank = 8\n")
    opened = write(home / "elsewhere/far.toml", "[adapter]\nrank = 9\n")
    items = {item.name: item for item in look([opened])}
    assert {name: items[name].group for name in ("mine", "odd", "band", "far")} == {
        "mine": YOURS,
        "odd": YOURS,
        "band": PROJECT,
        "far": OPENED,
    }
    assert items["recommended"].is_shipped
    assert items["odd"].preset is None
    assert items["odd"].problem is not None
    assert "adaptr" in items["odd"].problem.message
    assert [name for name in items if items[name].is_own] == ["mine", "odd", "band"]


def item(name: str, group: str = "shipped", description: str = "", **values: object) -> Item:
    named = {path.replace("__", "."): value for path, value in values.items()}
    preset = presets.Preset(name, Path(f"{name}.toml"), "shipped", description, named, {}, "", named)
    return Item(preset.path, name, group, preset)


def listing_of(*items: Item) -> Listing:
    made = Listing()
    made.put(items)
    return made


def test_the_filter_looks_in_purpose_and_in_values_that_are_words() -> None:
    found = listing_of(item("a", description="For slow pianos."), item("b", optim__optimizer="adamw8bit"), item("c"))
    found.query = "piano"
    assert [each.name for each in found.shown] == ["a"]
    found.query = "adamw8"
    assert [each.name for each in found.shown] == ["b"]
    found.query = "nothing like it"
    assert (found.shown, found.current) == ([], None)


def test_the_bar_stays_on_its_preset_while_others_come_and_go() -> None:
    listing = listing_of(item("a"), item("b"), item("c"))
    listing.move(1)
    listing.put([item("0"), item("b")])
    assert listing.current is not None
    assert listing.current.name == "b"
    listing.put([item("0")])
    assert listing.current.name == "0"


def test_the_window_holds_the_bar_and_the_heading_of_the_first_group() -> None:
    listing = listing_of(*(item(f"p{number}", YOURS if number < 3 else "shipped") for number in range(20)))
    assert listing.window(5)[0] == Heading(YOURS)
    listing.move(99)
    assert listing.window(5)[-1] is listing.current
    listing.move(-99)
    assert listing.window(5)[0] == Heading(YOURS)


def test_comments_at_the_head_of_a_file_are_notes(home: Path) -> None:
    path = write(
        home / "a.toml", "# When: slow songs,\n#       mostly.\n# Run: it\n\n[adapter]\n# From: not the head\n"
    )
    assert notes_of(path) == (("When", "slow songs, mostly."), ("Run", "it"))


# The preview


def test_the_preview_fits_its_width_and_says_what_it_changes() -> None:
    shown = item("b", description="Large, " * 30, **{"adapter__rank": 128})
    effect = effect_of(bench_of(edited()), [OTHER])
    for width in (40, 46, 74):
        for glyphs in (UNICODE, ASCII):
            rows = preview_rows(shown, effect, ["about 2 h"], width, glyphs)
            assert max(width_of(line) for line in rows) <= width
    lines = ["".join(part for part, _ in line) for line in preview_rows(shown, effect, [], 74, UNICODE)]
    assert any("changes 3 settings, 1 of them yours" in line for line in lines)
    assert any(line.split()[:5] == ["•", "rank", "24", "→", "128"] and "was yours" in line for line in lines)
    assert any("epochs" in line and "then default" in line for line in lines)


def test_a_window_of_the_preview_says_how_much_is_below() -> None:
    rows = [row(str(number)) for number in range(30)]
    shown, _ = window_of(rows, 0, 10)
    assert len(shown) == 10
    assert "21 lines more" in shown[-1][0][0]
    assert window_of(rows, 99, 10) == (rows[20:], 20)
    assert window_of(rows[:3], 5, 10, reading=True) == (rows[:3], 0)
    shown, _ = window_of(rows[:3], 0, 10)
    assert len(shown) == 10
    assert "l reads more" in shown[-1][0][0]
