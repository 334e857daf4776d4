"""A screen at rest sends nothing, whichever it is: one walk through all of them on a pseudo-terminal.

A new place gets a line in `WALK`: the keys that lead there from the place before, and a text that says it is shown.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sidestep_tui.engine.fake_history import write_run
from tests.budget.terminal import ESC, F1, F2, F3, F6, F9, F10, Terminal, ctrl
from tests.ui.places import write_checkpoint, write_songs

RUN = (
    "import sys; from pathlib import Path\n"
    "from sidestep_tui.schema import drafts\nfrom sidestep_tui.ui.screens.wizard.screen import fresh_draft\n"
    "draft = fresh_draft('vram_12gb'); draft.set('model.path', 'checkpoints/acestep-v15-turbo')\n"
    "draft.set('data.path', 'songs'); drafts.save(draft, 1.0)\n"
    "from sidestep_tui.ui.app import run; sys.exit(run(run=Path('runs/live')))"
)
# Longer than the second in which a clock would tick, and a cursor blink.
REST = 1.05

WALK: list[tuple[str, list[str], str]] = [
    ("the dashboard of a silent engine", [], "● training"),
    ("the settings of a run", ["i"], "what it is made of"),
    ("the runs", [ESC, F2], "finished"),
    ("a filter being typed", ["/"], "words"),
    ("the wizard's first step", [ESC, F3], "1/6 Model"),
    ("its songs", [ctrl("n")], "2/6 Dataset"),
    ("its review", [F9], "6/6 Review"),
    ("help", [F1], "esc closes"),
    ("the palette", ["q", ctrl("p")], "Search for commands"),
    ("the songs", [ESC, F10], "song_00"),
    ("the doctor", ["d"], "tries again"),
    ("the slicer", [ESC, "z"], "song_00"),
    ("the presets", [ESC, F3, ctrl("f")], "vram_12gb"),
    ("the table of settings", ["q", F6], "All settings"),
    ("two runs side by side", [ESC, F2, "g", " ", " ", "="], "compare 2 runs"),
]


def test_no_screen_sends_a_byte_while_nothing_happens(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoints")
    write_songs(tmp_path / "songs", 3)
    with (
        write_run(tmp_path / "runs" / "finished", "finished", steps=400),
        write_run(tmp_path / "runs" / "live", "live", steps=400),
        Terminal([sys.executable, "-c", RUN], cwd=tmp_path) as terminal,
    ):
        busy = {}
        for place, keys, text in WALK:
            for key in keys:
                terminal.send(key)
                if key == ESC:  # what follows at once would be a key with alt
                    terminal.settle(0.2)
            terminal.wait_for(text, timeout=20)
            # What still comes of the keys comes to an end; what moves by itself does not.
            sent = [terminal.quiet_bytes(REST)]
            while sent[-1] and len(sent) < 5:
                sent.append(terminal.quiet_bytes(REST))
            if sent[-1]:
                busy[place] = sent
        assert busy == {}
