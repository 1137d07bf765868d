"""The two libraries behind one code path, TensorRT and TensorRT-RTX, and what they say while they work.

TensorRT 10.3 (JetPack 6) to 11.x have the calls that are used here in common; what is outside of that stands behind
`hasattr`. TensorRT-RTX has the same Python interface, for GPUs of GeForce RTX and RTX PRO.
"""

from __future__ import annotations

import functools
import importlib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.errors import EngineError

logger = logging.getLogger(__name__)
KEPT = 20  # messages


@dataclass(frozen=True)
class Library:
    """One of the libraries.

    label: what messages call it, and what an engine gives as its provider.
    module: the Python module.
    extra: the extra of this package that brings it.
    """

    label: str
    module: str
    extra: str


# key of engines.table.ENGINES -> library
LIBRARIES: Mapping[str, Library] = {
    "tensorrt": Library("TensorRT", "tensorrt", "tensorrt"),
    "tensorrt-rtx": Library("TensorRT-RTX", "tensorrt_rtx", "tensorrt-rtx"),
}


def load(engine: str) -> Any:
    """Return the Python module of an engine.

    Raises:
        EngineError: it is not installed, or can't be loaded.
    """
    library = LIBRARIES[engine]
    try:
        return importlib.import_module(library.module)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{library.label} can't be imported ({error}); install it with: "
            f"pip install 'adaptertune-deploy[{library.extra}]' (on a Jetson JetPack brings it: docs/guides/jetson.md)"
        ) from None


@functools.cache
def message_log(trt: Any) -> Any:
    """Return the one logger of a library in this process; a second one would be ignored by TensorRT.

    It is an ILogger with `errors`, the latest messages of severity ERROR and above.
    """

    class MessageLog(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=KEPT)

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)
            logger.debug("%s: %s", trt.__name__, msg)

    return MessageLog()


def last_words(trt: Any) -> str:
    """Return the latest error that the library logged, on one line, and forget all of them; "" where there is none."""
    errors = message_log(trt).errors
    text = " ".join(errors[-1].split()) if errors else "it does not say why"
    errors.clear()
    return text[:300]
