"""The methods of inference.GRPCInferenceService and of gRPC's health checking, and which of them a listener has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.grpc import health, inference, repository, shared_memory
from adaptertune_deploy.serve.grpc.bounds import check_fields, check_short
from adaptertune_deploy.serve.grpc.calls import Call, Calls, Method, Watch
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.protocol import describe, fixed_settings, lookup
from adaptertune_deploy.serve.protocol.fixed_settings import TRACING, check_unchanged
from adaptertune_deploy.serve.protocol.repository import EXTENSION
from adaptertune_deploy.serve.service import Service

SERVICE = health.SERVICE
HEALTH = "grpc.health.v1.Health"


def server_live(service: Service, request: Any) -> Any:
    """Answer ServerLive: the event loop runs."""
    return message("ServerLiveResponse")(live=True)


def server_ready(service: Service, request: Any) -> Any:
    """Answer ServerReady: not while warming up and while shutting down."""
    return message("ServerReadyResponse")(ready=service.not_ready is None)


def model_ready(service: Service, request: Any) -> Any:
    """Answer ModelReady; a model that is not served is not ready."""
    try:
        lookup.find(service, request.name, request.version)
    except RequestError:
        return message("ModelReadyResponse")(ready=False)
    return message("ModelReadyResponse")(ready=service.not_ready is None)


def server_metadata(service: Service, request: Any) -> Any:
    """Answer ServerMetadata."""
    return _filled("ServerMetadataResponse", describe.server_metadata())


def admin_metadata(service: Service, request: Any) -> Any:
    """Answer ServerMetadata where tasks are changed."""
    return _filled("ServerMetadataResponse", {**describe.server_metadata(), "extensions": [EXTENSION]})


def model_metadata(service: Service, request: Any) -> Any:
    """Answer ModelMetadata."""
    model = lookup.find(service, request.name, request.version)
    return _filled("ModelMetadataResponse", describe.model_metadata(model, service.session))


def model_config(service: Service, request: Any) -> Any:
    """Answer ModelConfig."""
    model = lookup.find(service, request.name, request.version)
    config = describe.model_config(
        model, service.session, service.settings, service.batcher.rows, service.batcher.instances
    )
    return _filled("ModelConfigResponse", {"config": config})


def model_statistics(service: Service, request: Any) -> Any:
    """Answer ModelStatistics: of one model, or without a name of every task."""
    entries = service.statistics.tasks
    if request.name:
        model = lookup.find(service, request.name, request.version)
        entries = {(model.name, model.task.version): entries[model.task.identity]}
    documents = [describe.model_statistics(identity, entry) for identity, entry in entries.items()]
    return _filled("ModelStatisticsResponse", {"model_stats": documents})


def log_settings(service: Service, request: Any) -> Any:
    """Answer LogSettings."""
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in request.settings.items()}
    given = {name: getattr(request.settings[name], kind) if kind else None for name, kind in kinds.items()}
    fixed = fixed_settings.log_settings()
    check_unchanged(given, fixed)
    parameters = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    settings = {name: {parameters[type(value)]: value} for name, value in fixed.items()}
    return _filled("LogSettingsResponse", {"settings": settings})


def trace_setting(service: Service, request: Any) -> Any:
    """Answer TraceSetting, of a model too."""
    if request.model_name:
        lookup.find(service, request.model_name)
    fixed = {name: [value] if isinstance(value, str) else value for name, value in TRACING.items()}
    check_unchanged({name: list(value.value) or None for name, value in request.settings.items()}, fixed)
    return _filled("TraceSettingResponse", {"settings": {name: {"value": value} for name, value in fixed.items()}})


METHODS: Mapping[str, Callable[[Service, Any], Any]] = {
    "ServerLive": server_live,
    "ServerReady": server_ready,
    "ModelReady": model_ready,
    "ServerMetadata": server_metadata,
    "ModelMetadata": model_metadata,
    "ModelConfig": model_config,
    "ModelStatistics": model_statistics,
    "LogSettings": log_settings,
    "TraceSetting": trace_setting,
    **shared_memory.ANSWERS,
}
WATCHES = {f"/{HEALTH}/Watch": Watch(health.REQUEST, health.watch)}
ADMIN_METHODS = {**{name: METHODS[name] for name in ("ServerLive", "ServerReady")}, "ServerMetadata": admin_metadata}


def public_calls(service: Service) -> Calls:
    """Return what answers whoever reaches the server."""
    refused = dict.fromkeys(repository.ANSWERS, repository.elsewhere)
    methods = {
        **_described(METHODS),
        **_changing(refused),
        f"/{SERVICE}/ModelInfer": inference.method(service.settings),
    }
    streams = {f"/{SERVICE}/ModelStreamInfer": inference.stream(service.settings)}
    return Calls(service, methods, streams, WATCHES)


def admin_calls(service: Service, token: str | None) -> Calls:
    """Return what answers those who change the server's tasks; see serve.http.admin."""
    methods = {**_described(ADMIN_METHODS), **_changing(repository.ANSWERS)}
    return Calls(service, methods, watches=WATCHES, token=token)


def _described(answers: Mapping[str, Callable[[Service, Any], Any]]) -> dict[str, Method]:
    """Return methods that need no more than their request, and gRPC's own health checking."""
    found = {f"/{SERVICE}/{name}": _at_once(message(f"{name}Request"), answer) for name, answer in answers.items()}
    return {**found, f"/{HEALTH}/Check": _at_once(health.REQUEST, health.check)}


def _changing(answers: Mapping[str, Callable[[Service, Call], Awaitable[Any]]]) -> dict[str, Method]:
    checks = {"RepositoryModelLoad": check_fields}  # whose message may hold files
    return {
        f"/{SERVICE}/{name}": Method(message(f"{name}Request"), answer, check=checks.get(name, check_short))
        for name, answer in answers.items()
    }


def _at_once(request: Any, answer: Callable[[Service, Any], Any]) -> Method:
    async def work(service: Service, call: Call) -> Any:
        return answer(service, call.request)

    return Method(request, work)


def _filled(name: str, document: Mapping[str, Any]) -> Any:
    """Return a message with what a document of the protocol's JSON says; what gRPC has no field for is left out."""
    return ParseDict(document, message(name)(), ignore_unknown_fields=True)
