"""Presets in the palette: found by name and by purpose from every place, and shown in their browser."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hits

from sidestep_tui.schema import presets
from sidestep_tui.schema.preset_file import Preset
from sidestep_tui.ui.palette import Entry, ListProvider


class PresetsProvider(ListProvider):
    """The door to the browser, and every preset; nothing is applied before it has been looked at there."""

    _known: list[Preset] | None = None

    def entries(self) -> Iterator[Entry]:
        """The browser first, then the presets; they are read once each time that the palette opens."""
        yield self._door()
        if self._known is None:
            self._known = presets.list_presets()
        for preset in self._known:
            yield Entry(f"Preset {preset.name}", preset.description, partial(self._show, str(preset.path)))

    async def discover(self) -> Hits:
        """Presets appear once something is typed."""
        door = self._door()
        yield DiscoveryHit(door.title, door.run, help=door.help)

    def _door(self) -> Entry:
        return Entry("Browse presets", "What each would change and cost; save, import, export", partial(self._show, ""))

    def _show(self, key: str) -> None:
        from sidestep_tui.ui.app import SidestepApp

        assert isinstance(self.app, SidestepApp)
        self.app.open_presets(key)
