from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol import fields


@pytest.mark.parametrize("value", [-1, 9, True, 1.0, "1", None])
def test_a_number_beyond_its_limit_or_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(RequestError, match="'size' must"):
        fields.natural({"size": value}, "size", 0, 8)
    assert [fields.natural(values, "size", 3, 8) for values in ({}, {"size": 8}, {"size": 0})] == [3, 8, 0]


@pytest.mark.parametrize("key", ["triton_x", "headers", "sequence_id", "sequence_start", "sequence_end"])
def test_reserved_parameters_are_refused_by_name_and_place(key: str) -> None:
    with pytest.raises(RequestError, match=r"^the input: parameter") as caught:
        fields.parameters({"parameters": {key: 1}}, "the input")
    assert key.split("_")[0] in str(caught.value)
    for given in ({"mine": 1}, {"triton_enable_empty_final_response": False}):
        assert fields.parameters({"parameters": given}, "the input") == given
