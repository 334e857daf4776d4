"""Every setting is complete, and one value of it survives being written and read."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import rules
from sidestep_tui.schema.fields import FieldSpec, all_fields, fields_by_path, format_number, markdown_table
from sidestep_tui.schema.layers import resolve
from sidestep_tui.schema.settings import Settings
from sidestep_tui.schema.values import check_value, format_value, parse_value

EVERY_FIELD = pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.path) for spec in all_fields()])


@EVERY_FIELD
def test_setting_explains_itself(spec: FieldSpec) -> None:
    assert spec.help.endswith("."), "help is made of sentences"
    assert len(spec.help.split()) >= 5
    assert spec.meta.label
    assert spec.meta.level in ("basic", "advanced", "expert")


@EVERY_FIELD
def test_bounds_exist_and_include_the_default(spec: FieldSpec) -> None:
    assert check_value(spec, spec.default) == spec.default
    if spec.kind in ("int", "float"):
        assert spec.low is not None
        assert spec.high is not None
        assert spec.bounds
    if spec.pattern or spec.min_length or spec.max_length:
        assert spec.bounds, "a restricted text says in words what it may hold"


@EVERY_FIELD
def test_zero_that_switches_off_is_allowed(spec: FieldSpec) -> None:
    if spec.meta.zero_means:
        assert check_value(spec, 0) == 0


@EVERY_FIELD
def test_bounds_are_pydantics_bounds(spec: FieldSpec) -> None:
    """The sentences come from our own check; pydantic must agree about the edges."""
    if spec.low is None or spec.high is None:
        return
    inside = spec.low if not spec.low_open else spec.high
    outside = spec.high if spec.high_open else spec.high + 1
    as_kind = int if spec.kind == "int" else float
    Settings.model_validate({spec.group: {spec.name: as_kind(inside)}})
    with pytest.raises(ValueError, match=r"less than"):
        Settings.model_validate({spec.group: {spec.name: as_kind(outside)}})
    with pytest.raises(SettingsError, match=spec.path):
        check_value(spec, as_kind(outside))


def test_bounds_are_written_for_people() -> None:
    by_path = fields_by_path()
    assert by_path["train.max_steps"].bounds == "0–10,000,000"
    assert by_path["train.seed"].bounds == "-1 to 2,147,483,647"
    assert by_path["optim.lr"].bounds == "above 0, at most 1"
    assert by_path["optim.beta1"].bounds == "at least 0, below 1"
    assert by_path["adapter.attention"].bounds == "both, self, cross, none"


def test_defaults_need_no_advice() -> None:
    assert rules.check(resolve([]).settings) == []


def test_markdown_table_has_a_row_for_every_setting() -> None:
    rows = [line for line in markdown_table().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [spec.path for spec in all_fields()]
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def _values(spec: FieldSpec) -> st.SearchStrategy[Any]:
    if spec.kind == "bool":
        return st.booleans()
    if spec.kind == "choice":
        return st.sampled_from(spec.choices)
    if spec.kind == "choices":
        chosen = st.sets(st.sampled_from(spec.choices), min_size=spec.min_length)
        return chosen.map(lambda items: tuple(choice for choice in spec.choices if choice in items))
    if spec.kind == "int":
        assert spec.low is not None
        assert spec.high is not None
        return st.integers(int(spec.low), int(spec.high))
    if spec.kind == "float":
        return st.floats(spec.low, spec.high, exclude_min=spec.low_open, exclude_max=spec.high_open)
    pattern = spec.pattern or r"[ -~äöü√]{1,40}"
    return st.from_regex(pattern, fullmatch=True).map(str.strip).filter(lambda text: len(text) <= 64)


@settings(deadline=None)  # the machine may be busy
@given(st.data())
def test_every_value_survives_being_written_and_read(data: st.DataObject) -> None:
    spec = data.draw(st.sampled_from(all_fields()))
    value = data.draw(_values(spec))
    assert parse_value(spec, format_value(spec, value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [(60.0, "60"), (1e-4, "1e-4"), (7e-5, "7e-5"), (0.15, "0.15"), (1.5e-4, "1.5e-4"), (1e-8, "1e-8"), (0.0, "0")],
)
def test_numbers_are_written_short(value: float, written: str) -> None:
    assert format_number(value) == written


@pytest.mark.parametrize(
    ("path", "typed", "value"),
    [
        ("optim.lr", "1e-4", 1e-4),
        ("optim.lr", " .0001 ", 1e-4),
        ("train.max_steps", "1_000", 1000),
        ("train.epochs", "1e3", 1000),
        ("data.crop_seconds", "30 s", 30.0),
        ("train.patience", "80 epochs", 80),
        ("train.seed", "-1", -1),
        ("adapter.mlp", "Yes", True),
        ("adapter.mlp", "off", False),
        ("adapter.attention", "BOTH", "both"),
        ("adapter.projections", "v, q", ("q", "v")),
        ("adapter.projections", "[q k]", ("q", "k")),
        ("data.path", " ~/my songs ", "~/my songs"),
    ],
)
def test_people_may_type_values_their_way(path: str, typed: str, value: Any) -> None:
    assert parse_value(fields_by_path()[path], typed) == value


@pytest.mark.parametrize(
    ("path", "typed", "sentence"),
    [
        ("adapter.rank", "banana", "adapter.rank must be a whole number, 1–512, not 'banana'."),
        ("adapter.rank", "16.5", "1–512, not 16.5."),
        ("adapter.rank", "513", "1–512, not 513."),
        ("adapter.rank", "", "not empty."),
        ("adapter.rank", "١٦", "not '١٦'."),
        ("adapter.rank", "1e9999", "not inf."),
        ("optim.lr", "0", "above 0, at most 1, not 0."),
        ("optim.lr", "nan", "not 'nan'."),
        ("optim.lr", "0,1", "not '0,1'."),
        ("optim.lr", ".", "not '.'."),
        ("adapter.mlp", "maybe", "true or false, not 'maybe'."),
        ("adapter.attention", "slef", "Did you mean 'self'?"),
        ("adapter.projections", "", "at least one of q, k, v, o"),
        ("adapter.projections", "q, x", "at least one of q, k, v, o, not 'x'."),
        ("output.name", "../x", "letters, digits, dots"),
        ("output.name", ".hidden", "not starting with a dot"),
        ("output.path", "", "output.path must be a folder, not empty."),
        ("data.tag", "a\nb", "one line of text without control characters"),
        ("data.path", "a\0b", "without control characters, not 'a?b'."),
        ("data.path", "caf\udce9", "without control characters, not 'caf?'."),
        ("data.tag", "a\u2028b", "without control characters"),
        ("memory.device", "gpu", "auto, cuda, cuda:1, …, all, gpus:2, …, mps, cpu, not 'gpu'."),
        ("data.language", "english", "a code of two or three letters"),
    ],
)
def test_what_cannot_be_is_refused_with_the_bound(path: str, typed: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_value(fields_by_path()[path], typed)
    assert sentence in refusal.value.title
    assert path in refusal.value.title


@pytest.mark.parametrize("raw", [True, "16", None, [16], {"rank": 16}, float("nan"), float("inf"), 10**400, 16.5])
def test_a_file_must_give_a_number_for_a_number(raw: Any) -> None:
    with pytest.raises(SettingsError, match="whole number"):
        check_value(fields_by_path()["adapter.rank"], raw)


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(SettingsError) as refusal:
        parse_value(fields_by_path()["adapter.rank"], "x" * 10_000)
    assert len(refusal.value.title) < 150


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(all_fields()), st.text(max_size=30))
def test_any_text_is_a_value_or_a_refusal_that_names_the_setting(spec: FieldSpec, typed: str) -> None:
    try:
        value = parse_value(spec, typed)
    except SettingsError as refusal:
        assert spec.path in refusal.title
    else:
        assert check_value(spec, value) == value


def test_reading_settings_needs_no_toml_writer_and_no_yaml() -> None:
    """Both cost about 50 ms to import; the terminal's first frame does without them."""
    program = (
        "import sys\n"
        "from sidestep_tui.schema import draft, drafts, importers, layers, presets, profiles, rules, run\n"
        "presets.list_presets()\n"
        "sys.exit(bool({'tomlkit', 'yaml', 'numpy', 'torch', 'textual'} & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
