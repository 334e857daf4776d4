"""Every fact about the environment and the terminal, read in one place and from arguments, so that tests can say it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass

MIN_COLUMNS = 60
MIN_ROWS = 18


@dataclass(frozen=True, slots=True)
class TerminalFacts:
    """What the terminal can do. `problem` says in a sentence why the TUI cannot run here, and is empty if it can."""

    term: str
    columns: int
    rows: int
    over_ssh: bool
    in_tmux: bool
    no_color: bool
    ascii_only: bool
    problem: str
    hint: str

    @property
    def usable(self) -> bool:
        """Whether the TUI can run."""
        return not self.problem


def terminal_facts(
    env: Mapping[str, str] | None = None,
    *,
    stdin_is_tty: bool | None = None,
    stderr_is_tty: bool | None = None,
    size: tuple[int, int] | None = None,
) -> TerminalFacts:
    """Look at the terminal. The display is written to standard error, so that must be a terminal, and so must input."""
    env = os.environ if env is None else env
    stdin_is_tty = sys.stdin is not None and sys.stdin.isatty() if stdin_is_tty is None else stdin_is_tty
    stderr_is_tty = sys.stderr is not None and sys.stderr.isatty() if stderr_is_tty is None else stderr_is_tty
    term = env.get("TERM", "")
    problem = ""
    if "TEXTUAL_DRIVER" in env:
        problem = ""  # the screen goes to a browser
    elif not stderr_is_tty:
        problem = "Standard error is not a terminal, and the screen is drawn there."
    elif not stdin_is_tty:
        problem = "Standard input is not a terminal, so no key would ever arrive."
    elif term in ("", "dumb"):
        problem = f"This terminal (TERM={term or 'unset'}) cannot place text on the screen."
    hint = (
        "Follow a run with `sidestep-tui attach --plain`, or train with `sidestep-tui train PRESET --headless`."
        if problem
        else ""
    )
    columns, rows = size or _terminal_size()
    return TerminalFacts(
        term=term,
        columns=columns,
        rows=rows,
        over_ssh="SSH_CONNECTION" in env or "SSH_TTY" in env,
        in_tmux="TMUX" in env or term.startswith(("tmux", "screen")),
        no_color=bool(env.get("NO_COLOR")),
        ascii_only=bool(env.get("SIDESTEP_ASCII")) or _not_unicode(env),
        problem=problem,
        hint=hint,
    )


def too_small(columns: int, rows: int) -> bool:
    """Whether a window is below what the screens are laid out for."""
    return columns < MIN_COLUMNS or rows < MIN_ROWS


def _terminal_size() -> tuple[int, int]:
    size = shutil.get_terminal_size()
    return size.columns, size.lines


def _not_unicode(env: Mapping[str, str]) -> bool:
    locale = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    return locale.upper() in ("C", "POSIX")
