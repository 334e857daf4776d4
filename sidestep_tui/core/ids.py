"""Names and identifiers."""

from __future__ import annotations

import re
import secrets
import unicodedata


def slug(text: str, *, fallback: str = "run") -> str:
    """A file-name-safe form of `text`: ASCII letters, digits, dot, dash and underscore."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.")
    return safe[:64] or fallback


def short_id() -> str:
    """Eight random hexadecimal digits: sessions, commands."""
    return secrets.token_hex(4)
