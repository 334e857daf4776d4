"""Presets of other trainers, translated once, with a report of every key: taken, translated, or refused and why."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import codec, import_adapter, import_sound, import_targets, presets
from sidestep_tui.schema import import_text as import_text_blocks
from sidestep_tui.schema.draft import PERSONAL
from sidestep_tui.schema.fields import fields_by_path, group_names
from sidestep_tui.schema.import_files import parse_json, parse_yaml
from sidestep_tui.schema.import_keys import (
    ABOUT_KEYS,
    ALTERATION_KEYS,
    CROP_KEYS,
    FRAMES_PER_SECOND,
    MEANINGS,
    PATTERN_KEYS,
    TARGET_KEYS,
    Fixed,
    Idle,
    Refuse,
    Share,
    Take,
    meaning_of,
)
from sidestep_tui.schema.import_report import Row, Translation, Verdict, number, shown
from sidestep_tui.schema.preset_file import HEAD_KEYS, Provenance
from sidestep_tui.schema.run import is_run

_FILES_OF_FOLDERS: Final = ("run.toml", "adapter_config.json", "training_config.json", "lokr_config.json")
# Looking for the nearest key takes a millisecond, and a file may have a hundred thousand of them.
_MOST_HINTS: Final = 200
_TRAINERS: Final = ("Side-Step", "ace-lora-trainer", "PEFT")
_OURS: Final = "sidestep-tui preset"
_WEIGHTS: Final = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


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

    @property
    def wrong(self) -> list[Row]:
        """Those whose value cannot be, wherever it is used."""
        return [row for row in self.rows if row.wrong]

    @property
    def summary(self) -> str:
        """`58 taken, 5 translated, 4 refused, of which 1 has a wrong value`."""
        counts = [(verdict, sum(row.verdict == verdict for row in self.rows)) for verdict in get_args(Verdict)]
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
        wrong = len(self.wrong)
        return said + (
            f", of which {wrong} {'has a wrong value' if wrong == 1 else 'have wrong values'}" if wrong else ""
        )

    @property
    def own_name(self) -> str:
        """A name to keep it under that no preset has yet: its own, with the trainer's before it where that is taken."""
        if not presets.name_problem(self.name):
            return self.name
        trainer = next((known for known in _TRAINERS if self.source_format.startswith(known)), "imported")
        stem = presets.safe_name(f"{trainer.lower()}_{self.name}")
        tries = (stem, *(f"{stem[:60]}_{number}" for number in range(2, 100)))
        return next((name for name in tries if not presets.name_problem(name)), stem)

    @property
    def is_ours_as_it_is(self) -> bool:
        """Whether it is a preset of ours that can be kept as it stands, comments and all."""
        written_out = any(row.key == "extends" for row in self.rows)
        return self.source_format == _OURS and not self.refused and not written_out

    def provenance(self, source: str) -> Provenance:
        """Where it came from, for the preset that is kept: `source` names the file."""
        # What is said about lines of a text is about that text.
        left_out = {row.key: row.detail for row in self.refused if not re.match(r"lines? \d|around ", row.key)}
        return Provenance(f"{source} ({self.source_format})", {}, left_out)


def import_preset(path: Path) -> ImportReport:
    """Translate a preset of another trainer, or a file of our own.

    JSON of Side-Step, ace-lora-trainer and PEFT, the YAML of ACE-Step's page, a preset or run.toml of ours, and in a
    file of any other kind: a Python dict or call, command-line flags, or a list of settings. A folder stands for the
    run.toml or the adapter_config.json in it. Raises a SettingsError when the file cannot be read or holds nothing
    that is known here.
    """
    file = _file_in(path) if path.is_dir() else path
    content = _text(file)
    suffix = file.suffix.lower()
    if suffix == ".toml":
        report = _import_toml(file)
    elif suffix in (".yaml", ".yml"):
        report = _import_mapping(_stem(file), *parse_yaml(content, paths.shorten(file)), format_name="training YAML")
    elif suffix == ".json":
        report = _import_mapping(_stem(file), *parse_json(content, paths.shorten(file)))
    else:
        return import_text(content, name=_stem(file), shown=paths.shorten(file))
    return _with_values(report, paths.shorten(file))


