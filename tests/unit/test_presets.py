"""Presets: the shipped ones hold what their sources say; the user's own are found, saved and guarded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sidestep_tui.core import paths
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import fit_ladder, memory_model, presets, rules
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.layers import Layer, resolve
from sidestep_tui.schema.model_shape import model_shape
from sidestep_tui.schema.problems import SettingsProblems
from sidestep_tui.schema.profiles import PROFILES, Profile, profile_for
from sidestep_tui.schema.run import RunFile, write_run

SHIPPED = (
    "recommended",
    "high_quality",
    "psytrance_3090",
    "quick_test",
    "vram_8gb",
    "vram_12gb",
    "vram_16gb",
    "vram_24gb_plus",
)
FROM_SOURCES = (
    *(f"tier_{size}gb{kind}" for size in (8, 12, 16, 24) for kind in ("", "_lokr")),
    *("aggressive_24gb", "balanced_24gb", "conservative_24gb"),
    "many_tracks",
    *("album_20_songs", "album_100_songs"),
)
EVERY = (*SHIPPED, *FROM_SOURCES)
GIB = 1024**3


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without presets of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def _user_file(name: str, content: str) -> Path:
    path = paths.user_presets_dir() / f"{name}.toml"
    path.write_text(content)
    return path


def test_the_shipped_presets_are_all_there() -> None:
    assert tuple(preset.name for preset in presets.list_presets()) == EVERY
    assert {preset.name for preset in presets.list_presets() if preset.group == "Recommended"} == set(SHIPPED)
    assert presets.broken_presets() == []


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_preset_resolves_and_can_do_what_it_says(name: str) -> None:
    preset = presets.find(name)
    resolved = resolve(preset.layers())
    for path, value in preset.values.items():
        assert resolved.value(path) == value
    assert rules.check(resolved.settings) == []
    assert preset.source == "shipped"
    assert preset.requires["vram_gib"] > 0
    assert preset.description.endswith(".")
    assert len(preset.description) <= 56, "a list of presets fits 80 columns"


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_preset_says_when_whence_and_how(name: str) -> None:
    preset = presets.find(name)
    content = preset.path.read_text()
    header = content[: content.index("schema_version")]
    assert header.startswith("# When: ")
    assert f"\n# Run: sidestep-tui train {name} " in header
    assert "schema_version = 1" in content
    assert preset.group
    assert preset.provenance.source
    assert set(preset.provenance.changed) <= set(fields_by_path())


def test_every_file_of_the_folder_is_one_of_these() -> None:
    """So that what is tested here is what is shipped."""
    assert {path.stem for path in paths.shipped_presets_dir().glob("*.toml")} == set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_a_shipped_preset_fits_the_gpu_it_asks_for(name: str) -> None:
    preset = presets.find(name)
    estimate = memory_model.estimate(model_shape("2b"), resolve(preset.layers()).settings)
    assert estimate.total < preset.requires["vram_gib"] * GIB


@pytest.mark.parametrize(
    "name", [name for name in EVERY if re.search(r"\d+gb|\d+ GB", name + presets.find(name).description)]
)
def test_a_preset_that_names_a_gpu_fits_it(name: str) -> None:
    """With the driver's share and what the ladder keeps free, as a card of that size leaves them."""
    preset = presets.find(name)
    card = float(re.findall(r"(\d+) ?gb", f"{name} {preset.description}".lower())[0])
    estimate = memory_model.estimate(model_shape("2b"), resolve(preset.layers()).settings)
    assert estimate.total <= fit_ladder.HEADROOM * (card - 0.6) * GIB
    assert preset.requires["vram_gib"] <= card


