"""docs/decisions: each has a number of its own, and every link between the pages leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def test_every_number_is_taken_once() -> None:
    numbers = [path.name[:4] for path in DECISIONS]
    assert len(numbers) >= 30
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda path: path.stem)
def test_a_title_starts_with_the_number(decision: Path) -> None:
    title = decision.read_text().partition("\n")[0]
    assert re.fullmatch(rf"# {decision.name[:4]}: \S.*[^.]", title), title


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link and not link.startswith("#")]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert not missing
