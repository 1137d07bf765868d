"""The table of claims promises nothing that is not there: every proof exists, and so does every machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "results" / "where-it-ran.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has this name."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


CLAIMS = rows("claim")
MACHINES = {name for name, _ in rows("name")}


def test_the_page_has_its_claims() -> None:
    assert len(CLAIMS) > 10
    assert MACHINES


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim[0])
def test_what_shows_a_claim_exists(claim: list[str]) -> None:
    proof = re.fullmatch(r"`(.+)`", claim[1])
    assert proof is not None, claim
    if proof[1].startswith("make "):
        assert re.search(rf"^{proof[1].removeprefix('make ')}:", (ROOT / "Makefile").read_text(), re.MULTILINE), claim
    else:
        assert (ROOT / proof[1]).is_file(), claim


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim[0])
def test_a_claim_ran_on_a_machine_of_the_page_or_is_said_not_to_have_run(claim: list[str]) -> None:
    where = claim[2].split(":")[0]
    assert where == "not run" or where in MACHINES, claim


def test_nothing_ran_on_a_gpu_unless_a_committed_result_names_it() -> None:
    measured = [json.loads(path.read_text()) for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    gpus = [found for found in measured if isinstance(found, dict) and found.get("machine", {}).get("gpu")]
    on_gpu = [claim for claim in CLAIMS if claim[2] != "CPU" and not claim[2].startswith(("CPU:", "not run"))]
    assert not on_gpu or gpus
