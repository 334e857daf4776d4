"""What the browser of presets costs a slow line: measured on a pseudo-terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.budget.terminal import DOWN, ENTER, ESC, Terminal, ctrl

RUN = "import sys; from sidestep_tui.ui.app import run; sys.exit(run(start='wizard'))"


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_no_key_is_lost_an_idle_browser_sends_nothing_and_keys_cost_what_they_change(
    tmp_path: Path, columns: int, rows: int
) -> None:
    with Terminal([sys.executable, "-c", RUN], cwd=tmp_path, columns=columns, rows=rows) as terminal:
        terminal.wait_for("GiB")
        # All at once, as a slow line delivers them: none is lost while the list is being read.
        terminal.send(ctrl("f") + DOWN + ENTER)
        terminal.wait_for("preset high_quality")
        terminal.send(ctrl("f"))
        terminal.wait_for("against the draft")
        terminal.wait_for("changes nothing")
        while "takes it back" in terminal.text:
            terminal.settle(0.5)
        terminal.settle(1.0)
        assert terminal.quiet_bytes(2) == 0
        budget = {"down": 1500, "filter": 700, "letter": 3000, "close": 3000, "apply": 6000}
        keys = [*[("down", DOWN)] * 8, ("filter", "/"), ("letter", "q"), ("close", ESC), ("apply", ENTER)]
        for name, key in keys:
            before = terminal.received
            terminal.send(key)
            terminal.settle(0.5)
            cost = terminal.received - before
            assert 0 < cost <= budget[name], (name, cost)