def import_text(content: str, *, name: str = "pasted", shown: str = "The text") -> ImportReport:
    """Translate settings as people paste them; `shown` names the text in a refusal."""
    if content.lstrip().startswith("{"):
        with contextlib.suppress(SettingsError):
            return _with_values(_import_mapping(name, *parse_json(content, shown)), shown)
    block = import_text_blocks.read_block(content, shown)
    report = _import_mapping(name, block.values, block.doubles, format_name=block.format)
    report.rows.extend(Row(key, "refused", reason) for key, reason in block.unread)
    return _with_values(report, shown)


def _with_values(report: ImportReport, shown: str) -> ImportReport:
    if report.values:
        return report
    rows = [f"{row.key}: {row.detail}" for row in report.rows[:12]]
    more = [f"… and {len(report.rows) - 12} more"] if len(report.rows) > 12 else []
    raise SettingsError(
        f"{shown} holds no setting that can be taken.", "\n".join(rows + more), "Check that it is a training preset."
    )


def _file_in(folder: Path) -> Path:
    for name in _FILES_OF_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    raise SettingsError(
        f"{paths.shorten(folder)} is a folder without settings.",
        f"It has none of {text.listing(_FILES_OF_FOLDERS)}.",
        "Name the file to import.",
    )


def _text(path: Path) -> str:
    """The text of a file; a checkpoint's weights get a hint of their own."""
    if path.suffix.lower() in _WEIGHTS:
        raise SettingsError(
            f"{paths.shorten(path)} holds weights, not settings.",
            "",
            "Import the adapter_config.json or the run.toml beside it.",
        )
    return codec.read_text(path)


def _stem(path: Path) -> str:
    """What a preset is called without a name of its own; an adapter's configuration is named by its folder."""
    return path.absolute().parent.name if path.name in _FILES_OF_FOLDERS else path.stem


def _import_mapping(name: str, source: Mapping[str, Any], doubles: list[str], *, format_name: str = "") -> ImportReport:
    flat = _flatten(source)
    state = Translation(flat)
    for key in doubles:
        state.refuse(key, "given twice; the last one counts")
    leaves = {key.rpartition(".")[2]: key for key in flat}
    kind = import_adapter.kind_of(flat)
    for key, value in flat.items():
        leaf = key.rpartition(".")[2]
        if key in ABOUT_KEYS:
            continue
        if leaf in (*CROP_KEYS, *TARGET_KEYS, *ALTERATION_KEYS):
            if leaves[leaf] != key:
                state.refuse(key, f"given twice; {leaves[leaf]} counts")
            continue
        _translate_key(state, kind, key, leaf, value)
    _translate_crop(state, {leaf: leaves[leaf] for leaf in CROP_KEYS if leaf in leaves})
    import_targets.translate_targets(state, {leaf: leaves[leaf] for leaf in TARGET_KEYS if leaf in leaves})
    import_sound.translate_alterations(state, {leaf: leaves[leaf] for leaf in ALTERATION_KEYS if leaf in leaves})
    _correct_best(state)
    _correct_schedule(state)
    _about_rows(state)
    named = source.get("name")
    description = source.get("description") or source.get("_description") or ""
    return ImportReport(
        state.values,
        state.rows,
        presets.safe_name(named if isinstance(named, str) and named.strip() else name),
        format_name or _format_name(set(leaves)),
        " ".join(description.split())[:200] if isinstance(description, str) else "",
    )


