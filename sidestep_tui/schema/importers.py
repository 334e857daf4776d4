"""Presets of other trainers, translated once, with a report of every key: taken, translated, or refused and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec, import_adapter, import_sound, presets
from sidestep_tui.schema.draft import PERSONAL
from sidestep_tui.schema.fields import fields_by_path, group_names
from sidestep_tui.schema.import_files import read_json, read_yaml
from sidestep_tui.schema.import_keys import (
    ABOUT_KEYS,
    ALTERATION_KEYS,
    CROP_KEYS,
    FRAMES_PER_SECOND,
    MEANINGS,
    PATTERN_KEYS,
    SPLIT_TARGET_KEYS,
    TARGET_KEYS,
    Fixed,
    Refuse,
    Share,
    Take,
    meaning_of,
    projection_of,
)
from sidestep_tui.schema.import_report import Row, Translation, Verdict, number, shown
from sidestep_tui.schema.run import is_run
from sidestep_tui.schema.values import check_value


@dataclass(frozen=True, slots=True)
class ImportReport:
    """A translated preset: sparse `values`, and a row for every key that the file had."""

    values: dict[str, Any]
    rows: list[Row]
    name: str
    source_format: str
    description: str = ""

    @property
    def refused(self) -> list[Row]:
        """The rows that people should read before they trust the result."""
        return [row for row in self.rows if row.verdict == "refused"]


def import_preset(path: Path) -> ImportReport:
    """Translate a preset of Side-Step or ace-lora-trainer (JSON), of ACE-Step's page (YAML), or one of our own (TOML).

    Raises a SettingsError when the file cannot be read or holds nothing that is known here.
    """
    suffix = path.suffix.lower()
    if suffix == ".toml" or path.is_dir():
        report = _import_toml(path)
    elif suffix in (".yaml", ".yml"):
        report = _import_mapping(path, *read_yaml(path), yaml=True)
    else:
        report = _import_mapping(path, *read_json(path), yaml=False)
    if not report.values:
        detail = "\n".join(f"{row.key}: {row.detail}" for row in report.rows[:12])
        raise SettingsError(
            f"{paths.shorten(path)} holds no setting that can be taken.", detail, "Check that it is a training preset."
        )
    return report


def _import_mapping(path: Path, source: Mapping[str, Any], doubles: list[str], *, yaml: bool) -> ImportReport:
    flat = _flatten(source)
    state = Translation(flat)
    for key in doubles:
        state.refuse(key, "given twice; the last one counts")
    leaves = {key.rpartition(".")[2]: key for key in flat}
    for key, value in flat.items():
        leaf = key.rpartition(".")[2]
        if key in ABOUT_KEYS:
            continue
        if leaf in (*CROP_KEYS, *TARGET_KEYS, *ALTERATION_KEYS):
            if leaves[leaf] != key:
                state.refuse(key, f"given twice; {leaves[leaf]} counts")
            continue
        _translate_key(state, key, leaf, value)
    _translate_crop(state, {leaf: leaves[leaf] for leaf in CROP_KEYS if leaf in leaves})
    _translate_targets(state, {leaf: leaves[leaf] for leaf in TARGET_KEYS if leaf in leaves})
    import_sound.translate_alterations(state, {leaf: leaves[leaf] for leaf in ALTERATION_KEYS if leaf in leaves})
    _correct_best(state)
    _correct_schedule(state)
    _about_rows(state)
    name = source.get("name")
    description = source.get("description") or source.get("_description") or ""
    return ImportReport(
        state.values,
        state.rows,
        presets.safe_name(name if isinstance(name, str) else path.stem),
        _format_name(set(leaves), yaml=yaml),
        description if isinstance(description, str) else "",
    )


def _translate_key(state: Translation, key: str, leaf: str, value: Any) -> None:
    if leaf == "use_dora":
        _translate_dora(state, key, value)
        return
    kind = import_adapter.kind_of(state.source)
    if import_adapter.translate(state, kind, key, leaf, value):
        return
    meaning = import_adapter.meaning_of(kind, leaf) or meaning_of(key, leaf)
    match meaning:
        case Share(path):
            import_sound.translate_share(state, key, path, value)
        case Take(path, words, note):
            word = "null" if value is None else str(value).lower() if isinstance(value, (str, int)) else None
            translated = words[word] if words and word is not None and word in words else value
            state.take(key, path, translated, original=value, note=note)
        case Fixed(same, reason):
            if _is_one_of(value, same):
                state.rows.append(Row(key, "taken", reason))
            else:
                state.refuse(key, reason)
        case Refuse(reason):
            state.refuse(key, reason)
        case None:
            hint = text.did_you_mean(leaf, MEANINGS)
            state.refuse(key, " ".join(filter(None, ("an unknown key.", hint))))


def _translate_dora(state: Translation, key: str, value: Any) -> None:
    if not isinstance(value, bool):
        state.refuse(key, f"must be true or false, not {shown(value)}")
    elif not value:
        state.rows.append(Row(key, "taken", "off"))
    elif state.source.get("adapter_type") in (None, "lora", "dora"):
        # DoRA is a switch on LoRA elsewhere and a kind of its own here; it wins over adapter_type = lora.
        state.given.pop("adapter.kind", None)
        state.take(key, "adapter.kind", "dora", original=value)
    else:
        state.refuse(key, "only for LoRA adapters")


def _translate_crop(state: Translation, keys: Mapping[str, str]) -> None:
    """Crop windows: 25 latent frames are a second, and 0 means whole songs everywhere."""
    mode = state.source[keys["crop_mode"]] if "crop_mode" in keys else None
    uses = {"full": None, "seconds": "chunk_duration", "latent": "max_latent_length"}
    known_mode = isinstance(mode, str) and mode in uses
    if "crop_mode" in keys:
        if not known_mode:
            state.refuse(keys["crop_mode"], f"must be full, seconds or latent, not {shown(mode)}")
        elif mode == "full":
            state.take(keys["crop_mode"], "data.crop_seconds", 0.0, original=mode, note="whole songs")
        else:
            state.rows.append(Row(keys["crop_mode"], "translated", f"decided by {uses[str(mode)]}"))
    for leaf, per_second in (("chunk_duration", 1), ("max_latent_length", FRAMES_PER_SECOND)):
        if leaf not in keys:
            continue
        key, value = keys[leaf], state.source[keys[leaf]]
        found = number(value)
        if found is None:
            state.refuse(key, f"must be a number, not {shown(value)}")
        elif known_mode and uses[str(mode)] != leaf:
            state.refuse(key, f"without effect: crop_mode is {mode}")
        elif found == 0 and not known_mode and _other_crop(state, keys, leaf):
            state.rows.append(Row(key, "taken", "off"))
        else:
            note = f"{value} frames at 25 per second" if leaf == "max_latent_length" else ""
            state.take(key, "data.crop_seconds", found / per_second, note=note)


def _other_crop(state: Translation, keys: Mapping[str, str], leaf: str) -> bool:
    """Whether the other one of the two lengths is in use."""
    other = "chunk_duration" if leaf == "max_latent_length" else "max_latent_length"
    return other in keys and bool(number(state.source[keys[other]]))


def _translate_targets(state: Translation, keys: Mapping[str, str]) -> None:
    """Names of modules → which attention, which projections, and whether the feed-forward layers learn."""
    lists: dict[str, list[str]] = {}
    for leaf, key in keys.items():
        names = _names(state.source[key])
        if names:
            lists[leaf] = names
        elif state.source[key] == "" and leaf in SPLIT_TARGET_KEYS.values():
            state.rows.append(Row(key, "taken", "empty: the common list counts"))
        else:
            state.refuse(key, f"must be a list of module names, not {shown(state.source[key])}")
    for leaf, reason in _overruled_targets(state.values.get("adapter.attention", "both"), lists).items():
        state.refuse(keys[leaf], reason)
        del lists[leaf]
    wanted: dict[str, set[str]] = {"self": set(), "cross": set(), "both": set(), "mlp": set()}
    for leaf, names in lists.items():
        known = {name: target for name in names if (target := projection_of(name)) is not None}
        for name in names:
            if name not in known:
                state.refuse(f"{keys[leaf]}: {name}", "the model has no module of that name that an adapter can learn")
            elif known[name][0] == "mlp" and state.values.get("adapter.mlp") is False:
                state.refuse(f"{keys[leaf]}: {name}", f"{state.given['adapter.mlp']} leaves the MLP layers alone")
                del known[name]
        for where, projection in known.values():
            wanted[where].add(projection)
        try:
            layers = import_adapter.layers_in(list(known))
        except ValueError as error:
            state.refuse(f"{keys[leaf]}: layers", f"{error}; all layers learn")
            layers = None
        if layers is not None:
            state.take(f"{keys[leaf]}: layers", "adapter.layers", layers)
        if known:
            state.rows.append(Row(keys[leaf], "translated", _targets_in_words(known)))
    mlp = bool(wanted.pop("mlp"))
    _set_targets(state, wanted, set().union(*wanted.values()), mlp=mlp)


def _overruled_targets(attention: str, lists: Mapping[str, list[str]]) -> dict[str, str]:
    """Which lists of targets do not count, and why: one set of projections serves both attentions here."""
    overruled = {
        leaf: f"without effect: attention is {attention}"
        for side, leaf in SPLIT_TARGET_KEYS.items()
        if leaf in lists and attention not in ("both", side)
    }
    split = [leaf for leaf in SPLIT_TARGET_KEYS.values() if leaf in lists and leaf not in overruled]
    if not split:
        return overruled
    common = next((leaf for leaf in lists if leaf not in SPLIT_TARGET_KEYS.values()), "")
    sides = [leaf for side, leaf in SPLIT_TARGET_KEYS.items() if attention in ("both", side)]
    per_side = [sorted(lists.get(leaf, lists.get(common, []))) for leaf in sides]
    if per_side[0] != per_side[-1]:
        overruled.update(dict.fromkeys(split, "self- and cross-attention get the same projections here"))
    elif common and sorted(lists[common]) != per_side[0]:
        overruled[common] = f"overruled by {split[0]}"
    return overruled


def _set_targets(state: Translation, wanted: Mapping[str, set[str]], projections: set[str], *, mlp: bool) -> None:
    if not projections and not mlp:
        return
    if projections:
        spec = fields_by_path()["adapter.projections"]
        state.values["adapter.projections"] = check_value(spec, sorted(projections))
    if mlp:
        state.values["adapter.mlp"] = True
    if "adapter.attention" in state.values:
        return
    if not projections:
        state.values["adapter.attention"] = "none"
    elif wanted["self"] and not wanted["cross"] and not wanted["both"]:
        state.values["adapter.attention"] = "self"
    elif wanted["cross"] and not wanted["self"] and not wanted["both"]:
        state.values["adapter.attention"] = "cross"
    else:
        state.values["adapter.attention"] = "both"


def _targets_in_words(known: Mapping[str, tuple[str, str]]) -> str:
    projections = [name for name in "qkvo" if any(target[1] == name for target in known.values())]
    parts = [f"adapter.projections = {', '.join(projections)}"] if projections else []
    if any(target[0] == "mlp" for target in known.values()):
        parts.append("adapter.mlp = true")
    return "; ".join(parts)


def _correct_best(state: Translation) -> None:
    """Presets of others look for the best adapter after their last epoch; then half the run is used instead."""
    after, epochs = state.values.get("train.best_after"), state.values.get("train.epochs")
    if after is None or epochs is None or 0 < after < epochs:
        return
    key = state.given["train.best_after"]
    if after == 0:
        detail = "train.best_after = 0 (from the first epoch on; elsewhere 0 means never)"
    else:
        state.values["train.best_after"] = epochs // 2
        detail = f"train.best_after = {epochs // 2} ({after} lies behind the last of {epochs} epochs)"
    state.rows = [row for row in state.rows if row.key != key]
    state.rows.append(Row(key, "translated", detail))


def _correct_schedule(state: Translation) -> None:
    """Prodigy and schedule-free AdamW take no schedule; others ignore the one that stands beside them."""
    optimizer, schedule = state.values.get("optim.optimizer"), state.values.get("optim.schedule")
    if optimizer not in ("prodigy", "schedule_free") or schedule == "constant":
        return
    state.values["optim.schedule"] = "constant"
    key = state.given["optim.schedule" if schedule else "optim.optimizer"]
    name = "Prodigy" if optimizer == "prodigy" else "schedule-free AdamW"
    why = f"{name} takes no schedule, not {schedule}" if schedule else f"{name} takes no schedule"
    told = "" if schedule else f"optim.optimizer = {optimizer}; "
    detail = f"{told}optim.schedule = constant ({why})"
    state.rows = [row for row in state.rows if row.key != key]
    state.rows.append(Row(key, "translated", detail))


def _about_rows(state: Translation) -> None:
    for key in ABOUT_KEYS:
        if key in state.source:
            is_text = isinstance(state.source[key], (str, int))
            verdict: Verdict = "taken" if is_text else "refused"
            state.rows.append(Row(key, verdict, "about the preset" if is_text else "must be text"))


def _import_toml(path: Path) -> ImportReport:
    """One of our own files: a preset as it is, a run without what belongs to that run alone."""
    document = codec.read_document(path / "run.toml" if path.is_dir() else path)
    run = is_run(document)
    about = document.data["run"] if run else document.data
    codec.check_version(about.get("schema_version", codec.SCHEMA_VERSION), document.source)
    about_keys = ("schema_version", "description", "extends", "requires")
    ignored = [name for name in document.data if (name not in group_names() if run else name in about_keys)]
    values, problems = codec.document_values(document, ignore=ignored)
    state = Translation(document.data)
    for problem in problems:
        state.refuse(problem.path, problem.sentence)
    for name in ignored:
        if name != "extends":
            state.rows.append(Row(name, "taken", "about the run" if run else "about the preset"))
    for key, value in values.items():
        if run and key in PERSONAL:
            state.refuse(key, "belongs to that run, not to a recipe")
        else:
            state.take(key, key, value)
    extends = about.get("extends")
    if isinstance(extends, str) and extends and not run:
        inherited = presets.find(extends).values
        state.values = {**inherited, **state.values}
        detail = f"{text.plural(len(inherited), 'value')} of '{extends}' written out"
        state.rows.append(Row("extends", "translated", detail))
    name = str(about.get("name") or document.path.stem) if run else document.path.stem
    description = str(about.get("description", ""))
    source_format = "sidestep-tui run" if run else "sidestep-tui preset"
    return ImportReport(state.values, state.rows, presets.safe_name(name), source_format, description)


def _flatten(source: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Sections become dotted keys (`lora.rank`), three levels deep; below that a value stays as it is."""
    flat: dict[str, Any] = {}
    for key, value in source.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value and depth < 3 and key not in PATTERN_KEYS:
            flat.update(_flatten(value, f"{name}.", depth + 1))
        else:
            flat[name] = value
    return flat


def _format_name(keys: set[str], *, yaml: bool) -> str:
    if yaml:
        return "training YAML"
    if keys & {"lora_r", "auto_save_best_after", "save_every_n_epochs", "cfg_dropout_prob", "_description"}:
        return "ace-lora-trainer JSON"
    if keys & {"target_modules_str", "cfg_ratio", "gradient_accumulation", "save_best_after", "log_heavy_every"}:
        return "Side-Step JSON"
    return "PEFT JSON" if "peft_type" in keys else "JSON"


def _names(value: Any) -> list[str] | None:
    """Module names from a list or from one string with spaces or commas."""
    if isinstance(value, str):
        return [name for name in re.split(r"[\s,]+", value.strip("[]()")) if name][:100]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value[:100]
    return None


def _is_one_of(value: Any, same: tuple[Any, ...]) -> bool:
    plain = value.lower() if isinstance(value, str) else value
    return any(plain == item and isinstance(plain, bool) == isinstance(item, bool) for item in same)
