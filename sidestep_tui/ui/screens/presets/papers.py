"""What `presets check` says about one preset, as a page to read."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from sidestep_tui.core import paths, text
from sidestep_tui.core.errors import SettingsError
from sidestep_tui.schema import preset_check
from sidestep_tui.schema.preset_check import Checked, Finding
from sidestep_tui.ui.screens.presets.listing import Item
from sidestep_tui.ui.theme import Glyphs

_STYLES: Final = {"error": "$error", "warning": "$warning"}


def check_paper(item: Item, glyphs: Glyphs) -> Content:
    """Every fault of a preset's file with its line, its reason and its fix, and what the rules say."""
    lines = [Content.styled(f"{paths.shorten(item.path)}\n", "$muted")]
    try:
        checked = preset_check.check(str(item.path.absolute()))
    except SettingsError as error:
        # Gone since the list was made.
        checked = Checked(item.name, "preset", (Finding("error", "", error.title, error.hint),))
    lines += [_finding(finding, glyphs) for finding in checked.findings]
    if not checked.findings:
        many = text.plural(len(checked.values), "setting")
        lines.append(Content.assemble((f"{glyphs.ok} ", "$success"), f"In order: {many}."))
    name = item.name if item.is_shipped or item.is_own else paths.shorten(item.path)
    lines.append(Content.styled(f"\nOn the command line: sidestep-tui presets check {name}", "$muted"))
    return Content("\n").join(lines)


def _finding(finding: Finding, glyphs: Glyphs) -> Content:
    mark = {"error": glyphs.bad, "warning": glyphs.warn}.get(finding.weight, glyphs.todo)
    place = f"line {finding.line}  " if finding.line else ""
    fix = f"\n  {finding.fix}" if finding.fix else ""
    return Content.assemble(
        (f"{mark} {finding.weight}  ", _STYLES.get(finding.weight, "$muted")),
        (place, "$muted"),
        (finding.key, "bold"),
        f"\n  {finding.reason}",
        (fix, "$accent"),
    )
