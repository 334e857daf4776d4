"""The user's own keys: `[keymap]` in `tui.toml` maps a binding's id to keys, as in `"wizard.next" = "ctrl+n,f8"`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from textual.binding import Binding, BindingType
from textual.keys import Keys

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.core.text import did_you_mean

CONFIG_NAME = "tui.toml"
# Terminals cannot tell these from backspace, tab, enter and newline.
_INDISTINCT = frozenset({"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+j"})


@dataclass(frozen=True, slots=True)
class TuiConfig:
    """What a user may say about the interface. Every part is optional."""

    theme: str = ""
    mouse: bool = True
    keymap: Mapping[str, str] = field(default_factory=dict)


def load_config(path: Path) -> TuiConfig:
    """Read `tui.toml`; a missing file is an empty one."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return TuiConfig()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            "The interface settings cannot be read.", f"{path}: {error}", "Correct the file."
        ) from error
    known = {"theme": str, "mouse": bool, "keymap": dict}
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(
                f"{path} holds an unknown entry '{key}'.", did_you_mean(key, known), "Correct the file."
            )
        if not isinstance(value, known[key]):
            raise SettingsError(f"'{key}' in {path} has the wrong type.", f"It is {value!r}.", "Correct the file.")
    keymap = raw.get("keymap", {})
    if not all(isinstance(keys, str) for keys in keymap.values()):
        raise SettingsError(f"[keymap] in {path} maps ids to text.", '"wizard.next" = "ctrl+n"', "Correct the file.")
    return TuiConfig(theme=raw.get("theme", ""), mouse=raw.get("mouse", True), keymap=keymap)


def check_keymap(keymap: Mapping[str, str], known_ids: Iterable[str]) -> list[str]:
    """What is wrong with a keymap, in sentences; wrong entries are ignored by the caller."""
    ids = sorted(set(known_ids))
    problems = []
    for binding_id, keys in keymap.items():
        if binding_id not in ids:
            problems.append(f"'{binding_id}' is no action. {did_you_mean(binding_id, ids)}".strip())
        for key in keys.split(","):
            if key.strip() in _INDISTINCT:
                problems.append(f"'{key.strip()}' for {binding_id} cannot be told from another key by a terminal.")
            elif not _is_key(key.strip()):
                problems.append(f"'{key.strip()}' for {binding_id} is no key.")
    return problems


def binding_ids(*bindings: Iterable[BindingType]) -> set[str]:
    """The ids of binding lists."""
    return {item.id for group in bindings for item in group if isinstance(item, Binding) and item.id}


def _is_key(key: str) -> bool:
    base = key.rsplit("+", 1)[-1]
    named = {str(item.value) for item in Keys}
    return len(base) == 1 or base in named or base.replace("_", "").isalpha()
