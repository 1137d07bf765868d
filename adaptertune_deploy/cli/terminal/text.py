"""Values as a person reads them; control characters in other people's words are shown, never executed."""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, the byte order mark, marks and overrides of the writing direction,
# and halves of surrogate pairs, which is how Python spells a file name that is not UTF-8.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def visible(text: object) -> str:
    """Return text in which every control character is spelled out, "\\x1b" for example."""
    return UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), str(text))


def human_bytes(count: float) -> str:
    """Return a size in bytes as text with three digits, "11.4 MB" for example (1 MB = 10^6 bytes)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if count < 100 else f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def human_seconds(seconds: float) -> str:
    """Return a duration as text: "4.2 s" or "3 min 05 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


def plural(count: int, noun: str) -> str:
    """Return "1 task", "2 tasks" or "1,000 tasks"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def accuracy(share: float, images: int) -> str:
    """Return an accuracy with its counts: "85.1 % (63 of 74)"."""
    return f"{100 * share:.1f} % ({round(share * images):,} of {images:,})"
