from __future__ import annotations

from tests.serve.http.fuzz import mutants, run


def test_mutated_requests_harm_nobody() -> None:
    found = run(400)
    assert found[200] > 10
    assert found[400] > 100


def test_the_same_seed_sends_the_same_bytes() -> None:
    assert list(mutants(50, 3)) == list(mutants(50, 3)) != list(mutants(50, 4))
