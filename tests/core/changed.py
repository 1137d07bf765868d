"""JSON files that say something else than they were written with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def change(file: Path, *path: str | int, to: Any) -> None:
    """Set one field of a JSON file, named by its path."""
    whole = inner = json.loads(file.read_bytes())
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    file.write_text(json.dumps(whole))
