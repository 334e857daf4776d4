"""What a user may say about the interface, in `tui.toml` or for one session.

`[keymap]` maps a binding's id to keys, as in `"wizard.next" = "ctrl+n,f8"`; `sidestep-tui keys` lists the ids.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.keys import Keys

from sidestep_tui.core.errors import SettingsError
from sidestep_tui.core.text import did_you_mean

CONFIG_NAME = "tui.toml"
CHANGED, STOCK = "changed", "stock"
"""The two displays."""

# Terminals cannot tell these from backspace, tab, enter and newline.
_INDISTINCT = frozenset({"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+j"})


@dataclass(frozen=True, slots=True)
class TuiConfig:
    """What a user may say about the interface. Every part is optional."""

    theme: str = ""
    mouse: bool = True
    bell: bool = True
    """Whether the end or the death of a run rings."""
    ascii: bool = False
    """Only signs that every terminal and font has."""
    display: str = CHANGED
    """What is written to the terminal: the cells that changed, or everything that Textual's own path writes, which
    screen readers and recorders may follow better."""
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
    known = {"theme": str, "mouse": bool, "bell": bool, "ascii": bool, "display": str, "keymap": dict}
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(
                f"{path} holds an unknown entry '{key}'.", did_you_mean(key, known), "Correct the file."
            )
        if not isinstance(value, known[key]):
            raise SettingsError(f"'{key}' in {path} has the wrong type.", f"It is {value!r}.", "Correct the file.")
    if raw.get("display", CHANGED) not in (CHANGED, STOCK):
        raise SettingsError(
            f"'display' in {path} is '{raw['display']}'.", f'It is "{CHANGED}" or "{STOCK}".', "Correct the file."
        )
    keymap = raw.get("keymap", {})
    if not all(isinstance(keys, str) for keys in keymap.values()):
        raise SettingsError(f"[keymap] in {path} maps ids to text.", '"wizard.next" = "ctrl+n"', "Correct the file.")
    return TuiConfig(**raw)


def for_session(config: TuiConfig, env: Mapping[str, str]) -> TuiConfig:
    """The configuration with what the environment says about this session; the command line's options land there."""
    if theme := env.get("SIDESTEP_THEME"):
        config = replace(config, theme=theme)
    if env.get("SIDESTEP_DISPLAY") == STOCK:
        config = replace(config, display=STOCK)
    if env.get("SIDESTEP_MOUSE") == "off":
        config = replace(config, mouse=False)
    if env.get("SIDESTEP_ASCII"):
        config = replace(config, ascii=True)
    return config


def key_problem(key: str) -> str:
    """Why a key cannot be used, to be put behind its name; empty if it can."""
    if key in _INDISTINCT:
        return "cannot be told from another key by a terminal"
    return "" if _is_key(key) else "is no key"


def _is_key(key: str) -> bool:
    base = key.rsplit("+", 1)[-1]
    named = {str(item.value) for item in Keys}
    return len(base) == 1 or base in named or base.replace("_", "").isalpha()
