from __future__ import annotations

import asyncio

from adaptertune_deploy.serve.logs.context import NOWHERE, RequestContext, current, request_id


def test_the_trace_id_is_the_second_part_of_a_traceparent() -> None:
    context = RequestContext("a", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert context.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert (NOWHERE.request_id, NOWHERE.trace_id) == ("", "")


def test_what_a_request_starts_knows_the_request_and_others_do_not() -> None:
    async def answer(name: str) -> list[str]:
        current.set(RequestContext(name))
        return [request_id(), await asyncio.ensure_future(inner())]

    async def inner() -> str:
        return request_id()

    async def both() -> list[list[str]]:
        return list(await asyncio.gather(answer("one"), answer("two")))

    assert asyncio.run(both()) == [["one", "one"], ["two", "two"]]
    assert request_id() == ""
