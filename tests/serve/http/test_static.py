"""serve.http.static: known bytes are sent once, under a policy that names this server alone."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from tests.serve.conftest import Running


def test_the_policy_allows_this_server_alone(server: Running) -> None:
    headers = server.client.get("/", headers={"Accept": "text/html"}).headers
    policy = {part.split()[0]: part.split()[1:] for part in headers["content-security-policy"].split(";")}
    assert policy["default-src"] == ["'none'"]
    assert {source for sources in policy.values() for source in sources} == {"'self'", "'none'"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("known", ["{etag}", "W/{etag}", '"other", {etag}', "*"])
def test_who_has_the_bytes_gets_none(server: Running, known: str) -> None:
    first = server.client.get("/page/page.css")
    etag = first.headers["etag"]
    assert etag.strip('"') in hashlib.sha256(first.content).hexdigest()
    headers = {"If-None-Match": known.format(etag=etag)}
    # Not the client of these tests, to which every status but 200 is an error with a body.
    again = httpx.get(f"{server.url}/page/page.css", headers=headers)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert "content-security-policy" in again.headers


def test_who_has_other_bytes_gets_all(server: Running) -> None:
    assert server.client.get("/page/page.css", headers={"If-None-Match": '"other"'}).status_code == 200
