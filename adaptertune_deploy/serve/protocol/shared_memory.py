"""Shared memory, which this server does not offer: nothing is registered, and nothing can be.

Clients ask all the same: many examples begin by letting go of every region.
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md
"""

from __future__ import annotations

from adaptertune_deploy.core.errors import RequestError

KINDS = ("system", "cuda")
NOT_OFFERED = "names a shared memory region, which this server does not offer"
UNKNOWN = "no shared memory region of this name is registered; this server offers none"


def check_status(name: str) -> None:
    """Refuse to tell of one region: there is none; of all there is an empty list to give.

    Raises:
        RequestError: 404.
    """
    if name:
        raise RequestError(UNKNOWN, 404)


def refuse_register(status: int) -> None:
    """Refuse to register a region.

    Raises:
        RequestError: of this status.
    """
    raise RequestError(f"the request {NOT_OFFERED}", status)
