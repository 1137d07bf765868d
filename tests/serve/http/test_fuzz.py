from __future__ import annotations

import pytest

from tests.serve.http.fuzz import mutants, run


@pytest.mark.case(
    "C13",
    "mutated requests: 4,000 in the tests, 100,000 with `make fuzz`",
    "2xx, 4xx, 503, 504 or 505; the same answers as before; no descriptor, thread or memory stays",
)
def test_mutated_requests_harm_nobody() -> None:
    found = run(4000)
    assert found[200] > 100
    assert found[400] > 1000


def test_the_same_seed_sends_the_same_bytes() -> None:
    assert list(mutants(50, 3)) == list(mutants(50, 3)) != list(mutants(50, 4))
