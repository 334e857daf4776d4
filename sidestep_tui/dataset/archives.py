"""Songs in a ZIP: unpacked once into the user's cache, so that everything else sees a folder.

A ZIP is not to be trusted. Nothing is written outside of the new folder; only files that a scan would look at are
unpacked; what is unsafe, damaged or not a song is left out with a reason, and an archive made to fill the disk is
refused as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shlex
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from sidestep_tui.core import atomic, paths
from sidestep_tui.core import text as wording
from sidestep_tui.core.errors import DataError, DiskFullError
from sidestep_tui.dataset import archive_names
from sidestep_tui.dataset.archive_names import Entry, LeftOutEntry
from sidestep_tui.dataset.probe import AUDIO_SUFFIXES

_MARK: Final = ".sidestep-archive.json"
"""In an unpacked folder: which archive it came from, and what was left out. Hidden, so that a scan passes over it."""
_MOST_FILES: Final = 50_000
_LARGEST_LISTING: Final = 16 << 20
"""Bytes of a ZIP's table of contents; it is read as a whole, whatever it claims."""
_MOST_GROWTH: Final = 100
_SMALL: Final = 1 << 30
"""A ZIP may grow by this factor when it is unpacked, or to this size."""
_SPARE: Final = 256 << 20
_DAY: Final = 24 * 3600
_BLOCK: Final = 1 << 20
_COPY_AGAIN: Final = "Copy or make the ZIP again."
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    struct.error,
)
"""What `zipfile` raises for entries that it cannot read."""


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of a ZIP."""

    folder: Path
    files: int
    bytes: int
    left_out: tuple[LeftOutEntry, ...]


def is_zip(path: Path) -> bool:
    """Whether `path` is a file that is called a ZIP."""
    return path.suffix.lower() == ".zip" and path.is_file()


def unpacked(archive: Path) -> Path:
    """The folder in the user's cache that holds what `archive` holds; made on first use, and anew when it changes."""
    base = _base()
    with _opened(archive) as source:
        entries, left_out = _contents(archive, source)
        stem = re.sub(r"[^\w-]+", "-", archive.stem)[:40].strip("-") or "songs"
        target = base / f"{stem}-{_digest(archive, source)}"
        if not target.is_dir():
            with _writing(archive, target):
                base.mkdir(parents=True, exist_ok=True, mode=0o700)
                _sweep(base)
                with atomic.publish_dir(target) as scratch:
                    left_out += _extract(source, entries, scratch)
                    _mark(scratch, archive, left_out)
    if is_unpacked(target) != archive:
        _mark(target, archive, list(left_out_of(target)))
    return target


def unpack(archive: Path, target: Path) -> Unpacked:
    """Make a folder of a person's own from `archive`; `DataError` where `target` holds something already."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise DataError(
            f"{target} exists already.", "Nothing was unpacked.", "Choose the name of a folder that does not exist."
        )
    with _opened(archive) as source:
        entries, left_out = _contents(archive, source)
        with _writing(archive, target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic.publish_dir(target) as scratch:
                damaged = _extract(source, entries, scratch)
    written = [entry for entry in entries if entry.name not in {item.name for item in damaged}]
    size = sum(entry.info.file_size for entry in written)
    return Unpacked(target, len(written), size, (*left_out, *damaged))


def is_unpacked(root: Path) -> Path | None:
    """The ZIP that a folder was unpacked from into the cache, where it is not to be edited; None for other folders."""
    home = _home(root)
    if home is None:
        return None
    found = _read_mark(home).get("archive")
    return Path(found) if isinstance(found, str) else home


def left_out_of(root: Path) -> tuple[LeftOutEntry, ...]:
    """What was not unpacked when a ZIP became the folder `root`."""
    home = _home(root)
    listed = _read_mark(home).get("left_out") if home else None
    if not isinstance(listed, list):
        return ()
    return tuple(LeftOutEntry(item["name"], item["code"], item["reason"]) for item in listed)


def refuse_edits(root: Path) -> None:
    """`DataError`, with the way to an editable folder, where `root` is a ZIP or comes from one."""
    archive = root if is_zip(root) else is_unpacked(root)
    if archive is not None:
        shown = shlex.quote(str(archive))
        raise DataError(
            f"{archive.name} is a ZIP, which is never changed.",
            "Its songs are read from a copy in the cache; edits there would be lost.",
            f"Make a folder of it first: sidestep-tui dataset unpack {shown} FOLDER",
        )


def _base() -> Path:
    return paths.cache_place() / "unpacked"


def _sweep(base: Path) -> None:
    """Remove what a killed process left half unpacked a day ago or longer."""
    for path in base.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _DAY:
                shutil.rmtree(path, ignore_errors=True)


def _home(root: Path) -> Path | None:
    """The unpacked folder that `root` is or lies in."""
    try:
        inner = root.resolve().relative_to(_base().resolve())
    except (OSError, ValueError):
        return None
    return _base() / inner.parts[0] if inner.parts else None


def _read_mark(home: Path) -> dict[str, object]:
    try:
        found = json.loads((home / _MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _mark(folder: Path, archive: Path, left_out: list[LeftOutEntry]) -> None:
    atomic.write_json(
        folder / _MARK, {"archive": str(archive), "left_out": [asdict(item) for item in left_out]}, durable=False
    )


@contextlib.contextmanager
def _writing(archive: Path, target: Path) -> Iterator[None]:
    """Say why the cache cannot be written. Another process that was faster has unpacked the same: no failure."""
    try:
        yield
    except OSError as error:
        if not target.is_dir():
            raise DataError(
                f"{archive.name} cannot be unpacked in {paths.shorten(target.parent)}.",
                f"{error.strerror or error}.",
                "Unpack it elsewhere and give the folder: sidestep-tui dataset unpack ZIP FOLDER",
            ) from error


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive with its table of contents read; `DataError` where that cannot be."""
    try:
        listing = _listing_bytes(archive)
        if listing > _LARGEST_LISTING:
            raise DataError(
                f"{archive.name} lists too much.",
                f"Its table of contents has {wording.file_size(listing)}.",
                "Pack the songs and their texts alone.",
            )
        source = zipfile.ZipFile(archive)
    except OSError as error:
        raise DataError(f"{archive.name} cannot be read.", f"{error.strerror or error}.", _COPY_AGAIN) from error
    except _DAMAGE as error:
        raise DataError(
            f"{archive.name} is not a readable ZIP.", f"{error}.".replace("..", "."), _COPY_AGAIN
        ) from error
    with source:
        yield source