# The values of the guide's own JSON files, by our names: (rank, alpha, dropout, optimizer, lr, batch, accumulation,
# epochs, warm-up, checkpoint every, crop).
GUIDE: dict[str, tuple[Any, ...]] = {
    "recommended": (64, 128, 0.1, "adamw", 1e-4, 1, 4, 100, 100, 10, 60),
    "quick_test": (16, 32, 0.0, "adamw", 1e-4, 1, 1, 10, 10, 5, 30),
    "high_quality": (128, 256, 0.05, "adamw", 5e-5, 1, 4, 1000, 200, 250, 60),
    "vram_8gb": (16, 32, 0.1, "adamw8bit", 1e-4, 1, 8, 100, 50, 25, 30),
    "vram_12gb": (32, 64, 0.1, "adamw8bit", 1e-4, 1, 4, 100, 100, 20, 60),
    "vram_16gb": (64, 128, 0.1, "adamw", 1e-4, 1, 4, 100, 100, 10, 60),
    "vram_24gb_plus": (128, 256, 0.1, "adamw", 1e-4, 2, 2, 100, 100, 10, 60),
    "psytrance_3090": (64, 32, 0.05, "adamw8bit", 7e-5, 2, 2, 40, 100, 5, 30),
}
COLUMNS = (
    "adapter.rank",
    "adapter.alpha",
    "adapter.dropout",
    "optim.optimizer",
    "optim.lr",
    "train.batch_size",
    "train.accumulation",
    "train.epochs",
    "optim.warmup_steps",
    "output.save_every_epochs",
    "data.crop_seconds",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_preset_has_the_values_of_its_source(name: str) -> None:
    resolved = resolve(presets.find(name).layers())
    assert tuple(resolved.value(path) for path in COLUMNS) == GUIDE[name]
    assert resolved.value("train.condition_dropout") == 0.15
    assert resolved.value("memory.gradient_checkpointing") == "auto"  # no part of a recipe: what fits decides
    assert resolved.value("optim.schedule") == "cosine"
    assert resolved.value("adapter.attention") == "both"


def test_special_values_of_the_sources() -> None:
    psytrance = resolve(presets.find("psytrance_3090").layers()).settings
    assert (psytrance.adapter.mlp, psytrance.train.seed, psytrance.memory.precision) == (True, -1, "bfloat16")
    high = resolve(presets.find("high_quality").layers()).settings
    assert (high.train.loss_weighting, high.train.snr_gamma, high.train.patience) == ("min_snr", 5.0, 200)
    assert resolve(presets.find("quick_test").layers()).settings.train.best_after == 0


def test_an_extending_preset_shows_where_each_value_comes_from() -> None:
    resolved = resolve(presets.find("vram_24gb_plus").layers())
    assert resolved.origins["adapter.rank"] == "preset vram_24gb_plus"
    assert resolved.origins["adapter.dropout"] == "preset recommended"


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'vram_12gb'"):
        presets.find("vram12gb")
    with pytest.raises(SettingsError, match="`sidestep-tui presets list` shows"):
        presets.find("zzz")


def test_a_saved_preset_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    saved = presets.save("mine", {"adapter.rank": 24}, comment="For me.", description="Mine.")
    assert presets.find("mine") == saved
    assert saved.source == "user"
    assert saved.values == {"adapter.rank": 24}
    assert saved.path.read_text().startswith("# For me.\n")
    assert presets.find(str(saved.path)).values == saved.values
    assert presets.list_presets()[-1] == saved
    presets.delete("mine")
    with pytest.raises(SettingsError, match="no preset 'mine'"):
        presets.find("mine")


def test_saving_never_overwrites_unasked() -> None:
    presets.save("mine", {"adapter.rank": 24})
    with pytest.raises(SettingsError, match="already"):
        presets.save("mine", {"adapter.rank": 25})
    assert presets.find("mine").values == {"adapter.rank": 24}
    assert presets.save("mine", {"adapter.rank": 25}, overwrite=True).values == {"adapter.rank": 25}


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", ".x", "x" * 65, "a/b", "nul\0"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be the name"):
        presets.save(name, {"adapter.rank": 24})
    assert presets.safe_name(name)


def test_the_names_of_the_product_stay_its_own() -> None:
    with pytest.raises(SettingsError, match="preset of the product"):
        presets.save("recommended", {"adapter.rank": 24}, overwrite=True)
    with pytest.raises(SettingsError, match="not a preset of your own"):
        presets.delete("recommended")


def test_values_out_of_bounds_are_not_saved() -> None:
    with pytest.raises(SettingsProblems):
        presets.save("mine", {"adapter.rank": 0, "adapter.what": 1})
    assert list(paths.user_presets_dir().iterdir()) == []


