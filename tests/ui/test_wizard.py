"""The wizard by keyboard: moving, editing, presets, drafts, review and start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from sidestep_tui.core.errors import DiskFullError, RunError
from sidestep_tui.launch import start
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.schema import drafts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.ui.dialogs.confirm import Tell
from sidestep_tui.ui.dialogs.help import Help
from sidestep_tui.ui.forms.rows import ActionRow, FieldRow
from sidestep_tui.ui.screens.wizard.review import ReviewPage
from sidestep_tui.ui.screens.wizard.screen import WizardScreen
from sidestep_tui.ui.screens.wizard.steps import STEP_IDS
from tests.ui.conftest import make_app, settle
from tests.ui.watching import until

SIZE = (80, 24)


def wizard(pilot: Pilot[None]) -> WizardScreen:
    """The wizard, wherever it is in the stack."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, WizardScreen))


def draft(pilot: Pilot[None]) -> Draft:
    return wizard(pilot).session.draft


def focused(pilot: Pilot[None]) -> str:
    """The setting in focus."""
    row = pilot.app.focused
    return row.spec.path if isinstance(row, FieldRow) else ""


async def type_text(pilot: Pilot[None], text: str) -> None:
    names = {"/": "slash", ".": "full_stop", "-": "minus", "_": "underscore", " ": "space"}
    await pilot.press(*(names.get(char, char) for char in text))


async def test_it_opens_on_the_first_field_of_the_recommended_preset(machine: SimpleNamespace) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert focused(pilot) == "model.path"
        assert draft(pilot).base_name == "preset recommended"


async def test_every_step_is_reached_by_keys_alone(ready_draft: Callable[..., Draft]) -> None:
    ready_draft()
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        seen = [wizard(pilot).pages.current]
        for _ in range(5):
            await pilot.press("ctrl+n")
            seen.append(wizard(pilot).pages.current)
        assert tuple(seen) == STEP_IDS
        await pilot.press("f7")
        assert wizard(pilot).pages.current == "memory"


async def test_every_setting_has_a_row_on_its_page(ready_draft: Callable[..., Draft]) -> None:
    from sidestep_tui.schema.fields import all_fields

    ready_draft(level="expert")
    async with make_app().run_test(size=SIZE) as pilot:
        for step in STEP_IDS:
            await wizard(pilot).action_go(step)
        await settle(pilot)
        rows = {row.spec.path for row in pilot.app.screen.query(FieldRow) if row.display}
        assert rows == {spec.path for spec in all_fields()}


