"""JSON from strangers: one meaning per text, bounded depth, no NaN, and every fault is a RequestError."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from adaptertune_deploy.core.errors import RequestError

MAX_DEPTH = 100


def loads(data: bytes) -> Any:
    """Parse UTF-8 JSON.

    Raises:
        RequestError: not UTF-8, not JSON, a byte order mark, a name twice in one object, NaN or Infinity, numbers
            beyond float64, or arrays and objects nested deeper than 100.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_unique)
    except UnicodeDecodeError:
        raise RequestError("the request's JSON is not valid UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise RequestError(f"failed to parse the request JSON{where}") from None
    _check_depth(value)
    return value


def _refuse(token: str) -> NoReturn:
    raise RequestError(f"the request's JSON holds {token}, which JSON has no number for")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise RequestError("the request's JSON holds a number that is too large for 64 bits")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise RequestError("the request's JSON names a member twice in one object")
    return result


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise _too_deep()


def _children(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [child for child in item.values() if isinstance(child, (dict, list))]
    if isinstance(item, list):
        return [child for child in item if isinstance(child, (dict, list))]
    return []


def _too_deep() -> RequestError:
    return RequestError(f"the request's JSON is nested deeper than {MAX_DEPTH} levels")
