"""Whole runs with the kinds of adapters beside LoRA: trained, exported and verified."""

from __future__ import annotations

from typing import Any

import pytest

from sidestep_tui.core.errors import ExitCode
from sidestep_tui.engine import __main__ as entry
from sidestep_tui.engine import adapters
from sidestep_tui.launch import adapter_files
from sidestep_tui.protocol.rundir import RunDir
from sidestep_tui.protocol.tail import Tail

KINDS = {
    "lokr": {"kind": "lokr", "lokr_factor": 4, "mlp": True},
    "loha": {"kind": "loha", "rank": 2, "attention": "self"},
    "oft": {"kind": "oft", "oft_block_size": 8},
}
FILES = {"lokr": "lokr_weights.safetensors", "loha": "loha_weights.safetensors", "oft": "adapter_model.safetensors"}


def told(run_dir: RunDir, kind: str) -> list[dict[str, Any]]:
    return [event for event in Tail(run_dir.events).read(limit_bytes=2**30) if event["type"] == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_bfloat16_is_trained_exported_and_verified(new_run, kind):
    run_dir, _ = new_run(adapter=KINDS[kind], train={"epochs": 2, "best_after": 0}, memory={"precision": "bfloat16"})
    assert entry.main([str(run_dir.path)]) == ExitCode.DONE, told(run_dir, "error")
    assert any("maximum difference 0" in event["msg"] for event in told(run_dir, "log"))
    final = run_dir.adapter / "final"
    assert (final / FILES[kind]).is_file()
    report = adapter_files.inspect(run_dir.path)
    assert report.kind.lower() == kind
    assert report.warnings == []
    newest = run_dir.latest_checkpoint()
    assert newest is not None
    assert adapters.weights_file(newest).name == FILES[kind]
    assert adapters.weights_file(newest).read_bytes() == (final / FILES[kind]).read_bytes()
