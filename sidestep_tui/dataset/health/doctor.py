"""The dataset doctor: one pass over a folder that finds what would spoil training, and repairs spelling."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import archives, manifest
from sidestep_tui.dataset.captions import TagPosition
from sidestep_tui.dataset.editing import fixes
from sidestep_tui.dataset.editing.fixes import FIX_CODES, Edit, Plan, Written
from sidestep_tui.dataset.files import walk
from sidestep_tui.dataset.health import checks_audio, checks_text, listening
from sidestep_tui.dataset.health.checks_text import Described, Reader
from sidestep_tui.dataset.health.doctor_findings import KINDS, SEVERITIES, SOUND, Finding, Fix, Severity
from sidestep_tui.dataset.health.duplicates import duplicate_findings
from sidestep_tui.dataset.layouts import Library
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.dataset.sidecars import TxtSetting

Progress = Callable[[str, int, int], None]
"""Called with what is being done (`headers`, `sound`, `words`), the number done and the number in all."""
_CODES: Final = list(KINDS)


@dataclass(frozen=True, slots=True)
class Options:
    """How the folder is meant to be read."""

    txt_role: TxtSetting = "auto"
    language: str = "unknown"
    """For lyrics that do not name their own."""
    tag: str = ""
    """Trigger tag that every caption should have; empty looks for one."""
    tag_is_added: bool = False
    """Whether training puts the tag into every caption, so that none need have it."""
    tag_position: TagPosition = "prepend"
    tokenizer: str = ""
    """Directory of the tokenizer that counts; empty estimates."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found in a folder."""

    root: Path
    files: Mapping[str, str]
    """Path of each song's audio from the root, by the name of the song."""
    seconds: float
    audio: tuple[Finding, ...]
    text: tuple[Finding, ...]
    options: Options = field(default_factory=Options)

    @property
    def findings(self) -> list[Finding]:
        """All findings, the gravest first."""
        everything = [*self.audio, *self.text]
        return sorted(
            everything, key=lambda item: (SEVERITIES.index(item.severity), _CODES.index(item.code), item.song)
        )

    @property
    def worst(self) -> Severity | None:
        """The gravest severity; None when nothing was found."""
        return self.findings[0].severity if self.findings else None

    def counts(self) -> dict[str, int]:
        """Findings by severity."""
        seen = Counter(item.severity for item in self.findings)
        return {severity: seen[severity] for severity in SEVERITIES}

    def fixes(self, only: Iterable[str] = ()) -> list[Fix]:
        """The fixes that can be carried out, of some codes or of all."""
        codes = set(only) or set(FIX_CODES)
        return [item.fix for item in self.findings if item.fix and item.is_fixable and item.fix.code in codes]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "root": str(self.root),
            "songs": len(self.files),
            "seconds": self.seconds,
            "worst": self.worst,
            "counts": self.counts(),
            "codes": dict(Counter(item.code for item in self.findings)),
            "fixable": len(self.fixes()),
            "tokens": "counted" if self.options.tokenizer else "estimated",
            "findings": [item.to_dict() for item in self.findings],
            "files": dict(self.files),
            "options": asdict(self.options),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Report:
        """The report that `to_dict` wrote."""
        findings = [Finding.from_dict(item) for item in plain["findings"]]
        return cls(
            root=Path(plain["root"]),
            files=plain["files"],
            seconds=plain["seconds"],
            audio=tuple(item for item in findings if item.code in SOUND),
            text=tuple(item for item in findings if item.code not in SOUND),
            options=Options(**plain["options"]),
        )


