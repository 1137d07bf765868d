"""OpenVINO's Python package, imported here and nowhere else, without the part that reports to its maker."""

from __future__ import annotations

import sys

from adaptertune_deploy.core.errors import EngineError

# OpenVINO reports every import to its maker and keeps an identifier in the home folder, unless this package is absent.
_TELEMETRY = "openvino_telemetry"
_hidden = _TELEMETRY not in sys.modules
if _hidden:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
try:
    import openvino as ov
    from openvino import opset13 as operators
    from openvino.preprocess import PrePostProcessor
except ImportError as error:
    raise EngineError(
        f"OpenVINO can't be imported ({error}); install it with: pip install 'adaptertune-deploy[openvino]'"
    ) from None
finally:
    if _hidden:
        del sys.modules[_TELEMETRY]

__all__ = ["FAILURES", "PrePostProcessor", "operators", "ov"]

FAILURES: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