async def test_enter_accepts_and_goes_on_and_at_the_end_to_the_next_step(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("1", "6", "enter")
        assert draft(pilot).value("adapter.rank") == 16
        assert focused(pilot) == "adapter.alpha"
        for _ in range(4):
            await pilot.press("enter")
        assert wizard(pilot).pages.current == "optim"


async def test_arrows_move_between_rows_and_cycle_choices(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.kind")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("right")
        assert draft(pilot).value("adapter.kind") == "dora"
        await pilot.press("left", "down", "down", "up")
        assert draft(pilot).value("adapter.kind") == "lora"
        assert focused(pilot) == "adapter.rank"


async def test_pages_and_ends_of_a_long_list_are_one_key_away(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="optim", field="optim.schedule", level="expert")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("end")
        assert focused(pilot) == "train.validate_every"
        await pilot.press(*["pageup"] * 5)
        assert focused(pilot) == "optim.optimizer"
        rows = [spec.path for spec in all_fields() if spec.path.startswith(("optim.", "train."))]
        await pilot.press("pagedown")
        assert 3 < rows.index(focused(pilot)) < len(rows) - 3


async def test_plus_and_minus_bump_a_number_and_space_flips_a_switch(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("plus")
        assert draft(pilot).value("adapter.rank") == 64
        await pilot.press("minus", "minus")
        assert draft(pilot).value("adapter.rank") == 16
        await pilot.press("down", "down", "down", "down", "space")
        assert draft(pilot).value("adapter.mlp") is True


async def test_wrong_text_stays_with_its_reason_and_forbids_nothing_but_the_start(
    ready_draft: Callable[..., Draft],
) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("9", "9", "9", "9")
        assert draft(pilot).text("adapter.rank") == "9999"
        assert "512" in draft(pilot).error("adapter.rank")
        await pilot.press("f9")
        await settle(pilot)
        await pilot.press("S")
        await settle(pilot)
        assert isinstance(pilot.app.screen, Tell)


async def test_letters_are_commands_on_a_number_and_text_in_a_text(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="data", field="data.tag")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("q", "u", "2")
        assert draft(pilot).value("data.tag") == "qu2"
        assert pilot.app.current_mode == "wizard"
        await pilot.press("up", "u")
        assert draft(pilot).value("data.tag") == ""


async def test_reset_and_undo(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("8", "down", "up", "ctrl+r")
        assert draft(pilot).value("adapter.rank") == 32
        await pilot.press("ctrl+y")
        assert draft(pilot).value("adapter.rank") == 8
        await pilot.press("ctrl+y")
        assert draft(pilot).value("adapter.rank") == 32


async def test_undo_goes_to_the_field_it_changes(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("8", "5", "ctrl+n", "ctrl+n", "ctrl+y")
        await settle(pilot)
        assert focused(pilot) == "adapter.rank"


async def test_levels_show_more_and_keep_the_focus(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="optim", field="optim.lr")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        page = pilot.app.screen.query_one("#optim")
        counts = []
        for _ in range(3):
            counts.append(sum(row.display for row in page.query(FieldRow)))
            await pilot.press("f5")
        assert counts == sorted(set(counts))
        assert focused(pilot) == "optim.lr"


async def test_tab_completes_a_path(places: Path) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await type_text(pilot, "check")
        await pilot.press("tab")
        assert draft(pilot).text("model.path") == "checkpoints/"
        assert focused(pilot) == "model.path"


async def test_a_found_checkpoint_is_chosen_with_enter(places: Path) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("down", "enter")
        await settle(pilot)
        assert draft(pilot).value("model.path").endswith("checkpoints/acestep-v15-turbo")


async def test_a_wrong_folder_says_so_beneath_the_field(places: Path) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await type_text(pilot, "/nowhere")
        await until(pilot, lambda: wizard(pilot).session.model_problem is not None, "the refusal")
        await settle(pilot)
        assert wizard(pilot).session.model_problem is not None
        assert "does not exist" in str(wizard(pilot).query_one("#model-verdict").render())


async def test_the_dataset_page_counts_songs_and_names_what_it_skips(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="data")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        text = str(wizard(pilot).query_one("#data-summary").render())
        assert "12 songs" in text
        assert "broken.flac" in text


async def test_one_key_flips_what_name_txt_holds(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="data")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+t")
        assert draft(pilot).value("data.txt_role") == "caption"


async def test_a_profile_is_applied_by_key_as_one_edit(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="memory")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        wizard(pilot).query_one("#profile-16", ActionRow).focus()
        await pilot.press("enter")
        assert draft(pilot).value("train.batch_size") == 2
        assert draft(pilot).origin("train.batch_size") == "profile 16 GB"
        await pilot.press("u")
        assert draft(pilot).value("train.batch_size") == 1


async def test_leaving_asks_nothing_and_coming_back_finds_everything(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("7", "7", "7", "down")
        await pilot.press("escape")
        assert pilot.app.current_mode == "runs"
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert draft(pilot).text("adapter.rank") == "777"
        assert focused(pilot) == "adapter.alpha"


async def test_a_draft_is_on_disk_a_moment_after_every_change(ready_draft: Callable[..., Draft]) -> None:
    stored = ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("2", "4")
        await until(pilot, lambda: drafts.load(stored.id).text("adapter.rank") == "24", "the saved draft")


async def test_a_full_disk_is_said_and_nothing_typed_is_lost(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_draft(step="adapter", field="adapter.rank")

    def fail(draft: Draft, now: float) -> Path:
        raise DiskFullError("The disk is full.", "The draft was not written.", "Free some space.")

    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        monkeypatch.setattr(drafts, "save", fail)
        await pilot.press("9", "escape")
        await pilot.pause()
        assert any("disk is full" in notice.message for notice in pilot.app._notifications)
        await pilot.press("f3")
        await pilot.pause()
        assert draft(pilot).value("adapter.rank") == 9


async def test_a_new_draft_leaves_the_old_one_in_the_list(ready_draft: Callable[..., Draft]) -> None:
    old = ready_draft(step="adapter", field="adapter.rank", adapter__rank="7")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("N")
        await settle(pilot)
        assert draft(pilot).id != old.id
        assert draft(pilot).value("adapter.rank") == 64
        assert wizard(pilot).pages.current == "model"
        assert drafts.load(old.id).value("adapter.rank") == 7


async def test_the_palette_finds_settings_by_name(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="model")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause()
        palette = pilot.app.screen
        palette.query_one(Input).value = "condition dropout"
        await until(pilot, lambda: palette.query_one(CommandList).option_count == 1, "the only hit")
        await pilot.press("enter")
        await until(pilot, lambda: focused(pilot) == "train.condition_dropout", "the setting's row")


async def test_help_explains_the_field_in_focus(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="adapter", field="adapter.rank")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await pilot.pause()
        screen = pilot.app.screen
        assert isinstance(screen, Help)
        assert screen._title == "rank"
        assert "1–512" in screen._text
        await pilot.press("escape")
        assert focused(pilot) == "adapter.rank"


# Review and start


async def test_review_lists_changes_advice_and_preflight(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="review", adapter__rank="8", train__best_after="500")
    async with make_app().run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        page = wizard(pilot).query_one(ReviewPage)
        assert {"output", "model", "songs", "disk", "memory"} <= {check.name for check in page.checks}
        lines = [str(row.render()) for row in page.query(ActionRow)]
        assert any("rank" in line and "32" in line and "8" in line for line in lines)
        fixes = list(page.query_one("#advice").query(ActionRow))
        assert fixes
        fixes[0].focus()
        await pilot.press("F")
        await settle(pilot)
        assert draft(pilot).value("train.best_after") < draft(pilot).value("train.epochs")
        await pilot.press("u")
        await settle(pilot)
        assert draft(pilot).value("train.best_after") == 500
        assert wizard(pilot).pages.current == "review"
        next(iter(page.query_one("#advice").query(ActionRow))).focus()
        await pilot.press("enter")
        await settle(pilot)
        assert focused(pilot) == "train.best_after"


async def test_a_failing_check_leads_to_its_setting(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="review", data__path="nowhere")
    async with make_app().run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        page = wizard(pilot).query_one(ReviewPage)
        rows = list(page.query_one("#preflight").query(ActionRow))
        failed = next(index for index, check in enumerate(page.checks) if check.status == "fail")
        rows[failed].focus()
        await pilot.press("enter")
        await settle(pilot)
        assert focused(pilot) == "data.path"


async def test_start_refuses_with_the_reason_of_a_failed_check(ready_draft: Callable[..., Draft]) -> None:
    ready_draft(step="review", data__path="nowhere")
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("S")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, Tell)
        assert "nowhere" in screen._message


async def test_start_opens_the_run_and_keeps_a_copy_of_the_draft(
    ready_draft: Callable[..., Draft], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = ready_draft(step="review", output__name="first")
    opened: list[Path] = []
    started: list[str] = []

    def start_nothing(plan: object, *, should_stop: object) -> RunDir:
        started.append(plan.run_name)  # type: ignore[attr-defined]
        return RunDir.create(home / "runs", plan.run_name)  # type: ignore[attr-defined]

    monkeypatch.setattr(start, "start", start_nothing)
    app = make_app()
    monkeypatch.setattr(app, "open_run", opened.append)
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert started == ["first"]
        assert opened == [home / "runs" / "first"]
        assert draft(pilot).id != stored.id
        assert draft(pilot).value("output.name") == ""
        assert [summary.id for summary in drafts.list_drafts()] == [draft(pilot).id]


async def test_a_failed_start_says_what_why_and_what_to_do(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready_draft(step="review")

    def fail(plan: object, *, should_stop: object) -> RunDir:
        raise RunError("The engine ended at once.", "It was killed.", "Look into engine.log.")

    monkeypatch.setattr(start, "start", fail)
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, Tell)
        assert (screen._title, screen._message, screen._hint) == (
            "The engine ended at once.",
            "It was killed.",
            "Look into engine.log.",
        )
        await pilot.press("enter")
        assert pilot.app.screen is wizard(pilot)


async def test_a_mistake_in_a_worker_is_a_sentence_and_a_file(
    ready_draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ready_draft(step="review")

    def fail(plan: object, *, should_stop: object) -> RunDir:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(start, "start", fail)
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        crashes = tmp_path / "state" / "sidestep-tui" / "crashes"
        await until(pilot, lambda: any(crashes.glob("*.log")), "the crash log")
        await until(pilot, lambda: wizard(pilot).query_one(ReviewPage).busy == "", "the end of the start")
        (log,) = crashes.glob("*.log")
        assert "ZeroDivisionError: a mistake" in log.read_text()
