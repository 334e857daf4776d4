"""The ledger: every run this user knows, with what run.toml and the run's directory say about it.

A look at a thousand runs costs a few `stat` calls each: a run is read again only when one of its files has changed or
an engine holds it, and what was read is remembered on disk, so that a run whose disk is away still says what it was.
Sizes on disk are measured apart, since a slow disk takes its time over them.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sidestep_tui.core import atomic, paths
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.protocol import registry
from sidestep_tui.protocol.liveness import Liveness
from sidestep_tui.protocol.lock import is_held
from sidestep_tui.protocol.registry import RunSummary
from sidestep_tui.protocol.rundir import RunDir

_LARGEST_RUN_FILE = 1 << 20
_SESSION = re.compile(rb'"type": ?"session_started"')

_FORMAT = 2

Signature = tuple[str, str, str]
"""What changes when a run's files do: its settings, its snapshot and lock, and everything that takes room."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run was started with, as its run.toml says; empty where it says nothing."""

    job: str = ""
    preset: str = ""
    model: str = ""
    """The checkpoint's folder."""
    variant: str = ""
    kind: str = ""
    rank: int | None = None
    """Of kinds that have one."""
    dataset: str = ""
    """The name of the songs' folder."""
    dataset_path: str = ""
    start_from: str = ""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One run of the ledger; of one that cannot be reached, what was last known."""

    path: Path
    summary: RunSummary | None = None
    facts: RunFacts = RunFacts()
    seconds: float | None = None
    """How long engines have worked on it, pauses between sessions left out; None while that is not known."""
    size: int | None = None
    """Bytes on disk; None until they are measured."""
    reachable: bool = True
    """Whether its directory is there."""
    device: int | None = None
    """On which device it lay when it was read."""

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def is_alive(self) -> bool:
        """Whether an engine holds it."""
        return self.reachable and self.summary is not None and self.summary.is_alive


class Ledger:
    """Reads runs, and remembers what it read for as long as nothing changes. Not for several threads at once."""

    def __init__(self, summarise: Callable[..., RunSummary] = registry.summarise) -> None:
        self._summarise = summarise
        self._read: dict[Path, tuple[Signature, LedgerRow]] = {}
        self._sizes: dict[Path, tuple[str, int]] = {}
        self._loaded = False
        self._saved: tuple[int, int] = (0, 0)
        self.reads = 0
        """How many runs were read so far, rather than remembered."""

    def look(self, folders: Iterable[Path] = (), *, now: float) -> list[LedgerRow]:
        """Every known run: living ones first, then the newest, then those that cannot be reached."""
        self._load()
        rows = []
        for path in registry.run_paths(folders):
            try:
                rows.append(self._row(path, now))
            except OSError:
                rows.append(self._last_known(path))
        rows += [self._last_known(path) for path in self._away()]
        self._save()
        return sorted(rows, key=_order)

    def _row(self, path: Path, now: float) -> LedgerRow:
        run_dir = RunDir(path)
        held = is_held(run_dir)
        signature = signature_of(run_dir)
        known = self._read.get(path)
        if known is None or held or known[0] != signature or known[1].is_alive:
            self.reads += 1
            facts = known[1].facts if known and known[0][0] == signature[0] else read_facts(run_dir.run_toml)
            summary = self._summarise(run_dir, now=now)
            row = LedgerRow(path, summary, facts, seconds_of(run_dir, summary, now), device=path.stat().st_dev)
            self._read[path] = (signature, row)
        measured = self._sizes.get(path)
        return replace(self._read[path][1], size=measured[1] if measured else None)

    def _away(self) -> list[Path]:
        """Runs whose disk is not there: those that are remembered, and those that were read in remembered folders."""
        listed = registry.known()
        of_folders = [path for path in self._read if path.parent in listed.folders or path in listed.folders]
        return [path for path in dict.fromkeys((*listed.runs, *of_folders)) if self._is_away(path, listed)]

    def _is_away(self, path: Path, listed: registry.Known) -> bool:
        known = self._read.get(path)
        return registry.is_away(path, known[1].device if known else listed.devices.get(str(path)))

    def _last_known(self, path: Path) -> LedgerRow:
        known, measured = self._read.get(path), self._sizes.get(path)
        row = known[1] if known else LedgerRow(path)
        return replace(row, size=measured[1] if measured else None, reachable=False)

    def measure(
        self, rows: Iterable[LedgerRow], *, is_cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Path, int]]:
        """Path and size of each run whose size is not known for what its files are now."""
        for row in rows:
            if is_cancelled():
                return
            if not row.reachable:
                continue
            signature = signature_of(RunDir(row.path))[2]
            known = self._sizes.get(row.path)
            if known is None or known[0] != signature:
                self._sizes[row.path] = (signature, size_of(row.path))
                yield row.path, self._sizes[row.path][1]
        self._save()

    # What is remembered between sessions

    def _load(self) -> None:
        """Take over what earlier sessions read; a damaged file is an empty one, since all of it can be read again."""
        if self._loaded:
            return
        self._loaded = True
        try:
            stored = json.loads(_store().read_text(encoding="utf-8"))
            if stored["format"] != _FORMAT:
                return
            for item in stored["runs"]:
                path = Path(item["path"])
                self._read[path] = (_signature_from(item["signature"]), _row_from(path, item))
            self._sizes = {Path(path): (str(sign), int(size)) for path, (sign, size) in stored["sizes"].items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            self._read, self._sizes = {}, {}
        self._saved = (0, len(self._sizes))

    def _save(self) -> None:
        """Remember for the next session, if there is something new."""
        state = (self.reads, len(self._sizes))
        if state == self._saved:
            return
        self._saved = state
        listed = registry.known()
        gone = [path for path in {*self._read, *self._sizes} if not path.is_dir() and not self._is_away(path, listed)]
        for path in gone:
            self._read.pop(path, None)
            self._sizes.pop(path, None)
        runs = [{"path": str(path), "signature": sign, **_plain(row)} for path, (sign, row) in self._read.items()]
        sizes = {str(path): found for path, found in self._sizes.items()}
        with suppress(OSError, SidestepError):  # only speed is lost
            value = {"format": _FORMAT, "runs": runs, "sizes": sizes}
            atomic.write_json(_store(), value, durable=False, indent=None)


def _store() -> Path:
    return paths.state_dir() / "ledger.json"


def _plain(row: LedgerRow) -> dict[str, Any]:
    summary = {**asdict(row.summary), "path": str(row.path)} if row.summary else None
    return {"facts": asdict(row.facts), "summary": summary, "seconds": row.seconds, "device": row.device}


def _row_from(path: Path, stored: Mapping[str, Any]) -> LedgerRow:
    told = stored["summary"]
    summary = RunSummary(**{**told, "path": path, "liveness": Liveness(told["liveness"])}) if told else None
    return LedgerRow(path, summary, RunFacts(**stored["facts"]), stored["seconds"], device=stored["device"])


def _signature_from(stored: object) -> Signature:
    settings, live, rest = stored if isinstance(stored, list) else ("", "", "")
    return str(settings), str(live), str(rest)


def _order(row: LedgerRow) -> tuple[bool, bool, float, str]:
    started = (row.summary.started if row.summary else None) or 0.0
    return (not row.reachable, not row.is_alive, -started, row.name)


def signature_of(run_dir: RunDir) -> Signature:
    """What tells that a run must be read again."""
    rest = (run_dir.events, run_dir.checkpoints, run_dir.adapter, run_dir.samples)
    live = f"{_stat(run_dir.state)} {_stat(run_dir.lock)}"
    return (_stat(run_dir.run_toml), live, " ".join(map(_stat, rest)))


def _stat(path: Path) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 (a third of the cost of Path.stat, seven thousand times a look)
    except OSError:
        return "-"
    return f"{found.st_mtime_ns}:{found.st_size}"


def size_of(path: Path) -> int:
    """Bytes that a directory takes: its files, links not followed. What cannot be read counts nothing."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118
            except OSError:
                continue
    return total


