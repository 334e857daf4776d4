"""How other trainers spell precision, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidestep_tui.schema.importers import import_preset


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("bf16-true", "bfloat16"), ("bf16", "bfloat16"), ("fp16", "float16"), ("16-mixed", "float16"), ("no", "float32")],
)
def test_every_spelling_of_precision_is_taken_for_the_frozen_model(tmp_path: Path, theirs: str, ours: str):
    source = tmp_path / "config.yaml"
    source.write_text(f"lora:\n  rank: 32\ntraining:\n  epochs: 5\n  precision: '{theirs}'\n")
    report = import_preset(source)
    assert report.values["memory.precision"] == ours
    (said,) = [row.detail for row in report.rows if row.key.endswith("precision")]
    assert "the adapter itself stays float32" in said
