"""Settings of logging and tracing that clients may ask for; they are fixed when the server starts.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_logging.md and extension_trace.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptertune_deploy.core.errors import RequestError, did_you_mean

# This server writes warnings and errors to its standard error, and traces nothing.
LOGGING: Mapping[str, bool | int | str] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
TRACING: Mapping[str, str | list[str]] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_mode": "triton",
}


def check_unchanged(given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuse to change a setting; to ask for what holds, or with None for the default, is no change.

    Raises:
        RequestError: 400 for a setting that does not exist, 403 for another value.
    """
    for name, value in given.items():
        if name not in fixed:
            raise RequestError(
                f"unknown setting '{name[:60]}', only {', '.join(fixed)}.{did_you_mean(name[:60], fixed)}"
            )
        if value is not None and value != fixed[name]:
            raise RequestError(f"setting '{name}' is fixed; clients can't change it", 403)
