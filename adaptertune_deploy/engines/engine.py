"""The contract that every engine keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.limits import Limits

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

AnyArray: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a graph.

    shape: an int for a fixed dimension, the symbol's name for a dynamic one.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


class Slab(Protocol):
    """Tensors of several tasks along a leading slot axis, kept where an engine reads them; zeros until written.

    Their addresses never change. One thread writes at a time, and no slot that a run reads: who writes sees to that.

    Attributes:
        capacity: slots.
    """

    capacity: int

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """Set one slot's tensors in place; those that are not named become zeros.

        Args:
            slot: below `capacity`.
            tensors: name -> array without the slot axis; converted to the graph's dtype.

        Raises:
            EngineError: no such slot or tensor, another shape, or a value that the graph's dtype can't hold; then the
                slot is as it was.
        """

    def read(self, slot: int) -> Mapping[str, AnyArray]:
        """Return one slot's tensors, in host memory and not to be written to."""


class Engine(Protocol):
    """A graph that is loaded and ready to run; `run` may be called from any thread.

    Attributes:
        name: its key in ENGINES.
        version: its library's version.
        inputs: the graph's inputs by name.
        outputs: the graph's outputs by name.
        provider: what the library itself calls that which runs the graph, "CPUExecutionProvider" for example.
        device: where it runs, read back from the library: "cpu" or "cuda:N".
        precision: what its matrix products are computed in, read back from the library or the graph's metadata.
        limits: what it takes at once.
        metadata: the graph's own key-value pairs (ONNX metadata_props).
    """

    name: str
    version: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    provider: str
    device: str
    precision: Precision
    limits: Limits
    metadata: Mapping[str, str]

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> Slab:
        """Return room for inputs that stay on the device; it lives as long as somebody holds it.

        Args:
            shapes: input -> shape of one slot's tensor, the input's own without its first axis.
            capacity: slots at least; an engine rounds up as suits it.

        Raises:
            EngineError: an unknown input, a shape that it does not take, or no memory.
        """

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """Run the graph; returns every output, owned by the caller.

        Args:
            feeds: inputs by name, copied to the device.
            resident: further inputs, of this engine's `allocate`; nothing of it is copied.
            slot: hand over this slot of `resident` alone, as a first axis of 1; None for all slots.

        Raises:
            EngineError: a missing or unknown input, a wrong dtype or shape, or a failure of the device.
        """

    def close(self) -> None:
        """Release the graph's memory; a closed engine can't run."""
