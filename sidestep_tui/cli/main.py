"""The `sidestep-tui` command, and the border where every error becomes a sentence."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from sidestep_tui.core.errors import ExitCode


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code. The command line's border: nothing escapes it as a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    _never_fail_to_print()
    try:
        code = _command(arguments) if arguments else _interface()
        sys.stdout.flush()
        return code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the named border of the command line)
        from sidestep_tui.cli import failures

        return failures.explain(error, as_json="--json" in arguments)


def _interface() -> int:
    # The bare command goes by click: importing it costs 30 ms, which the first frame would have to wait for.
    from sidestep_tui.ui.app import run

    return run()


def _command(arguments: list[str]) -> int:
    from sidestep_tui.cli.commands import cli

    result: object = cli.main(args=arguments, prog_name="sidestep-tui", standalone_mode=False)
    return result if isinstance(result, int) else int(ExitCode.DONE)


def _open_closed_streams() -> None:
    """Give `>&-` a sink: the next file opened would otherwise get the closed stream's number, and our prints."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def _never_fail_to_print() -> None:
    """A terminal or pipe that cannot show a character gets a question mark instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
