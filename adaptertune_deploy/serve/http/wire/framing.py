"""What the head of an HTTP/1 request must be, so that no proxy in front can read another request out of the same bytes.

httptools refuses a Content-Length beside a Transfer-Encoding, unequal lengths, bare line ends and bad names; the rest
of RFC 9112, sections 3.2 and 6, is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adaptertune_deploy.core.errors import RequestError

Headers = Sequence[tuple[bytes, bytes]]
# RFC 3986, section 3.2.2: a name, an IPv4 address, or an IPv6 address in brackets; perhaps a port.
HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")


def check_head(version: str, headers: Headers) -> None:
    """Refuse a head that is ambiguous.

    Args:
        version: "1.1" or "1.0".
        headers: names in lower case, values as they were sent.

    Raises:
        RequestError: 505 for another version; 400 for a Host that is absent, given twice or malformed, and for a
            Transfer-Encoding other than one "chunked" of HTTP/1.1.
    """
    if version not in ("1.1", "1.0"):
        raise RequestError("expected HTTP/1.1 or HTTP/1.0", 505)
    _check_host(version, [value for name, value in headers if name == b"host"])
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":
        raise RequestError("HTTP/1.0 has no Transfer-Encoding; send Content-Length")
    if codings and codings != [b"chunked"]:
        raise RequestError("expected one Transfer-Encoding, chunked; send that or Content-Length")
    if codings and any(name == b"content-length" for name, _ in headers):
        raise RequestError("Content-Length and Transfer-Encoding exclude each other; send one of them")


def has_body(headers: Headers) -> bool:
    """Return whether a body follows a head that check_head took."""
    return any(name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in headers)


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Return a head that was parsed, without its Upgrade, which may be ignored (RFC 9110, section 7.8).

    The other headers are as they were: what frames the body is read as it would be had there been no Upgrade.
    """
    kept = [name + b": " + value for name, value in headers if name != b"upgrade"]
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version.encode()), *kept, b"", b""])


def _check_host(version: str, hosts: Sequence[bytes]) -> None:
    if len(hosts) > 1:
        raise RequestError(f"expected one Host header, got {len(hosts)}")
    if not hosts and version == "1.1":
        raise RequestError("HTTP/1.1 needs a Host header")
    if hosts and not HOST.fullmatch(hosts[0].strip(b" \t")):
        raise RequestError("the Host header is no host name or address")
