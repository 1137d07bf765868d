from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.http.wire.framing import check_head, has_body, without_upgrade
from tests.serve.fakes import status_of

HOST = (b"host", b"a.test:8000")


@pytest.mark.parametrize(
    "host", [b"x", b"", b"127.0.0.1:80", b"[::1]:8000", b"a-b.example.com", b"a_b", b"x:", b" padded\t", b"%41", b"a,b"]
)
def test_a_host_as_the_standard_allows_it_passes(host: bytes) -> None:
    check_head("1.1", [(b"host", host)])
    check_head("1.0", [(b"host", host)])


@pytest.mark.parametrize(
    "host", [b"a b<>", b"a b", b"a/b", b"a@b", b"a?b", b"x:80a", b"[::1", b"x:123456", b"\xc3\xa4", b"a\x00"]
)
def test_a_malformed_host_is_refused(host: bytes) -> None:
    with pytest.raises(RequestError, match="no host name or address"):
        check_head("1.1", [(b"host", host)])


@pytest.mark.case("A8", "the same heads, one by one", "400 or 505")
@pytest.mark.parametrize(
    ("version", "headers", "status", "message"),
    [
        ("1.1", [], 400, "needs a Host"),
        ("1.1", [HOST, HOST], 400, "expected one Host header, got 2"),
        ("1.0", [HOST, HOST], 400, "expected one Host header, got 2"),
        ("1.0", [(b"transfer-encoding", b"chunked")], 400, "HTTP/1.0 has no Transfer-Encoding"),
        ("1.1", [HOST, (b"transfer-encoding", b"gzip, chunked")], 400, "expected one Transfer-Encoding, chunked"),
        ("1.1", [HOST, *[(b"transfer-encoding", b"chunked")] * 2], 400, "expected one Transfer-Encoding, chunked"),
        ("1.1", [HOST, (b"transfer-encoding", b"chunked"), (b"content-length", b"4")], 400, "exclude each other"),
        ("0.9", [HOST], 505, "expected HTTP/1.1 or HTTP/1.0"),
        ("2.0", [HOST], 505, "expected HTTP/1.1 or HTTP/1.0"),
    ],
)
def test_an_ambiguous_head_is_refused(
    version: str, headers: list[tuple[bytes, bytes]], status: int, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        check_head(version, headers)
    assert caught.value.status == status


def test_http_1_0_needs_no_host() -> None:
    check_head("1.0", [(b"content-length", b"3")])


@pytest.mark.case("A8", "any bytes as Host", "400 or served")
@given(st.binary(max_size=30))
def test_any_host_passes_or_is_refused_with_400(host: bytes) -> None:
    assert status_of(check_head, "1.1", [(b"host", host)]) in (None, 400)


def test_a_body_is_announced_by_its_length_or_its_chunks() -> None:
    assert not has_body([HOST])
    assert not has_body([HOST, (b"content-length", b"0")])
    assert has_body([HOST, (b"content-length", b"7")])
    assert has_body([HOST, (b"transfer-encoding", b"chunked")])


def test_a_head_without_its_upgrade_is_otherwise_the_same() -> None:
    headers = [HOST, (b"upgrade", b"h2c"), (b"content-length", b"3"), (b"upgrade", b"x"), (b"a", b" b ")]
    assert without_upgrade(b"POST", b"/a?b", "1.1", headers) == (
        b"POST /a?b HTTP/1.1\r\nhost: a.test:8000\r\ncontent-length: 3\r\na:  b \r\n\r\n"
    )
