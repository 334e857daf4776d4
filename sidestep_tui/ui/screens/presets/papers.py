"""What `presets check` says about one preset, as a page to read. Pure."""

from __future__ import annotations

from textual.content import Content

from sidestep_tui.core import paths, text
from sidestep_tui.schema import layers, rules
from sidestep_tui.ui.screens.presets.listing import Item
from sidestep_tui.ui.theme import Glyphs

_STYLES = {"error": "$error", "warning": "$warning", "advice": "$muted"}


def check_paper(item: Item, glyphs: Glyphs) -> Content:
    """What is wrong with a preset's file, or what the rules say about its settings."""
    lines = [Content.styled(f"{paths.shorten(item.path)}\n", "$muted")]
    if item.preset is None:
        problem = item.problem
        assert problem is not None
        parts = [part for part in (problem.title, problem.message, problem.hint) if part]
        lines.append(Content.styled(f"{glyphs.bad} {parts[0]}", "$error"))
        lines += [Content(f"\n{part}") for part in parts[1:]]
        return Content("\n").join(lines)
    advice = rules.check(layers.resolve(item.preset.layers()).settings)
    if not advice:
        many = text.plural(len(item.preset.values), "setting")
        lines.append(Content.assemble((f"{glyphs.ok} ", "$success"), f"In order: {many}."))
    for found in advice:
        mark = {"error": glyphs.bad, "warning": glyphs.warn}.get(found.severity, glyphs.todo)
        fix = f" {found.fix_label}?" if found.fix_label else ""
        lines.append(
            Content.assemble(
                (f"{mark} {found.severity}  ", _STYLES[found.severity]),
                (found.path, "bold"),
                f"\n  {found.sentence}{fix}",
            )
        )
    lines.append(Content.styled(f"\nThe same on the command line: sidestep-tui presets check {item.name}", "$faint"))
    return Content("\n").join(lines)
