"""Settings of `speed` that do nothing, or little, are pointed out."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.schema import rules
from sidestep_tui.schema.settings import Settings


def paths(**groups: dict[str, Any]) -> list[str]:
    found = rules.check(Settings.model_validate(groups))
    return [advice.path for advice in found if advice.path.startswith("speed.")]


@pytest.mark.parametrize(("setting", "value"), [("activation_budget", 0.5), ("cuda_graphs", True)])
def test_what_needs_a_compiler_is_pointed_out_without_one(setting: str, value: Any) -> None:
    assert paths(speed={"compile": "off", setting: value}) == [f"speed.{setting}"]
    assert paths(speed={"compile": "on", setting: value}) == []


@pytest.mark.parametrize("groups", [{"adapter": {"kind": "dora"}}, {"data": {"crop_seconds": 0.0}}])
def test_compiling_what_falls_into_pieces_is_warned_about(groups: dict[str, Any]) -> None:
    assert paths(speed={"compile": "on"}, **groups) == ["speed.compile"]
    assert paths(speed={"compile": "auto"}, **groups) == []
