"""Rows of the memory page: what to judge by, profiles, the rungs of the fit ladder. They keep no value of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from sidestep_tui.core import text
from sidestep_tui.launch import forecast, hardware
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import fit_ladder, pace
from sidestep_tui.schema.fields import fields_by_path
from sidestep_tui.schema.fit_ladder import Rung
from sidestep_tui.schema.profiles import PROFILES, Profile, profile_for
from sidestep_tui.ui.forms.cells import LABEL_WIDTH
from sidestep_tui.ui.forms.cost import verdict_style
from sidestep_tui.ui.forms.rows import ActionRow
from sidestep_tui.ui.forms.session import FormSession
from sidestep_tui.ui.theme import Glyphs

_ROOMY = 84
"""Columns from which on a row says how as well as how much."""


class JudgeRow(ActionRow):
    """Whose memory and speed everything on the page is judged by: this machine's, or those of a GPU elsewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "cycle(-1)", "Previous choice", id="form.cycle_back", show=False),
        Binding("right,l", "cycle(1)", "Next choice", id="form.cycle", show=False),
    ]

    def __init__(self, session: FormSession) -> None:
        super().__init__(
            self._line,
            lambda: self.action_cycle(1),
            help_text="judge by\nThe bar, what fits, profiles, ladder and time go by this machine, or by a GPU that is"
            " not here: plan at home for the machine you will rent. Left and right choose. Runs always start here.",
            id="judge",
        )
        self._session = session
        self._choices: list[Device | None] = [None, *forecast.stand_ins()]

    def action_cycle(self, step: int) -> None:
        """Another GPU, or this machine."""
        place = self._choices.index(self._session.stand_in) if self._session.stand_in in self._choices else 0
        self._session.judge_by(self._choices[(place + step) % len(self._choices)])

    def _line(self, focused: bool, width: int) -> Content:
        glyphs, device = self.glyphs, self._session.stand_in
        name = "this machine" if device is None else f"{device.name}, {text.gibibytes(device.total)}"
        note = "" if device is None else "   not here"
        return Content.assemble(
            (f"{glyphs.focus} " if focused else "  ", "$primary"),
            (f"{'judge by':<{LABEL_WIDTH - 1}}", "bold" if focused else ""),
            (glyphs.left if focused else " ", "$primary"),
            (name, "" if device is None else "$accent"),
            (glyphs.right if focused else "", "$primary"),
            (note, "$muted"),
        )


class Choices:
    """What the page offers to apply, and what each would cost; worked out once for every state of the session."""

    def __init__(self, session: FormSession) -> None:
        self._session = session
        self._state: object = None
        self.profiles: dict[str, tuple[int, str]] = {}
        """Need and time of each, by name."""
        self.ladder: tuple[Rung, ...] = ()
        self.standing: Rung | None = None
        """The rung that the draft stands on."""
        self.proposed: Rung | None = None
        """The first rung that fits, where the draft does not; None if nothing does."""
        self.paces: list[str] = []
        """How much more or less time each rung takes."""

    @property
    def is_xl(self) -> bool:
        """Whether the larger model is trained, for which profiles have other values."""
        shape = self._session.shape()
        return shape.hidden != shape.encoder_hidden

    def values_of(self, profile: Profile) -> Mapping[str, Any]:
        """What a profile sets for the chosen model."""
        return profile.values_for(xl=self.is_xl)

    def follow(self) -> bool:
        """Work everything out again where something has changed; whether the ladder is longer or shorter."""
        session = self._session
        songs = session.training_songs
        state = (session.draft.version, session.settings, session.device, session.shape(), songs, session.measured)
        if state == self._state:
            return False
        self._state = state
        for profile in PROFILES:
            settings = session.with_values(self.values_of(profile))
            self.profiles[profile.name] = session.cost(settings).estimate.total, session.pace(settings).short
        before = len(self.ladder)
        self._climb()
        return len(self.ladder) != before

    def _climb(self) -> None:
        session, device = self._session, self._session.device
        if device is None:
            self.ladder, self.standing, self.proposed, self.paces = (), None, None, []
            return
        settings, shape = session.settings, session.shape()
        needs = hardware.needs(device, shape)
        ladder = fit_ladder.rungs(settings, needs)
        if not any(rung.fits(device.free) for rung in ladder):
            shorter = fit_ladder.shorter_crop(settings, needs, device.free)
            ladder += (shorter,) if shorter is not None else ()
        decided = fit_ladder.settled(settings, needs, device.free)
        self.ladder, self.standing = ladder, fit_ladder.in_force(ladder, decided)
        fitting = next((rung for rung in ladder if rung.fits(device.free)), None)
        self.proposed = None if self.standing is not None and self.standing.fits(device.free) else fitting
        self.paces = [
            pace.compared(fit_ladder.with_values(settings, rung.values), decided, shape, device) for rung in ladder
        ]

    def applied(self, rung: Rung) -> dict[str, Any]:
        """What has to be set for a rung."""
        session, device = self._session, self._session.device
        if device is None:
            return dict(rung.values)
        return fit_ladder.to_apply(rung, session.settings, hardware.needs(device, session.shape()), device.free)


