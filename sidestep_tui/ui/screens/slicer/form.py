"""What a person chooses about slicing: names, bounds, choices, help, and what is half typed. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SidestepError
from sidestep_tui.dataset.cutting import slicer, slices
from sidestep_tui.dataset.cutting.slicer import Cutting
from sidestep_tui.dataset.cutting.slices import Wish
from sidestep_tui.dataset.manifest import Song

FieldName = Literal[
    "seconds", "overlap", "window_ms", "bars", "tail", "min_tail", "format", "rate", "keep_lyrics", "folder"
]


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the form."""

    name: FieldName
    label: str
    help: str
    unit: str = ""
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    choices: tuple[tuple[Any, str], ...] = ()
    """Values and how they read; empty for numbers and for the folder."""

    @property
    def is_number(self) -> bool:
        """Whether digits are typed into it."""
        return self.step > 0

    @property
    def bounds(self) -> str:
        """What may be typed."""
        return f"{self.low:g} to {self.high:g} {self.unit}" if self.is_number else ""


_DEFAULT: Final = Cutting()
FIELDS: Final = (
    Field(
        "seconds",
        "Length",
        "Every slice is exactly this long, to the sample. 30 s suits a 24 GB GPU; make songs of the same length later.",
        unit="s",
        low=1,
        high=slicer.MOST_SECONDS,
        step=1,
    ),
    Field(
        "overlap",
        "Overlap",
        "Sound that a slice shares with the next one, instead of fades: the hop is the length less this.",
        unit="s",
        low=0,
        high=slicer.MOST_SECONDS / 2,
        step=0.25,
    ),
    Field(
        "window_ms",
        "Search window",
        "How far a cut may move, either way, to where all channels cross zero together.",
        unit="ms",
        low=0,
        high=1000,
        step=5,
    ),
    Field(
        "bars",
        "Bar grid",
        "Whether slices start on bars, counted from the first sample, where the BPM of a song is known.",
        choices=((False, "off"), (True, "from BPM")),
    ),
    Field(
        "tail",
        "Short tail",
        "What becomes of a rest shorter than the next row says, and of a song shorter than a slice.",
        choices=(("drop", "drop"), ("keep", "keep")),
    ),
    Field(
        "min_tail",
        "Tail kept from",
        "A rest so long is always kept, as a slice of full length that ends with the song.",
        unit="s",
        low=0,
        high=slicer.MOST_SECONDS,
        step=1,
    ),
    Field(
        "format",
        "Format",
        "Wav with the bits of the source, or what you say. No dither, no gain; flac is lossless and smaller.",
        choices=((None, "wav as source"), ("wav16", "wav 16 bit"), ("wav24", "wav 24 bit"), ("flac", "flac")),
    ),
    Field(
        "rate",
        "Sample rate",
        "At the rate of the source, samples are copied bit by bit; at another, songs are resampled at high quality.",
        choices=((None, "as source"), (44100, "44,100 Hz"), (48000, "48,000 Hz")),
    ),
    Field(
        "keep_lyrics",
        "Lyrics",
        "The lines of a whole song do not fit a slice: leave them out and write each slice's own, or keep them all.",
        choices=((False, "leave out"), (True, "keep all")),
    ),
    Field("folder", "Folder", "Where the slices go: a folder outside of the songs. Nothing in it is overwritten."),
)


@dataclass(slots=True)
class Form:
    """The values, and the text of a number that is being typed."""

    root: Path
    folder: Path
    values: dict[str, Any] = field(
        default_factory=lambda: {
            "seconds": _DEFAULT.seconds,
            "overlap": _DEFAULT.overlap,
            "window_ms": _DEFAULT.window_ms,
            "bars": False,
            "tail": _DEFAULT.tail,
            "min_tail": _DEFAULT.min_tail,
            "format": None,
            "rate": None,
            "keep_lyrics": False,
        }
    )
    at: int = 0
    """Row in focus."""
    typed: str | None = None
    """What stands in the row in focus while it is typed."""
    _before: Any = None
    """What it held before."""

    @property
    def current(self) -> Field:
        """The field in focus."""
        return FIELDS[self.at]

    def shown(self, item: Field) -> str:
        """The value as a row shows it."""
        if item.name == "folder":
            return paths.shorten(self.folder)
        if item is self.current and self.typed is not None:
            return f"{self.typed} {item.unit}"
        value = self.values[item.name]
        if item.is_number:
            return f"{value:g} {item.unit}"
        return next(words for choice, words in item.choices if choice == value)

    def move(self, by: int) -> None:
        """Go to another row; what was typed there stays if it is allowed."""
        self.settle()
        self.at = min(max(self.at + by, 0), len(FIELDS) - 1)

    def change(self, direction: int) -> bool:
        """The next choice, or one step more or less; whether anything is different now."""
        self.settle()
        item = self.current
        if item.name == "folder":
            return False
        before = self.values[item.name]
        if item.is_number:
            value = round((before + direction * item.step) / item.step) * item.step
            self.values[item.name] = min(max(float(value), item.low), item.high)
        else:
            values = [choice for choice, _ in item.choices]
            self.values[item.name] = values[(values.index(before) + direction) % len(values)]
        return bool(self.values[item.name] != before)

    def type(self, words: str) -> None:
        """Take what is being typed into the row in focus; a number that is allowed holds at once."""
        if self.typed is None:
            self._before = self.values[self.current.name]
        self.typed = words
        value = _number(words, self.current)
        self.values[self.current.name] = self._before if value is None else value

    def settle(self, *, keep: bool = True) -> None:
        """Typing is over: without `keep`, and where it is not allowed, the value is what it was."""
        if self.typed is not None and not keep:
            self.values[self.current.name] = self._before
        self.typed = None

    @property
    def problem(self) -> str:
        """What is wrong with what is typed."""
        item = self.current
        if self.typed is None or _number(self.typed, item) is not None:
            return ""
        return f"Type a number from {item.bounds}." if self.typed.strip() else f"From {item.bounds}."

    @property
    def wish(self) -> Wish:
        """All of it for the slicer."""
        value = self.values
        cutting = Cutting(value["seconds"], value["overlap"], value["window_ms"], value["tail"], value["min_tail"])
        return Wish(
            cutting, bars=value["bars"], format=value["format"], rate=value["rate"], keep_lyrics=value["keep_lyrics"]
        )

    def contradiction(self, song: Song | None) -> SidestepError | None:
        """What the numbers contradict, each other or the bars of a song."""
        try:
            slicer.grid(self.wish.cutting, self.wish.rate or 48000)
            if song is not None:
                slices.grid_of(song, self.wish)
        except SidestepError as error:
            return error
        return None


def default_folder(root: Path) -> Path:
    """Where slices go if nobody says: beside the songs."""
    return root.parent / f"{root.name}_slices"


def folder_problem(root: Path, answer: str) -> str:
    """Why slices cannot go to a folder; empty if they can."""
    if not answer.strip():
        return "Type the path of a folder."
    try:
        slices.check_places(root, paths.expand(answer.strip()).absolute())
    except SidestepError as error:
        return f"{error.title} {error.hint}"
    except (OSError, ValueError, RuntimeError) as error:
        return text.listing([str(error)])
    return ""


def _number(words: str, item: Field) -> float | None:
    """The number that was typed, if it is allowed."""
    try:
        value = float(words.replace(",", "."))
    except ValueError:
        return None
    return value if item.low <= value <= item.high else None
