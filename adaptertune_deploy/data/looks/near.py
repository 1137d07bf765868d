"""Which images are near copies: re-encoded, resized, mirrored, slightly cropped or made brighter.

Two images are near copies when at most DISTANCE of the 63 bits of their hashes differ and their thumbnails correlate
by at least CORRELATION. Measured on 13,225 photographs (pets, flowers, CIFAR-10 and Tiny ImageNet at 32, 64 and about
256 pixels): of 175 million comparisons, mirrored ones included, 38 matched, every one of them two versions of one
photograph when looked at (27 of them equal in every pixel). Of 1,500 copies made in each way, 300 a dataset, these
were found:

    JPEG of quality 90, 50, 20                        100.0, 99.9, 99.6 %
    half the size; and JPEG of quality 50             100.0 %; 94.1 % (70 % of 32-pixel images, all of the others)
    a quarter of the size                             all that then have LEAST_SIDE pixels
    double the size; squashed to a square             100.0 %; 100.0 %
    mirrored; and JPEG of quality 70                  100.0 %; 100.0 %
    20 % brighter; 20 % more contrast                 99.9 %; 100.0 %
    cropped by 1, 2.5, 5, 10 % at each side           99.1, 71.7, 8.0, 0.1 %
    turned by 2 degrees; by 90                        93.3 %; 0.0 %
    colour turned to grey                             41.5 %

Not found either: collages, and another photograph of the same thing.
Images that are alike as a whole (digits, X-rays, parts before one camera) can't be told apart so; see `alike`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.data.looks.fingerprint import GRID, Fingerprint

DISTANCE = 10
CORRELATION = 0.95
# Pairs of different photographs correlate by 0.01 in the median, pairs of handwritten digits by 0.48.
ALIKE = 0.4
FEWEST = 10
DRAWN = 2_000
BANDS, BAND_BITS = 4, 16
# So many images of one component stand for all of them in a bucket: ten thousand frames of one scene are one group.
STANDING = 8
CHUNK = 1 << 17

Hashes = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Thumbnails = npt.NDArray[np.uint8]

_POPULATION = np.array([bin(value).count("1") for value in range(1 << BAND_BITS)], dtype=np.uint8)
_BAND = np.uint64((1 << BAND_BITS) - 1)


def alike(prints: Sequence[Fingerprint]) -> bool:
    """Return whether the images are so alike as a whole that a near copy can't be told from another image.

    It is so when the median correlation of pairs drawn at random is at least ALIKE.
    """
    rich = [one for one in prints if not one.plain]
    if len(rich) < FEWEST:
        return False
    thumbnails = _thumbnails(rich)
    first, second = np.random.default_rng(0).integers(0, len(rich), size=(2, DRAWN))
    different = first != second
    correlations = _correlation(thumbnails[first[different]], thumbnails[second[different]])
    return bool(np.median(correlations) >= ALIKE)


def components(prints: Sequence[Fingerprint], progress: Progress = silent) -> Rows:
    """Return for each image the lowest row that near copies lead to from it, its own where it has none; int64 [N].

    Every pair whose hashes differ by 7 bits or fewer is looked at, and most of those that differ by up to DISTANCE:
    two hashes that share a band of 16 bits but for one bit are compared, so the work grows with the number of
    such pairs, not of all pairs.

    Args:
        prints: of the images; a plain one has no near copy.
        progress: told about the comparing.
    """
    rows = np.array([row for row, one in enumerate(prints) if not one.plain], dtype=np.int64)
    rich = [prints[row] for row in rows]
    hashes = np.array([one.hash for one in rich], dtype=np.uint64)
    mirrored = np.array([one.mirrored for one in rich], dtype=np.uint64)
    thumbnails = _thumbnails(rich)
    roots = np.arange(len(rich), dtype=np.int64)
    for turn, queries in enumerate((hashes, mirrored)):
        for band in range(BANDS):
            progress("comparing images", turn * BANDS + band, 2 * BANDS)
            for first, second in _candidates(queries, hashes, band, roots):
                # One pair for every two components, which mostly joins them, then what is apart still.
                pairs = roots[first] * len(rich) + roots[second]
                for some in (np.unique(pairs, return_index=True)[1], np.arange(len(pairs))):
                    some = some[roots[first[some]] != roots[second[some]]]
                    one, two = thumbnails[first[some]], thumbnails[second[some]]
                    same = some[_correlation(one[:, :, ::-1] if turn else one, two) >= CORRELATION]
                    roots = _joined(roots, first[same], second[same])
    progress("comparing images", 2 * BANDS, 2 * BANDS)
    found = np.arange(len(prints), dtype=np.int64)
    found[rows] = rows[roots]
    return found


def _thumbnails(prints: Sequence[Fingerprint]) -> Thumbnails:
    data = b"".join(one.thumbnail for one in prints)
    return np.frombuffer(data, dtype=np.uint8).reshape(len(prints), GRID, GRID, 3)


def _candidates(queries: Hashes, keys: Hashes, band: int, roots: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows (first, second) whose hashes share a band but for one bit and are at most DISTANCE apart.

    Args:
        queries: hashes of the first rows.
        keys: hashes of the second rows.
        band: which 16 bits.
        roots: the components known so far, of which STANDING rows a bucket are enough.
    """
    shift = np.uint64(band * BAND_BITS)
    wanted = ((queries >> shift) & _BAND).astype(np.int64)
    held = ((keys >> shift) & _BAND).astype(np.int64)
    order = _standing(held, roots)
    starts = np.searchsorted(held[order], np.arange((1 << BAND_BITS) + 1))
    for flip in (0, *(1 << bit for bit in range(BAND_BITS))):
        bucket = wanted ^ flip
        counts = starts[bucket + 1] - starts[bucket]
        for part in _parts(counts):
            first = np.repeat(part, counts[part])
            ends = np.cumsum(counts[part])
            place = np.arange(len(first)) + np.repeat(starts[bucket[part]] - ends + counts[part], counts[part])
            second = order[place]
            close = (first != second) & (_distance(queries[first], keys[second]) <= DISTANCE)
            yield first[close], second[close]


