"""Where benchmarks keep what they found: results as JSON, and the pages and pictures that are made from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = ROOT / "docs" / "results"
PICTURES = ROOT / "docs" / "pictures"
Facts = Mapping[str, Any]


def results(name: str) -> Path:
    """Return where a benchmark's results lie."""
    return RESULTS / f"{name}.json"


def page(name: str) -> Path:
    """Return where a page lies."""
    return PAGES / f"{name}.md"


def read(name: str) -> Facts | None:
    """Return a benchmark's results, None where it was not run."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def write(path: Path, facts: Facts) -> str:
    """Write results into a folder that need not exist, and return their JSON."""
    text = json.dumps(facts, indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return text
