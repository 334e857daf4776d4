"""What each cell of the terminal shows and should show, and the shortest sequence from the one to the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from rich.cells import cell_len, split_graphemes
from rich.color import ColorSystem
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

_SHORT_GAP = 3
_FEWEST_SCROLLED = 3
_SCROLL_COST = 40
"""Characters that a scroll must save: the sequences, and that the new row is written from its first cell on."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a cell looks like: SGR codes of attributes, foreground and background, and a hyperlink."""

    attributes: tuple[str, ...] = ()
    foreground: str = ""
    background: str = ""
    link: str = ""

    def is_blank_in(self, pen: Look) -> bool:
        """Whether a space of this look can be written with `pen`: nothing but the background shows on either."""
        return (
            self.background == pen.background
            and not (self.attributes or self.foreground or self.link or pen.link)
            and not _VISIBLE_ON_SPACE.intersection(pen.attributes)
        )

    def change_from(self, old: Look) -> str:
        """The shortest SGR sequence that turns `old` into this, empty when they are equal."""
        if old is self or (old.attributes, old.foreground, old.background) == (
            self.attributes,
            self.foreground,
            self.background,
        ):
            return ""
        reset = (
            not set(old.attributes) <= set(self.attributes)
            or (old.foreground and not self.foreground)
            or (old.background and not self.background)
        )
        if reset:
            codes = ["0", *self.attributes, self.foreground, self.background]
        else:
            codes = [code for code in self.attributes if code not in old.attributes]
            codes += [self.foreground] * (self.foreground != old.foreground)
            codes += [self.background] * (self.background != old.background)
        text = ";".join(code for code in codes if code)
        return "\x1b[m" if text == "0" else f"\x1b[{text}m"


PLAIN = Look()
Cell = tuple[str, Look]
_VISIBLE_ON_SPACE = frozenset({"4", "7", "9", "21", "51", "52", "53"})


@lru_cache(maxsize=4096)
def _looks(style: Style | None, color_system: ColorSystem) -> tuple[Look, Look]:
    """The look of a style on text, and on a space, where the foreground cannot be seen."""
    if style is None:
        return PLAIN, PLAIN
    attributes = tuple(
        style._style_map[bit] for bit in range(13) if (style._attributes & style._set_attributes) >> bit & 1
    )
    foreground = ";".join(style.color.downgrade(color_system).get_ansi_codes()) if style.color else ""
    background = (
        ";".join(style.bgcolor.downgrade(color_system).get_ansi_codes(foreground=False)) if style.bgcolor else ""
    )
    link = f"id={style.link_id};{style.link}" if style.link else ""
    look = Look(attributes, foreground, background, link)
    if link or _VISIBLE_ON_SPACE.intersection(attributes):
        return look, look
    return look, Look((), "", background)


def _cells(strip: Strip, color_system: ColorSystem) -> Iterator[Cell]:
    """The cells of a strip; the second half of a wide character is an empty text, combining marks join their base."""
    for text, style, control in strip:
        if control:
            continue
        on_text, on_space = _looks(style, color_system)
        if text.isascii():
            for character in text:
                yield (character, on_space if character == " " else on_text)
            continue
        spans, _ = split_graphemes(text)
        for start, end, width in spans:
            character = text[start:end]
            yield (character, on_space if character == " " else on_text)
            for _ in range(width - 1):
                yield ("", on_text)


