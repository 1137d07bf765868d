"""serve.http.guard: who may change what a server answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import Response

from adaptertune_deploy.serve.http.guard import Guard


async def post(token: str | None, headers: list[tuple[str, str]]) -> httpx.Response:
    transport = httpx.ASGITransport(Guard(Response("changed"), token))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        return await client.post("/", headers=httpx.Headers(headers))


def ask(token: str | None, headers: list[tuple[str, str]]) -> int:
    answer = asyncio.run(post(token, headers))
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
        ([("Authorization", "bearer s3cret")], 401),
        ([("Authorization", "Basic s3cret")], 401),
        ([("Authorization", "s3cret")], 401),
        ([("Authorization", "")], 401),
        ([("Authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")], 401),
        ([("Authorization", "Bearer s3cret"), ("Origin", "http://127.0.0.1:8001")], 403),
        ([("Authorization", "Bearer s3cret"), ("Origin", "null")], 403),
    ],
)
def test_only_the_token_lets_in_and_no_web_page_has_it(headers: list[tuple[str, str]], status: int) -> None:
    assert ask("s3cret", headers) == status


def test_without_a_token_web_pages_are_kept_out_all_the_same() -> None:
    assert ask(None, []) == 200
    assert ask(None, [("Origin", "http://evil.example")]) == 403
