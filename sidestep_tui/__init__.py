"""Teach ACE-Step 1.5 your own style from a terminal."""

from __future__ import annotations

__version__ = "0.1.0"
