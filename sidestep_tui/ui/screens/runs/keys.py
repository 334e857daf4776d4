"""The keys of the list of runs."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding


def _key(
    keys: str, action: str, label: str, name: str, tooltip: str, *, shown: str = "", footer: bool = False
) -> Binding:
    return Binding(keys, action, label, id=f"runs.{name}", key_display=shown or None, show=footer, tooltip=tooltip)


KEYS: Final = (
    _key("enter", "open", "Open", "open", "Watch the run, or go on with the draft", footer=True),
    _key("n", "new", "New run", "new", "The wizard", footer=True),
    _key("slash", "filter", "Filter", "filter", "Words, state:failed, kind:lora, data:drums", shown="/", footer=True),
    _key("R", "resume", "Resume", "resume", "Go on from the last checkpoint; asks how far", shown="R", footer=True),
    _key("d", "duplicate", "Duplicate", "duplicate", "A draft with the settings of this run or draft", footer=True),
    _key("space", "mark", "Mark", "mark", "Mark the run, to compare it with others", footer=True),
    _key("equals_sign", "compare", "Compare", "compare", "Curves and settings of marked runs", shown="=", footer=True),
    _key("o", "open_path", "Open folder", "path", "Open a run, or list all runs of a folder", footer=True),
    _key("p", "app.presets", "Presets", "presets", "Compare presets, choose and keep them"),
    _key("b", "build_on", "Build on", "build_on", "A new run that begins with an adapter of this one"),
    _key("T", "tidy", "Tidy", "tidy", "Free disk: checkpoints and caches; asks for a word", shown="T"),
    _key("D", "delete", "Delete", "delete", "Delete the run or draft; asks for its name", shown="D"),
    _key("s", "sort", "Sort", "sort", "By the next column"),
    _key("less_than_sign", "order(False)", "Rising", "rising", "Smallest first", shown="<"),
    _key("greater_than_sign", "order(True)", "Falling", "falling", "Largest first", shown=">"),
    _key("p", "app.presets", "Presets", "presets", "Browse presets; leaving them comes back here"),
    _key("r", "look", "Refresh", "refresh", "Look again"),
    _key("j,down", "move(1)", "Down", "down", "The next run"),
    _key("k,up", "move(-1)", "Up", "up", "The previous run"),
    _key("ctrl+d,pagedown", "move(10)", "Page down", "page.down", "Ten runs down"),
    _key("ctrl+u,pageup", "move(-10)", "Page up", "page.up", "Ten runs up"),
    _key("g,home", "move(-99999)", "First", "first", "The first run"),
    _key("G,end", "move(99999)", "Last", "last", "The last run"),
    _key("y", "copy_path", "Copy path", "copy", "Copy the run's path"),
    _key("escape", "clear_filter", "Clear filter", "clear", "Show every run again, then clear the marks"),
    _key("q", "app.quit", "Quit", "quit", "Leave; training goes on", footer=True),
)
