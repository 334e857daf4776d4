"""The songs of a folder: what is said about each, what is missing, and every key to put it right."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.widgets import Input

from sidestep_tui.core import paths, text
from sidestep_tui.core.env import MIN_COLUMNS
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.ui.screens.songs.detail import detail_rows
from sidestep_tui.ui.screens.songs.keys import HELP, KEYS, NEEDS_SONG, TOUCHES_WORDS
from sidestep_tui.ui.screens.songs.list import Listing
from sidestep_tui.ui.screens.songs.look import SongsLook
from sidestep_tui.ui.screens.songs.rows import Columns, counts, empty_rows, song_row, summary, title_row
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread, width_of

if TYPE_CHECKING:
    from sidestep_tui.dataset.editing.edits import EditSession
    from sidestep_tui.dataset.manifest import Manifest
    from sidestep_tui.ui.app import SidestepApp

_PLACEHOLDER = "words, missing:bpm  has:lyrics  lang:en  bpm:>120  length:<1:00  reviewed:no  edited:yes"

_PLACE = 30
"""Cells of the title that the counts leave to the name of the folder."""


class SongsScreen(SongsLook):
    """The table of songs and the doors to everything that can be done with them."""

    CSS_PATH = "../../styles/songs.tcss"
    HELP = HELP
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (MIN_COLUMNS, "-narrow"), (76, "-normal"), (100, "-wide"), (120, "-split")]

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

    app: SidestepApp

    def __init__(self, place: SongsPlace) -> None:
        super().__init__()
        self.place = place
        self.listing = Listing()
        self.manifest: Manifest | None = None
        self.session: EditSession | None = None
        self.problem: SidestepError | None = None
        self.busy = ""
        self._saves = []
        self._notice: Row = ()
        self._keys: tuple[bool, ...] = ()
        self._counts: list[str] = []
        self._edits = 0
        self._before: dict[str, dict[str, str]] = {}

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        with Container(id="body"):
            listing = Rows(id="songs")
            listing.can_focus = True
            yield listing
            yield Rows(id="detail")
        field = Input(placeholder=_PLACEHOLDER, id="songs-filter", compact=True)
        field.cursor_blink = False
        yield field
        yield KeyBar(palette=True)

    def on_mount(self) -> None:
        self.query_one("#songs").focus()
        self.look()

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self.come_back()

    def on_resize(self) -> None:
        """Show as many rows and columns as fit."""
        self.call_after_refresh(self.repaint)

    # Paint

    def words_changed(self) -> None:
        """Show the songs as they are now."""
        session = self.session
        if session is not None:
            self.listing.put(session.songs, session.edited, session.is_reviewed)
            self._counts = counts(session.songs)
            changes = session.changes()
            self._edits, self._before = len(changes), {}
            for item in changes:
                self._before.setdefault(item.song, {})[item.field] = item.before
            self.keep_soon()
        self.repaint()

    def say(self, words: str, style: str = "accent") -> None:
        """Put a sentence above the table."""
        self._notice = row((words, style)) if words else ()
        self.repaint()

    def repaint(self) -> None:
        """Hand over the rows that are visible, and no others."""
        if not self.is_mounted:
            return
        table, width = self.query_one("#songs", Rows), self.size.width
        columns = Columns.of_width(table.size.width, measured=bool(self.listing.measured))
        self.query_one("#heading", Rows).put(self._heading(width, columns, table.size.width))
        table.put(self._table(table, columns))
        self._show_detail()
        self._refresh_keys()

    def _table(self, table: Rows, columns: Columns) -> list[Row]:
        if self.session is None:
            return self._nothing_yet(table.size.width)
        songs = self.listing.window(table.size.height)
        if not songs:
            return empty_rows(searched=bool(self.listing.query))
        current = self.listing.current
        width, glyphs = table.size.width, self.glyphs
        return [song_row(self.listing.facts(song), columns, width, glyphs, selected=song is current) for song in songs]

    def _nothing_yet(self, width: int) -> list[Row]:
        if self.problem is None:
            return []
        lines = [row(""), row((f"  {self.glyphs.bad} {self.problem.title}", "bad"))]
        lines += [row((f"    {part}", "muted")) for part in (self.problem.message, self.problem.hint) if part]
        return [
            *lines,
            row(""),
            row("    ", ("r", "accent"), ("  looks again   ", "muted"), ("q", "accent"), "  leaves"),
        ]

    def _show_detail(self) -> None:
        detail, song, session = self.query_one("#detail", Rows), self.listing.current, self.session
        if song is None or session is None or not detail.display:
            detail.put([])
            return
        facts = self.listing.facts(song)
        before = (
            {item.field: item.before for item in session.changes() if item.song == song.name} if facts.edited else {}
        )
        size = detail.size
        detail.put(detail_rows(facts, before, self.place.root, (size.width, size.height), self.glyphs))

    def _heading(self, width: int, columns: Columns, table_width: int) -> list[Row]:
        listing = self.listing
        parts: list[tuple[str, str]] = []
        if listing.marks:
            parts.append((f"  {self.glyphs.focus} {len(listing.marks)} marked", "accent"))
        if self._edits:
            parts.append((f"  {self.glyphs.changed} {text.plural(self._edits, 'edit')}", "warn"))
        if listing.query:
            words = f"/{listing.query.typed}  {len(listing.shown)} of {len(listing.songs)}"
        else:
            words = summary(self._counts, width - width_of(tuple(parts)) - _PLACE)
        parts.insert(0, (words, "muted"))
        place = paths.shorten(self.place.root)
        top = spread(row((" sidestep", "strong"), (f"  songs  {place}", "muted")), row(*parts, " "), width)
        titles: Row = ()
        if self.session is not None:
            titles = title_row(
                columns, table_width, sort=listing.sort, falling=listing.falling, ascii_only=self.glyphs.focus == ">"
            )
        return [top, self._status(), titles]

    def _status(self) -> Row:
        """What is going on, or what is wrong with the filter, or what was last done."""
        if self.busy or self.writing:
            return row((f" {'writing' if self.writing else self.busy}", "accent"))
        if self.listing.query.problems:
            return row((f" {self.glyphs.warn} {self.listing.query.problems[0]}", "warn"))
        if self._notice:
            return ((" ", ""), *self._notice)
        trouble = len(self.manifest.skipped) + len(self.manifest.warnings) if self.manifest is not None else 0
        if trouble:
            words = f" {self.glyphs.warn} {text.plural(trouble, 'remark')} on files and sidecars: "
            return row((words, "warn"), ("w", "accent"), (" lists them", "muted"))
        return ()

    def _refresh_keys(self) -> None:
        """Tell the footer when a key has come or gone; it is made anew each time."""
        session = self.session
        keys = (bool(self.listing.current), bool(self._edits), session is not None, self.is_looking, self.writing)
        if keys != self._keys:
            self._keys = keys
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what cannot be done now."""
        if self.writing and action in TOUCHES_WORDS:
            return None
        if action in NEEDS_SONG:
            return True if self.listing.current is not None else None
        if action == "write":
            return True if self._edits and not self.is_looking else None
        return super().check_action(action, parameters)

    # Moving, marking, order

    def action_move(self, by: int) -> None:
        """Another song."""
        self.listing.move(by)
        self.repaint()

    def action_page(self, pages: int) -> None:
        """As many songs as the table shows."""
        self.action_move(pages * max(self.query_one("#songs").size.height - 1, 1))

    def action_mark(self) -> None:
        """Mark the song, and go on to the next."""
        self.listing.mark()
        self.repaint()

    def action_mark_range(self) -> None:
        """Mark from the last marked song to this one."""
        self.listing.mark_range()
        self.repaint()

    def action_mark_shown(self) -> None:
        """Mark all that are shown; once more, none."""
        self.listing.mark_shown()
        self.repaint()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self.listing.next_sort()
        self.say(f"sorted by {self.listing.sort}, < smallest first, > largest first", "muted")

    def action_order(self, falling: bool) -> None:
        """Smallest or largest first."""
        self.listing.sort_by(self.listing.sort, falling=falling)
        self.repaint()

    # Filter

    def action_filter(self) -> None:
        """Type what the songs must have."""
        self.add_class("-filtering")
        field = self.query_one("#songs-filter", Input)
        field.value = self.listing.query.typed
        field.focus()

    @on(Input.Changed, "#songs-filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        if self.has_class("-filtering"):
            self.listing.filter(event.value)
            self.repaint()

    @on(Input.Submitted, "#songs-filter")
    def _filter_chosen(self) -> None:
        self._close_filter()

    def action_clear(self) -> None:
        """One step out: the filter, then the marks, then what is being measured."""
        if self.has_class("-filtering") or self.listing.query:
            self.listing.filter("")
            self._close_filter()
        elif self.listing.marks:
            self.listing.unmark()
        else:
            self.stop_listening()
        self._notice = ()
        self.repaint()

    def _close_filter(self) -> None:
        self.remove_class("-filtering")
        self.query_one("#songs").focus()
        self.call_after_refresh(self.repaint)

    # Leaving

    @work(group="dialog", exclusive=True)
    async def action_leave(self) -> None:
        """Back to where this was opened from; asks when edits are not written."""
        if await self.may_leave():
            self.app.leave_songs()


__all__ = ["SongsScreen"]