def profile_line(
    session: FormSession, choices: Choices, profile: Profile, glyphs: Glyphs, focused: bool, width: int
) -> Content:
    """A profile: what it needs, whether that fits, how long it takes, and on wide screens what it sets."""
    values = choices.values_of(profile)
    active = all(session.draft.value(path) == value for path, value in values.items())
    device = session.device
    meant = device is not None and device.kind == "cuda" and profile_for(device.total) is profile
    total, time = choices.profiles[profile.name]
    style, mark = ("", " ") if device is None else verdict_style(total, device.free, device.total, glyphs)
    return Content.assemble(
        (f"{glyphs.focus} " if focused else "  ", "$primary"),
        (f"{glyphs.on if active else glyphs.off} ", "$primary" if active else "$faint"),
        (f"{profile.name:<16}", "bold" if focused else ""),
        f"{text.gibibytes(total):>9} ",
        (f"{mark} ", style),
        (f"{time:<16}", "$muted"),
        (f"{_recipe(values):<30}" if width >= _ROOMY else "", "$muted"),
        ("this GPU" if meant and session.stand_in is None else "its size" if meant else "", "$primary"),
    )


def _recipe(values: Mapping[str, Any]) -> str:
    """What a profile sets, in columns: crops at once and how often, optimizer, checkpointing, base."""
    base = values["memory.base"]
    parts = [
        f"{values['train.batch_size']} x {values['train.accumulation']}",
        f"{values['optim.optimizer']:<9}",
        f"ckpt {values['memory.gradient_checkpointing']:<3}",
        "" if base == "full" else base,
    ]
    return "  ".join(parts).rstrip()


def profile_help(session: FormSession, choices: Choices, profile: Profile) -> str:
    """What a profile would change in the draft, and what it is for."""
    summary = profile.xl_summary if choices.is_xl else profile.summary
    return f"profile {profile.name}\n{changes_of(session, choices.values_of(profile))} {summary}"


def rung_line(
    rung: Rung, choices: Choices, slower: str, glyphs: Glyphs, free: int, *, focused: bool, width: int
) -> Content:
    """A rung: what it needs, whether that fits, how much more time it takes, and what it does."""
    standing = rung is choices.standing
    mark, style = (glyphs.ok, "$success") if rung.fits(free) else (glyphs.bad, "$error")
    line = Content.assemble(
        (f"{glyphs.focus} " if focused else "  ", "$primary"),
        (f"{glyphs.on if standing else glyphs.off} ", "$primary" if standing else "$faint"),
        (f"{rung.name:<18}", "bold" if focused else ""),
        f"{text.gibibytes(rung.needs):>9} ",
        (f"{mark} ", style),
        (f"{slower:>6}  ", "$muted"),
        ("proposed  " if rung is choices.proposed else "", "bold $success"),
        (rung.sentence, "$faint"),
    )
    return line.truncate(width, ellipsis=True) if width > 0 else line


def rung_help(session: FormSession, choices: Choices, rung: Rung) -> str:
    """What a rung does and would change."""
    return f"fit ladder: {rung.name}\n{rung.sentence} {changes_of(session, choices.applied(rung))}"


def changes_of(session: FormSession, values: Mapping[str, Any]) -> str:
    """`Enter sets batch size 1 to 2, …`: the difference to the draft."""
    parts = []
    for path, value in values.items():
        spec, now = fields_by_path()[path], session.draft.value(path)
        if now != value:
            parts.append(f"{spec.meta.label} {spec.write(now)} to {spec.write(value)}")
    return f"Enter changes {text.listing(parts, most=6)}." if parts else "The draft is as it would be."
