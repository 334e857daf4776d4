"""The order of the list, kept from one session to the next."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.screens.runs.columns import BY_NAME, Order


def keep(order: Order) -> None:
    """Remember the order. A disk that cannot be written costs a key press, no more."""
    with suppress(OSError, SidestepError):
        atomic.write_json(_path(), {"by": order.by, "falling": order.falling}, durable=False, indent=None)


def kept() -> Order:
    """The order of the last session; the ledger's own where there is none, or it cannot be read."""
    try:
        stored = json.loads(_path().read_text(encoding="utf-8"))
        by, falling = stored["by"], stored["falling"]
    except (OSError, ValueError, LookupError, TypeError):
        return Order()
    return Order(by, falling is True) if by in BY_NAME else Order()


def _path() -> Path:
    return paths.state_dir() / "runs-order.json"
