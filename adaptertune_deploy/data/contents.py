"""Hash what images hold, so that changed and repeated ones are told apart from their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.progress import Progress, silent

WHAT = "hashing images"
CHUNK = 256
# Reading waits for the disk while hashing computes without Python's lock: more threads than cores pay.
A_CORE, MOST_THREADS = 4, 32


def hash_all(
    sha256: Callable[[str], str], names: Sequence[str], progress: Progress = silent
) -> tuple[dict[str, str], dict[str, str]]:
    """Hash images on several threads.

    Args:
        sha256: returns one image's hash; called from several threads.
        names: of the images.
        progress: told as the work goes on.

    Returns:
        (name -> hash, name -> what was found instead of an image).
    """
    hashes: dict[str, str] = {}
    absent: dict[str, str] = {}

    def attempt(name: str) -> str | DatasetError:
        try:
            return sha256(name)
        except DatasetError as error:
            return error

    progress(WHAT, 0, len(names))
    with ThreadPoolExecutor(min(MOST_THREADS, A_CORE * cores.usable(cores.read_small))) as pool:
        for start in range(0, len(names), CHUNK):
            part = names[start : start + CHUNK]
            for name, found in zip(part, pool.map(attempt, part), strict=True):
                if isinstance(found, str):
                    hashes[name] = found
                else:
                    absent[name] = str(found)
            progress(WHAT, start + len(part), len(names))
    return hashes, absent
