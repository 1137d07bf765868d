"""The repository extension over gRPC; see protocol.repository. Files come as they are, not in base64."""

from __future__ import annotations

from typing import Any

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc.calls import Call
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol import repository
from adaptertune_deploy.serve.service import Service


async def index(service: Service, call: Call) -> Any:
    """Answer RepositoryIndex."""
    response = message("RepositoryIndexResponse")()
    for entry in repository.index(service, call.request.ready):
        response.models.add(**entry)
    return response


async def load(service: Service, call: Call) -> Any:
    """Answer RepositoryModelLoad."""
    request = call.request
    sent = repository.read_load(request.model_name, request.parameters, _text, _content)
    await repository.load(service, request.model_name, sent)
    return message("RepositoryModelLoadResponse")()


async def unload(service: Service, call: Call) -> Any:
    """Answer RepositoryModelUnload."""
    await repository.unload(service, call.request.model_name, call.request.parameters)
    return message("RepositoryModelUnloadResponse")()


async def elsewhere(service: Service, call: Call) -> Any:
    """Refuse what only the admin listener does."""
    raise RequestError(repository.ELSEWHERE, 403)


ANSWERS = {"RepositoryIndex": index, "RepositoryModelLoad": load, "RepositoryModelUnload": unload}


def _text(key: str, value: Any) -> str:
    return str(_value(key, value, "string_param"))


def _content(key: str, value: Any) -> bytes:
    return bytes(_value(key, value, "bytes_param"))


def _value(key: str, value: Any, kind: str) -> Any:
    if value.WhichOneof("parameter_choice") != kind:
        raise RequestError(f"parameter '{key:.80}' must be a '{kind}'")
    return getattr(value, kind)
