"""Values that a request gives or leaves out, checked one by one."""

from __future__ import annotations

from typing import Any

from adaptertune_deploy.core.errors import RequestError

# Asks for what is so anyway where a request has one answer; perf_analyzer sends it with every request over gRPC.
FINAL = "triton_enable_empty_final_response"
MAX_SMALL = 4096  # bytes of a part that no right request makes large, over either wire
RESERVED = ("headers", "sequence_id", "sequence_start", "sequence_end")


def parameters(document: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters of a request, an input or an output; `where` says of which.

    Raises:
        RequestError: 400, they are no object, or hold a key that is reserved.
    """
    found: dict[str, Any] = optional(document, "parameters", dict, {})
    for key in found:
        if key.startswith("triton_") and key != FINAL:
            raise RequestError(
                f"{where}: parameter keys starting with 'triton_' are reserved and should not be specified"
            )
        if key in RESERVED:
            raise RequestError(
                f"{where}: parameter '{key}' is reserved; this server has no sequences and takes no headers"
            )
    return found


def optional(values: dict[str, Any], key: str, kind: type, default: Any) -> Any:
    """Return a value of exactly this type, or the default where there is none; RequestError (400) for another."""
    value = values.get(key, default)
    if type(value) is not kind:
        named = {str: "text", bool: "true or false", dict: "an object", int: "a whole number", list: "an array"}[kind]
        raise RequestError(f"'{key}' must be {named}")
    return value


def natural(values: dict[str, Any], key: str, default: int, limit: int) -> int:
    """Return a whole number from 0 to `limit`; RequestError (400) for anything else."""
    value: int = optional(values, key, int, default)
    if not 0 <= value <= limit:
        raise RequestError(f"'{key}' must lie between 0 and {limit}")
    return value
