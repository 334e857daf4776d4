"""The keys of the songs screen. Lower case never touches a file; upper case and ctrl+s, ctrl+t write."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding

HELP: Final = """
# Songs

Every edit waits until W writes it: first you see which files change, and of each a backup is kept. u takes back, also
what was written. Edits apply to the marked songs, or to the one under the bar.

Signs before a name: a pointer for marked, a dot for edited, a tick for reviewed.

The filter takes words from anything said about a song, and conditions: missing:bpm, missing: (anything), has:lyrics,
lang:en, key:minor, bpm:>120, bpm:100-120, length:<1:00, genre:rock, from:ember.json, instrumental:yes, reviewed:no,
edited:yes, marked:yes. A minus before one excludes: -piano -lang:en. "Two words" stand in quotes.
"""


def _key(
    keys: str, action: str, label: str, name: str, tooltip: str, *, shown: str = "", footer: bool = False
) -> Binding:
    return Binding(keys, action, label, id=f"songs.{name}", key_display=shown or None, show=footer, tooltip=tooltip)


KEYS: Final = (
    _key("e,enter", "edit", "Edit", "edit", "Choose a field and edit it", footer=True),
    _key("space", "mark", "Mark", "mark", "Mark the song; edits then apply to all marked", footer=True),
    _key("slash", "filter", "Filter", "filter", "Words, missing:bpm, lang:en", shown="/", footer=True),
    _key("m", "reads", "Model", "reads", "What the model reads of this song, and what is cut", footer=True),
    _key("d", "doctor", "Doctor", "doctor", "Find faults in the folder", footer=True),
    _key("W,ctrl+s", "write", "Write", "write", "Write the edits into files", shown="W", footer=True),
    _key("q", "leave", "Leave", "leave", "Back; asks where edits are not written", footer=True),
    _key("c", "field('caption')", "Caption", "caption", "Edit the caption"),
    _key("l", "field('lyrics')", "Lyrics", "lyrics", "Edit the lyrics"),
    _key("b", "field('bpm')", "BPM", "bpm", "Edit the tempo"),
    _key("n", "field('keyscale')", "Key", "key", "Edit the key (its note)"),
    _key("t", "tag", "Tag", "tag", "Put a trigger tag into captions"),
    _key("i", "instrumental", "Instrumental", "instrumental", "Nobody sings, or somebody does"),
    _key("f", "replace", "Find and replace", "replace", "In captions, lyrics, …"),
    _key("x", "review", "Reviewed", "review", "You have read these words"),
    _key("u,ctrl+y", "undo", "Undo", "undo", "Take the last step back"),
    _key("ctrl+r,ctrl+underscore", "redo", "Redo", "redo", "Do it again"),
    _key("equals_sign", "measure", "Measure", "measure", "Hear BPM and key", shown="="),
    _key("plus", "accept", "Take heard", "accept", "Take BPM and key over as heard", shown="+"),
    _key("v", "mark_range", "Mark range", "range", "From the last mark to here"),
    _key("a", "mark_shown", "Mark all", "all", "All that the filter shows, or none of them"),
    _key("s", "sort", "Sort", "sort", "By the next column"),
    _key("less_than_sign", "order(False)", "Rising", "rising", "Smallest first", shown="<"),
    _key("greater_than_sign", "order(True)", "Falling", "falling", "Largest first", shown=">"),
    _key("z", "slicer", "Slice", "slice", "Cut songs into equal slices"),
    _key("w", "warnings", "Warnings", "warnings", "What was left out, and why"),
    _key("o", "open", "Open file", "open", "The song's sidecar in your editor"),
    _key("r", "look", "Look again", "look", "Read the folder again; edits stay"),
    Binding("ctrl+t", "flip_txt", "Flip name.txt", id="data.flip_txt", show=False, tooltip="What name.txt holds"),
    _key("y", "copy", "Copy path", "copy", "Copy the path of the song"),
    _key("j,down", "move(1)", "Down", "down", "The next song"),
    _key("k,up", "move(-1)", "Up", "up", "The previous song"),
    _key("ctrl+d,pagedown", "page(1)", "Page down", "page.down", "A page down"),
    _key("ctrl+u,pageup", "page(-1)", "Page up", "page.up", "A page up"),
    _key("g,home", "move(-999999)", "First", "first", "The first song"),
    _key("G,end", "move(999999)", "Last", "last", "The last song"),
    _key("escape", "clear", "Clear", "clear", "The filter, then the marks"),
)

NEEDS_SONG: Final = frozenset(
    "edit mark reads field tag instrumental replace review measure accept mark_range mark_shown open copy".split()
)
"""Actions that are grey while there is no song under the bar."""

TOUCHES_WORDS: Final = frozenset(
    "edit field tag instrumental replace review accept undo redo write look flip_txt doctor slicer open leave".split()
)
"""Actions that wait while files are being written."""
