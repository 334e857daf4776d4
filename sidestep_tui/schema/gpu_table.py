"""What GPUs can do at most, by the name that the driver gives them.

Rates are those of dense 16-bit matrix products with 32-bit sums (bfloat16 where there is any, float16 before Ampere),
as the makers publish them: NVIDIA's architecture whitepapers (Turing, GA102, Ada, Blackwell RTX), its data sheets
(V100, T4, A2 to A100, L4 to L40S, H100, H200, H20, B200, the RTX workstation cards), AMD's of Instinct and Radeon,
Apple's announcements. Figures "with sparsity" are halved, those with 16-bit sums left aside. Laptop GPUs and slices of
a GPU share a name with something faster: they are not in here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

Family = Literal["volta", "turing", "ampere", "ada", "hopper", "blackwell", "amd", "apple"]

ANY = "GPU"
"""The name of a GPU of which nothing but its memory is known."""


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU by its published figures."""

    name: str
    teraflops: float
    """Dense 16-bit tensor operations with 32-bit sums, 10¹² a second."""
    gigabytes_per_second: float
    """Memory bandwidth, in 10⁹ bytes."""
    gib: int
    """Memory that it is sold with; of several sizes the most common one."""
    family: Family

    @property
    def has_bfloat16(self) -> bool:
        """Whether bfloat16 is computed by the hardware."""
        return self.family not in ("volta", "turing")

    @property
    def is_wide(self) -> bool:
        """Whether it takes a thousand rows and more to fill it: the large GPUs of data centres since Hopper."""
        return self.teraflops >= 700


_CARDS = (
    Card("RTX 2060", 25.8, 336, 6, "turing"),
    Card("RTX 2060 Super", 28.7, 448, 8, "turing"),
    Card("RTX 2070", 29.9, 448, 8, "turing"),
    Card("RTX 2070 Super", 36.3, 448, 8, "turing"),
    Card("RTX 2080", 40.3, 448, 8, "turing"),
    Card("RTX 2080 Super", 44.6, 496, 8, "turing"),
    Card("RTX 2080 Ti", 53.8, 616, 11, "turing"),
    Card("RTX 3050", 18.2, 224, 8, "ampere"),
    Card("RTX 3060", 25.5, 360, 12, "ampere"),
    Card("RTX 3060 Ti", 32.4, 448, 8, "ampere"),
    Card("RTX 3070", 40.6, 448, 8, "ampere"),
    Card("RTX 3070 Ti", 43.5, 608, 8, "ampere"),
    Card("RTX 3080", 59.5, 760, 10, "ampere"),
    Card("RTX 3080 Ti", 68.2, 912, 12, "ampere"),
    Card("RTX 3090", 71.0, 936, 24, "ampere"),
    Card("RTX 3090 Ti", 80.0, 1008, 24, "ampere"),
    Card("RTX 4060", 30.2, 272, 8, "ada"),
    Card("RTX 4060 Ti", 44.1, 288, 8, "ada"),
    Card("RTX 4070", 58.3, 504, 12, "ada"),
    Card("RTX 4070 Super", 71.0, 504, 12, "ada"),
    Card("RTX 4070 Ti", 80.2, 504, 12, "ada"),
    Card("RTX 4070 Ti Super", 88.2, 672, 16, "ada"),
    Card("RTX 4080", 97.5, 717, 16, "ada"),
    Card("RTX 4080 Super", 104.4, 736, 16, "ada"),
    Card("RTX 4090", 165.2, 1008, 24, "ada"),
    Card("RTX 5060", 38.4, 448, 8, "blackwell"),
    Card("RTX 5060 Ti", 47.4, 448, 16, "blackwell"),
    Card("RTX 5070", 61.7, 672, 12, "blackwell"),
    Card("RTX 5070 Ti", 87.9, 896, 16, "blackwell"),
    Card("RTX 5080", 112.6, 960, 16, "blackwell"),
    Card("RTX 5090", 209.5, 1792, 32, "blackwell"),
    Card("RTX A4000", 76.7, 448, 16, "ampere"),
    Card("RTX A5000", 111.1, 768, 24, "ampere"),
    Card("RTX A6000", 154.8, 768, 48, "ampere"),
    Card("RTX 5000 Ada", 261.1, 576, 32, "ada"),
    Card("RTX 6000 Ada", 364.2, 960, 48, "ada"),
    Card("RTX PRO 6000 Blackwell", 503.8, 1792, 96, "blackwell"),
    Card("T4", 65.0, 320, 16, "turing"),
    Card("V100", 125.0, 900, 16, "volta"),
    Card("A2", 18.0, 200, 16, "ampere"),
    Card("A10", 125.0, 600, 24, "ampere"),
    Card("A10G", 70.0, 600, 24, "ampere"),
    Card("A30", 165.0, 933, 24, "ampere"),
    Card("A40", 149.7, 696, 48, "ampere"),
    Card("A100", 312.0, 1555, 40, "ampere"),
    Card("A100 80GB", 312.0, 1935, 80, "ampere"),
    Card("L4", 121.0, 300, 24, "ada"),
    Card("L40", 181.0, 864, 48, "ada"),
    Card("L40S", 362.0, 864, 48, "ada"),
    Card("H20", 148.0, 4000, 96, "hopper"),
    Card("H100", 989.4, 3350, 80, "hopper"),
    Card("H100 PCIe", 756.0, 2000, 80, "hopper"),
    Card("H100 NVL", 835.0, 3900, 94, "hopper"),
    Card("GH200", 989.4, 4000, 96, "hopper"),
    Card("H200", 989.4, 4800, 141, "hopper"),
    Card("H200 NVL", 835.0, 4800, 141, "hopper"),
    Card("B200", 2250.0, 8000, 180, "blackwell"),
    Card("MI210", 181.0, 1638, 64, "amd"),
    Card("MI300X", 1307.4, 5300, 192, "amd"),
    Card("MI325X", 1307.4, 6000, 256, "amd"),
    Card("RX 7900 XTX", 122.8, 960, 24, "amd"),
    Card("Apple M1", 2.6, 68, 16, "apple"),
    Card("Apple M1 Pro", 5.2, 200, 32, "apple"),
    Card("Apple M1 Max", 10.4, 400, 64, "apple"),
    Card("Apple M1 Ultra", 20.8, 800, 128, "apple"),
    Card("Apple M2", 3.6, 100, 24, "apple"),
)
_SLOWER = {"laptop", "mobile", "max-q", "maxq", "mig"}
"""Words that tell a GPU of the same name apart which is slower, nobody knows by how much."""


@cache
def find(name: str) -> Card | None:
    """The card that a driver's name means: the one of whose words the most are in it, in order; None for strangers."""
    words = list(_words(name))
    if _SLOWER & set(words):
        return None
    known = [(len(parts), card) for card in _CARDS for parts in [list(_words(card.name))] if _holds(words, parts)]
    return max(known, key=lambda item: item[0])[1] if known else None


def asked(name: str) -> Card | None:
    """The card that somebody means who types `4090` or `a100-80gb`."""
    return find(name) or find(f"RTX {name}")


def names() -> list[str]:
    """Every card of the table."""
    return [card.name for card in _CARDS]


def _words(name: str) -> Iterator[str]:
    lowered = name.lower().replace("max-q", "maxq")
    for word in re.findall(r"[a-z0-9]+", lowered):
        yield "80gb" if word == "80" else word


def _holds(words: list[str], parts: list[str]) -> bool:
    """Whether all parts are among the words, in their order."""
    rest = iter(words)
    return all(part in rest for part in parts)
