"""What one replica runs: the HTTP application, which gets requests only when its engine is warm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.logs.setup import LogOptions, logging_to_stderr
from adaptertune_deploy.serve.opening import Opening
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.versions import by_content

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
NAME = "X-Replica-ID"
TICK_S = 0.02


@dataclass(frozen=True)
class Plan:
    """What every replica is started with; it travels to other machines, on which the bundle has the same path."""

    opening: Opening
    settings: Settings
    log: LogOptions


class ReplicaApp:
    """An ASGI application over a bundle that it opens itself, and closes when its lifespan ends.

    Versions are numbered by content, so that replicas agree on them. Every answer names its replica.

    Args:
        plan: what to serve.
        name: the replica's.

    Raises:
        AtdError: see serve.opening.Opening.open.
    """

    def __init__(self, plan: Plan, name: str) -> None:
        self._header = (NAME.lower().encode(), name.encode())
        with ExitStack() as held:
            held.enter_context(logging_to_stderr(plan.log))
            opened = plan.opening.open()
            held.callback(opened.session.close)
            self._app = make_app(opened.session, plan.settings, opened.told, opened.source, by_content)
            self._held = held.pop_all()
        self.service: Service = self._app.state.service

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
        """Answer a request, or run the lifespan."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, lambda message: self._lived(message, send))
            return

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), self._header]
            await send(message)

        await self._app(scope, receive, named)

    def check(self) -> None:
        """Raise RuntimeError where another replica should take the place of this one."""
        problem = self.service.batcher.failure or self.service.batcher.health.problem
        if problem is not None:
            raise RuntimeError(str(problem))

    async def _lived(self, message: Message, send: Send) -> None:
        """Say that the application has started when it is warm, and that it has ended when all is closed."""
        if message["type"] == "lifespan.startup.complete" and (failure := await self._warm()) is not None:
            message = {"type": "lifespan.startup.failed", "message": f"the engine failed its first run: {failure}"}
        if message["type"] == "lifespan.shutdown.complete":
            self._held.close()
        await send(message)

    async def _warm(self) -> Exception | None:
        batcher = self.service.batcher
        while not batcher.warm and batcher.failure is None:
            await asyncio.sleep(TICK_S)
        return batcher.failure
