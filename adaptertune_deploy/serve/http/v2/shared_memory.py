"""The endpoints of shared memory over HTTP; see protocol.shared_memory."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.http.responses import json_answer
from adaptertune_deploy.serve.protocol.shared_memory import KINDS, check_status, refuse_register


async def status(request: Request) -> Response:
    """Answer GET .../status, and .../region/{region}/status."""
    check_status(request.path_params.get("region", ""))
    return json_answer([])


async def register(request: Request) -> Response:
    """Answer POST .../region/{region}/register."""
    refuse_register(400)
    raise AssertionError  # it raises


async def unregister(request: Request) -> Response:
    """Answer POST .../unregister, and .../region/{region}/unregister: what is not registered counts as let go of."""
    return Response()


def routes() -> list[Route]:
    """Return the routes of both kinds of shared memory."""
    found = []
    for root in (f"/v2/{kind}sharedmemory" for kind in KINDS):
        found.append(Route(f"{root}/region/{{region}}/register", register, methods=["POST"]))
        for base in (root, f"{root}/region/{{region}}"):
            found.append(Route(f"{base}/status", status))
            found.append(Route(f"{base}/unregister", unregister, methods=["POST"]))
    return found
