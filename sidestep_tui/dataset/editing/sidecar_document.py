"""A sidecar being edited: its text, its encoding and line ends, and how it looked before."""

from __future__ import annotations

import os
import stat
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sidestep_tui.dataset.editing import rewriting, sidecar_forms
from sidestep_tui.dataset.editing.fixes_slots import NotFixableError, decode_exactly
from sidestep_tui.dataset.editing.sidecar_forms import Splice
from sidestep_tui.dataset.editing.sidecar_places import Form, Spot
from sidestep_tui.dataset.files import UnreadableTextError
from sidestep_tui.dataset.tables import SongNames


@dataclass(slots=True)
class Document:
    """The sidecar at `origin`; `before` is None where it is to be created."""

    origin: str
    path: Path
    """Behind links."""
    form: Form
    before: bytes | None
    mode: int
    _mark: bytes = b""
    _encoding: str = "utf-8"
    _raw: str = ""
    failed: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def open(cls, root: Path, spot: Spot, audio: Path) -> Document:
        """Read a file, or begin one beside `audio`; `RefusedError` where it may not be written."""
        if os.path.lexists(root / spot.origin):
            path, mode = rewriting.target(root, spot.origin)
            before = path.read_bytes()
            mark, encoding, raw = decode_exactly(before)
            return cls(spot.origin, path, spot.form, before, mode, mark, encoding, raw)
        parent = (root / PurePosixPath(spot.origin).parent).resolve(strict=True)
        if not parent.is_relative_to(root.resolve()):
            raise rewriting.RefusedError("lies outside the folder")
        if not os.access(parent, os.W_OK) or not parent.stat().st_mode & 0o222:
            raise rewriting.RefusedError("cannot be created: the folder is write-protected")
        path = parent / PurePosixPath(spot.origin).name
        return cls(spot.origin, path, spot.form, None, stat.S_IMODE(audio.stat().st_mode) & 0o666 | 0o600)

    @property
    def text(self) -> str:
        """The text with plain newlines."""
        return self._raw.replace("\r\n", "\n")

    @property
    def after(self) -> bytes:
        """The bytes to be written."""
        return self._mark + self._raw.encode(self._encoding)

    def put(self, wanted: dict[tuple[str, str], str], names: SongNames) -> dict[tuple[str, str], NotFixableError]:
        """Put in values by song path and field; returns those for which there is no place."""
        failed: sidecar_forms.Failed = {}
        if self.form in ("table", "samples"):
            put = sidecar_forms.in_table if self.form == "table" else sidecar_forms.in_dataset_json
            try:
                splices, failed = put(self.text, self.origin, wanted, names)
            except (NotFixableError, UnreadableTextError) as error:
                return dict.fromkeys(wanted, NotFixableError(str(error)))
            self._apply(splices)
            return failed
        for key, value in wanted.items():
            try:
                self._apply(self._splices(key[1], value))
            except NotFixableError as error:
                failed[key] = error
        return failed

    def _splices(self, item: str, value: str) -> list[Splice]:
        if self.form == "json":
            return sidecar_forms.in_json(self.text, item, value)
        if self.form == "lines":
            return sidecar_forms.in_lines(self.text, item, value)
        if self.form == "tagged":
            return sidecar_forms.in_tagged(self.text, item, value)
        return sidecar_forms.in_plain(self.text, value)

    def _apply(self, splices: Iterable[Splice]) -> None:
        """Carry out splices of `text` on the text as it is, with the line ends that the file has."""
        breaks = _breaks(self._raw)
        newline = "\r\n" if len(breaks) * 2 > self._raw.count("\n") else "\n"
        moved = [
            Splice(
                splice.start + bisect_left(breaks, splice.start),
                splice.end + bisect_left(breaks, splice.end),
                splice.new.replace("\n", newline),
            )
            for splice in splices
        ]
        self._raw = sidecar_forms.spliced(self._raw, moved)


def _breaks(raw: str) -> list[int]:
    """Where the line ends of two characters stand, counted in the text in which they have one."""
    found: list[int] = []
    at = raw.find("\r\n")
    while at >= 0:
        found.append(at - len(found))
        at = raw.find("\r\n", at + 2)
    return found
