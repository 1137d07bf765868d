"""What a file is, by its first bytes: the suffix that its name would have."""

from __future__ import annotations

# How a file starts -> the suffix of its name; the formats of core.images.preprocess.
SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
}


def suffix_of(data: bytes) -> str:
    """Return the suffix of a file with these bytes, ".bin" where they are no image that a server takes."""
    return next((suffix for start, suffix in SIGNATURES.items() if data.startswith(start)), ".bin")
