from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.sessions.keyed import Keyed
from tests.serve.fakes import indices


def test_no_key_is_given_twice() -> None:
    keyed: Keyed[str] = Keyed()
    assert [keyed.add(value) for value in "abc"] == [0, 1, 2]
    assert keyed.pop(2) == "c"
    assert keyed.add("d") == 3
    assert keyed.items == {0: "a", 1: "b", 3: "d"}
    with pytest.raises(EngineError, match="the session holds no task 2"):
        keyed.pop(2)


def test_who_reads_keeps_what_was_there() -> None:
    keyed: Keyed[str] = Keyed()
    keyed.add("a")
    before = keyed.items
    keyed.add("b")
    keyed.pop(0)
    assert before == {0: "a"}


def test_rows_get_the_values_that_they_ask_for() -> None:
    keyed: Keyed[str] = Keyed()
    for value in "abc":
        keyed.add(value)
    assert keyed.asked(2, indices(0, 1, 1), indices(2, 0, 2)) == {0: "a", 2: "c"}
    keyed.pop(1)
    with pytest.raises(EngineError, match="the session holds no task 1"):
        keyed.asked(2, indices(0, 1), indices(0, 1))
    with pytest.raises(EngineError, match="'task' names 0 to 3, but there are 3 only"):
        keyed.asked(2, indices(0, 1), indices(0, 3))
    with pytest.raises(EngineError, match="'image' names 0 to 2"):
        keyed.asked(2, indices(0, 2), indices(0, 0))