def test_a_broken_preset_does_not_hide_the_others() -> None:
    broken = _user_file("broken", "[adapter]\nrank = 0\n")
    presets.save("mine", {})
    assert [preset.name for preset in presets.list_presets()] == [*EVERY, "mine"]
    [(path, error)] = presets.broken_presets()
    assert path == broken
    assert "line 2: adapter.rank must be a whole number, 1–512" in str(error)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("schema_version = 7\n[future]\nx = 1\n", "newer release"),
        ('extends = "mine"\n', "extends itself"),
        ('extends = "vram_16gb"\n', "one level deep"),
        ('extends = "recomended"\n', "Did you mean 'recommended'"),
        ('extends = "../etc"\n', r"no preset '\.\./etc'.*in 'extends'"),
        ("extends = 3\n", "extends must be text"),
        ("description = []\n", "description must be text"),
        ("[requires]\nvram = 3\n", "Did you mean 'vram_gib'"),
        ("[requires]\nvram_gib = -3\n", "GiB above 0"),
        ("requires = 3\n", r"must be a \[requires\] table"),
        ("decription = 'x'\n", "no group of settings 'decription'"),
    ],
)
def test_a_mistake_at_the_head_of_a_preset_is_refused(content: str, sentence: str) -> None:
    path = _user_file("mine", content)
    with pytest.raises(SettingsError) as refusal:
        presets.read(path)
    assert re.search(sentence, str(refusal.value))


def test_presets_that_extend_each_other_are_refused() -> None:
    _user_file("one", 'extends = "two"\n')
    _user_file("two", 'extends = "one"\n')
    with pytest.raises(SettingsError, match="one level deep"):
        presets.find("one")
    assert len(presets.broken_presets()) == 2


def test_presets_of_others_are_sent_to_the_importer(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="presets import"):
        presets.find(str(tmp_path / "side.json"))


def test_a_run_is_a_preset_by_file_and_by_directory(tmp_path: Path) -> None:
    settings = resolve([Layer("x", {"adapter.rank": 7, "data.path": "/songs"})]).settings
    write_run(tmp_path / "drums" / "run.toml", RunFile("drums", settings, extra={"fake": {"steps": 1}}))
    for argument in (tmp_path / "drums" / "run.toml", tmp_path / "drums", str(tmp_path / "drums")):
        preset = presets.find(argument)
        [layer] = preset.layers()
        assert (preset.name, layer.name) == ("drums", "run drums")
        assert resolve([layer]).settings == settings


def test_the_table_of_presets_lists_the_shipped_ones() -> None:
    presets.save("mine", {})
    rows = presets.markdown_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows if "`" in row] == list(EVERY)
    groups = [row.strip("| *") for row in rows if "`" not in row]
    assert (groups[0], len(groups), len(set(groups))) == ("Recommended", 5, 5)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
@pytest.mark.parametrize("xl", [False, True], ids=["2B", "XL"])
def test_a_profile_keeps_the_recipe_and_fits_its_gpu(profile: Profile, xl: bool) -> None:
    base = presets.find("recommended").layers()
    resolved = resolve([*base, Layer("profile", profile.values_for(xl=xl))])
    assert resolved.value("train.batch_size") * resolved.value("train.accumulation") == 4
    assert not {"adapter.rank", "data.crop_seconds", "optim.lr"} & set(profile.values_for(xl=xl))
    total = memory_model.estimate(model_shape("xl" if xl else "2b"), resolved.settings).total / GIB
    card = float(re.findall(r"\d+", profile.name)[0])
    free = int((card - 0.6) * GIB)
    shape = model_shape("xl" if xl else "2b")
    asked = fit_ladder.with_values(resolved.settings, {"memory.gradient_checkpointing": "auto"})
    decided = fit_ladder.settled(asked, lambda settings: memory_model.estimate(shape, settings).total, free)
    assert decided == resolved.settings, "the ladder would choose the same"
    assert total * GIB <= fit_ladder.HEADROOM * free
    said = re.findall(r"about ([\d.]+) GiB", profile.xl_summary if xl else profile.summary)
    assert abs(float(said[0]) - total) < 0.15


@pytest.mark.parametrize(
    ("gib", "name"),
    [
        (4, "8 GB"),
        (7.8, "8 GB"),
        (10, "12 GB"),
        (11.99, "12 GB"),
        (15.7, "16 GB"),
        (23.99, "24 GB and more"),
        (139, "24 GB and more"),
    ],
)
def test_cards_get_their_profile_although_they_report_less(gib: float, name: str) -> None:
    assert profile_for(int(gib * GIB)).name == name
