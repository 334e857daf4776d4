"""The slicer: settings, the song in view with its cuts as they would be, and the slicing of all songs."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset.manifest import Manifest, Song
from sidestep_tui.ui.screens.slicer import rows as slicer_rows
from sidestep_tui.ui.screens.slicer.form import Form, default_folder
from sidestep_tui.ui.screens.slicer.jobs import Advanced, Outlined, Planned, SongsFound
from sidestep_tui.ui.screens.slicer.settings import SettingsList
from sidestep_tui.ui.screens.slicer.writes import SlicerWrites
from sidestep_tui.ui.songs_place import SongsPlace
from sidestep_tui.ui.theme import ASCII
from sidestep_tui.ui.widgets.envelope import Piece
from sidestep_tui.ui.widgets.keybar import KeyBar
from sidestep_tui.ui.widgets.rows import Row, Rows, row, spread
from sidestep_tui.ui.widgets.waveform import Waveform


class SlicerScreen(SlicerWrites):
    """Cut the songs of a folder into slices of equal length; `dismiss` gives the folder of slices to open, if any."""

    CSS_PATH = "../../styles/slicer.tcss"
    HELP = """
    # Slicer

    Cuts every song into slices of exactly equal length whose starts lie where all channels cross zero together: no
    fades, no gain, shared sound instead. The songs are only read. Slices go to a folder of their own with the caption,
    tempo, key and so on of their song beside them; nothing that is there already is overwritten.

    `up` and `down` go from setting to setting, `left` and `right` (or `-` and `+`) change one, digits type one.
    The outline below is the song in view: `n` and `N` go from song to song, `z` zooms, `h` and `l` go from cut to cut.
    A rule is a cut, brackets are the slices, and what two brackets share is the overlap.

    `S` starts, after a question that says how many files and where. `esc` stops: finished slices stay, and slicing
    again goes on where it was.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "song(1)", "Next song", id="slicer.next", tooltip="Show the next song"),
        Binding("N", "song(-1)", "Previous song", id="slicer.previous", show=False, tooltip="Show the previous song"),
        Binding("z", "zoom", "Zoom", id="slicer.zoom", tooltip="Show a quarter, a sixteenth, or all of the song"),
        Binding("l", "cut(1)", "Next cut", id="slicer.cut.next", tooltip="Go to the next cut, when zoomed in"),
        Binding("h", "cut(-1)", "Previous cut", id="slicer.cut.previous", show=False, tooltip="Go to the cut before"),
        Binding("down,j", "move(1)", "Next setting", id="slicer.down", show=False, tooltip="The next setting"),
        Binding("up,k", "move(-1)", "Previous setting", id="slicer.up", show=False, tooltip="The setting before"),
        Binding("g,home", "move(-99)", "First setting", id="slicer.first", show=False, tooltip="The first setting"),
        Binding("G,end", "move(99)", "Last setting", id="slicer.last", show=False, tooltip="The last setting"),
        Binding(
            "right,plus,equals_sign,space",
            "change(1)",
            "More",
            id="slicer.more",
            show=False,
            tooltip="One step more, or the next choice",
        ),
        Binding(
            "left,minus",
            "change(-1)",
            "Less",
            id="slicer.less",
            show=False,
            tooltip="One step less, or the choice before",
        ),
        Binding("enter", "edit", "Type", id="slicer.edit", show=False, tooltip="Type the folder, or the next choice"),
        Binding("escape,q", "leave", "Back", id="slicer.leave", key_display="esc", tooltip="Stop slicing, or leave"),
    ]

    def __init__(self, place: SongsPlace, song: str = "") -> None:
        """`song` is the one to show first."""
        super().__init__()
        self.place = place
        self.form = Form(place.root, default_folder(place.root))
        self.manifest: Manifest | None = None
        self.problem: SidestepError | None = None
        self.at = 0
        self._first_song = song
        self._looked = 0, 0
        self._shown_plan: Planned | None = None
        self._greyed: tuple[bool, ...] = ()

    def compose(self) -> ComposeResult:
        yield Rows(id="heading")
        with Horizontal(id="choices"):
            yield SettingsList(self.form, id="settings")
            yield Rows(id="meaning")
        yield Rows(id="song")
        yield Waveform(id="wave", ascii_only=self.glyphs is ASCII)
        yield Rows(id="numbers")
        yield KeyBar()

    def on_mount(self) -> None:
        self.query_one("#settings").focus()
        self.begin_jobs()
        self.call_after_refresh(self.repaint)

    def on_resize(self) -> None:
        """Show what fits."""
        self.call_after_refresh(self.repaint)

    # What was found

    @property
    def songs(self) -> tuple[Song, ...]:
        """The songs of the folder."""
        return self.manifest.songs if self.manifest else ()

    @property
    def song(self) -> Song | None:
        """The song in view."""
        return self.songs[self.at] if self.songs else None

    @property
    def plan(self) -> Planned | None:
        """The cuts of the song in view, if they are known."""
        return self.plans.get((self.song.name, self.form.wish)) if self.song else None

    @on(SongsFound)
    def _songs_found(self, message: SongsFound) -> None:
        self.manifest, self.problem = message.manifest, message.problem
        names = [song.name for song in self.songs]
        self.at = names.index(self._first_song) if self._first_song in names else 0
        self._ask(at_once=True)
        self.repaint()

    @on(SettingsList.Typed)
    def _typed(self) -> None:
        self.form_changed()

    @on(Outlined)
    def _outlined(self, message: Outlined) -> None:
        self.keep_outline(message)
        self.repaint()

    @on(Planned)
    def _planned(self, message: Planned) -> None:
        self.keep_plan(message)
        self.repaint()

    @on(Advanced)
    def _advanced(self, message: Advanced) -> None:
        if message.job == "songs":
            self._looked = message.done, message.total
            self._paint_heading()
        elif message.job == "slices" and self.is_slicing:
            self.slicing = message
            self._paint_choices()

    def form_changed(self) -> None:
        """A setting has another value, or is being typed."""
        self.notice = ()
        self._ask()
        self.repaint()

    def _ask(self, *, at_once: bool = False) -> None:
        if self.song is not None:
            wish = None if self.form.contradiction(self.song) else self.form.wish
            self.ask_about(self.song, wish, at_once=at_once)

    # Paint

    def repaint(self) -> None:
        """Hand over everything; only rows that changed are painted."""
        self._paint_heading()
        self._paint_choices()
        self._paint_song()

    def _grey(self) -> None:
        """Have the footer look again at what can be done, if that is different now: it builds itself anew."""
        state = bool(self.songs), self.is_slicing, self.query_one("#wave", Waveform).zoom > 1
        if state != self._greyed:
            self._greyed = state
            self.refresh_bindings()

    def _paint_heading(self) -> None:
        if self.manifest is None:
            done, total = self._looked
            words = "" if self.problem else f"looking at songs {done} of {total} " if total else "looking… "
        else:
            words = f"{text.plural(len(self.songs), 'song')}, {text.duration(self.manifest.seconds)} "
        left = row((" sidestep", "strong"), ("  slicer  ", "muted"), paths.shorten(self.place.root))
        top = spread(left, row((words, "muted")), self.size.width)
        self.query_one("#heading", Rows).put([top, ((" ", ""), *self.notice) if self.notice else ()])

    def _paint_choices(self) -> None:
        settings, meaning = self.query_one("#settings", SettingsList), self.query_one("#meaning", Rows)
        size = settings.size
        settings.is_open = self.slicing is None
        settings.put(
            slicer_rows.setting_rows(
                self.form, self.glyphs, size.width, max(size.height, 1), focused=settings.has_focus
            )
        )
        width = meaning.content_size.width
        if self.slicing is not None:
            rows = slicer_rows.progress_rows(self.slicing, self.glyphs, width, stopping=self.stopping)
        else:
            problem = self.form.contradiction(self.song)
            rows = slicer_rows.help_rows(self.form, problem, self.glyphs, width)
            if self.songs and problem is None:
                folder = paths.shorten(self.form.folder)
                total = slicer_rows.total_rows(self.total, len(self.songs), folder, width)
                room = meaning.content_size.height - len(total)
                if len(rows) < room:  # otherwise the totals wait for the question
                    rows += [row("")] * (room - len(rows)) + total
        meaning.put(rows)

    def _paint_song(self) -> None:
        wave, width = self.query_one("#wave", Waveform), self.size.width
        title, numbers = self.query_one("#song", Rows), self.query_one("#numbers", Rows)
        song = self.song
        if song is None:
            title.put([])
            numbers.put([])
            wave.show(None, None, self._no_song())
            return
        outline, plan = self.outlines.get(song.name), self.plan
        problem = next((item.problem for item in (outline, plan) if item and item.problem), None)
        contradiction = self.form.contradiction(song)
        if plan is not None:
            self._shown_plan = plan
        # While cuts are sought anew, those of before stay on the screen.
        before = self._shown_plan
        drawn = plan or (before if before and before.song == song.name and not contradiction else None)
        pieces = _pieces(drawn.plan) if drawn and drawn.plan else None
        if problem is not None:
            wave.show(None, None, row((f" {self.glyphs.bad} {problem.title} {problem.message}", "bad")))
        else:
            words = row((" reading the sound…", "muted"))
            wave.show(outline.peaks if outline else None, pieces, words)
        title.put([slicer_rows.song_row(song, self.at + 1, len(self.songs), self.glyphs, width, wave.zoom)])
        if plan is not None and plan.plan is not None:
            numbers.put(slicer_rows.plan_rows(plan.plan, song, self.glyphs, width))
        elif problem is None and contradiction is None:
            numbers.put([row((" looking for cuts…", "muted"))])
        else:
            numbers.put([])
        self._grey()

    def _no_song(self) -> Row:
        if self.problem is None:
            return row((" looking for songs…", "muted"))
        return row((f" {self.glyphs.bad} {self.problem.title} {self.problem.message}", "bad"))

    def show_notice(self) -> None:
        """The sentence under the heading has changed."""
        self._paint_heading()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey what cannot be done now."""
        if action == "slice":
            return True if self.songs and not self.is_slicing else None
        if action in ("song", "zoom"):
            return True if self.songs else None
        if action == "cut":
            return True if self.songs and self.query_one("#wave", Waveform).zoom > 1 else None
        if action in ("change", "edit", "folder"):
            return None if self.is_slicing else True
        return super().check_action(action, parameters)

    def action_move(self, by: int) -> None:
        """Another setting."""
        self.form.move(by)
        self.form_changed()

    def action_change(self, direction: int) -> None:
        """One step, or another choice."""
        self.form.change(direction)
        self.form_changed()

    def action_edit(self) -> None:
        """Type the folder; the next choice elsewhere."""
        if self.form.current.name == "folder":
            self.action_folder()
        elif not self.form.current.is_number:
            self.action_change(1)
        else:
            self.say("type digits, or step with - and +", "muted")

    def action_song(self, step: int) -> None:
        """Another song."""
        at = min(max(self.at + step, 0), len(self.songs) - 1)
        if at != self.at:
            self.at = at
            self._ask()
            self.repaint()

    def action_zoom(self) -> None:
        """Closer, or all of the song again."""
        self.query_one("#wave", Waveform).step_zoom()
        self._paint_song()

    def action_cut(self, step: int) -> None:
        """Go from cut to cut."""
        self.query_one("#wave", Waveform).go_to_cut(step)

    def action_leave(self) -> None:
        """Stop the slicing under way; otherwise go back."""
        if self.is_slicing:
            self.stop_slicing()
            self._paint_choices()
        else:
            self.dismiss(None)


def _pieces(plan: dict[str, Any]) -> list[Piece]:
    return [Piece(piece["start"], piece["end"], piece["is_tail"]) for piece in plan["slices"]]
