from __future__ import annotations

import pytest

from tests.serve.http.fuzz import mutants, run


@pytest.mark.case(
    "C13",
    "mutated requests: 400 in the tests, 100,000 with `make fuzz`",
    "never 500, nothing left open",
)
def test_mutated_requests_harm_nobody() -> None:
    found = run(400)
    assert found[200] > 10
    assert found[400] > 100


def test_the_same_seed_sends_the_same_bytes() -> None:
    assert list(mutants(50, 3)) == list(mutants(50, 3)) != list(mutants(50, 4))