def _listing_bytes(archive: Path) -> int:
    """The size of the table of contents by the record at the end of the file, before anything trusts it."""
    with archive.open("rb") as handle:
        size = handle.seek(0, 2)
        handle.seek(max(0, size - 22 - 0xFFFF - 20 - 56))
        tail = handle.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return 0  # zipfile says what is wrong
    (listing,) = struct.unpack("<I", tail[at + 12 : at + 16])
    large = tail.rfind(b"PK\x06\x06", 0, at)
    if listing == 0xFFFFFFFF and large >= 0 and len(tail) >= large + 48:
        (listing,) = struct.unpack("<Q", tail[large + 40 : large + 48])
    return int(listing)


def _contents(archive: Path, source: zipfile.ZipFile) -> tuple[list[Entry], list[LeftOutEntry]]:
    """What is to be unpacked and what is left out; `DataError` for an archive that must not be unpacked at all."""
    infos = source.infolist()
    size = archive.stat().st_size
    _refuse_overlaps(archive, infos)
    entries, left_out = archive_names.sort_out(infos)
    total = sum(entry.info.file_size for entry in entries)
    if len(entries) > _MOST_FILES:
        raise DataError(
            f"{archive.name} holds {wording.plural(len(entries), 'file')}.",
            f"At most {wording.thousands(_MOST_FILES)} are unpacked.",
            "Pack the songs and their texts alone.",
        )
    if total > max(_SMALL, _MOST_GROWTH * size):
        raise DataError(
            f"{archive.name} is not unpacked: it would grow from {wording.file_size(size)} to "
            f"{wording.file_size(total)}.",
            "Music does not shrink like that; such archives are made to fill disks.",
            "If it is yours, unpack it yourself and give the folder.",
        )
    if not any(Path(entry.name).suffix.lower() in AUDIO_SUFFIXES for entry in entries):
        reasons = [item.sentence for item in left_out]
        raise DataError(
            f"No songs in {archive.name}.",
            wording.listing(reasons, most=3) or "It holds no audio files.",
            "wav, flac, ogg, mp3 and opus files are read, in folders of the ZIP too.",
        )
    return entries, left_out


def _refuse_overlaps(archive: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Entries that share their bytes are how a small archive is made to grow without end."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise DataError(
                f"{archive.name} is not unpacked: its entries lie over each other.",
                "Only archives that are damaged, or made to fill disks, do that.",
                _COPY_AGAIN,
            )
        end = info.header_offset + 30 + info.compress_size


def _digest(archive: Path, source: zipfile.ZipFile) -> str:
    """What changes when the archive does: its listing with the checksums, its size and its date."""
    status = archive.stat()
    facts = [[info.filename, info.CRC, info.file_size] for info in source.infolist()]
    plain = json.dumps([1, status.st_size, status.st_mtime_ns, facts])
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _extract(source: zipfile.ZipFile, entries: list[Entry], folder: Path) -> list[LeftOutEntry]:
    """Unpack into an empty folder; returns what turned out to be damaged."""
    _check_room(entries, folder)
    left_out = []
    for entry in entries:
        path = folder.joinpath(*entry.name.split("/"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, entry, path)
        except OSError as error:
            if error.errno in atomic.NO_ROOM:
                raise
            path.unlink(missing_ok=True)
            left_out.append(LeftOutEntry(entry.name, "damaged", f"cannot be unpacked ({error.strerror or error})"))
        except _DAMAGE as error:
            path.unlink(missing_ok=True)
            left_out.append(LeftOutEntry(entry.name, "damaged", f"is damaged in the ZIP ({str(error)[:80]})"))
    return left_out


def _copy(source: zipfile.ZipFile, entry: Entry, path: Path) -> None:
    """One entry, never more of it than it promised; its checksum is compared at the end."""
    left = entry.info.file_size
    with source.open(entry.info) as packed, path.open("xb") as sink:
        while block := packed.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise zipfile.BadZipFile("it is larger than it says")
            sink.write(block)
    if left:
        raise zipfile.BadZipFile("it is smaller than it says")
    path.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH)


def _check_room(entries: list[Entry], folder: Path) -> None:
    needed = sum(entry.info.file_size for entry in entries) + _SPARE
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            "There is no room to unpack the ZIP.",
            f"{wording.file_size(needed)} are needed in {paths.shorten(folder.parent)}, {wording.file_size(free)} "
            "are free.",
            "Free some space, or unpack it elsewhere: sidestep-tui dataset unpack ZIP FOLDER",
        )
