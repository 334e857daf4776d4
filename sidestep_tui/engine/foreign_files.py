"""`python -m sidestep_tui.engine.foreign_files`: look through a folder of foreign tensors, file by file.

The request comes on standard input as JSON, answers leave on standard output as JSON lines: progress, one line a file,
and at the end a result. A process of its own, because it loads torch and strangers' files.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import ExitCode, SidestepError

SUFFIXES: Final = (".pt", ".pth")
_MOST_FILES: Final = 50_000


def tensor_files(folder: Path) -> Iterator[Path]:
    """The tensor files beneath `folder`, sorted; links are not followed, hidden folders are left alone."""
    seen = 0
    for home, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(home) / name
            if name.lower().endswith(SUFFIXES) and not path.is_symlink() and path.is_file():
                seen += 1
                if seen > _MOST_FILES:
                    return
                yield path


def answer(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Lines for a request: `{"folder": DIR}` looks; with `"out"` and `"variant"` it takes what is usable over."""
    folder = Path(request["folder"])
    files = list(tensor_files(folder))
    if not files:
        yield {"result": {"files": 0}}
        return
    # torch: seconds, which a folder without such files does not wait for.
    from sidestep_tui.engine import adopted, foreign

    if "out" in request:
        yield from adopted.adopt(folder, files, Path(request["out"]), str(request["variant"]))
        return
    for done, path in enumerate(files):
        name = path.relative_to(folder).as_posix()
        yield {"done": done, "total": len(files), "name": name}
        found = foreign.inspect(path)
        if (shown := name.encode("utf-8", "replace").decode()) != name:
            name, found.problem = shown, "has a name that is not UTF-8"
        yield {"file": {"path": name, "bytes": path.stat().st_size, **found.to_dict()}}
    yield {"result": {"files": len(files)}}


def main() -> int:
    """Answer one request; the exit code says whether it could be answered."""
    try:
        for line in answer(json.load(sys.stdin)):
            print(json.dumps(line), flush=True)
    except SidestepError as error:
        print(json.dumps({"error": [error.title, error.message, error.hint]}), flush=True)
        return int(error.exit_code)
    except OSError as error:
        where = error.filename or "The folder"
        print(json.dumps({"error": [f"{where} cannot be used.", f"{error.strerror}.", "Check it."]}), flush=True)
        return int(ExitCode.REFUSED)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
