"""The methods of shared memory over gRPC; see protocol.shared_memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol.shared_memory import KINDS, check_status, refuse_register
from adaptertune_deploy.serve.service import Service

Answer = Callable[[Service, Any], Any]


def _of_kind(kind: str) -> Mapping[str, Answer]:
    prefix = f"{kind.capitalize()}SharedMemory"

    def status(service: Service, request: Any) -> Any:
        check_status(request.name)
        return message(f"{prefix}StatusResponse")()

    def register(service: Service, request: Any) -> Any:
        refuse_register(501)

    def unregister(service: Service, request: Any) -> Any:
        return message(f"{prefix}UnregisterResponse")()

    return {f"{prefix}Status": status, f"{prefix}Register": register, f"{prefix}Unregister": unregister}


ANSWERS: Mapping[str, Answer] = {name: answer for kind in KINDS for name, answer in _of_kind(kind).items()}