def examine(
    root: Path | str,
    *,
    txt_role: TxtSetting = "auto",
    language: str = "unknown",
    tag: str = "",
    tag_is_added: bool = False,
    tag_position: TagPosition = "prepend",
    tokenizer: Path | str = "",
    quick: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Look at every song beneath `root`; `quick` reads headers and text only. Nothing is written.

    A folder without a single usable song has a report too. `DataError` where there is no folder that can be opened,
    `ModelError` where the tokenizer cannot be read.
    """
    say = progress or (lambda what, done, total: None)
    options = Options(txt_role, language, tag, tag_is_added, tag_position, str(tokenizer))
    reader = _reader(options)
    found = _scan(Path(root), options, lambda done, total: say("headers", done, total))
    audio = [*checks_audio.skipped_findings(found.skipped), *checks_audio.header_findings(found)]
    if not quick:
        audio += _listen(found, say)
    return _with_text(found, tuple(audio), options, reader, say)


def fix(
    report: Report,
    only: Iterable[str] = (),
    *,
    chosen: Sequence[Fix] | None = None,
    agreed: Mapping[str, str] | None = None,
) -> tuple[Report, list[Written]]:
    """Carry out the fixes of some codes, or all, or those `chosen`; returns what is left to report, and what was
    written.

    `agreed` are the digests of `preview` by path: where given, only files whose edit is still the one that was shown
    are written.
    """
    archives.refuse_edits(report.root)
    plan = planned(report, only, chosen=chosen)
    written = [_write(edit, agreed) for edit in plan.edits]
    if not written:
        return report, []
    found = _scan(report.root, report.options, None)
    return _with_text(found, report.audio, report.options, _reader(report.options)), written


def planned(report: Report, only: Iterable[str] = (), *, chosen: Sequence[Fix] | None = None) -> Plan:
    """What `fix` would write."""
    return fixes.plan(report.root, report.fixes(only) if chosen is None else chosen)


def preview(plan: Plan) -> list[dict[str, Any]]:
    """The files that a plan writes, as plain JSON values: where each is kept, and every value before and after."""
    return [
        {
            "path": edit.origin,
            "backup": _backup_name(edit.path),
            "digest": _digest(edit),
            "changes": [
                {**asdict(change.fix), "before": change.before, "after": change.after} for change in edit.changes
            ],
        }
        for edit in plan.edits
    ]


def _write(edit: Edit, agreed: Mapping[str, str] | None) -> Written:
    if agreed is not None and agreed.get(edit.origin) != _digest(edit):
        return Written(edit, problem="has changed meanwhile")
    return fixes.write(edit)


def _digest(edit: Edit) -> str:
    return hashlib.sha256(hashlib.sha256(edit.before).digest() + edit.after).hexdigest()


def _backup_name(path: Path) -> str:
    """The name that a backup will get, as `fixes.write` chooses it."""
    number = 1
    while path.with_name(f"{path.name}.bak{number if number > 1 else ''}").exists():
        number += 1
    return f"{path.name}.bak{number if number > 1 else ''}"


def _reader(options: Options) -> Reader:
    return checks_text.reader(options.tag, options.tag_position, options.tokenizer)


def _scan(root: Path, options: Options, progress: Callable[[int, int], None] | None) -> Manifest:
    return manifest.scan(root, options.txt_role, options.language, progress, may_be_empty=True)


def _listen(found: Manifest, say: Progress) -> list[Finding]:
    findings: list[Finding] = []
    heard: dict[str, listening.Heard] = {}
    results = listening.listen_to_all(found.songs, lambda done, total: say("sound", done, total))
    for song in found.songs:
        result = results[song.name]
        if isinstance(result, DataError):
            findings.append(checks_audio.damage(song, result))
        else:
            heard[song.name] = result
            findings += checks_audio.sound_findings(song, result)
    return [*findings, *duplicate_findings(found, heard)]


def _with_text(
    found: Manifest,
    audio: tuple[Finding, ...],
    options: Options,
    reader: Reader,
    say: Progress = lambda what, done, total: None,
) -> Report:
    songs = _describe(found)
    findings: list[Finding] = []
    for done, item in enumerate(songs):
        say("words", done, len(songs))
        findings += checks_text.song_findings(item, reader)
    findings += checks_text.folder_findings(songs, found, options.tag, tag_is_added=options.tag_is_added)
    problems = _problems(found.root, [item.fix for item in findings if item.fix])
    settled = [
        replace(item, not_fixable=problems[item.fix]) if item.fix and item.fix in problems else item
        for item in dict.fromkeys(findings)
    ]
    say("words", len(songs), len(songs))
    files = {item.song.name: item.path for item in songs}
    return Report(found.root, files, found.seconds, audio, tuple(settled), options)


def _problems(root: Path, wanted: Sequence[Fix]) -> Mapping[Fix, str]:
    """Why some fixes cannot be carried out."""
    if archives.is_unpacked(root) is not None:
        return dict.fromkeys(wanted, "lies in a ZIP, which is never changed")
    return fixes.plan(root, wanted).problems


def _describe(found: Manifest) -> list[Described]:
    """All that the sidecars say, before it is merged: a malformed value is not in the manifest any more."""
    tree = walk(found.root)
    library = Library.open(tree)
    places = {path: (folder, name) for folder in tree.folders for name, path in folder.files.items()}
    described = []
    for song in found.songs:
        if song.audio in places:  # gone meanwhile otherwise
            folder, name = places[song.audio]
            described.append(Described(song, folder.where(name), tuple(library.describe(folder, name))))
    return described
