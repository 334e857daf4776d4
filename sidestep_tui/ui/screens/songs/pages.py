"""The pages of the songs screen that are read like a sheet of paper: what the model reads, what is written, warnings.

Pure: facts in, styled text out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from textual.content import Content

from sidestep_tui.core import text
from sidestep_tui.ui.screens.songs.facts import LABELS
from sidestep_tui.ui.theme import Glyphs

if TYPE_CHECKING:
    from sidestep_tui.dataset.editing.edits import SavePlan, SaveReport
    from sidestep_tui.dataset.manifest import Manifest

PROMPT_TOKENS: Final = 256
LYRIC_TOKENS: Final = 2048
_FILES: Final = 60
_LINES: Final = 400
_SENTENCES: Final = 40


def _join(lines: Sequence[Content]) -> Content:
    return Content("\n").join(lines)


def _quiet(words: str) -> Content:
    return Content.styled(words, "$muted")


def reading_page(reading: Mapping[str, Any], glyphs: Glyphs, *, waiting: str = "") -> Content:
    """The exact texts that the encoder gets, how many tokens they are, and how much of the sound an epoch hears.

    `reading` is a `dataset.reading.Reading` as a mapping; counts are None until a tokenizer has counted, and `waiting`
    says why.
    """
    lines = [Content.assemble(("prompt   ", "bold"), _tokens(reading["prompt_tokens"], PROMPT_TOKENS, waiting))]
    lines += [Content(f"  {line}") for line in reading["prompt"].rstrip("\n").split("\n")]
    if reading["described_by"] == "genre":
        lines += [_quiet("  described by its genre, as data.genre_ratio wants of some songs")]
    lines += [Content("")]
    lines += [Content.assemble(("lyrics   ", "bold"), _tokens(reading["lyrics_tokens"], LYRIC_TOKENS, waiting))]
    lines += [Content(f"  {line}") for line in reading["lyrics_text"].split("\n")]
    lines += [Content(""), Content.assemble(("sound    ", "bold"), *_sound(reading))]
    cuts = _cuts(reading)
    if cuts:
        lines += [Content("")]
        lines += [Content.styled(f"{glyphs.warn} {sentence}", "$warning") for sentence in cuts]
    elif reading["prompt_tokens"] is not None:
        lines += [Content(""), Content.styled(f"{glyphs.ok} Nothing is cut: the model reads all of it.", "$success")]
    return _join(lines)


def _tokens(count: int | None, room: int, waiting: str) -> Content:
    if count is None:
        return _quiet(waiting)
    return _quiet(f"{text.thousands(count)} of {text.thousands(room)} tokens")


def _sound(reading: Mapping[str, Any]) -> list[str]:
    length = f"{text.thousands(reading['frames'])} latent frames ({text.duration(reading['seconds'])})"
    heard = "Held out: measured, never trained on."
    if not reading["held_out"]:
        crops = text.plural(reading["crops_per_epoch"], "crop")
        crop = text.thousands(reading["crop_frames"])
        heard = f"An epoch hears {crops} of {crop} frames: {reading['coverage']:.0%} of the song."
    return [f"{length}, stated as {int(reading['stated_seconds'])} s.\n         {heard}"]


def _cuts(reading: Mapping[str, Any]) -> list[str]:
    sentences = []
    if reading["caption_cut"]:
        cut = text.plural(reading["caption_cut"], "character")
        sentences.append(f"The last {cut} of the caption are not read: tempo and key need the room.")
    if reading["prompt_tokens_cut"]:
        sentences.append(f"The last {text.plural(reading['prompt_tokens_cut'], 'token')} of the prompt are not read.")
    if reading["lyrics_tokens_cut"]:
        sentences.append(f"The last {text.plural(reading['lyrics_tokens_cut'], 'token')} of the lyrics are not read.")
    if reading["problem"]:
        sentences.append(f"The song {reading['problem']}")
    return sentences


def plan_page(plan: SavePlan, glyphs: Glyphs) -> Content:
    """What a save would do: each file with its edits and the lines that change, and whether a backup is kept."""
    new = sum(item.is_new for item in plan.files)
    changed = len(plan.files) - new
    parts = [text.plural(count, kind) for count, kind in ((changed, "changed file"), (new, "new file")) if count]
    lines = [Content.styled(f"{' and '.join(parts) or 'Nothing'} to write. Audio is never touched.", "bold")]
    if any(item.keeps_backup and not item.is_new for item in plan.files):
        lines.append(_quiet("Of each changed file a backup is kept beside it."))
    lines += [Content.styled(f"{glyphs.warn} {item.reason}", "$warning") for item in plan.problems]
    lines += [_quiet(note) for note in plan.notes]
    for item in plan.files[:_FILES]:
        edits = ", ".join(_edit_words(change.field, change.after) for change in item.changes[:4])
        more = f" and {len(item.changes) - 4} more" if len(item.changes) > 4 else ""
        kind = "new" if item.is_new else "change"
        lines.append(Content(""))
        lines.append(Content.assemble((f"{kind:<7}", "$muted"), (item.origin, "bold"), (f"  {edits}{more}", "$muted")))
        if len(lines) < _LINES:
            lines += _difference(item.diff(), is_new=item.is_new)
    if len(plan.files) > _FILES:
        lines += [Content(""), _quiet(f"and {text.plural(len(plan.files) - _FILES, 'file')} more")]
    return _join(lines)


def _edit_words(name: str, after: str) -> str:
    label = LABELS.get(name, name)
    return label if after else f"{label} cleared"


def _difference(diff: list[str], *, is_new: bool) -> list[Content]:
    """The lines that change, with `-` and `+` before them; of a long file the first ones."""
    shown = [line for line in diff if not line.startswith("@@")][:12]
    styles = {"-": "$error", "+": "$success"}
    return [Content.styled(f"  {line[:400]}", styles.get(line[:1], "$muted")) for line in shown]


def report_words(report: SaveReport) -> str:
    """What a save did, in one line."""
    backups = sum(bool(item.backup) for item in report.written)
    words = f"wrote {text.plural(len(report.written), 'file')}"
    if backups:
        words += f", kept {text.plural(backups, 'backup')}"
    if report.problems:
        words += f"; {text.plural(len(report.problems), 'edit')} could not be saved"
    return words


def warnings_page(manifest: Manifest, glyphs: Glyphs) -> Content:
    """What was left out of the scan, and what could not be used, with the reasons."""
    lines = []
    if manifest.skipped:
        lines.append(Content.styled(f"{text.plural(len(manifest.skipped), 'file')} left out", "bold"))
        lines += [Content(f"{glyphs.bad} {item.sentence}") for item in manifest.skipped]
    if manifest.warnings:
        if lines:
            lines.append(Content(""))
        lines.append(Content.styled(f"{text.plural(len(manifest.warnings), 'remark')} on sidecars", "bold"))
        lines += [Content(f"{glyphs.warn} {sentence}") for sentence in manifest.warnings[:_LINES]]
        if len(manifest.warnings) > _LINES:
            lines.append(_quiet(f"and {len(manifest.warnings) - _LINES} more"))
    if not lines:
        lines.append(
            Content.styled(f"{glyphs.ok} Every file could be used, and no two contradict each other.", "$success")
        )
    return _join(lines)
