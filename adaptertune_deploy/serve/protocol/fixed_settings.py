"""Settings of logging and tracing that clients may ask for; they are fixed when the server starts.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_logging.md and extension_trace.md
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from adaptertune_deploy.core.errors import RequestError, did_you_mean

logger = logging.getLogger(__name__)
# Nothing is traced.
TRACING: Mapping[str, str | list[str]] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_mode": "triton",
}


def log_settings() -> dict[str, bool | int | str]:
    """Return which lines this server writes, all of them to its standard error."""
    return {
        "log_file": "",
        "log_info": logger.isEnabledFor(logging.INFO),
        "log_warning": logger.isEnabledFor(logging.WARNING),
        "log_error": logger.isEnabledFor(logging.ERROR),
        "log_verbose_level": int(logger.isEnabledFor(logging.DEBUG)),
        "log_format": "default",
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
