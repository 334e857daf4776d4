"""JSON and YAML presets of other trainers as plain mappings, with the keys that they give twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidestep_tui.core.errors import SettingsError

# Presets are a page of text; what is far beyond that takes parsers minutes.
LARGEST_LIST: Final = 100_000
_MOST_BRACKETS: Final = 1000


def parse_json(content: str, shown: str) -> tuple[Mapping[str, Any], list[str]]:
    """The top mapping of a JSON text, and the keys that are twice anywhere in it; `shown` names it in refusals."""
    doubles: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        doubles.extend(_twice(key for key, _ in pairs))
        return dict(pairs)

    try:
        value = json.loads(content, object_pairs_hook=collect)
    except (ValueError, RecursionError) as error:
        hint = "Presets are .toml, .json or .yaml files, or lists of settings in a .txt file."
        raise SettingsError(f"{shown} is not valid JSON.", f"{error}.", hint) from error
    return _mapping(shown, value), doubles


def parse_yaml(content: str, shown: str) -> tuple[Mapping[str, Any], list[str]]:
    """The top mapping of a YAML text, and the keys in it that are there twice. Nothing but plain values is built."""
    if len(content) > LARGEST_LIST or content.count("[") + content.count("{") > _MOST_BRACKETS:
        raise SettingsError(f"{shown} is too long or nested too deeply for a preset.", "", "Check the path.")
    try:
        # PyYAML costs 45 ms to import and only this format needs it.
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise SettingsError(
            "YAML cannot be read here.", "The package pyyaml is missing.", "Install it: pip install pyyaml"
        ) from error
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(content, Loader=yaml.SafeLoader)):
            # A few lines of aliases of aliases stand for gigabytes, and no preset needs them.
            raise SettingsError(f"{shown} uses YAML aliases (*name).", "", "Write the values out.")
        node = yaml.compose(content, Loader=yaml.SafeLoader)
        value = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{shown} is not valid YAML.", f"{reason}.", "Check its indentation.") from error
    keys = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    return _mapping(shown, value), _twice(keys)


def _twice(keys: Iterable[str]) -> list[str]:
    return sorted(key for key, count in Counter(keys).items() if count > 1)


def _mapping(shown: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not value:
        raise SettingsError(
            f"{shown} is not a preset.",
            "It holds no list of settings with their names.",
            "Check that it is a training preset.",
        )
    return value
