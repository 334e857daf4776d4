"""The songs screen's keys that change words. Nothing is written before W, and everything can be undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from textual import work

from sidestep_tui.core import text
from sidestep_tui.core.errors import DataError, SidestepError
from sidestep_tui.dataset import values
from sidestep_tui.ui.dialogs.confirm import Choose, Tell
from sidestep_tui.ui.screens.songs.detail import value_of
from sidestep_tui.ui.screens.songs.facts import LABELS
from sidestep_tui.ui.screens.songs.jobs import SongsJobs
from sidestep_tui.ui.screens.songs.list import Listing
from sidestep_tui.ui.screens.songs.rows import SURE

if TYPE_CHECKING:
    from sidestep_tui.dataset.captions import TagPosition
    from sidestep_tui.dataset.editing.edits import EditSession
    from sidestep_tui.ui.dialogs.one_of import Choice

# The dialogs bring the text area and the option list (60 ms); each is imported by the key that opens it.

CLEARS: Final = "-"
"""Typed for songs with different values, it empties the field: an empty answer leaves them as they are."""
_NOTES: Final = ("C", "C#", "Db", "D", "D#", "Eb", "E", "F", "F#", "Gb", "G", "G#", "Ab", "A", "A#", "Bb", "B")
_USUAL_LANGUAGES: Final = {
    "en": "English",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "zh": "Chinese",
    "yue": "Cantonese",
}


class SongsEdits(SongsJobs):
    """The part of the songs screen that edits."""

    listing: Listing
    session: EditSession | None

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the table."""
        raise NotImplementedError

    def words_changed(self) -> None:
        """Show the songs as they are now."""
        raise NotImplementedError

    def repaint(self) -> None:
        """Hand over the rows that are visible."""
        raise NotImplementedError

    # What an edit applies to

    def targets(self) -> list[str]:
        """The marked songs, or the one under the bar."""
        return self.listing.targets()

    def _of_what(self, names: Sequence[str]) -> str:
        """`ember`, `12 songs (3 hidden by the filter)`."""
        if len(names) == 1:
            return names[0]
        shown = {song.name for song in self.listing.shown}
        hidden = sum(name not in shown for name in names)
        return text.plural(len(names), "marked song") + (f" ({hidden} hidden by the filter)" if hidden else "")

    def _common(self, names: Sequence[str], field: str) -> tuple[str, int]:
        """The value that these songs share, or an empty text; and how many different ones there are."""
        assert self.session is not None
        found = Counter(self.session.value(name, field) for name in names)
        return (next(iter(found)), 1) if len(found) == 1 else ("", len(found))

    def change(self, do: Callable[[EditSession], object], words: str) -> bool:
        """Edit, and say so; a refusal is told and changes nothing."""
        if self.session is None:
            return False
        try:
            do(self.session)
        except SidestepError as error:
            self.app.push_screen(Tell(error.title, error.message, error.hint))
            return False
        self.words_changed()
        self.say(f"{words}; u takes it back, W writes")
        return True

    # Fields

    @work(group="dialog", exclusive=True)
    async def action_edit(self) -> None:
        """Choose a field, then edit it."""
        from sidestep_tui.ui.dialogs.one_of import Choice, OneOf

        names = self.targets()
        if not names or self.session is None:
            return
        choices = []
        for name, label in LABELS.items():
            value, kinds = self._common(names, name)
            shown = f"{kinds} different values" if kinds > 1 else " ".join(value.split())[:50] or self.glyphs.dash
            choices.append(Choice(name, label, shown))
        field = await self.app.push_screen_wait(OneOf(f"Edit {self._of_what(names)}", choices))
        if field == "instrumental":
            self.action_instrumental()
        elif field:
            await self._ask_field(field, names)

    @work(group="dialog", exclusive=True)
    async def action_field(self, field: str) -> None:
        """Edit one field."""
        names = self.targets()
        if names and self.session is not None:
            await self._ask_field(field, names)

    async def _ask_field(self, field: str, names: Sequence[str]) -> None:
        value, kinds = self._common(names, field)
        mixed = kinds > 1
        title = f"{LABELS[field]} of {self._of_what(names)}"
        if field in ("caption", "lyrics"):
            answer = await self._ask_long(field, title, value, names, mixed=mixed)
        elif field in ("keyscale", "language", "timesignature"):
            answer = await self._ask_choice(field, title, None if mixed else value)
        else:
            answer = await self._ask_line(field, title, value, mixed=mixed)
        if answer is None or (mixed and not answer and field not in ("keyscale", "language", "timesignature")):
            return
        if answer.rstrip() == value and not mixed:
            return
        cleared = "" if answer.strip() == CLEARS else answer
        done = "cleared" if not cleared.strip() else "changed"
        self.change(
            lambda session: session.set(names, field, cleared), f"{LABELS[field]} of {self._of_what(names)} {done}"
        )

    async def _ask_line(self, field: str, title: str, value: str, *, mixed: bool) -> str | None:
        from sidestep_tui.dataset.editing.edit_values import ALLOWED, canonical
        from sidestep_tui.ui.dialogs.text import AskText

        def check(typed: str) -> str:
            try:
                canonical(field, typed)
            except DataError as error:
                return error.title
            return ""

        body = ALLOWED[field]
        if mixed:
            body += f"\nThey differ: empty leaves them as they are, {CLEARS} clears them."
        return await self.app.push_screen_wait(AskText(title, body, value=value, check=check))

    async def _ask_long(self, field: str, title: str, value: str, names: Sequence[str], *, mixed: bool) -> str | None:
        from sidestep_tui.ui.dialogs.long_text import AskLongText

        bodies = {
            "caption": "What one hears, the most important first: style, instruments, voice, mood. Tempo, key and"
            " length are added by themselves.",
            "lyrics": "Sections stand in brackets on lines of their own: [Verse], [Chorus]. Leave empty if unknown;"
            " [Instrumental] where nobody sings.",
        }
        body = bodies[field]
        if mixed:
            body = f"They differ: empty leaves them as they are, {CLEARS} clears them.\n{body}"
        if field == "caption" and not value and len(names) == 1:
            assert self.session is not None
            value = self.session.song(names[0]).caption
        return await self.app.push_screen_wait(AskLongText(title, body, value, one_line=field == "caption"))

    async def _ask_choice(self, field: str, title: str, current: str | None) -> str | None:
        from sidestep_tui.dataset.editing.edit_values import canonical
        from sidestep_tui.ui.dialogs.one_of import OneOf

        def typed(words: str) -> str:
            try:
                return canonical(field, words)
            except DataError:
                return ""

        return await self.app.push_screen_wait(
            OneOf(title, choices_of(field), current=current, typed=typed, placeholder="type, or up and down")
        )

    def action_instrumental(self) -> None:
        """Nothing is sung, or something is."""
        names = self.targets()
        if not names or self.session is None:
            return
        session = self.session
        value = "no" if all(session.value(name, "instrumental") == "yes" for name in names) else "yes"
        words = "instrumental" if value == "yes" else "not instrumental"
        self.change(lambda s: s.set(names, "instrumental", value), f"{self._of_what(names)}: {words}")

    def action_review(self) -> None:
        """A person has read the words, or takes that back; without marks the bar goes on to the next song."""
        names = self.targets()
        if not names or self.session is None:
            return
        session = self.session
        reviewed = not all(session.is_reviewed(name) for name in names)
        words = f"{self._of_what(names)} {'reviewed' if reviewed else 'no longer reviewed'}"
        if not self.listing.marks and not self.listing.query:
            self.listing.move(1)
        self.change(lambda s: s.review(names, reviewed=reviewed), words)

    # Many at once

    @work(group="dialog", exclusive=True)
    async def action_tag(self) -> None:
        """Put a trigger tag into captions."""
        from sidestep_tui.dataset.editing.edit_values import with_tag
        from sidestep_tui.ui.dialogs.song_words import AskTag

        names = self.targets()
        if not names or self.session is None:
            return
        caption = self.session.value(names[0], "caption")

        def preview(tag: str, position: TagPosition) -> str:
            return with_tag(caption, tag, position)

        answer = await self.app.push_screen_wait(
            AskTag(f"Tag in captions of {self._of_what(names)}", preview, value=self.place.tag)
        )
        if answer is not None:
            tag, position = answer
            self.change(lambda session: session.tag(names, tag, position), f"{tag} in {self._of_what(names)}")

    @work(group="dialog", exclusive=True)
    async def action_replace(self) -> None:
        """Find and replace in a field of the marked songs, or of all that are shown."""
        from sidestep_tui.ui.dialogs.song_words import AskReplace

        session = self.session
        if session is None:
            return
        names = self.targets() if self.listing.marks else [song.name for song in self.listing.shown]
        if not names:
            return
        fields = [(field, LABELS[field]) for field in ("caption", "lyrics", "genre", "tag")]

        def count(field: str, wanted: str) -> int:
            return sum(wanted in session.value(name, field) for name in names)

        what = self._of_what(names) if self.listing.marks else text.plural(len(names), "shown song")
        answer = await self.app.push_screen_wait(AskReplace(f"Find and replace in {what}", fields, count))
        if answer is None:
            return
        field, wanted, by = answer
        found = count(field, wanted)
        self.change(
            lambda s: s.replace(names, field, wanted, by), f"{LABELS[field]} of {text.plural(found, 'song')} changed"
        )

    @work(group="dialog", exclusive=True)
    async def action_accept(self) -> None:
        """Take over what was heard, into edits that still have to be written."""
        names = [name for name in self.targets() if name in self.listing.measured]
        session = self.session
        if not names or session is None:
            self.say("nothing measured here yet: = listens", "warn")
            return
        answer = await self.app.push_screen_wait(
            Choose(
                "Take over what was heard",
                f"For {self._of_what(names)}. Missing fills in only what is not said yet and was heard with at least"
                f" {SURE:.0%} confidence; the others replace what is said.",
                [("no", "n", "Cancel"), ("missing", "m", "Missing"), ("bpm", "b", "BPM"), ("keyscale", "k", "Key"),
                 ("both", "a", "Both")],
            )
        )  # fmt: skip
        if answer in (None, "no"):
            return
        wanted = self._heard_values(names, answer or "")
        if not wanted:
            self.say("nothing to take over: they agree, or nothing certain was heard", "muted")
            return

        def take(session: EditSession) -> None:
            for (field, value), songs in wanted.items():
                session.set(songs, field, value)

        self.change(take, f"took over {text.plural(sum(map(len, wanted.values())), 'value')} as heard")

    def _heard_values(self, names: Sequence[str], answer: str) -> dict[tuple[str, str], list[str]]:
        """Songs by the field and value that they get."""
        assert self.session is not None
        wanted: dict[tuple[str, str], list[str]] = {}
        for name in names:
            heard = self.listing.measured[name]
            found = (("bpm", str(heard.bpm or ""), heard.bpm_confidence), ("keyscale", heard.key, heard.key_confidence))
            for field, value, confidence in found:
                stated = value_of(self.session.song(name), field)
                if not value or value == stated or answer not in ("missing", "both", field):
                    continue
                if answer != "missing" or (not stated and confidence >= SURE):
                    wanted.setdefault((field, value), []).append(name)
        return wanted


def choices_of(field: str) -> list[Choice]:
    """What can be chosen for a field that has few values; the first clears it."""
    from sidestep_tui.ui.dialogs.one_of import Choice

    if field == "timesignature":
        notes = {"2": "2/4", "3": "3/4, a waltz", "4": "4/4, most songs", "6": "6/8"}
        return [Choice("", "unknown"), *(Choice(value, value, notes[value]) for value in values.TIME_SIGNATURES)]
    if field == "keyscale":
        keys = [f"{note} {mode}" for note in _NOTES for mode in ("major", "minor")]
        return [Choice("", "unknown"), *(Choice(key, key) for key in keys)]
    rest = sorted(values.LANGUAGES - {*_USUAL_LANGUAGES, values.UNKNOWN_LANGUAGE})
    codes = [*_USUAL_LANGUAGES, *rest]
    return [Choice("", "unknown"), *(Choice(code, code, _USUAL_LANGUAGES.get(code, "")) for code in codes)]