def _translate_key(state: Translation, kind: str, key: str, leaf: str, value: Any) -> None:
    if leaf == "use_dora":
        _translate_dora(state, key, value)
        return
    switched_off = _off_beside(state, leaf)
    if switched_off:
        state.idle(key, switched_off)
        return
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
        case Idle(reason):
            state.idle(key, reason)
        case None if key in fields_by_path():
            state.take(key, key, value)
        case None:
            hint = text.did_you_mean(leaf, MEANINGS) if len(state.rows) < _MOST_HINTS else ""
            state.refuse(key, " ".join(filter(None, ("an unknown key.", hint))))


def _off_beside(state: Translation, leaf: str) -> str:
    """Why a key that is the detail of another says nothing in this preset; empty where it does."""
    if not leaf.startswith("target_loss_") and leaf != "cosine_restarts_count":
        return ""
    beside = {key.rpartition(".")[2]: value for key, value in state.source.items()}
    if leaf.startswith("target_loss_") and not number(beside.get("target_loss")):
        return "target_loss is off"
    schedule = str(beside.get("scheduler_type", beside.get("lr_scheduler", ""))).lower()
    return "the schedule does not restart" if leaf == "cosine_restarts_count" and "restart" not in schedule else ""


def _translate_dora(state: Translation, key: str, value: Any) -> None:
    if not isinstance(value, bool):
        state.wrong(key, f"must be true or false, not {shown(value)}")
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
            state.wrong(keys["crop_mode"], f"must be full, seconds or latent, not {shown(mode)}")
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
            state.wrong(key, f"must be a number, not {shown(value)}")
        elif known_mode and uses[str(mode)] != leaf:
            state.idle(key, f"crop_mode is {mode}")
        elif found == 0 and not known_mode and _other_crop(state, keys, leaf):
            state.rows.append(Row(key, "taken", "off"))
        else:
            note = f"{value} frames at 25 per second" if leaf == "max_latent_length" else ""
            state.take(key, "data.crop_seconds", found / per_second, note=note)


def _other_crop(state: Translation, keys: Mapping[str, str], leaf: str) -> bool:
    """Whether the other one of the two lengths is in use."""
    other = "chunk_duration" if leaf == "max_latent_length" else "max_latent_length"
    return other in keys and bool(number(state.source[keys[other]]))


def _correct_best(state: Translation) -> None:
    """Presets of others look for the best adapter after their last epoch; then half the run is used instead."""
    after, epochs = state.values.get("train.best_after"), state.values.get("train.epochs")
    if after is None and epochs is not None and epochs <= fields_by_path()["train.best_after"].default:
        # Ours would lie behind so short a run.
        state.values["train.best_after"] = epochs // 2
        detail = f"train.epochs = {epochs}; train.best_after = {epochs // 2} (half of them, where nothing is said)"
        key = state.given["train.epochs"]
        state.rows = [Row(key, "translated", detail) if row.key == key else row for row in state.rows]
        return
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
    document = codec.read_document(path)
    run = is_run(document)
    about = document.data["run"] if run else document.data
    codec.check_version(about.get("schema_version", codec.SCHEMA_VERSION), document.source)
    ignored = [name for name in document.data if (name not in group_names() if run else name in HEAD_KEYS)]
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
    source_format = "sidestep-tui run" if run else _OURS
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


def _format_name(keys: set[str]) -> str:
    if keys & {"lora_r", "auto_save_best_after", "save_every_n_epochs", "cfg_dropout_prob", "_description"}:
        return "ace-lora-trainer JSON"
    if keys & {"target_modules_str", "cfg_ratio", "gradient_accumulation", "save_best_after", "log_heavy_every"}:
        return "Side-Step JSON"
    return "PEFT JSON" if "peft_type" in keys else "JSON"


def _is_one_of(value: Any, same: tuple[Any, ...]) -> bool:
    plain = value.lower() if isinstance(value, str) else value
    return any(plain == item and isinstance(plain, bool) == isinstance(item, bool) for item in same)
