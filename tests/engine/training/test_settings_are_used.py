"""No setting without effect."""

from __future__ import annotations

import ast
from pathlib import Path

import sidestep_tui
from sidestep_tui.schema.fields import all_fields

READERS = ("engine", "launch")


def test_every_setting_is_read_somewhere_in_the_engine_or_the_launcher():
    package = Path(sidestep_tui.__file__).parent
    read: set[str] = set()
    for folder in READERS:
        for source in (package / folder).rglob("*.py"):
            tree = ast.parse(source.read_text("utf-8"))
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert [spec.path for spec in all_fields() if spec.name not in read] == []