def _standing(held: Rows, roots: Rows) -> Rows:
    """Return the rows in the order of their buckets, no more than STANDING of one component in a bucket."""
    order = np.lexsort((roots, held))
    same = (held[order][1:] == held[order][:-1]) & (roots[order][1:] == roots[order][:-1])
    places = np.arange(len(order))
    begins = np.maximum.accumulate(np.where(np.concatenate(([False], same)), 0, places)) if len(order) else places
    return order[places - begins < STANDING]


def _parts(counts: Rows) -> Iterator[Rows]:
    """Yield the rows that have candidates, so many at a time that their candidates are about CHUNK."""
    rows = np.flatnonzero(counts)
    ends = np.cumsum(counts[rows])
    total = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(CHUNK, total, CHUNK))
    yield from (part for part in np.split(rows, np.unique(cuts)) if len(part))


def _distance(first: Hashes, second: Hashes) -> npt.NDArray[np.uint8]:
    total: npt.NDArray[np.uint8] = _POPULATION[(first ^ second).view(np.uint16)].reshape(-1, BANDS).sum(1, np.uint8)
    return total


def _correlation(first: Thumbnails, second: Thumbnails) -> npt.NDArray[np.float32]:
    """Return Pearson's correlation of each pair of thumbnails, [P, 16, 16, 3], over all their values; float32 [P]."""
    result = np.empty(len(first), dtype=np.float32)
    step = CHUNK // 16
    for start in range(0, len(first), step):
        one, two = (_standard(images[start : start + step]) for images in (first, second))
        result[start : start + step] = np.einsum("ij,ij->i", one, two)
    return result


def _standard(thumbnails: Thumbnails) -> npt.NDArray[np.float32]:
    values = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values


def _joined(roots: Rows, first: Rows, second: Rows) -> Rows:
    """Return the roots after joining pairs: each row then names the lowest of its component."""
    while len(first):
        low, high = np.minimum(roots[first], roots[second]), np.maximum(roots[first], roots[second])
        np.minimum.at(roots, high, low)
        while not np.array_equal(roots, roots[roots]):
            roots = roots[roots]
        apart = roots[first] != roots[second]
        first, second = first[apart], second[apart]
    return roots
