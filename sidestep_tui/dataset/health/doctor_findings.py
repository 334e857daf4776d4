"""What the dataset doctor can find: codes, how grave each is, why it matters and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Severity = Literal["error", "warning", "advice"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "advice")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding."""

    severity: Severity
    title: str
    why: str
    remedy: str


_COPY: Final = "Copy or export it again from its source."
_PLAIN: Final = "Correct it by hand in the file that is named."

_SOUND_KINDS: Final[dict[str, Kind]] = {
    "unreadable": Kind("error", "unreadable audio", "The song is left out of training.", _COPY),
    "truncated": Kind("error", "truncated audio", "A copy was cut short; the song is left out or ends early.", _COPY),
    "empty": Kind("error", "empty audio", "There is nothing to learn from; the song is left out.", _COPY),
    "left_out": Kind(
        "warning",
        "left out on purpose",
        "It is called like a song, and nothing is learned from it.",
        "Convert or copy what was meant as a song; leave the rest.",
    ),
    "not_a_number": Kind(
        "error",
        "samples that are no numbers",
        "NaN or infinity spoils training.",
        "Export as 16 or 24-bit wav or flac.",
    ),
    "silent": Kind(
        "error", "silent audio", "The model would learn silence under this caption.", "Replace or remove it."
    ),
    "mostly_silent": Kind(
        "warning", "mostly silent audio", "Crops from the silent part teach silence.", "Trim it, or remove the song."
    ),
    "clipped": Kind(
        "warning",
        "clipped audio",
        "Distortion at full scale is learned as part of the sound.",
        "Use an earlier master.",
    ),
    "quiet": Kind("warning", "very quiet audio", "The model learns the level too.", "Raise its level before training."),
    "loud": Kind(
        "advice", "very loud audio", "Dense masters leave little dynamics to learn.", "Prefer a calmer master."
    ),
    "mono": Kind(
        "advice", "mono audio", "Training is in stereo; the result will sound narrow.", "Use stereo if you can."
    ),
    "dual_mono": Kind(
        "advice", "two equal channels", "It is mono in a stereo file; the result will sound narrow.", "Use true stereo."
    ),
    "out_of_phase": Kind(
        "warning", "out-of-phase stereo", "The channels cancel each other in mono.", "Invert one channel at the source."
    ),
    "dc_offset": Kind("warning", "DC offset", "A constant offset costs headroom and clicks at cuts.", "Filter it out."),
    "very_short": Kind(
        "warning",
        "very short audio",
        "Under 10 s there is hardly any music: the ace-lora-trainer guide discards it.",
        "Join it, or remove it.",
    ),
    "short": Kind(
        "advice",
        "short audio",
        "Under 30 s may give too little context (Turbo Trainer guide); the psytrance guide cuts to exactly 30.0 s.",
        "Prefer 30 s slices or whole songs.",
    ),
    "long": Kind(
        "advice",
        "long audio",
        "What lies beyond 240 s is usually cut off; guides want 2 to 4 minutes, or 30 to 240 s.",
        "Slice it, or raise the limit.",
    ),
    "very_long": Kind("warning", "very long audio", "The model knows lengths up to 600 s.", "Slice it."),
    "mixed_rates": Kind(
        "advice",
        "mixed sample rates",
        "All is resampled to 48 kHz; the Custom Models guide advises against mixing.",
        "Export all at one rate from the source, 44.1 or 48 kHz.",
    ),
    "duplicate": Kind(
        "warning", "identical files", "The song counts several times.", "Keep one; `repeats` weights it."
    ),
    "near_duplicate": Kind(
        "warning", "nearly identical audio", "The same music counts several times.", "Keep the best version."
    ),
    "low_rate": Kind(
        "advice",
        "low sample rate",
        "Treble is missing, and resampling to 48 kHz does not bring it back.",
        "Export it again from the source at 44.1 or 48 kHz.",
    ),
}

