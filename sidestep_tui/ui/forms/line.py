"""Editing one line of text: a pure value that knows keys and nothing about widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Line:
    """Text, a cursor, and whether everything is selected (as it is when a field gets the focus)."""

    text: str
    cursor: int = 0
    selected: bool = False

    @classmethod
    def entered(cls, text: str) -> Line:
        """The line of a number that just got the focus: typing replaces it, an arrow key edits it."""
        return cls(text, len(text), bool(text))

    @classmethod
    def at_end(cls, text: str) -> Line:
        """The line of a text that just got the focus: typing goes on where it ends."""
        return cls(text, len(text))

    def insert(self, typed: str) -> Line:
        """Type or paste; replaces a selection."""
        clean = "".join(char for char in typed if char.isprintable())
        if self.selected:
            return Line(clean, len(clean))
        return Line(self.text[: self.cursor] + clean + self.text[self.cursor :], self.cursor + len(clean))

    def press(self, key: str) -> Line | None:
        """The line after an editing key, or None if the key does not edit."""
        edit = _EDITS.get(key)
        return None if edit is None else edit(self)

    def _backspace(self) -> Line:
        if self.selected:
            return Line("")
        at = max(0, self.cursor - 1)
        return Line(self.text[:at] + self.text[self.cursor :], at)

    def _delete(self) -> Line:
        if self.selected:
            return Line("")
        return Line(self.text[: self.cursor] + self.text[self.cursor + 1 :], self.cursor)

    def _left(self) -> Line:
        return Line(self.text, 0 if self.selected else max(0, self.cursor - 1))

    def _right(self) -> Line:
        return Line(self.text, len(self.text) if self.selected else min(len(self.text), self.cursor + 1))

    def _home(self) -> Line:
        return Line(self.text, 0)

    def _end(self) -> Line:
        return Line(self.text, len(self.text))

    def _word_back(self) -> Line:
        if self.selected:
            return Line("")
        head = self.text[: self.cursor].rstrip("/ ._-")
        cut = max((head.rfind(char) for char in "/ ._-"), default=-1) + 1
        return Line(self.text[:cut] + self.text[self.cursor :], cut)

    def _kill_back(self) -> Line:
        return Line("") if self.selected else Line(self.text[self.cursor :])

    def _kill_forward(self) -> Line:
        return Line("") if self.selected else Line(self.text[: self.cursor], self.cursor)

    def shown(self, width: int) -> tuple[str, int]:
        """The part of the text that fits in `width` cells with the cursor in view, and the cursor within it."""
        if len(self.text) < width:
            return self.text, self.cursor
        start = min(max(0, self.cursor - width + 1), max(0, len(self.text) - width + 1))
        return self.text[start : start + width], self.cursor - start

    def with_text(self, text: str) -> Line:
        """Another text, with the cursor where it can be."""
        return self if text == self.text else replace(self, text=text, cursor=min(self.cursor, len(text)))


def pasted(text: str) -> str:
    """The first line of what was pasted."""
    lines = text.strip().splitlines()
    return lines[0].strip() if lines else ""


def pasted_path(text: str) -> str:
    """A path as file managers and shells copy it: in quotes, with its spaces escaped, or as a file:// address."""
    path = pasted(text)
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return path[1:-1]
    if path.startswith("file://"):
        return unquote(path.removeprefix("file://"))
    return path.replace("\\ ", " ")


_EDITS = {
    "backspace": Line._backspace,
    "delete": Line._delete,
    "ctrl+d": Line._delete,
    "left": Line._left,
    "right": Line._right,
    "home": Line._home,
    "ctrl+a": Line._home,
    "end": Line._end,
    "ctrl+e": Line._end,
    "ctrl+w": Line._word_back,
    "ctrl+u": Line._kill_back,
    "ctrl+k": Line._kill_forward,
}
