"""The look: two calm themes and the glyphs, all exact in 256 colours, none carrying meaning by colour alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.app import App
from textual.theme import Theme

# Every colour is an entry of the 256-colour cube or grey ramp, so that a plain SSH session shows exactly these.
DARK = Theme(
    name="sidestep",
    dark=True,
    primary="#5fafaf",
    secondary="#af87af",
    accent="#87afd7",
    foreground="#d0d0d0",
    background="#121212",
    surface="#1c1c1c",
    panel="#262626",
    success="#87af5f",
    warning="#d7af5f",
    error="#d7875f",
    variables={
        "boost-row": "#303030",
        "muted": "#9e9e9e",
        "faint": "#6c6c6c",
        "block-cursor-foreground": "#121212",
        "block-cursor-background": "#5fafaf",
        "footer-background": "#1c1c1c",
        "footer-key-foreground": "#5fafaf",
        "footer-description-foreground": "#9e9e9e",
        "border": "#444444",
        "border-blurred": "#303030",
        "scrollbar": "#303030",
        "scrollbar-background": "#121212",
        "scrollbar-hover": "#444444",
        "scrollbar-active": "#5fafaf",
        "input-cursor-background": "#d0d0d0",
        "input-selection-background": "#5f8787",
    },
)

LIGHT = Theme(
    name="sidestep-light",
    dark=False,
    primary="#005f87",
    secondary="#875f87",
    accent="#005faf",
    foreground="#262626",
    background="#ffffff",
    surface="#eeeeee",
    panel="#e4e4e4",
    success="#5f8700",
    warning="#af5f00",
    error="#af0000",
    variables={"boost-row": "#d0d0d0", "muted": "#585858", "faint": "#808080", "footer-background": "#eeeeee"},
)

THEMES = (DARK, LIGHT)

# What themes that are not ours get for the two quiet tones.
QUIET_DEFAULTS = {"muted": "#8a8a8a", "faint": "#767676", "boost-row": "#585858"}
QUIET_ANSI = {"muted": "ansi_bright_black", "faint": "ansi_bright_black", "boost-row": "ansi_bright_black"}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few signs of the interface; each stands beside a word or in a column of its own."""

    focus: str = "▸"
    on: str = "●"
    off: str = "○"
    changed: str = "•"
    left: str = "‹"
    right: str = "›"
    ok: str = "✓"
    bad: str = "✕"
    warn: str = "!"
    todo: str = "·"
    arrow: str = "→"
    ellipsis: str = "…"
    dash: str = "–"
    separator: str = "·"
    shades: str = "█▓▒░▚"
    empty: str = "·"
    rule: str = "▏"


UNICODE = Glyphs()
ASCII = Glyphs(
    focus=">",
    on="x",
    off="o",
    changed="*",
    left="<",
    right=">",
    ok="+",
    bad="x",
    warn="!",
    todo=".",
    arrow="->",
    ellipsis="~",
    dash="-",
    separator="|",
    shades="#%=-+",
    empty=".",
    rule="|",
)


def glyphs_of(app: App[Any]) -> Glyphs:
    """The signs that an app's terminal can show; an app that does not say gets the whole set."""
    glyphs = getattr(app, "glyphs", UNICODE)
    assert isinstance(glyphs, Glyphs)
    return glyphs
