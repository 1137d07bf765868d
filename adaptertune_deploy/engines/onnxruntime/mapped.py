"""Sessions of one graph on a CPU that hold its weights once.

ONNX Runtime packs weights as its products want them, and its Python interface lets sessions share what is packed in one
way alone: a graph is written as it was optimised for this processor, with its packed weights beside it, and whoever
opens that file maps them. Here it lies in a folder of the cache that nobody else may enter, for as long as the sessions
need to open it; what they have mapped stays theirs, and the system keeps it once.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.cache import cache_folder
from adaptertune_deploy.engines import heap
from adaptertune_deploy.engines.onnxruntime.library import ort
from adaptertune_deploy.engines.onnxruntime.providers import CPU

KIND, PREFIX = "sessions", "opening-"
# The file has weights as the graph has them and packed, and nothing else that counts.
ROOM = 3
# Nobody takes so long to open a graph: what is older was left behind by a process that was killed meanwhile.
STALE_S = 3600.0
GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
SAVED = {
    "session.optimized_model_external_initializers_file_name": WEIGHTS,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
    "session.save_external_prepacked_constant_initializers": "1",
}


def open_mapped(graph: bytes, options: Sequence[Any], writing: Any) -> list[Any]:
    """Return a session of a graph for each of these options, all on the same weights.

    Args:
        graph: the bytes of an ONNX file.
        options: SessionOptions, one for each session.
        writing: SessionOptions of the session that writes the file and is closed.

    Raises:
        UsageError: the cache can't be written or has no room (core.storage.files.check_writable).
        OSError: the system's reason why a folder can't be made there.
        library.FAILURES: the graph or the file is refused.
    """
    cache = cache_folder(KIND)
    files.check_writable(cache, "ATD_CACHE", ROOM * len(graph))
    with _private(cache) as folder:
        path = folder / GRAPH
        writing.optimized_model_filepath = str(path)
        for name, value in SAVED.items():
            writing.add_session_config_entry(name, value)
        session = ort.InferenceSession(graph, writing, providers=[CPU], enable_fallback=0)
        del session
        heap.give_back()
        for each in options:  # optimised once more, a graph in float16 would round elsewhere
            each.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        return [ort.InferenceSession(str(path), each, providers=[CPU], enable_fallback=0) for each in options]


@contextlib.contextmanager
def _private(cache: Path) -> Iterator[Path]:
    """Yield an empty folder of this user alone, which is gone afterwards."""
    cache.mkdir(parents=True, exist_ok=True)
    for old in cache.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > STALE_S:
                shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=cache) as folder:
        yield Path(folder)
