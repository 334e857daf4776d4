"""A draft keeps what is half typed, knows where every value came from, and never loses anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidestep_tui.core import paths
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import drafts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import all_fields
from sidestep_tui.schema.layers import Layer
from sidestep_tui.schema.problems import SettingsProblems

SMALL = Layer("preset small", {"adapter.rank": 16, "adapter.alpha": 32.0, "train.epochs": 10, "train.best_after": 5})
LARGE = Layer("preset large", {"adapter.rank": 128, "adapter.alpha": 256.0})


def test_a_fresh_draft_shows_its_layers() -> None:
    draft = Draft([Layer("hardware", {"memory.gradient_checkpointing": "off"}), SMALL])
    assert draft.value("adapter.rank") == 16
    assert draft.text("adapter.rank") == "16"
    assert draft.origin("adapter.rank") == "preset small"
    assert draft.origin("memory.gradient_checkpointing") == "hardware"
    assert draft.origin("optim.lr") == "default"
    assert draft.text("optim.lr") == "1e-4"
    assert draft.changed == {}
    assert draft.base_name == "preset small"


def test_typed_text_wins_and_is_yours() -> None:
    draft = Draft([SMALL])
    assert draft.set("adapter.rank", " 24 ") == ""
    assert (draft.value("adapter.rank"), draft.text("adapter.rank"), draft.origin("adapter.rank")) == (
        24,
        " 24 ",
        "yours",
    )
    assert draft.is_changed("adapter.rank")
    assert draft.changed == {"adapter.rank": (16, 24)}
    assert draft.resolve().origins["adapter.rank"] == "yours"


def test_text_that_is_not_valid_stays_with_its_error_and_the_rest_goes_on() -> None:
    draft = Draft([SMALL])
    sentence = draft.set("adapter.rank", "1o")
    assert "1–512" in sentence
    assert draft.text("adapter.rank") == "1o"
    assert draft.error("adapter.rank") == sentence
    assert draft.value("adapter.rank") == 16
    assert draft.settings.adapter.rank == 16
    assert draft.is_changed("adapter.rank")
    draft.set("optim.lr", "2")
    assert list(draft.errors) == ["adapter.rank", "optim.lr"]
    with pytest.raises(SettingsProblems) as refusal:
        draft.resolve()
    assert [problem.path for problem in refusal.value.problems] == ["adapter.rank", "optim.lr"]


def test_typing_the_base_value_is_no_edit() -> None:
    draft = Draft([SMALL])
    draft.set("adapter.rank", "16")
    assert draft.origin("adapter.rank") == "preset small"
    assert draft.undo() is None


def test_reset_brings_the_layer_below_back() -> None:
    draft = Draft([SMALL])
    draft.set("adapter.rank", "24")
    draft.reset("adapter.rank")
    assert (draft.value("adapter.rank"), draft.origin("adapter.rank")) == (16, "preset small")
    assert draft.undo() == "adapter.rank"
    assert draft.value("adapter.rank") == 24


def test_undo_and_redo_walk_the_edits() -> None:
    draft = Draft([SMALL])
    draft.set("adapter.rank", "24")
    draft.set("train.epochs", "nonsense")
    draft.apply_layer(LARGE)
    assert draft.undo() == ""
    assert (draft.text("train.epochs"), draft.base_name) == ("nonsense", "preset small")
    assert draft.undo() == "train.epochs"
    assert draft.undo() == "adapter.rank"
    assert draft.undo() is None
    assert draft.value("adapter.rank") == 16
    assert [draft.redo(), draft.redo(), draft.redo(), draft.redo()] == ["adapter.rank", "train.epochs", "", None]
    assert draft.base_name == "preset large"
    draft.undo()
    draft.set("adapter.rank", "25")
    assert draft.redo() is None


def test_another_preset_replaces_the_recipe_and_keeps_what_is_personal() -> None:
    draft = Draft([Layer("hardware", {"memory.gradient_checkpointing": "off"}), SMALL])
    for path, text in (("model.path", "~/m"), ("data.path", "~/s"), ("output.name", "v1"), ("train.epochs", "77")):
        draft.set(path, text)
    draft.apply_layer(LARGE)
    assert [draft.value(path) for path in ("model.path", "data.path", "output.name")] == ["~/m", "~/s", "v1"]
    assert draft.value("adapter.rank") == 128
    assert draft.value("train.epochs") == 100, "neither the edit nor the old preset's value"
    assert draft.origin("memory.gradient_checkpointing") == "hardware"
    assert draft.origin("data.path") == "yours"


def test_edits_asked_for_stay_on_top_of_another_preset_and_one_undo_brings_all_back() -> None:
    draft = Draft([Layer("preset a", {"adapter.rank": 16, "train.epochs": 50})])
    draft.set("adapter.rank", "24")
    draft.set("train.epochs", "7")
    draft.apply_layer(Layer("preset b", {"adapter.rank": 128}), keep=("adapter.rank",))
    assert (draft.value("adapter.rank"), draft.origin("adapter.rank")) == (24, "yours")
    assert draft.origin("train.epochs") == "default"
    draft.undo()
    assert (draft.base_name, draft.value("train.epochs")) == ("preset a", 7)


def test_the_command_line_stays_above_another_preset() -> None:
    draft = Draft([SMALL, Layer("command line", {"model.path": "/m", "adapter.rank": 9})])
    draft.apply_layer(LARGE)
    assert (draft.value("adapter.rank"), draft.origin("model.path")) == (9, "command line")


def test_a_fix_is_one_edit_with_its_own_origin() -> None:
    draft = Draft([SMALL])
    draft.apply_values({"train.batch_size": 2, "train.accumulation": 2, "adapter.rank": 16}, origin="16 GB profile")
    assert draft.origin("train.batch_size") == "16 GB profile"
    assert draft.resolve().origins["train.accumulation"] == "16 GB profile"
    assert draft.origin("adapter.rank") == "preset small", "already that value"
    draft.undo()
    assert draft.value("train.batch_size") == 1
    with pytest.raises(SettingsProblems):
        draft.apply_values({"adapter.rank": 0})


def test_news_about_the_hardware_is_no_edit() -> None:
    draft = Draft([SMALL])
    draft.set("adapter.rank", "24")
    draft.apply_hardware(Layer("hardware", {"memory.gradient_checkpointing": "off"}))
    assert draft.value("memory.gradient_checkpointing") == "off"
    draft.undo()
    assert draft.value("adapter.rank") == 16
    assert draft.value("memory.gradient_checkpointing") == "off"


def test_what_is_saved_as_a_preset_is_the_recipe() -> None:
    draft = Draft([Layer("hardware", {"memory.gradient_checkpointing": "off"}), SMALL])
    draft.set("data.path", "~/s")
    draft.set("optim.lr", "5e-5")
    assert draft.sparse == {**SMALL.values, "optim.lr": 5e-5}


def test_an_unknown_setting_is_refused_with_the_nearest() -> None:
    draft = Draft()
    for call in (draft.value, draft.text, draft.reset, lambda path: draft.set(path, "1")):
        with pytest.raises(SettingsError, match=r"adapter\.rank"):
            call("adapter.rnk")


def test_every_change_counts_the_version_up() -> None:
    draft = Draft([SMALL])
    before = draft.version
    draft.set("adapter.rank", "24")
    assert draft.version > before


# Storing


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return paths.drafts_dir()


def _same(one: Draft, two: Draft) -> None:
    assert two.to_json() == one.to_json()
    for spec in all_fields():
        for read in (Draft.text, Draft.value, Draft.origin, Draft.error):
            assert read(two, spec.path) == read(one, spec.path)


def test_a_draft_comes_back_from_disk_as_it_was() -> None:
    draft = Draft([Layer("hardware", {"memory.gradient_checkpointing": "off"}), SMALL])
    draft.set("adapter.rank", "1o")
    draft.set("data.path", "~/Ü songs")
    draft.apply_values({"adapter.projections": ("q",)}, origin="fix")
    draft.step, draft.field, draft.level = "adapter", "adapter.rank", "expert"
    drafts.save(draft, now=5.0)
    again = drafts.load(draft.id)
    _same(draft, again)
    assert (again.step, again.field, again.level, again.notes) == ("adapter", "adapter.rank", "expert", [])


def test_text_that_is_not_unicode_can_still_be_saved() -> None:
    draft = Draft([SMALL])
    draft.set("data.path", "caf\udce9")
    drafts.save(draft, now=1.0)
    assert drafts.load(draft.id).text("data.path") == "caf?"


def test_words_for_a_switch_are_shown_as_its_positions(state: Path) -> None:
    """Drafts of earlier releases hold `false` for what has three positions now."""
    draft = Draft([SMALL])
    path = drafts.save(draft, now=1.0)
    stored = json.loads(path.read_text())
    stored["typed"]["memory.gradient_checkpointing"] = {"text": "false", "origin": "yours"}
    path.write_text(json.dumps(stored))
    again = drafts.load(draft.id)
    assert again.text("memory.gradient_checkpointing") == "off"
    again.set("memory.gradient_checkpointing", "true")
    assert again.text("memory.gradient_checkpointing") == "on"
    again.set("memory.gradient_checkpointing", "maybe")
    assert again.text("memory.gradient_checkpointing") == "maybe"


def test_two_windows_on_one_draft_end_with_two_drafts(state: Path) -> None:
    draft = Draft([SMALL])
    drafts.save(draft, now=1.0)
    one, other = drafts.load(draft.id), drafts.load(draft.id)
    one.set("adapter.rank", "7")
    drafts.save(one, now=2.0)
    drafts.save(one, now=3.0)
    assert one.id == draft.id
    assert drafts.is_taken(other)
    other.set("adapter.rank", "8")
    drafts.save(other, now=4.0)
    drafts.save(other, now=5.0)
    assert other.id != draft.id
    assert {item.id: drafts.load(item.id).value("adapter.rank") for item in drafts.list_drafts()} == {
        one.id: 7,
        other.id: 8,
    }


def test_a_draft_that_could_not_be_written_is_still_the_owner_of_its_file(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = Draft([SMALL])
    drafts.save(draft, now=1.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no")))
        with pytest.raises(OSError, match="no"):
            drafts.save(draft, now=2.0)
    drafts.save(draft, now=3.0)
    assert len(drafts.list_drafts()) == 1


def test_drafts_are_listed_newest_first_and_told_apart() -> None:
    first, second = Draft([SMALL]), Draft()
    second.set("data.path", "/music/drums")
    drafts.save(first, now=1.0)
    drafts.save(second, now=2.0)
    drafts.save(first, now=3.0)
    assert [(item.id, item.title, item.saved) for item in drafts.list_drafts()] == [
        (first.id, "Untitled · preset small", 3.0),
        (second.id, "drums · default", 2.0),
    ]
    drafts.delete(first.id)
    drafts.delete(first.id)
    assert [item.id for item in drafts.list_drafts()] == [second.id]


def test_a_setting_that_no_longer_exists_is_left_out_with_a_note(state: Path) -> None:
    draft = Draft([SMALL])
    draft.set("adapter.rank", "24")
    stored = json.loads(drafts.save(draft, now=1.0).read_text())
    stored["typed"]["adapter.gone"] = {"text": "7", "origin": "yours"}
    stored["base"][0]["values"]["train.gone"] = 1
    stored["base"][0]["values"]["train.epochs"] = -5
    (state / f"{draft.id}.json").write_text(json.dumps(stored))
    again = drafts.load(draft.id)
    assert again.value("adapter.rank") == 24
    assert again.value("train.epochs") == 100
    notes = "\n".join(again.notes)
    assert all(word in notes for word in ("adapter.gone", "'7'", "train.gone", "train.epochs"))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"schema_version": 1}', '{"schema_version": 1, "id": "a", "base": 3, "typed": {}}', "[" * 100_000],
)
def test_a_damaged_draft_is_refused_and_does_not_hide_the_others(state: Path, content: str) -> None:
    good = Draft([SMALL])
    drafts.save(good, now=1.0)
    (state / "abad.json").write_text(content)
    assert [item.id for item in drafts.list_drafts() if item.id != "abad"] == [good.id]
    with pytest.raises(SettingsError):
        drafts.load("abad")


def test_a_draft_of_a_newer_release_is_refused() -> None:
    with pytest.raises(SettingsError, match="newer release"):
        Draft.from_json({**Draft().to_json(), "schema_version": 99})


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b", "ABC"])
def test_only_ids_are_drafts(name: str) -> None:
    with pytest.raises(SettingsError, match="not the id"):
        drafts.load(name)


class DraftMachine(RuleBasedStateMachine):
    """Any sequence of edits: undoing everything returns to the start, storing returns to the same."""

    def __init__(self) -> None:
        super().__init__()
        self.draft = Draft([SMALL])
        self.start = self.draft.to_json()

    @rule(
        spec=st.sampled_from(all_fields()), text=st.sampled_from(["", "0", "1", "7", "true", "q", "lora", "~/x", "-"])
    )
    def type(self, spec, text) -> None:  # type: ignore[no-untyped-def]
        self.draft.set(spec.path, text)

    @rule(layer=st.sampled_from([SMALL, LARGE]))
    def choose(self, layer: Layer) -> None:
        self.draft.apply_layer(layer)

    @rule(spec=st.sampled_from(all_fields()))
    def reset(self, spec) -> None:  # type: ignore[no-untyped-def]
        self.draft.reset(spec.path)

    @rule()
    def undo(self) -> None:
        before = self.draft.to_json()
        if self.draft.undo() is not None:
            self.draft.redo()
            assert self.draft.to_json() == before
            self.draft.undo()

    @rule()
    def redo(self) -> None:
        self.draft.redo()

    @invariant()
    def survives_being_stored(self) -> None:
        _same(self.draft, Draft.from_json(json.loads(json.dumps(self.draft.to_json()))))

    @invariant()
    def every_text_is_a_value_or_an_error(self) -> None:
        assert bool(self.draft.errors) == any(self.draft.error(spec.path) for spec in all_fields())
        if not self.draft.errors:
            assert self.draft.resolve().settings == self.draft.settings

    def teardown(self) -> None:
        while self.draft.undo() is not None:
            pass
        assert self.draft.to_json() == self.start


TestDraftMachine = DraftMachine.TestCase
TestDraftMachine.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
