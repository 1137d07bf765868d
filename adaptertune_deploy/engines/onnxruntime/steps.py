"""Runs of an ONNX Runtime session in steps of fixed shapes, whose tensors stay at fixed addresses.

That is what the CUDA provider asks for before it captures a run as a CUDA graph, one for each step, told apart by a
number. What a step lacks in rows is padded with rows that nobody reads. A bank that is resident lies at a fixed address
too; one that is fed along does not, so such a run is no step.

Documented at onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html, "Using CUDA Graphs". Nothing here
knows CUDA: on a CPU the same code runs the same steps, which is how it is tested.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.limits import step_for

GRAPH_ID = "gpu_graph_annotation_id"  # of a run's configuration; -1 captures nothing


@dataclass(frozen=True)
class Maker:
    """What steps ask of ONNX Runtime.

    value: returns an OrtValue on the session's device with an array's numbers.
    options: returns RunOptions with a configuration entry.
    still: held while a run may be captured.
    """

    value: Callable[[AnyArray], Any]
    options: Callable[[str, str], Any]
    still: threading.Lock


class StepSlab(Protocol):
    """A resident bank."""

    @property
    def arrays(self) -> Mapping[str, AnyArray]:
        """Its tensors by name."""

    def bind(self, binding: Any, slot: int | None) -> None:
        """Bind every input's values of all slots, or of one."""


@dataclass(frozen=True)
class _Step:
    fed: Mapping[str, tuple[Any, AnyArray]]  # name -> value on the device, and the host array that goes into it
    given: Mapping[str, Any]
    binding: Any
    options: Any


class _NoBank:
    """Stands for the bank of a merged graph."""


class OrtSteps:
    """Runs a session step by step, one run at a time.

    Args:
        session: an ONNX Runtime session.
        inputs: of the graph.
        outputs: of the graph.
        steps: row counts, ascending.
        maker: see Maker.
    """

    def __init__(
        self,
        session: Any,
        inputs: Mapping[str, TensorInfo],
        outputs: Mapping[str, TensorInfo],
        steps: tuple[int, ...],
        maker: Maker,
    ) -> None:
        self._session, self._inputs, self._outputs = session, inputs, outputs
        self._steps, self._maker = steps, maker
        self._numbers = itertools.count(1)
        self._no_bank = _NoBank()
        self._made: WeakKeyDictionary[Any, dict[tuple[int, int], _Step]] = WeakKeyDictionary()

    def run(self, feeds: Mapping[str, AnyArray], slab: StepSlab | None, slot: int | None) -> dict[str, AnyArray]:
        """Return every output's rows.

        Args:
            feeds: `images`, and of a shared graph `image` and `task`.
            slab: the bank; None for a merged graph.
            slot: the only slot that rows ask for, where `task` counts in a bank of one; None for all.

        Raises:
            EngineError: more rows or images than the largest step has.
        """
        own = dict(feeds)
        if slot is not None:
            own[bank.TASK] = own[bank.TASK] + slot
        images, rows = len(own[bank.IMAGES]), len(own.get(bank.TASK, own[bank.IMAGES]))
        most = self._steps[-1]
        if not 1 <= images <= most or not 1 <= rows <= most:
            raise EngineError(f"a run takes 1 to {most} rows, {max(images, rows)} were given; see -E max_rows")
        key = step_for(self._steps, images), step_for(self._steps, max(images, rows))
        with self._maker.still:
            made = self._made.setdefault(slab or self._no_bank, {})
            if key not in made:
                made[key] = self._make(key, slab)
            step = made[key]
            for name, array in own.items():
                value, host = step.fed[name]
                host[: len(array)] = array
                host[len(array) :] = array[0]
                value.update_inplace(host)
            self._session.run_with_iobinding(step.binding, step.options)
            return {name: value.numpy()[:rows].copy() for name, value in step.given.items()}

    def _make(self, key: tuple[int, int], slab: StepSlab | None) -> _Step:
        images, rows = key
        binding = self._session.io_binding()
        fed: dict[str, tuple[Any, AnyArray]] = {}
        if slab is not None:
            slab.bind(binding, None)
        for name, info in self._inputs.items():
            if slab is None or name not in slab.arrays:
                host = _zeros(info, images if name == bank.IMAGES else rows)
                fed[name] = self._maker.value(host), host
                binding.bind_ortvalue_input(name, fed[name][0])
        given = {name: self._maker.value(_zeros(info, rows)) for name, info in self._outputs.items()}
        for name, value in given.items():
            binding.bind_ortvalue_output(name, value)
        return _Step(fed, given, binding, self._maker.options(GRAPH_ID, str(next(self._numbers))))


def _zeros(info: TensorInfo, rows: int) -> AnyArray:
    result: AnyArray = np.zeros([rows if isinstance(size, str) else size for size in info.shape], info.dtype)
    return result