_WORD_KINDS: Final[dict[str, Kind]] = {
    "sidecar": Kind("warning", "trouble with sidecars", "What they say is partly not used.", _PLAIN),
    "missing_caption": Kind(
        "warning", "no caption", "The file name stands in for it, which teaches nothing.", "Write a caption."
    ),
    "missing_lyrics": Kind(
        "advice",
        "no lyrics",
        "The song is taken as instrumental.",
        "Add lyrics if there are vocals, or say instrumental.",
    ),
    "vocals_without_lyrics": Kind(
        "warning", "vocals without lyrics", "Voices are learned with no words.", "Add lyrics, or say instrumental."
    ),
    "missing_bpm": Kind(
        "advice",
        "no BPM",
        "The prompt reads N/A; tempo cannot be steered as well.",
        "Add it; `dataset measure` and the songs screen estimate it.",
    ),
    "missing_key": Kind(
        "advice",
        "no key",
        "The prompt reads N/A; key cannot be steered as well.",
        "Add it; `dataset measure` and the songs screen estimate it.",
    ),
    "missing_language": Kind(
        "warning", "lyrics without language", "The model reads them as `unknown`.", "Add a code, such as en."
    ),
    "bad_bpm": Kind("warning", "unusable BPM", "It is not used; 30 to 300 are known.", _PLAIN),
    "bad_key": Kind("warning", "unusable key", "It is not used; `E minor` or `F# major` would be.", _PLAIN),
    "bad_time_signature": Kind(
        "warning", "unusable time signature", "It is not used; 2, 3, 4 and 6 are known.", _PLAIN
    ),
    "bad_language": Kind(
        "warning", "unknown language", "It is not used; the model knows codes such as en, ja and de.", _PLAIN
    ),
    "bad_value": Kind("warning", "unusable value", "It is not used.", _PLAIN),
    "bpm_spelling": Kind(
        "advice", "BPM spelling", "Understood here, maybe not by other tools.", "Write the number alone."
    ),
    "key_spelling": Kind(
        "advice", "key spelling", "Understood here, maybe not by other tools.", "Write it like E minor."
    ),
    "time_signature_spelling": Kind(
        "advice", "time signature spelling", "The model reads the beats alone.", "Write 2, 3, 4 or 6."
    ),
    "long_caption": Kind(
        "warning",
        "caption too long",
        "The prompt has 256 tokens with BPM and key at its end: other trainers lose those, here the caption is cut.",
        "Shorten the caption.",
    ),
    "long_lyrics": Kind(
        "warning", "lyrics too long", "What lies beyond 2,048 tokens is cut off.", "Shorten, or slice."
    ),
    "lrc_stamps": Kind(
        "advice", "time stamps in lyrics", "They are skipped here; other tools may train on them.", "Remove them."
    ),
    "mojibake": Kind("warning", "garbled letters", "The model reads the garbled text.", "Save the text as UTF-8."),
    "same_caption": Kind(
        "warning", "identical captions", "The model cannot tell the songs apart by words.", "Describe each song."
    ),
    "tag_missing": Kind(
        "warning", "trigger tag missing", "The tag works only if every caption has it.", "Put the tag in front."
    ),
    "tag_inconsistent": Kind(
        "warning", "trigger tag inconsistent", "Different spellings are different words.", "Use one spelling."
    ),
    "tag_position": Kind("advice", "trigger tag elsewhere", "A tag learns best in one place.", "Put it in front."),
    "anchor_missing": Kind(
        "advice", "common beginning missing", "Most captions here begin alike; this one does not.", "Begin it alike."
    ),
    "caption_style": Kind(
        "advice", "caption style", "Most captions here name BPM and key; even style helps.", "Complete the caption."
    ),
    "caption_plan": Kind(
        "advice",
        "plan of the captions",
        "One guide (psytrance) plans each caption: common beginning, BPM and key, elements, quality; others do not.",
        "Write all captions to one plan, whichever it is.",
    ),
    "few_songs": Kind(
        "advice",
        "number of songs",
        "Few songs are learned by heart sooner.",
        "Good and consistent songs count more than many: listen early and often.",
    ),
    "little_audio": Kind(
        "advice",
        "amount of audio",
        "Little audio is learned by heart sooner.",
        "Add good songs if you have them.",
    ),
}

KINDS: Final[dict[str, Kind]] = {
    "no_songs": Kind(
        "error",
        "no usable song",
        "There is nothing to train on.",
        "Put wav, flac, ogg, mp3 or opus files there, in subfolders too.",
    ),
    **_SOUND_KINDS,
    **_WORD_KINDS,
}
"""All there are, in the order in which those of one severity are told."""
SOUND: Final = frozenset(_SOUND_KINDS)
"""What headers and listening find; the rest is about words and can be looked at again without them."""


@dataclass(frozen=True, slots=True)
class Fix:
    """An edit of one field in one sidecar that would settle a finding."""

    code: str
    origin: str
    """Posix path of the sidecar from the root."""
    song: str
    """Posix path of the song from the root."""
    field: str
    argument: str = ""
    """The tag to put in front."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found."""

    code: str
    song: str
    """Name of the song or path of the file; empty for the folder as a whole."""
    sentence: str
    """Continues from the song: `is silent.`; a whole sentence for the folder."""
    fix: Fix | None = None
    not_fixable: str = ""
    """Why `fix` cannot be carried out in place."""
    grave: Severity | None = None
    """Severity where it is not that of the kind."""

    @property
    def kind(self) -> Kind:
        """What there is to say about every finding of this code."""
        return KINDS[self.code]

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return self.grave or self.kind.severity

    @property
    def is_fixable(self) -> bool:
        """Whether `--fix` settles it."""
        return self.fix is not None and not self.not_fixable

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "code": self.code,
            "severity": self.severity,
            "song": self.song or None,
            "sentence": self.sentence,
            "why": self.kind.why,
            "remedy": self.kind.remedy,
            "fixable": self.is_fixable,
            "fix": asdict(self.fix) if self.fix else None,
            "not_fixable": self.not_fixable or None,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Finding:
        """The finding that `to_dict` wrote."""
        code, severity = plain["code"], plain["severity"]
        return cls(
            code=code,
            song=plain["song"] or "",
            sentence=plain["sentence"],
            fix=Fix(**plain["fix"]) if plain["fix"] else None,
            not_fixable=plain["not_fixable"] or "",
            grave=None if severity == KINDS[code].severity else severity,
        )
