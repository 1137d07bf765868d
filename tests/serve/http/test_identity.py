from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.serve.http.identity import answer_headers, identify
from adaptertune_deploy.serve.logs.context import RequestContext

# The example of w3.org/TR/trace-context, section 3.2.2.5.
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"
MADE = re.compile("[0-9a-f]{32}")


@pytest.mark.parametrize("name", ["a", "7", "f3c1-22:4/6.x_y+z=@", "a" * 128])
def test_a_sensible_id_is_kept(name: str) -> None:
    assert identify([(b"x-request-id", name.encode())]).request_id == name


@pytest.mark.parametrize("value", [b"", b" ", b"a b", b"a\tb", b'"a"', b"\xc3\xa9", b"a" * 129, b"a\x1b[31m", b"{}"])
def test_any_other_id_is_replaced(value: bytes) -> None:
    assert MADE.fullmatch(identify([(b"x-request-id", value)]).request_id)


def test_without_an_id_or_with_two_each_request_gets_one_of_its_own() -> None:
    made = {identify(headers).request_id for headers in ([], [], [(b"x-request-id", b"a"), (b"x-request-id", b"b")])}
    assert len(made) == 3
    assert all(MADE.fullmatch(name) for name in made)


@pytest.mark.parametrize(
    "value", [GOOD, f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-ff", f"00-{'0' * 31}1-{'0' * 15}1-00"]
)
def test_a_traceparent_is_kept_as_it_came(value: str) -> None:
    context = identify([(b"traceparent", value.encode())])
    assert (context.traceparent, context.trace_id) == (value, value[3:35])


@pytest.mark.parametrize("value", [f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what-the-future-brings"])
def test_of_a_later_version_the_part_that_is_known_is_kept(value: str) -> None:
    assert identify([(b"traceparent", value.encode())]).traceparent == GOOD


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-01-more",
        f"01-{TRACE}-{PARENT}-01more",
        f"00-{TRACE}-{PARENT}-01\n",
        f" {GOOD}",
        f"{GOOD},{GOOD}",
        f"0g-{TRACE}-{PARENT}-01",
    ],
)
def test_a_malformed_traceparent_is_none(value: str) -> None:
    assert identify([(b"traceparent", value.encode())]).traceparent == ""


def test_two_traceparents_are_none() -> None:
    assert identify([(b"traceparent", GOOD.encode())] * 2).traceparent == ""


def test_an_answer_says_whose_it_is() -> None:
    assert answer_headers(RequestContext("a")) == [(b"x-request-id", b"a")]
    assert answer_headers(RequestContext("a", GOOD))[1] == (b"traceparent", GOOD.encode())


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_comes_what_goes_back_is_plain(name: bytes, trace: bytes) -> None:
    context = identify([(b"x-request-id", name), (b"traceparent", trace)])
    for _, value in answer_headers(context):
        assert re.fullmatch(rb"[!-~]{1,128}", value)
