"""What the songs screen costs a slow line: measured on a pseudo-terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.budget.terminal import DOWN, ESC, Terminal
from tests.ui.songs_making import write_folder

RUN = (
    "import sys\nfrom pathlib import Path\nfrom sidestep_tui.ui.app import run\n"
    "from sidestep_tui.ui.songs_place import SongsPlace\nsys.exit(run(songs=SongsPlace(Path('ember').absolute())))"
)


def test_keys_cost_what_they_change(tmp_path: Path) -> None:
    songs = {f"song_{number:02d}": {"caption": "slow piano, brushed drums", "bpm": 90} for number in range(12)}
    write_folder(tmp_path / "ember", songs)
    with Terminal([sys.executable, "-c", RUN], cwd=tmp_path) as terminal:
        terminal.wait_for("from song_00.json")
        terminal.settle()
        budget = {"down": 1500, "mark": 1500, "open filter": 1200, "letter": 700, "close filter": 2000}
        keys = (("down", DOWN), ("mark", " "), ("open filter", "/"), ("letter", "p"), ("close filter", ESC))
        for name, key in keys:
            before = terminal.received
            terminal.send(key)
            terminal.settle(0.5)
            assert 0 < terminal.received - before <= budget[name], (name, terminal.received - before)
        terminal.send("q")
        assert terminal.wait() == 0
