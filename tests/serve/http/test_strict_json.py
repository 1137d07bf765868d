from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.strict_json import MAX_DEPTH, loads
from tests.serve.fakes import status_of

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(documents)
def test_plain_json_means_what_it_means(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{not json", "failed to parse the request JSON at character 1"),
        (b"", "failed to parse"),
        (b"[1] 2", "failed to parse"),
        (b"\xef\xbb\xbf{}", "failed to parse"),
        ("[]".encode("utf-16"), "not valid UTF-8"),
        (b'"\xff"', "not valid UTF-8"),
        (b"[NaN]", "holds NaN"),
        (b"[-Infinity]", "holds -Infinity"),
        (b"[1e400]", "too large"),
        (b'{"a":1,"a":1}', "a member twice"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested deeper than 100"),
        (b'{"a":' * 120 + b"1" + b"}" * 120, "nested deeper than 100"),
        (b"[" * 250_000, "nested deeper than 100"),
        (b"9" * 100_000, "failed to parse"),
    ],
)
def test_everything_else_is_one_clear_error(data: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        loads(data)
    assert caught.value.status == 400


def test_the_deepest_allowed_nesting_passes() -> None:
    assert loads(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_request_error(data: bytes) -> None:
    assert status_of(loads, data) in (None, 400)
