"""A run's numbers as a file for other tools: CSV, JSON lines or Parquet, written row by row and never over another."""

from __future__ import annotations

import codecs
import csv
import errno
import importlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal, get_args

from sidestep_tui.core.atomic import NO_ROOM
from sidestep_tui.core.errors import DiskFullError, RunError, UsageError
from sidestep_tui.launch import sinks
from sidestep_tui.protocol.events import encode
from sidestep_tui.protocol.rundir import RunDir

Format = Literal["csv", "parquet", "jsonl"]
FORMATS: Final[tuple[str, ...]] = get_args(Format)
HEAD: Final = ("step", "epoch", "t", "session")
ROWS_PER_GROUP: Final = 16_384
"""Rows of a Parquet row group: what is held in memory at a time."""

Row = dict[str, Any]


def missing_package(package: str, extra: str, what: str) -> UsageError:
    """The refusal where an optional package is not installed."""
    return UsageError(
        f"{what} needs the package {package}, which is not installed.",
        "It is optional: training does without it.",
        f"Install it with `pip install 'sidestep-tui[{extra}]'` or `pip install {package}`.",
    )


def default_path(run_dir: RunDir, format: Format) -> Path:
    """`NAME.csv` in the working directory."""
    return Path(f"{run_dir.name}.{format}")


def export(run_dir: RunDir, format: Format, out: Path, metrics: str = "") -> int:
    """Write the run's metrics to `out`; returns the number of rows.

    Raises UsageError for an unknown metric or a missing package, RunError when `out` exists or there is nothing to
    write, DiskFullError; none of them leaves a file.
    """
    if format == "parquet":
        _pyarrow()
    if os.path.lexists(out):
        raise _exists(out)
    with _publishing(out) as handle:
        return write(run_dir, format, handle, metrics)


def write(run_dir: RunDir, format: Format, handle: IO[bytes], metrics: str = "") -> int:
    """Write the run's metrics to an open file; returns the number of rows."""
    found = sinks.survey(run_dir.events)
    if not found.metrics:
        raise RunError(
            f"{run_dir.name} has measured nothing yet.", "Its journal holds no step.", "Export it once it trains."
        )
    chosen = sinks.choose(found.metrics, metrics)
    rows = sinks.rows(run_dir.events, found, chosen)
    return _WRITERS[format](handle, [*HEAD, *chosen], rows)


def _write_csv(handle: IO[bytes], columns: Sequence[str], rows: Iterable[Row]) -> int:
    """RFC 4180 in UTF-8; what was not measured is empty, numbers read back to the last bit, `nan` and `inf` named."""
    writer = csv.writer(codecs.getwriter("utf-8")(handle, "replace"), lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([row.get(name) for name in columns])
        count += 1
    return count


def _write_jsonl(handle: IO[bytes], columns: Sequence[str], rows: Iterable[Row]) -> int:
    """One object a row; what was not measured is absent, `"NaN"` and `"Infinity"` as in the journal."""
    count = 0
    for row in rows:
        handle.write(encode(row))
        count += 1
    return count


def _write_parquet(handle: IO[bytes], columns: Sequence[str], rows: Iterable[Row]) -> int:
    """Steps and epochs as int64, the session as text, everything else as float64; what was not measured is null."""
    pa, parquet = _pyarrow()
    kinds = {"step": pa.int64(), "epoch": pa.int64(), "session": pa.string()}
    schema = pa.schema([(name, kinds.get(name, pa.float64())) for name in columns])
    count = 0
    remaining = iter(rows)
    with parquet.ParquetWriter(handle, schema) as writer:
        while group := list(islice(remaining, ROWS_PER_GROUP)):
            table = {name: [_cell(name, row.get(name)) for row in group] for name in columns}
            writer.write_table(pa.Table.from_pydict(table, schema=schema))
            count += len(group)
    return count


def _cell(name: str, value: Any) -> Any:
    return float(value) if value is not None and name not in ("step", "epoch", "session") else value


_WRITERS: Final[dict[str, Callable[[IO[bytes], Sequence[str], Iterable[Row]], int]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


def _pyarrow() -> tuple[Any, Any]:
    try:
        # Optional, and 60 ms: only this format needs it.
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise missing_package("pyarrow", "parquet", "Parquet") from error


def _exists(path: Path) -> RunError:
    return RunError(f"{path} is there already.", "Existing files are never overwritten.", "Choose another file.")


@contextmanager
def _publishing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` that gets its name once it is whole, unless another has taken it by then."""
    scratch: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        scratch = Path(name)
        with os.fdopen(fd, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        scratch.chmod(0o644)
        _name(scratch, path)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise DiskFullError("The disk is full.", f"{path} was not written.", "Free some space.") from error
        raise RunError(f"{path} cannot be written.", f"{error.strerror or error}.", "Choose another file.") from error
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def _name(scratch: Path, path: Path) -> None:
    try:
        os.link(scratch, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        # A file system without links: looking first is the best there is.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "is there already", str(path)) from error
        scratch.replace(path)
