"""What it means where the time of the steps goes: one sentence, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sidestep_tui.protocol.pace import Share

FEWEST_STEPS = 8
"""Steps before anything is said: the first ones compile, cache and allocate."""

WORDS = {
    "data": "waiting for data",
    "forward": "forward",
    "backward": "backward",
    "compute": "forward and backward",
    "optimizer": "optimizer",
    "save": "saving",
    "measure": "held-out songs",
    "other": "between steps",
}
"""The parts, as people say them."""

_COMPLAINTS = {
    "data": (0.15, "The {who} waits for data {percent} of the time: set memory.preload to ram."),
    "save": (0.10, "Saving takes {percent} of the time: save less often, or turn on output.async_saving."),
    "measure": (0.15, "Measuring held-out songs takes {percent} of the time: raise train.validate_every."),
    "optimizer": (0.20, "The optimizer takes {percent} of the time: more accumulation would call it less often."),
    "other": (0.20, "Between steps {percent} of the time is lost: is something else using the {who}?"),
}
"""Parts with the share from which on they are worth a word, and the word."""


def verdict(shares: Sequence[Share], *, on_gpu: bool = True) -> tuple[str, str]:
    """One sentence on where the time goes, and the style it is shown in."""
    share = {part.name: part.share for part in shares}
    excess = {name: share.get(name, 0.0) / limit for name, (limit, _) in _COMPLAINTS.items()}
    worst = max(excess, key=excess.__getitem__)
    if excess[worst] >= 1.0:
        sentence = _COMPLAINTS[worst][1]
        who = "GPU" if on_gpu else "processor"
        return sentence.format(percent=f"{100 * share[worst]:.0f} %", who=who), "warn"
    learning = sum(share.get(name, 0.0) for name in ("forward", "backward", "compute"))
    if learning >= 0.85:
        return "Nearly all is forward and backward: as it should be.", "good"
    return f"Forward and backward take {100 * learning:.0f} %; nothing else stands out.", ""


def told_in_a_line(shares: Sequence[Share], *, on_gpu: bool) -> str:
    """The parts that count in percent, and the verdict: for logs and pipes."""
    parts = [f"{WORDS[part.name]} {100 * part.share:.0f} %" for part in shares if part.share >= 0.005]
    return f"{', '.join(parts)}. {verdict(shares, on_gpu=on_gpu)[0]}"
