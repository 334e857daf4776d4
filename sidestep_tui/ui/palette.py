"""The palette: every action that a key reaches, every setting by name, every run. What is not here does not exist."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Input

from sidestep_tui.schema.fields import all_fields
from sidestep_tui.ui.dialogs.help import shown_in_help


class Palette(CommandPalette):
    """The palette with a steady cursor: a blinking one sends bytes while nothing happens."""

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False


class Entry(NamedTuple):
    """One line of the palette."""

    title: str
    help: str
    run: Callable[[], Any]


class ListProvider(Provider):
    """A provider whose discovery and search come from one list."""

    def entries(self) -> Iterator[Entry]:
        """The lines, in order."""
        raise NotImplementedError

    async def discover(self) -> Hits:
        for entry in self.entries():
            yield DiscoveryHit(entry.title, entry.run, help=entry.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for entry in self.entries():
            if score := max(matcher.match(entry.title), 0.8 * matcher.match(entry.help)):
                yield Hit(score, matcher.highlight(entry.title), entry.run, help=entry.help)


class ActionsProvider(ListProvider):
    """What the active keys do, with the key, so that the palette teaches them."""

    def entries(self) -> Iterator[Entry]:
        seen: set[tuple[str, str]] = set()
        found = sorted(self.screen.active_bindings.values(), key=lambda active: not active.binding.show)
        for active in found:
            binding = active.binding
            if not shown_in_help(active) or (binding.action, binding.description) in seen:
                continue
            seen.add((binding.action, binding.description))
            title = f"{binding.description}  ({self.app.get_key_display(binding)})"
            run = partial(self.app.run_action, binding.action, default_namespace=active.node)
            yield Entry(title, binding.tooltip or binding.id or "", run)


class SettingsProvider(ListProvider):
    """Every setting by name and meaning; picking one jumps to its row in the wizard."""

    def entries(self) -> Iterator[Entry]:
        for spec in all_fields():
            first_sentence = spec.help.partition(". ")[0].rstrip(".")
            yield Entry(f"{spec.meta.label}  {spec.path}", first_sentence, partial(self._jump, spec.path))

    def _jump(self, path: str) -> None:
        from sidestep_tui.ui.app import SidestepApp

        assert isinstance(self.app, SidestepApp)
        self.app.show_setting(path)

    async def discover(self) -> Hits:
        """Settings appear once something is typed: forty lines would bury the actions."""
        nothing: tuple[DiscoveryHit, ...] = ()
        for hit in nothing:
            yield hit


class RunsProvider(ListProvider):
    """The runs this machine knows; picking one opens its dashboard."""

    def entries(self) -> Iterator[Entry]:
        from sidestep_tui.launch.ledger import Ledger
        from sidestep_tui.ui.app import SidestepApp

        app = self.app
        assert isinstance(app, SidestepApp)
        for row in Ledger().look(now=time.time()):
            if row.summary is not None and row.reachable:
                yield Entry(f"Open run {row.name}", f"{row.summary.status} {row.path}", partial(app.open_run, row.path))


class EverythingProvider(Provider):
    """All lists, one after the other: Textual keeps providers in a set, in another order each time."""

    def __init__(self, screen: Screen[Any], match_style: Style | None = None) -> None:
        # It is made of what is above.
        from sidestep_tui.ui.screens.presets.provider import PresetsProvider

        super().__init__(screen, match_style)
        kinds = (ActionsProvider, PresetsProvider, SettingsProvider, RunsProvider)
        self._parts = [kind(screen, match_style) for kind in kinds]

    async def discover(self) -> Hits:
        for part in self._parts:
            async for hit in part.discover():
                yield hit

    async def search(self, query: str) -> Hits:
        for part in self._parts:
            async for hit in part.search(query):
                yield hit