class CellMemory:
    """What the terminal shows and what it should show."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._wanted: list[list[Cell]] = [[(" ", PLAIN)] * width for _ in range(height)]
        self._shown: list[list[Cell | None]] = [[None] * width for _ in range(height)]
        self._touched: set[int] = set()

    def forget(self) -> None:
        """Assume nothing about what the terminal shows: the next paint writes every cell."""
        self._shown = [[None] * self.width for _ in range(self.height)]
        self._touched = set(range(self.height))

    def put(self, x: int, y: int, strips: Iterable[Strip], color_system: ColorSystem) -> None:
        """Want the strips, one behind the other, on row `y` from column `x`."""
        if not 0 <= y < self.height:
            return
        row = self._wanted[y]
        self._touched.add(y)
        if 0 < x < self.width and not row[x][0]:
            row[x - 1] = (" ", row[x - 1][1])
        for strip in strips:
            for cell in _cells(strip, color_system):
                if 0 <= x < self.width:
                    row[x] = cell
                x += 1
        # What is left of a wide character that was overwritten in part is blank, as on a terminal.
        if 0 < x < self.width and not row[x][0]:
            row[x] = (" ", row[x][1])

    def apply(self, update: LayoutUpdate | ChopsUpdate, color_system: ColorSystem) -> None:
        """Want what a compositor update shows."""
        if isinstance(update, LayoutUpdate):
            for y, line in enumerate(update.strips, update.region.y):
                self.put(update.region.x, y, line, color_system)
            return
        for y, start, stop in update.spans:
            for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                if strip is None or x > stop or end <= start:
                    continue
                whole = stop > x >= start and end <= stop
                self.put(x, y, [strip if whole else strip.crop(0, min(end, stop) - x)], color_system)

    def flush(self) -> str:
        """The sequence that makes the terminal show what is wanted; remembers that it does."""
        out: list[str] = []
        self._scroll(out)
        pen = _Pen(out, self.width)
        for y in sorted(self._touched):
            wanted, shown = self._wanted[y], self._shown[y]
            if wanted == shown:
                continue
            self._write_row(pen, y, wanted, _changed(wanted, shown))
            self._shown[y] = list(wanted)
        self._touched.clear()
        pen.finish()
        return "".join(out)

    def _scroll(self, out: list[str]) -> None:
        """Have the terminal move rows that stand a few rows higher or lower than they are wanted, as in a log."""
        differing = [y for y in self._touched if self._wanted[y] != self._shown[y]]
        if len(differing) < _FEWEST_SCROLLED:
            return
        for by in (1, -1, 2, -2, 3):
            first, rows = self._longest_shifted(differing, by)
            if rows < _FEWEST_SCROLLED:
                continue
            band = range(first, first + rows)
            saved = sum(new != old for y in band for new, old in zip(self._wanted[y], self._shown[y], strict=True))
            if saved <= _SCROLL_COST + abs(by) * self.width:
                continue
            top, bottom = min(first, first + by), max(first, first + by) + rows
            move = f"\x1b[{bottom}H" + "\n" * by if by > 0 else f"\x1b[{top + 1}H" + "\x1bM" * -by
            out.append(f"\x1b[{top + 1};{bottom}r{move}\x1b[r")
            moved = [self._shown[y + by] for y in band]
            self._shown[top:bottom] = [[(" ", PLAIN)] * self.width for _ in range(top, bottom)]
            self._shown[first : first + rows] = moved
            self._touched.update(range(top, bottom))
            return

    def _longest_shifted(self, differing: list[int], by: int) -> tuple[int, int]:
        """The first of the most rows in one piece that are shown `by` rows further down than wanted, and how many."""
        best = (0, 0)
        start = count = 0
        for y in sorted(differing):
            if not 0 <= y + by < self.height or self._wanted[y] != self._shown[y + by]:
                count = 0
                continue
            if not count or y != start + count:
                start, count = y, 0
            count += 1
            best = max(best, (start, count), key=lambda piece: piece[1])
        return best

    def _write_row(self, pen: _Pen, y: int, wanted: list[Cell], changed: list[bool]) -> None:
        x = 0
        while x < self.width:
            if not changed[x]:
                x += 1
                continue
            gap = x - pen.x if pen.y == y else 0
            if 0 < gap <= _SHORT_GAP and all(_joins(cell, pen.look) for cell in wanted[x - gap : x]):
                for cell in wanted[x - gap : x]:
                    pen.write(cell)
            pen.move(x, y)
            pen.write(wanted[x])
            x += 1
            while x < self.width and not wanted[x][0]:
                x += 1


def _joins(cell: Cell, look: Look) -> bool:
    """Whether an unchanged cell is cheaper to write again than to step over."""
    text, own = cell
    return len(text) == 1 and text.isascii() and (own == look or (text == " " and own.is_blank_in(look)))


def _changed(wanted: list[Cell], shown: list[Cell | None]) -> list[bool]:
    """Which cells to write. Half a wide character cannot be written or overwritten alone."""
    changed = [new != old for new, old in zip(wanted, shown, strict=True)]
    last = len(changed) - 1
    for direction in (range(last + 1), range(last, -1, -1)):
        for x in direction:
            if not changed[x]:
                continue
            old = shown[x]
            if x and ((old is not None and not old[0]) or not wanted[x][0]):
                changed[x - 1] = True
            if x < last:
                beside = shown[x + 1]
                if (beside is not None and not beside[0]) or not wanted[x + 1][0]:
                    changed[x + 1] = True
    return changed


class _Pen:
    """Where the cursor is and what it writes like; -1 where that cannot be known."""

    def __init__(self, out: list[str], width: int) -> None:
        self._out = out
        self._width = width
        self.x = -1
        self.y = -1
        self.look = PLAIN

    def move(self, x: int, y: int) -> None:
        if (x, y) == (self.x, self.y):
            return
        ahead = x - self.x
        if y == self.y and self.x >= 0 and ahead > 0:
            self._out.append("\x1b[C" if ahead == 1 else f"\x1b[{ahead}C")
        else:
            self._out.append(f"\x1b[{y + 1}H" if x == 0 else f"\x1b[{y + 1};{x + 1}H")
        self.x, self.y = x, y

    def write(self, cell: Cell) -> None:
        text, look = cell
        if text == " " and look.is_blank_in(self.look):
            look = self.look
        if look.link != self.look.link:
            self._out.append(f"\x1b]8;{look.link or ';'}\x1b\\")
        self._out.append(look.change_from(self.look))
        self.look = look
        self._out.append(text)
        self.x += 1
        # Terminals disagree on the width of unusual characters and on where the cursor rests behind the last column.
        if self.x >= self._width or len(text) != 1 or (not text.isascii() and cell_len(text) != 1):
            self.x = self.y = -1

    def finish(self) -> None:
        if self.look.link:
            self._out.append("\x1b]8;;\x1b\\")
        self._out.append(PLAIN.change_from(self.look))
        self.look = PLAIN
