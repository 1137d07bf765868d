"""serve.http.guard: who may change what a server answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import Response

from adaptertune_deploy.serve.http.guard import Guard


async def send(token: str | None, headers: list[tuple[str, str]], method: str, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(Guard(Response("changed"), token, lambda path: path == "/free"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
        return await client.request(method, path, headers=httpx.Headers(headers))


def ask(token: str | None, headers: list[tuple[str, str]], method: str = "POST", path: str = "/") -> int:
    answer = asyncio.run(send(token, headers, method, path))
    if answer.status_code != 200:
        assert list(answer.json()) == ["error"]
        assert "s3cret" not in answer.text
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    return answer.status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("Authorization", "Bearer s3cret")], 200),
        ([], 401),
        ([("Authorization", "Bearer s3cre")], 401),
        ([("Authorization", "Bearer s3crett")], 401),
        ([("Authorization", "bearer s3cret")], 200),
        ([("Authorization", "Basic s3cret")], 401),
        ([("Authorization", "s3cret")], 401),
        ([("Authorization", "")], 401),
        ([("Authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")], 401),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://127.0.0.1:8001")], 200),
        ([("Authorization", "Bearer s3cret"), ("Origin", "https://127.0.0.1:8001")], 200),
        ([("Origin", "http://127.0.0.1:8001")], 401),
        ([("Authorization", "Bearer s3cret"), ("Origin", "null")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://[")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://127.0.0.1:8000")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://127.0.0.1")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://evil.example")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://127.0.0.1:8001@evil.example")], 403),
        ([("Authorization", "Bearer s3cret"), *[("Origin", "http://127.0.0.1:8001")] * 2], 403),
    ],
)
def test_only_the_token_lets_in_and_no_page_of_a_stranger_has_it(headers: list[tuple[str, str]], status: int) -> None:
    assert ask("s3cret", headers) == status


def test_without_a_token_web_pages_are_kept_out_all_the_same() -> None:
    assert ask(None, []) == 200
    assert ask(None, [("Origin", "http://evil.example")]) == 403
    assert ask(None, [("Origin", "http://127.0.0.1:8001")]) == 403  # a stranger's name may mean this address


@pytest.mark.parametrize("token", ["s3cret", None])
def test_what_is_free_needs_no_token_and_is_only_read(token: str | None) -> None:
    assert ask(token, [], "GET", "/free") == 200
    assert ask(token, [("Origin", "http://evil.example")], "GET", "/free") == 403
    assert ask("s3cret", [], "POST", "/free") == 401
    assert ask("s3cret", [], "GET", "/free/more") == 401
