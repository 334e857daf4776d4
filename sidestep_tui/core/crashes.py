"""Tracebacks of mistakes of ours, kept in files where a bug report finds them."""

from __future__ import annotations

import os
import time
from pathlib import Path

from sidestep_tui.core import atomic, paths


def write_log(error: BaseException) -> Path:
    """Keep the traceback of an error; returns the file."""
    import traceback  # 12 ms, which the first frame need not wait for

    path = paths.state_dir() / "crashes" / time.strftime(f"crash-%Y%m%d-%H%M%S-{os.getpid()}.log")
    atomic.write_text(path, "".join(traceback.format_exception(error)), durable=False)
    return path
