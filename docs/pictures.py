"""Make the README's pictures from the snapshots that the tests compare with.

`uv run python docs/pictures.py` after a change of the screens; needs a monospace font with Braille (DejaVu Sans Mono).
"""

from __future__ import annotations

from pathlib import Path

import resvg_py

HERE = Path(__file__).resolve().parent
SNAPSHOTS = HERE.parent / "tests" / "ui" / "__snapshots__"
FONT = "DejaVu Sans Mono"
PICTURES = {
    "wizard": "test_snapshots_wizard/test_page_of_the_expert[adapter-120x40].svg",
    "presets": "test_snapshots_presets/test_list[120x40].svg",
    "compare": "test_snapshots_runs/test_four_runs_by_minutes_with_a_cursor.svg",
    "songs": "test_snapshots_songs/test_marks_edits_reviews_and_what_was_heard[120x40].svg",
    "dashboard": "test_snapshots_dashboard/test_dashboard[live-120x40].svg",
}


def main() -> None:
    """Write one PNG for each picture beside this file."""
    for name, snapshot in PICTURES.items():
        svg = (SNAPSHOTS / snapshot).read_text(encoding="utf-8").replace("Fira Code", FONT)
        (HERE / f"{name}.png").write_bytes(bytes(resvg_py.svg_to_bytes(svg_string=svg, font_family=FONT)))
        print(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
