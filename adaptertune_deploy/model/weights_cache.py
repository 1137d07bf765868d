"""Weights given by hand are kept by their hash, so that export finds the file that training was given.

They lie in the cache (core.storage.cache). A file is named by the hash of the frozen weights it loads to
(BackboneSpec.sha256), so an entry can't stand for another backbone.
"""

from __future__ import annotations

import filecmp
import shutil
from pathlib import Path

from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.cache import cache_folder

KIND = "weights"


def find(sha256: str) -> Path | None:
    """Return the cached file whose frozen weights have this hash, or None."""
    return next(iter(sorted(cache_folder(KIND).glob(f"{sha256}.*"))), None)


def remember(weights: Path, sha256: str) -> None:
    """Copy a weights file into the cache under the hash of the frozen weights it loads to.

    An entry that differs, one damaged since it was written for example, is replaced. A cache that can't be written is
    not an error: later commands then ask for the file again.
    """
    target = cache_folder(KIND) / f"{sha256}{weights.suffix or '.bin'}"
    try:
        if target.exists() and filecmp.cmp(weights, target, shallow=False):
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with files.staged_file(target) as stage:
            shutil.copyfile(weights, stage)
    except OSError:
        return
