"""What the wizard's widgets read and change: the draft, its estimates and what the machine has told so far.

No widget keeps a value; no method here waits for anything. Slow facts (GPUs, the checkpoint, the songs) are put in by
the screen's workers when they arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidestep_tui.core.errors import SidestepError
from sidestep_tui.launch import hardware
from sidestep_tui.launch.gpus import Device
from sidestep_tui.schema import drafts, rules
from sidestep_tui.schema.advice import Advice, Facts
from sidestep_tui.schema.draft import Draft
from sidestep_tui.schema.fields import FieldSpec, fields_by_path
from sidestep_tui.schema.inert import inert
from sidestep_tui.schema.layers import YOURS, Layer
from sidestep_tui.schema.meta import Level
from sidestep_tui.schema.plan_maths import steps_per_epoch
from sidestep_tui.schema.values import format_value
from sidestep_tui.ui.forms.cells import RowState
from sidestep_tui.ui.forms.costs import Cost as Cost
from sidestep_tui.ui.forms.costs import SessionCosts
from sidestep_tui.ui.forms.numbers import bumped, nearest

if TYPE_CHECKING:
    from sidestep_tui.core.nvml import Gpu

OFFERED = frozenset({"model.path", "data.path"})
"""Settings for which something is looked for on the machine."""
LEVELS: tuple[Level, ...] = ("basic", "advanced", "expert")


class FormSession(SessionCosts):
    """The state behind the forms. `on_change` is called after every change of the draft."""

    def __init__(self, draft: Draft, on_change: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        super().__init__(draft)
        self.model_problem: SidestepError | None = None
        self.data_problem: SidestepError | None = None
        self.scan_progress: tuple[int, int] | None = None
        self.offers: dict[str, str] = {}
        """What enter takes where a setting is empty: the checkpoint and the songs used last."""
        self._on_change = on_change
        self.watchers: list[Callable[[], None]] = []
        """Who else is told of every change."""
        self._clock = clock
        self.typing = ""
        """The setting that is being typed into at this moment: nobody judges half a number."""
        self._burst = ""
        self._burst_pushed = False
        self._saved: dict[str, Any] | None = draft.to_json() if draft.stored_as else None
        self._judged: tuple[int, list[Advice], dict[str, str]] | None = None
        self._hardware: Layer | None = None

    # Reading

    @property
    def level(self) -> Level:
        """How much is shown: basic, advanced or expert."""
        return next((level for level in LEVELS if level == self.draft.level), "basic")

    def next_level(self) -> None:
        """Show more, or after the last level the least again."""
        self.draft.level = self.next_level_name()

    def next_level_name(self) -> Level:
        """What is shown next: basic, advanced, expert, basic …"""
        return LEVELS[(LEVELS.index(self.level) + 1) % len(LEVELS)]

    def shows(self, spec: FieldSpec) -> bool:
        """Whether a setting is shown: at its level, or because it differs, is wrong, or the rules object to it."""
        if LEVELS.index(spec.meta.level) <= LEVELS.index(self.level) or self.draft.is_changed(spec.path):
            return True
        advice = self.advice_on(spec.path)
        return advice is not None and advice.severity != "advice"

    def row(self, path: str) -> RowState:
        """What a row shows."""
        draft = self.draft
        text = draft.text(path)
        return RowState(
            text,
            draft.origin(path),
            draft.is_changed(path),
            draft.error(path),
            inert=self.inert(path),
            advice=None if path == self.typing else self.advice_on(path),
            offer="" if text else self.offers.get(path, ""),
        )

    def inert(self, path: str) -> str:
        """Why a setting has no effect; empty where it has one, or where its value is refused."""
        return self._judge()[1].get(path, "")

    def advice(self) -> list[Advice]:
        """What the rules say, errors first; what is missing and what is typed wrong before everything else."""
        missing = [self._missing(item) for item in rules.missing(self.settings) if not self.draft.error(item.path)]
        return [*missing, *self._judge()[0]]

    def advice_on(self, path: str) -> Advice | None:
        """The gravest advice about one setting; that it is missing says the empty field itself."""
        return next((item for item in self._judge()[0] if item.path == path), None)

    def _judge(self) -> tuple[list[Advice], dict[str, str]]:
        """Advice and what has no effect, worked out once for every state of the draft and the machine."""
        version = self.draft.version
        if self._judged is None or self._judged[0] != version:
            settings = self.settings
            found = [
                *(self._typed_wrong(path, sentence) for path, sentence in self.draft.errors.items()),
                *rules.check(settings, self.rule_facts()),
            ]
            refused = {item.path for item in found if item.severity == "error"}
            dead = {path: why for path, why in inert(settings).items() if path not in refused}
            self._judged = version, found, dead
        return self._judged[1], self._judged[2]

    def _typed_wrong(self, path: str, sentence: str) -> Advice:
        """Text that is no value: the nearest bound, or what was there before, puts it right."""
        spec, text = fields_by_path()[path], self.draft.text(path)
        value = nearest(spec, text)
        if value is None:
            value = self.draft.below(path)
        return Advice("error", path, sentence, {path: value}, f"Set it to {format_value(spec, value) or 'none'}")

    def _missing(self, item: Advice) -> Advice:
        """A path that is needed, with the one that is offered for it."""
        offer = self.offers.get(item.path, "")
        if not offer:
            return item
        return replace(item, fix={item.path: offer}, fix_label=f"Take {Path(offer).name}")

    def rule_facts(self) -> Facts:
        """What the rules may know about songs and machine."""
        lengths = [song.duration for song in self.manifest.songs] if self.manifest else []
        songs = self.training_songs
        device = self.device
        return Facts(
            songs=songs,
            total_seconds=sum(lengths) if lengths else None,
            longest_seconds=max(lengths, default=None),
            shortest_seconds=min(lengths, default=None),
            steps_per_epoch=steps_per_epoch(self.settings, songs, self.processes) if songs else None,
            shape=self.shape(),
            free_disk_bytes=self.free_disk,
            layers=self.shape().layers,
            vram_bytes=device.total if device is not None and device.kind == "cuda" else None,
            device=device.kind if device is not None else None,
        )

    def problems(self, groups: tuple[str, ...] = ()) -> int:
        """How many settings (of some groups) hold what is no value, or what a rule refuses."""
        wrong = {item.path for item in self._judge()[0] if item.severity == "error"}
        return sum(not groups or path.partition(".")[0] in groups for path in wrong)

    # Changing

    def type(self, path: str, text: str) -> None:
        """Take text as it is typed; one visit to a field is one step of undo."""
        if self._burst == path and self._burst_pushed:
            self.draft.undo()
        before = self.draft.version
        self.draft.set(path, text)
        self._burst, self._burst_pushed = path, self.draft.version != before
        self.typing = path
        self.changed()

    def end_burst(self) -> None:
        """What is typed from now on is another step of undo."""
        self._burst, self._burst_pushed = "", False
        self.typing = ""

    def set(self, path: str, text: str) -> None:
        """Set a whole value, as one step of undo."""
        self.end_burst()
        self.draft.set(path, text)
        self.changed()

    def take_offer(self, path: str) -> bool:
        """Fill in what is offered where nothing is; False while nobody has looked for offers yet."""
        if path not in OFFERED or self.draft.text(path):
            return True
        if offer := self.offers.get(path):
            self.set(path, offer)
        return self.gpus is not None

    def fix(self, advice: Advice) -> None:
        """Follow advice, as one step of undo."""
        if advice.fix:
            self.apply(advice.fix, origin=YOURS)

    def apply(self, values: Mapping[str, Any], *, origin: str) -> None:
        """Set several values as one step of undo."""
        self.end_burst()
        self.draft.apply_values(values, origin=origin)
        self.changed()

    def cycle(self, path: str, step: int) -> None:
        """The next or previous choice; also flips a switch."""
        spec = fields_by_path()[path]
        if spec.kind == "bool":
            self.toggle(path)
            return
        current = self.draft.text(path)
        index = spec.choices.index(current) if current in spec.choices else -step
        self.set(path, spec.choices[(index + step) % len(spec.choices)])

    def toggle(self, path: str) -> None:
        """Flip a switch."""
        self.set(path, "false" if self.draft.text(path) == "true" else "true")

    def toggle_option(self, path: str, option: str) -> None:
        """Put one option of a list in or out; the last one stays."""
        spec = fields_by_path()[path]
        chosen = [part.strip() for part in self.draft.text(path).split(",") if part.strip()]
        kept = [choice for choice in spec.choices if (choice in chosen) != (choice == option)]
        if kept:
            self.set(path, ", ".join(kept))

    def bump(self, path: str, direction: int) -> None:
        """One sensible step up or down, within the bounds."""
        spec = fields_by_path()[path]
        value = bumped(spec, self.draft.value(path), direction)
        self.set(path, format_value(spec, value))

    def reset(self, path: str) -> None:
        """Back to the layer below."""
        self.end_burst()
        self.draft.reset(path)
        self.changed()

    def undo(self) -> str | None:
        """Take back the last edit; the path that it touched."""
        self.end_burst()
        touched = self.draft.undo()
        self.changed()
        return touched

    def redo(self) -> str | None:
        """Do it again."""
        self.end_burst()
        touched = self.draft.redo()
        self.changed()
        return touched

    def replace_draft(self, draft: Draft) -> None:
        """Work on another draft from now on."""
        self.end_burst()
        self.draft = draft
        self._saved = draft.to_json() if draft.stored_as else None
        self._hardware = None
        self.changed()

    def changed(self) -> None:
        """Let the machine's suggestion follow the settings, then tell the screen."""
        if self.device is not None:
            layer = hardware.layer(self.settings, device=self.device, shape=self.shape())
            if layer != self._hardware:
                self._hardware = layer
                self.draft.apply_hardware(layer)
        self._judged = None
        self.forget_costs()
        for tell in (self._on_change, *self.watchers):
            tell()

    def judge_by(self, device: Device | None) -> None:
        """Judge by a GPU that is not here, or by this machine again."""
        self.stand_in, self.measured = device, None
        self.changed()

    def machine_known(self, present: list[Gpu]) -> None:
        """The GPUs have been counted."""
        self.gpus = present
        self._devices.clear()
        self.changed()

    def save(self) -> bool:
        """Write the draft if it reads differently than when it was last read or written.

        True where another window has written the same draft meanwhile: this one goes on as a copy. Merely looking
        around in it makes no copy.
        """
        draft, stored = self.draft, self.draft.to_json()
        if stored == self._saved:
            return False
        if _edits(stored) == _edits(self._saved) and drafts.is_taken(draft):
            return False
        before = draft.id
        drafts.save(draft, self._clock())
        self._saved = draft.to_json()
        return draft.id != before


def _edits(stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a stored draft holds besides where in the form it was left."""
    return {key: value for key, value in (stored or {}).items() if key not in ("step", "field", "level")}
