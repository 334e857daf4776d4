"""The dataset doctor: one pass over a folder that finds what would spoil training, and repairs spelling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sidestep_tui.core.errors import DataError
from sidestep_tui.dataset import checks_audio, checks_text, fixes, manifest
from sidestep_tui.dataset.checks_text import Described
from sidestep_tui.dataset.doctor_findings import KINDS, SEVERITIES, Finding, Fix, Severity
from sidestep_tui.dataset.files import walk
from sidestep_tui.dataset.fixes import FIX_CODES, Plan, Written
from sidestep_tui.dataset.layouts import Library
from sidestep_tui.dataset.manifest import Manifest
from sidestep_tui.dataset.sidecars import TxtSetting

Progress = Callable[[str, int, int], None]
"""Called with what is being done (`headers`, `sound`), the number done and the number in all."""
_CODES: Final = list(KINDS)


@dataclass(frozen=True, slots=True)
class Report:
    """What the doctor found in a folder."""

    manifest: Manifest
    audio: tuple[Finding, ...]
    text: tuple[Finding, ...]
    txt_role: TxtSetting = "auto"
    language: str = "unknown"
    tag: str = ""

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
            "root": str(self.manifest.root),
            "songs": len(self.manifest.songs),
            "seconds": self.manifest.seconds,
            "worst": self.worst,
            "counts": self.counts(),
            "codes": dict(Counter(item.code for item in self.findings)),
            "fixable": len(self.fixes()),
            "findings": [item.to_dict() for item in self.findings],
        }


def examine(
    root: Path | str,
    *,
    txt_role: TxtSetting = "auto",
    language: str = "unknown",
    tag: str = "",
    quick: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Look at every song beneath `root`; `quick` reads headers and text only. Nothing is written.

    `DataError` where the folder cannot be scanned or holds no usable song.
    """
    say = progress or (lambda what, done, total: None)
    found = manifest.scan(root, txt_role, language, lambda done, total: say("headers", done, total))
    audio = [*checks_audio.skipped_findings(found.skipped), *checks_audio.header_findings(found)]
    if not quick:
        audio += _listen(found, say)
    return _with_text(found, tuple(audio), txt_role, language, tag)


def fix(report: Report, only: Iterable[str] = ()) -> tuple[Report, list[Written]]:
    """Carry out the fixes of some codes, or all; returns what is left to report, and what was written."""
    chosen = fixes.plan(report.manifest.root, report.fixes(only))
    written = [fixes.write(edit) for edit in chosen.edits]
    if not written:
        return report, []
    found = manifest.scan(report.manifest.root, report.txt_role, report.language)
    return _with_text(found, report.audio, report.txt_role, report.language, report.tag), written


def planned(report: Report, only: Iterable[str] = ()) -> Plan:
    """What `fix` would write."""
    return fixes.plan(report.manifest.root, report.fixes(only))


def _listen(found: Manifest, say: Progress) -> list[Finding]:
    findings: list[Finding] = []
    heard: dict[str, checks_audio.Heard] = {}
    for done, song in enumerate(found.songs):
        say("sound", done, len(found.songs))
        try:
            heard[song.name] = checks_audio.listen(song)
        except DataError as error:
            findings.append(checks_audio.damage(song, error))
            continue
        findings += checks_audio.sound_findings(song, heard[song.name])
    say("sound", len(found.songs), len(found.songs))
    return [*findings, *checks_audio.duplicate_findings(found, heard)]


def _with_text(found: Manifest, audio: tuple[Finding, ...], txt_role: TxtSetting, language: str, tag: str) -> Report:
    songs = _describe(found)
    findings = [finding for item in songs for finding in checks_text.song_findings(item, tag)]
    findings += checks_text.folder_findings(songs, found, tag)
    plan = fixes.plan(found.root, [item.fix for item in findings if item.fix])
    settled = [
        replace(item, not_fixable=plan.problems[item.fix]) if item.fix in plan.problems and item.fix else item
        for item in dict.fromkeys(findings)
    ]
    return Report(found, audio, tuple(settled), txt_role, language, tag)


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
