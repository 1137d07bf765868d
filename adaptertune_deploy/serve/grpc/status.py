"""Errors as gRPC says them."""

from __future__ import annotations

import logging

import grpc

from adaptertune_deploy.core.errors import EngineError, RequestError

# HTTP status -> gRPC's: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
logger = logging.getLogger(__name__)


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the code and the text that a client gets; of what should never happen nothing of the inside."""
    if isinstance(error, RequestError):
        return CODES[error.status], str(error)
    return grpc.StatusCode.INTERNAL, str(error) if isinstance(error, EngineError) else "internal error"


def log_if_internal(error: Exception) -> None:
    """Log what should never happen."""
    if not isinstance(error, (RequestError, EngineError)):
        logger.error("a call failed", exc_info=error)
