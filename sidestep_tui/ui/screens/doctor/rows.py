"""What the doctor found as rows: kinds with their findings, folded or open, and a pane about the one in focus. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Final

from rich.cells import cell_len, set_cell_size

from sidestep_tui.core import text
from sidestep_tui.dataset.health.doctor_findings import Finding, Fix
from sidestep_tui.ui.theme import Glyphs
from sidestep_tui.ui.widgets.rows import Row, Span, fit, row, spread, width_of

Shown = Mapping[Fix, tuple[str, str]]
"""What each fix would write: the value before and after."""

STYLES: Final = {"error": "bad", "warning": "warn", "advice": "accent"}
PLURALS: Final = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "advice": ("advice", "advice")}
_OPEN_AT_FIRST: Final = 5
"""Kinds with more findings begin folded, so that all kinds are seen at a glance."""
_LABEL: Final = 6
_INDENT: Final = 12
_EXCERPT: Final = 12
"""Letters shown before the first difference of two long values."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Findings of one code and severity."""

    key: str
    severity: str
    findings: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """What is found."""
        return self.findings[0].kind.title

    @property
    def fixes(self) -> list[Fix]:
        """What can be carried out."""
        return [item.fix for item in self.findings if item.fix and item.is_fixable]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list: a kind, or one of its findings."""

    kind: Kind
    finding: Finding | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is recognised by when the list changes."""
        return (self.kind.key, self.finding.song, self.finding.sentence) if self.finding else (self.kind.key, "", "")

    @property
    def fixes(self) -> list[Fix]:
        """What can be carried out for this line."""
        if self.finding is None:
            return self.kind.fixes
        return [self.finding.fix] if self.finding.fix and self.finding.is_fixable else []


def kinds_of(findings: Sequence[Finding], wanted: str = "") -> list[Kind]:
    """Findings that hold `wanted`, by kind, the gravest first (as a report sorts them)."""
    needle = wanted.casefold()
    fitting = [item for item in findings if needle in _haystack(item)] if needle else findings
    return [
        Kind(f"{severity} {code}", severity, tuple(same))
        for (severity, code), same in groupby(fitting, key=lambda item: (item.severity, item.code))
    ]


def _haystack(item: Finding) -> str:
    fixable = "fixable" if item.is_fixable else ""
    return f"{item.severity} {item.code} {item.kind.title} {item.song} {item.sentence} {fixable}".casefold()


def folded_at_first(kinds: Sequence[Kind]) -> set[str]:
    """The kinds that begin folded."""
    return {kind.key for kind in kinds if len(kind.findings) > _OPEN_AT_FIRST}


def lines_of(kinds: Sequence[Kind], folded: Collection[str]) -> list[Line]:
    """The lines of the list."""
    lines = []
    for kind in kinds:
        lines.append(Line(kind))
        if kind.key not in folded:
            lines += [Line(kind, item) for item in kind.findings]
    return lines


def changes_of(preview: Sequence[Mapping[str, Any]]) -> dict[Fix, tuple[str, str]]:
    """What `doctor.preview` says about each fix."""
    return {
        Fix(**{name: value for name, value in change.items() if name not in ("before", "after")}): (
            change["before"],
            change["after"],
        )
        for file in preview
        for change in file["changes"]
    }


# The list


def severity_sign(severity: str, glyphs: Glyphs) -> str:
    """A sign that differs without colour."""
    return {"error": glyphs.bad, "warning": glyphs.warn, "advice": glyphs.todo}[severity]


def line_row(line: Line, width: int, glyphs: Glyphs, *, selected: bool, folded: bool, name_width: int) -> Row:
    """One line; the selected one fills the width with its background."""
    cells = _kind_cells(line.kind, width, glyphs, folded) if line.finding is None else ()
    if line.finding is not None:
        cells = _finding_cells(line.finding, width, name_width)
    shown = fit(cells, width)
    if not selected:
        return shown
    rest = width - width_of(shown)
    return (*((part, "selected") for part, _ in shown), (" " * rest, "selected"))


