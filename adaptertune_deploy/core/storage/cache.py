"""Where this package keeps, for later commands, what must not travel or would be slow to get again.

The cache is the folder $ATD_CACHE, or adaptertune-deploy below $XDG_CACHE_HOME or ~/.cache. It may be removed at any
time; later commands then ask for what they miss.
"""

from __future__ import annotations

import os
from pathlib import Path

from adaptertune_deploy.core.errors import UsageError


def cache_folder(kind: str) -> Path:
    """Return the folder of the cache for one kind of file ("weights", "samples"); it need not exist.

    Raises:
        UsageError: the system knows no home folder and no variable names another place.
    """
    if given := os.environ.get("ATD_CACHE"):
        return Path(given) / kind
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        raise UsageError("this user has no home folder to keep a cache in; name a folder: ATD_CACHE=FOLDER") from None
    return Path(base) / "adaptertune-deploy" / kind
