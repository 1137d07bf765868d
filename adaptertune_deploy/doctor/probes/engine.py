"""Run a small graph on one engine as a server would, and compare its answers with arithmetic done here.

    python -m adaptertune_deploy.doctor.probes.engine ENGINE DEVICE PRECISION [NAME=VALUE...]

The graph is small_graph's. Two tasks of unlike ranks lie in the engine's bank, and one run mixes them.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.table import ENGINES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from adaptertune_deploy.core.adapter.folder import Adapter
    from adaptertune_deploy.core.storage.tensors import Array

RANKS = (2, 3)
IMAGE, TASK = (0, 2, 1, 2), (1, 0, 0, 1)  # of each row


def try_engine(engine: str, device: str, precision: str, *settings: str) -> dict[str, object]:
    """Return what ran the graph, and how far its answers lie from those that are expected.

    Raises:
        AtdError: the engine refuses the graph or fails.
    """
    import numpy as np

    from adaptertune_deploy.doctor.probes import small_graph
    from adaptertune_deploy.engines.bank.bank import SlotBank
    from adaptertune_deploy.engines.opening import open_engine
    from adaptertune_deploy.engines.options import EngineOptions, split_settings

    options = EngineOptions(engine, device, Precision(precision), settings=split_settings(settings))
    images = np.random.default_rng(0).normal(size=(3, 3, small_graph.SIDE, small_graph.SIDE)).astype(np.float32)
    tasks = [small_graph.task(rank) for rank in RANKS]
    opened = open_engine(small_graph.shared_graph(), "a small graph", options)
    try:
        held = SlotBank(opened, small_graph.SLOTS, small_graph.WIDTH, small_graph.WIDTH)
        handles = [held.write(task) for task in tasks]
        found = held.features(images, np.array(IMAGE, dtype=np.int64), [handles[place] for place in TASK])
        expected = [answer(images[image], tasks[place]) for image, place in zip(IMAGE, TASK, strict=True)]
        return {
            "version": opened.version,
            "provider": opened.provider,
            "device": opened.device,
            "error": float(np.abs(found - np.stack(expected)).max()),
        }
    finally:
        opened.close()


def answer(image: Array, adapter: Adapter) -> npt.NDArray[np.float64]:
    """Return the graph's features [D] for one image [3, H, W], from the adapter's own tensors, in float64."""
    import numpy as np

    from adaptertune_deploy.core.adapter.identity import tensor_name
    from adaptertune_deploy.doctor.probes import small_graph

    x = image.astype(np.float64).mean(axis=(1, 2)) @ small_graph.projection().astype(np.float64)
    for block in small_graph.SLOTS:
        down, down_bias, up, up_bias = (
            adapter.tensors[tensor_name(block, side, kind)].astype(np.float64)
            for side in ("down", "up")
            for kind in ("weight", "bias")
        )
        hidden = down @ x + down_bias
        hidden = hidden / 2 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = x + adapter.task.adapter.alpha * (up @ hidden + up_bias)
    return np.asarray(x)


def main(arguments: Sequence[str]) -> None:
    """Print what came of it: facts, {"refused": why}, or {"absent": library}."""
    library = ENGINES[arguments[0]].library
    if importlib.util.find_spec(library) is None:
        print(json.dumps({"absent": library}))
        return
    try:
        print(json.dumps(try_engine(*arguments)))
    except AtdError as error:
        print(json.dumps({"refused": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1:])