def read_facts(run_toml: Path) -> RunFacts:
    """What the ledger shows of a run.toml; a missing or damaged one says nothing."""
    try:
        with run_toml.open("rb") as handle:
            data = tomllib.loads(handle.read(_LARGEST_RUN_FILE).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return RunFacts()
    about, model = _table(data, "run"), _table(data, "model")
    adapter, songs = _table(data, "adapter"), _table(data, "data")
    kind = _words(adapter, "kind")
    rank = adapter.get("rank")
    whole = kind == "oft" or (kind == "lokr" and adapter.get("lokr_full_matrix") is not False)
    place = _words(songs, "path")
    return RunFacts(
        job=_words(about, "job"),
        preset=_words(about, "preset"),
        model=Path(_words(model, "path")).name,
        variant=_words(model, "variant"),
        kind=kind,
        rank=rank if type(rank) is int and not whole else None,
        dataset=Path(place).name,
        dataset_path=place,
        start_from=_words(adapter, "start_from"),
    )


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, dict) else {}


def _words(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key)
    return value if isinstance(value, str) else ""


def seconds_of(run_dir: RunDir, summary: RunSummary, now: float) -> float | None:
    """From the first word of each session to its last."""
    if summary.started is None:
        return None
    end = now if summary.is_alive else summary.ended
    if end is None:
        return None
    whole = max(end - summary.started, 0.0)
    return max(whole - _breaks(run_dir.events), 0.0) if summary.sessions > 1 else whole


def _breaks(journal: Path) -> float:
    """Seconds between the last word of one session and the first of the next, from the journal's lines around it.

    The journal is searched, not parsed: 64 MB take a twentieth of a second.
    """
    total = 0.0
    try:
        with journal.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            for found in list(_SESSION.finditer(lines))[1:]:
                begin = lines.rfind(b"\n", 0, found.start()) + 1
                # What an engine says before its session has started belongs to it: look for the session before.
                after, end = _time_of(lines, begin), begin
                session = _field(lines, begin, "session")
                while end > 0:
                    start = lines.rfind(b"\n", 0, end - 1) + 1
                    if _field(lines, start, "session") != session:
                        before = _time_of(lines, start)
                        total += max(after - before, 0.0) if after is not None and before is not None else 0.0
                        break
                    after, end = _time_of(lines, start) or after, start
    except (OSError, ValueError):  # gone, or empty
        return total
    return total


def _field(lines: mmap.mmap, start: int, name: str) -> object:
    end = lines.find(b"\n", start)
    try:
        value = json.loads(lines[start : end if end >= 0 else len(lines)])
    except ValueError:
        return None
    return value.get(name) if isinstance(value, dict) else None


def _time_of(lines: mmap.mmap, start: int) -> float | None:
    value = _field(lines, start, "t")
    return float(value) if isinstance(value, (int, float)) else None
