from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.listening.admin_access import AdminAddress, check_address, lets_in


@pytest.mark.parametrize(
    ("where", "token", "address"),
    [
        ("127.0.0.1:8001", None, AdminAddress("127.0.0.1", 8001)),
        ("[::1]:8001", None, AdminAddress("::1", 8001)),
        ("0.0.0.0:0", "a token", AdminAddress("0.0.0.0", 0)),
        ("/run/admin.sock", None, AdminAddress("/run/admin.sock")),
        ("./admin.sock", "a token", AdminAddress("./admin.sock")),
    ],
)
def test_an_address_is_taken_where_it_is_safe(where: str, token: str | None, address: AdminAddress) -> None:
    assert check_address(where, token) == address


@pytest.mark.parametrize(
    ("where", "token", "text"),
    [
        ("8001", None, "--admin-grpc 8001: expected HOST:PORT, such as 127.0.0.1:8002, or the path of a Unix socket"),
        ("10.0.0.7:1", None, "--admin-grpc 10.0.0.7:1: others than this machine reach this address; set ATD_ADMIN_"),
        ("/run/admin.sock", "ä", "ATD_ADMIN_TOKEN: expected printable ASCII characters"),
        ("127.0.0.1:1", " ", "ATD_ADMIN_TOKEN: expected printable ASCII characters"),
    ],
)
def test_any_other_is_refused_with_the_option_that_named_it(where: str, token: str | None, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_address(where, token, "--admin-grpc")
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("token", "given", "passes"),
    [
        (None, [], True),
        (None, [b"Bearer x"], True),
        ("x", [b"Bearer x"], True),
        ("x", [], False),
        ("x", [b"Bearer y"], False),
        ("x", [b"bearer x"], True),  # RFC 9110, section 11.1: the scheme in any case, the token as it is
        ("x", [b"BEARER x"], True),
        ("x", [b"bearer X"], False),
        ("a token", [b"bearer a token"], True),
        ("x", [b"Basic x"], False),
        ("x", [b"Bearerx"], False),
        ("x", [b"Bearer"], False),
        ("x", [b""], False),
        ("x", [b"x"], False),
        ("x", [b"Bearer x", b"Bearer x"], False),
    ],
)
def test_who_has_the_token_passes(token: str | None, given: list[bytes], passes: bool) -> None:
    assert lets_in(token, given) is passes
