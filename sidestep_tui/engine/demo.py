"""`python -m sidestep_tui.engine.demo MODEL_DIR SONGS_DIR`: write the tiny checkpoint and the songs of the demo."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sidestep_tui.core.errors import ExitCode

_USAGE = "usage: python -m sidestep_tui.engine.demo MODEL_DIR SONGS_DIR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both and print where they are; returns the process's exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2 or any(argument.startswith("-") for argument in arguments):
        print(_USAGE, file=sys.stderr)
        return int(ExitCode.USAGE)
    # torch, diffusers and transformers: seconds, so the arguments are looked at first.
    from sidestep_tui.engine import tiny, tiny_songs

    model, songs = map(Path, arguments)
    print(tiny.write_model(model))
    print(tiny_songs.write_songs(songs))
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
