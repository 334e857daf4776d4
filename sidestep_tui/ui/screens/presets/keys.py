"""The keys of the browser of presets. Lower case is safe; D deletes, and asks for the name."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

_PARAGRAPHS = (
    "# Presets",
    "A preset is a short file with the settings that make a recipe. Your songs, your model and the output stay as they"
    " are when you choose one. Beside the list stands what the preset under the bar would change in the draft, and what"
    " the run would cost then. Enter starts the draft from it, and u takes that back. Edits of your own can stay on"
    " top: you are asked.",
    "Signs in the list: a dot for the preset that the draft starts from, a tick for one that fits this machine, an"
    " exclamation mark for one that needs more than is free, a cross for one that needs more than there is. The number"
    " is the memory that it takes, in GiB. Space puts = before a preset: the others are then compared with that one"
    " instead of the draft.",
    "Presets of your own lie in the configuration directory, as TOML files that e opens in your editor; those in"
    " ./presets belong to the folder that you work in. s saves the draft, with only what differs from the defaults or"
    " from the preset that it starts from.",
    "Presets of other trainers are imported from their files; the settings of a guide or a script can be pasted into"
    " the list. Either way you see first what becomes of every key.",
    "The filter looks in names, purposes, comments and in values that are words: dora, adamw8bit.",
    "On the command line: sidestep-tui presets list, show, diff, check, import, export, rename, duplicate, delete.",
)

HELP: Final = "\n\n".join(_PARAGRAPHS)


def _key(
    keys: str, action: str, label: str, name: str, tooltip: str, *, shown: str = "", footer: bool = False
) -> Binding:
    return Binding(keys, action, label, id=f"presets.{name}", key_display=shown or None, show=footer, tooltip=tooltip)


KEYS: Final = (
    _key("enter", "apply", "Apply", "apply", "Start the draft from this preset", footer=True),
    _key("slash", "filter", "Filter", "filter", "By name, purpose or a word like dora", shown="/", footer=True),
    _key("s,ctrl+s", "save", "Save draft", "save", "Save the draft as a preset", footer=True),
    _key("d", "duplicate", "Duplicate", "duplicate", "A copy of your own, to change", footer=True),
    _key("i", "import_file", "Import", "import", "A preset of another trainer, key by key", footer=True),
    _key("x", "export", "Export", "export", "Write it to a file that stands on its own", footer=True),
    _key("space", "compare", "Compare with", "compare", "Compare the others with this preset, not with the draft"),
    _key("e", "edit", "Edit file", "edit", "A preset of your own in your editor"),
    _key("m", "rename", "Rename", "rename", "Give a preset of your own another name"),
    _key("D", "delete", "Delete", "delete", "Delete a preset of your own; asks for its name"),
    _key("v", "check", "Check", "check", "What the rules say about this preset"),
    _key("o", "open", "Open path", "open", "List a preset, run.toml or run folder by its path"),
    _key("u,ctrl+y", "undo", "Undo", "undo", "Take back what was applied last"),
    _key("ctrl+underscore", "redo", "Redo", "redo", "Do it again"),
    _key("y", "copy", "Copy path", "copy", "Copy the path of the file"),
    _key("r", "look", "Look again", "look", "Read the files again"),
    _key("right,l", "read(True)", "Read", "read", "Read the preview to its end"),
    _key("left,h", "read(False)", "To the list", "list", "Back to the list"),
    _key("tab,shift+tab", "switch", "Other side", "switch", "From the list to the preview and back"),
    _key("right_square_bracket", "step(1)", "Next", "next", "The next preset, also while reading", shown="]"),
    _key("left_square_bracket", "step(-1)", "Previous", "previous", "The preset before", shown="["),
    _key("j,down", "move(1)", "Down", "down", "The next preset or line"),
    _key("k,up", "move(-1)", "Up", "up", "The previous preset or line"),
    _key("ctrl+d,pagedown", "page(1)", "Page down", "page.down", "A page down"),
    _key("ctrl+u,pageup", "page(-1)", "Page up", "page.up", "A page up"),
    _key("g,home", "move(-999999)", "First", "first", "The first preset or line"),
    _key("G,end", "move(999999)", "Last", "last", "The last preset or line"),
    _key("escape", "back", "Back", "back", "The filter, the preview, then out"),
    _key("q", "leave", "Leave", "leave", "Back to where you came from", footer=True),
)

NEEDS_PRESET: Final = frozenset({"apply", "compare", "duplicate", "export", "check"})
"""Actions that are grey while no preset that can be used is under the bar."""