def name_width_of(kinds: Sequence[Kind], width: int) -> int:
    """Room for the names of songs: what the longest takes, up to a third of the width."""
    longest = max((cell_len(item.song) for kind in kinds for item in kind.findings), default=0)
    return min(longest, max(12, width // 3))


def _kind_cells(kind: Kind, width: int, glyphs: Glyphs, folded: bool) -> Row:
    fold = glyphs.focus if folded else ("v" if glyphs.focus == ">" else "▾")
    fixable = len(kind.fixes)
    many = "" if not fixable else "fixable" if fixable == len(kind.findings) else f"{fixable} fixable"
    left = row(
        f" {fold} ",
        (f"{severity_sign(kind.severity, glyphs)} {kind.severity:<9}", STYLES[kind.severity]),
        (kind.title, "strong"),
    )
    return spread(left, row((f"{many}  ", "good"), f"{len(kind.findings):>6,} "), width)


def _finding_cells(item: Finding, width: int, name_width: int) -> Row:
    spans: list[Span] = [("     ", "")]
    if item.song:
        spans.append((f"{cut_left(item.song, name_width)}  ", ""))
    left = row(*spans, (item.sentence, "muted"))
    return spread(left, row(("fixable ", "good")), width) if item.is_fixable else fit(left, width)


def cut_left(words: str, width: int) -> str:
    """A name in so many cells, its end kept: the end tells songs apart."""
    while cell_len(words) > width:
        words = "…" + words[2:]
    return set_cell_size(words, width)


# The pane


def pane_rows(line: Line, shown: Shown, width: int, height: int, glyphs: Glyphs) -> list[Row]:
    """Why the focused line matters, what to do, and exactly what a fix would write."""
    kind = line.kind.findings[0].kind
    head = f"{line.finding.song} {line.finding.sentence}".strip() if line.finding else _sum(line.kind)
    rows = wrapped(head, width, "", "strong")
    rows += wrapped(kind.why, width, "why", "") + wrapped(kind.remedy, width, "do", "")
    fix = fix_rows(line, shown, width, glyphs)
    room = max(1, height - len(fix))
    return [*rows[:room], *fix]


def _sum(kind: Kind) -> str:
    return f"{kind.title}: {text.plural(len(kind.findings), 'finding')}"


def fix_rows(line: Line, shown: Shown, width: int, glyphs: Glyphs) -> list[Row]:
    """What F would do with the focused line."""
    fixes = line.fixes
    if line.finding is not None and line.finding.fix and line.finding.not_fixable:
        return wrapped(f"not fixable here: the file {line.finding.not_fixable}.", width, "", "warn")
    if not fixes:
        return []
    if line.finding is None:
        files = list(dict.fromkeys(fix.origin for fix in fixes))
        return wrapped(f"repairs {text.listing(files, most=3)}", width, "F", "good")[:2]
    fix = fixes[0]
    rows = [labelled("F", f"repairs {name_of(fix.field)} in {fix.origin}, with a backup", width, "good")]
    if fix in shown:
        before, after = excerpts(*shown[fix], (width - _LABEL - 4 - len(glyphs.arrow)) // 2)
        rows.append(labelled("", f"'{before}' {glyphs.arrow} '{after}'", width, ""))
    return rows


def name_of(field: str) -> str:
    """A field in words."""
    return {"keyscale": "the key", "timesignature": "the time signature", "bpm": "the BPM"}.get(field, f"the {field}")


def excerpts(before: str, after: str, width: int) -> tuple[str, str]:
    """Two values on one line each, from shortly before their first difference."""
    old, new = " ".join(before.split()), " ".join(after.split())
    same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = 0 if max(len(old), len(new)) <= width else max(0, same - _EXCERPT)
    return _excerpt(old, start, width), _excerpt(new, start, width)


def _excerpt(words: str, start: int, width: int) -> str:
    part = ("…" if start else "") + words[start:]
    return part if cell_len(part) <= width else set_cell_size(part, max(1, width - 1)).rstrip() + "…"


def labelled(label: str, words: str, width: int, style: str) -> Row:
    """A row with a label in front."""
    return fit(row((f" {label:<{_LABEL - 1}}", "accent" if label else ""), (words, style)), width)


def wrapped(words: str, width: int, label: str, style: str) -> list[Row]:
    """Words over as many rows as they need, a label before the first."""
    indent = _LABEL if label else 1
    rows = []
    for number, line in enumerate(wrap(words, max(10, width - indent - 1))):
        start = f" {label:<{_LABEL - 1}}" if label and not number else " " * indent
        rows.append(row((start, "accent"), (line, style)))
    return rows


def wrap(words: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken between words where that is possible."""
    lines: list[str] = []
    line = ""
    for word in words.split():
        while cell_len(word) > width:
            head = set_cell_size(word, width).rstrip()
            lines += [line, head] if line else [head]
            line, word = "", word[len(head) :]
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [*lines, line] if line else lines


# Whole pages


@dataclass(frozen=True, slots=True)
class Counts:
    """How many findings there are."""

    by_severity: Mapping[str, int]
    fixable: int
    findings: int

    def row(self, glyphs: Glyphs) -> Row:
        """In words and signs."""
        spans: list[Span | str] = [" "]
        for severity, count in self.by_severity.items():
            style = STYLES[severity] if count else "muted"
            words = f"{severity_sign(severity, glyphs)} {text.plural(count, *PLURALS[severity])}"
            spans += [(words, style), "   "]
        return row(*spans, (f"{self.fixable:,} fixable", "good" if self.fixable else "muted"))


def running_rows(doing: str, done: int, total: int, width: int, glyphs: Glyphs) -> list[Row]:
    """How far the examination is."""
    words = {"headers": "Reading headers", "sound": "Listening", "words": "Reading words"}.get(doing, "Starting")
    bar = max(10, min(50, width - 6))
    full = bar * done // total if total else 0
    on, off = ("#", ".") if glyphs.focus == ">" else ("█", "░")
    return [
        row(""),
        row((f"  {words}", "strong"), f"  {done:,} of {total:,}" if total else ""),
        row("  ", (on * full, "fill"), (off * (bar - full), "faint")),
        row(""),
        row(("  Every song is read once, from beginning to end. Nothing is written.", "muted")),
        row(("  esc", "accent"), (" stops", "muted")),
    ]


def fine_rows(songs: int, seconds: float, glyphs: Glyphs, *, filtered: bool) -> list[Row]:
    """Nothing to list, and why."""
    if filtered:
        return [row(""), row("  Nothing matches the filter. ", ("esc", "accent"), " clears it.")]
    found = f"{text.plural(songs, 'song')}, {text.duration(seconds)}"
    return [row(""), row((f"  {glyphs.ok} Nothing to complain about", "good"), f": {found}.")]


def problem_rows(title: str, message: str, hint: str, width: int, glyphs: Glyphs) -> list[Row]:
    """What stood in the way, and what to do about it."""
    rows = [row(""), *wrapped(f"{glyphs.bad} {title}", width, "", "bad")]
    rows += [*wrapped(message, width, "", ""), *wrapped(hint, width, "", "")]
    return [*rows, row(""), row((" r", "accent"), (" tries again", "muted"))]


def stopped_rows() -> list[Row]:
    """After a stop before anything was known."""
    return [row(""), row("  Stopped; nothing is known yet."), row(("  r", "accent"), (" examines the folder", "muted"))]


def written_rows(written: Sequence[Mapping[str, str]], width: int, glyphs: Glyphs, most: int) -> list[Row]:
    """What became of each file: its backup, or why it was not written."""
    rows: list[Row] = []
    for file in written:
        if file["problem"]:
            words = f"{glyphs.warn} not written: {file['path']} {file['problem']}"
            rows.append(fit(row((f" {words}", "warn")), width))
        else:
            words = f"{glyphs.ok} wrote {file['path']}"
            rows.append(fit(row((f" {words}", "good"), (f"  was kept as {file['backup']}", "muted")), width))
    if len(rows) > most:
        rows = [*rows[: most - 1], row((f"   and {len(rows) - most + 1:,} more", "muted"))]
    return rows


def paper_parts(preview: Sequence[Mapping[str, Any]], width: int) -> list[tuple[str, str]]:
    """The page that F and A show before anything is written, as texts with their styles."""
    parts = []
    for file in preview:
        parts += [(file["path"], "bold"), (f"   kept as {file['backup']}\n", "$muted")]
        for change in file["changes"]:
            before, after = excerpts(change["before"], change["after"], width - _INDENT)
            song = f" of {change['song']}" if len(file["changes"]) > 1 else ""
            parts.append((f"  {name_of(change['field'])}{song}\n", ""))
            parts.append((f"    before  {before}\n    after   {after}\n", "$muted"))
    return parts


def as_parameters(fixes: Sequence[Fix]) -> list[dict[str, str]]:
    """Fixes as plain JSON values."""
    return [asdict(fix) for fix in fixes]
