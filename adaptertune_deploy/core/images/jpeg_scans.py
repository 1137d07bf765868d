"""How often the decoder of a JPEG goes over its pixels.

It does so for every scan of a progressive one, of which a client may write as many as it likes, in fifteen bytes each.
The layout is that of ITU-T T.81, annex B: segments with a length, and behind the head of each scan its coded data, in
which 0xff is followed by 0 or by the number of a restart.
"""

from __future__ import annotations

import re

START = b"\xff\xd8"
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
# No camera and no program writes nearly as many segments, or bytes 0xff, each of which is looked at.
MAX_SEGMENTS, MAX_MARKS = 4096, 1_000_000
STEP = 65_536  # bytes: other threads run in between


def scans(data: bytes) -> int:
    """Return how many scans the first image of a JPEG file has; 1 for any other file.

    A file of more segments than MAX_SEGMENTS, or of more bytes 0xff than MAX_MARKS, counts as one of so many scans: to
    read on would take long.
    """
    if not data.startswith(START):
        return 1
    found, place = 0, len(START)
    if data.count(b"\xff") > MAX_MARKS:
        return MAX_SEGMENTS
    for _ in range(MAX_SEGMENTS):
        marker = _marker(data, place)
        if marker is None or marker[1][0] == END_OF_IMAGE:
            return max(1, found)
        found += marker[1][0] == START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return MAX_SEGMENTS


def _marker(data: bytes, place: int) -> re.Match[bytes] | None:
    for start in range(place, len(data), STEP):
        found = MARKER.search(data, start, start + STEP + 1)
        if found is not None:
            return found
    return None
