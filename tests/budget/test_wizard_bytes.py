"""What the wizard costs a slow line, and how it leaves: measured on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.budget.terminal import DOWN, ENTER, F1, F7, RIGHT, Terminal, ctrl
from tests.ui.places import write_checkpoint

RUN = "import sys; from sidestep_tui.ui.app import run; sys.exit(run(start='wizard'))"


def start(cwd: Path, *, columns: int = 120, rows: int = 40, code: str = RUN, **more: object) -> Terminal:
    return Terminal([sys.executable, "-c", code], cwd=cwd, columns=columns, rows=rows, **more)  # type: ignore[arg-type]


def test_an_idle_wizard_sends_nothing(tmp_path: Path) -> None:
    with start(tmp_path) as terminal:
        terminal.wait_for("Optimizer")
        terminal.wait_for("GiB")
        terminal.settle(1.0)
        assert terminal.quiet_bytes(3) == 0


STEP, MOVE, TYPED = 4096, 900, 150
"""Bytes that a step change, a move to another row, and a key in a field may cost (120x40, 256 colours)."""


def cost(terminal: Terminal, *keys: str, quiet: float = 0.3) -> int:
    """What arrives between a key and the next rest."""
    before = terminal.received
    terminal.send(*keys)
    terminal.settle(quiet)
    return terminal.received - before


def test_keys_cost_what_they_change(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoints")
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        terminal.settle(1.0)
        steps = [cost(terminal, key) for key in [ctrl("n")] * 5 + [F7]]
        assert all(0 < each <= STEP for each in steps), steps
        terminal.send(F7, F7)
        terminal.wait_for("▸ kind")
        terminal.settle()
        moves = [cost(terminal, DOWN) for _ in range(2)]
        assert all(0 < each <= MOVE for each in moves), moves
        terminal.send("g", RIGHT)
        terminal.wait_for("‹dora›")
        assert 0 < cost(terminal, F1) <= 11_000


def test_a_key_in_a_field_costs_little_more_than_its_letter(tmp_path: Path) -> None:
    """Also on a line of 8 kB/s, typing is felt at once; what follows from it is painted when the typing rests."""
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        terminal.send(ctrl("n"), ctrl("n"), DOWN)
        terminal.wait_for("▸ rank")
        terminal.settle(1.0)
        before = terminal.received
        for text in ("1", "12", "128"):
            terminal.send(text[-1])
            terminal.wait_for(f"rank                   {text}")
        typed = terminal.received - before
        assert 0 < typed <= 3 * TYPED, typed
        terminal.wait_for("yours")


def test_a_kill_while_typing_loses_the_last_moment_at_most(tmp_path: Path) -> None:
    """Somebody who types on without a rest is saved all the same."""
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        terminal.settle()
        typed = ""
        drafts = list((tmp_path / ".state").rglob("drafts/*.json"))
        while len(typed) < 400 and not any('"text": "x' in draft.read_text() for draft in drafts):
            typed += "x"
            terminal.send("x")
            terminal.read_for(0.02)
            drafts = list((tmp_path / ".state").rglob("drafts/*.json"))
        terminal.process.kill()
    (draft,) = drafts
    kept = json.loads(draft.read_text())["typed"]["model.path"]["text"]
    assert kept == "x" * len(kept) != ""


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_the_screen_of_a_real_terminal_is_whole(tmp_path: Path, columns: int, rows: int) -> None:
    with start(tmp_path, columns=columns, rows=rows) as terminal:
        terminal.wait_for("GiB")
        terminal.send(ctrl("n"), ctrl("n"), ENTER, "7", F7)
        terminal.wait_for("2/6 Data")
        terminal.send(ctrl("n"))
        terminal.wait_for("▸ kind")
        terminal.settle()
        shown = terminal.text
        terminal.send(ctrl("l"))
        terminal.settle()
        assert terminal.text == shown
        assert "rank" in shown
        assert "^p Palette" in shown


def test_the_first_screen_needs_no_model_library(tmp_path: Path) -> None:
    code = (
        "import atexit, json, pathlib, sys\n"
        "atexit.register(lambda: pathlib.Path('modules.json').write_text(json.dumps(sorted(sys.modules))))\n" + RUN
    )
    with start(tmp_path, code=code) as terminal:
        terminal.wait_for("GiB")
        terminal.send(ctrl("q"))
        assert terminal.wait() == 0
    loaded = set(json.loads((tmp_path / "modules.json").read_text()))
    heavy = {"torch", "numpy", "transformers", "diffusers", "peft", "torchaudio", "scipy"}
    assert not loaded & heavy


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_leaves_in_order_and_keeps_what_was_typed(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        terminal.send("/some/where")
        terminal.wait_for("/some/where")
        terminal.process.send_signal(number)
        assert terminal.wait() == 128 + number
    (draft,) = (tmp_path / ".state").rglob("drafts/*.json")
    assert "/some/where" in draft.read_text()


def test_a_hangup_of_the_line_ends_it_in_order(tmp_path: Path) -> None:
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        terminal.send("/some/where")
        terminal.wait_for("/some/where")
        terminal.hang_up()
        assert terminal.wait() == 128 + signal.SIGHUP
    (draft,) = (tmp_path / ".state").rglob("drafts/*.json")
    assert "/some/where" in draft.read_text()


def test_output_that_is_no_terminal_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("wb") as errors, start(tmp_path, stderr_to=errors.fileno()) as terminal:
        assert terminal.wait() == 2
    assert "attach --plain" in (tmp_path / "errors").read_text()


def test_a_dumb_terminal_is_refused_without_a_single_escape(tmp_path: Path) -> None:
    with start(tmp_path, term="dumb") as terminal:
        code = terminal.wait()
        assert code == 2
        assert "TERM=dumb" in terminal.text


def test_the_process_leaves_no_children(tmp_path: Path) -> None:
    with start(tmp_path) as terminal:
        terminal.wait_for("GiB")
        children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children")
        if not children.exists():
            pytest.skip("this kernel does not list children")
        assert children.read_text() == ""
        os.kill(terminal.process.pid, signal.SIGTERM)
        terminal.wait()
