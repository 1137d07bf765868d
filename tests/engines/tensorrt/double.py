"""A double of the module `tensorrt`, generated from the lists of api_lists, that computes with ONNX Runtime.

It has what the list of its version has and nothing else: another name raises AttributeError, a property that the list
calls "ro" can't be set, and behaviour written here for a name that a version lacks is left out of that version. A plan
of the double holds the ONNX file; running one reads inputs from the device memory of tests.engines.cuda_double, and
writes outputs there, when it is the stream's turn.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from tests.engines.cuda_double import CudaDouble
from tests.engines.tensorrt import api_lists
from tests.engines.tensorrt.api_lists import ApiList

MAGIC = b"DOUBLE"
SCRATCH = 4096
KINDS = {
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int64)": ("INT64", np.int64),
}
ort.set_default_logger_severity(4)


@dataclass
class Faults:
    """What goes wrong, and how often what was done.

    build, deserialize, context, execute: what the library says when it fails there; None for all is well.
    builds: how many plans were built. runs: how often a context was asked to run.
    """

    build: str | None = None
    deserialize: str | None = None
    context: str | None = None
    execute: str | None = None
    builds: int = 0
    runs: int = 0


@dataclass
class World:
    """What the classes of one double share. logs: the first logger that was given, which is the only one heard."""

    trt: Any
    device: CudaDouble | None
    faults: Faults
    logs: list[Any] = field(default_factory=list)

    def listen(self, log: Any) -> None:
        self.logs[:] = self.logs or [log]

    def say(self, message: str) -> None:
        self.logs[0].log(self.trt.ILogger.ERROR, message)

    @property
    def gpu(self) -> CudaDouble:
        assert self.device is not None
        return self.device


def make(version: str, device: CudaDouble | None, faults: Faults, name: str = "tensorrt") -> Any:
    """Return the module of one version.

    Args:
        version: one of api_lists.VERSIONS.
        device: its GPU; None where plans are only built.
        faults: what goes wrong.
        name: of the module.
    """
    found = api_lists.read(version)
    module: Any = ModuleType(name)
    module.__version__ = found.version
    world = World(module, device, faults)
    for enum, members in found.enums.items():
        if "." not in enum:
            setattr(module, enum, IntEnum(enum, members))
    for listed in found.classes:
        setattr(module, listed, _listed(found, listed, BEHAVIOUR.get(listed, object), world))
    for severity in IntEnum("Severity", found.enums["ILogger.Severity"]):  # type: ignore[attr-defined]
        setattr(module.ILogger, severity.name, severity)
    return module


def install(patch: pytest.MonkeyPatch, module: Any) -> None:
    """Put a double in the place of the real module until `patch` is undone."""
    patch.setitem(sys.modules, module.__name__, module)


def _listed(found: ApiList, name: str, behaviour: type, world: World) -> type:
    """Return a class with those of the behaviour's names that the list has, and no other public ones."""
    listed = found.classes[name]
    known = {*listed.properties, *listed.methods}
    own = {key: value for key, value in vars(behaviour).items() if key in known or key.startswith("_")}
    for key in ("__dict__", "__weakref__"):
        own.pop(key, None)

    def missing(self: Any, key: str) -> Any:
        if key in known:
            raise NotImplementedError(f"the double does nothing for {name}.{key}")
        raise AttributeError(f"TensorRT {found.version} has no {name}.{key}")

    def assign(self: Any, key: str, value: Any) -> None:
        if not key.startswith("_") and listed.properties.get(key) != "rw":
            raise AttributeError(f"TensorRT {found.version} has no {name}.{key} that can be set")
        object.__setattr__(self, key, value)

    names: dict[str, Any] = {"_world": world, "__getattr__": missing, **own}
    if name not in ("ILogger", "IHostMemory"):  # a logger of ours is derived from the first and has fields of its own
        names["__setattr__"] = assign
    return type(name, (bytes,) if name == "IHostMemory" else (), names)


class _Logger:
    def __init__(self) -> None:
        """Do nothing, as a base class that has to be called."""


class _Builder:
    _world: World

    def __init__(self, log: Any) -> None:
        self._world.listen(log)

    def create_network(self, flags: int = 0) -> Any:
        assert flags == 1 << int(self._world.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        return self._world.trt.INetworkDefinition()

    def create_builder_config(self) -> Any:
        return self._world.trt.IBuilderConfig()

    def create_optimization_profile(self) -> Any:
        return self._world.trt.IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        faults = self._world.faults
        if faults.build is not None:
            self._world.say(faults.build)
            return None
        faults.builds += 1
        head = {
            "version": self._world.trt.__version__,
            "profiles": config._profiles,
            "settings": {str(int(pool)): size for pool, size in config._pools.items()},
            "level": config._level,
        }
        text = json.dumps(head).encode()
        config._cache._data += b"t"
        return self._world.trt.IHostMemory(MAGIC + len(text).to_bytes(4, "little") + text + network._data)


class _Network:
    def __init__(self) -> None:
        self._inputs: list[Any] = []
        self._data = b""

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]


class _Tensor:
    _facts: Mapping[str, Any]
    name = property(lambda self: self._facts["name"])
    dtype = property(lambda self: self._facts["dtype"])
    shape = property(lambda self: self._facts["shape"])


class _Parser:
    _world: World

    def __init__(self, network: Any, log: Any) -> None:
        assert log is self._world.logs[0]
        self._network, self._errors = network, list[str]()

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  ONNX Runtime's exceptions have no common base
            self._errors.append(str(error))
            return False
        self._network._data = model
        for argument in session.get_inputs():
            tensor = self._world.trt.ITensor()
            tensor._facts = {
                "name": argument.name,
                "dtype": getattr(self._world.trt.DataType, KINDS[argument.type][0]),
                "shape": tuple(size if isinstance(size, int) else -1 for size in argument.shape),
            }
            self._network._inputs.append(tensor)
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        found = self._world.trt.ParserError()
        found._text = self._errors[index]
        return found


class _ParserError:
    _text = ""

    def desc(self) -> str:
        return self._text

    def node_operator(self) -> str:
        return "Gather"

    def node_name(self) -> str:
        return "blocks.0"


class _Config:
    _world: World

    def __init__(self) -> None:
        self._profiles: list[Any] = []
        self._pools: dict[Any, int] = {}
        self._flags = {self._world.trt.BuilderFlag.TF32}
        self._level, self._cache = 3, None

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        self._level = level

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = pool_size

    def add_optimization_profile(self, profile: Any) -> int:
        spans = profile._spans.values()
        if not all(a <= b <= c for least, usual, most in spans for a, b, c in zip(least, usual, most, strict=True)):
            return -1
        self._profiles.append({name: [list(sizes) for sizes in span] for name, span in profile._spans.items()})
        return len(self._profiles) - 1

    def create_timing_cache(self, data: bytes) -> Any:
        found = self._world.trt.ITimingCache()
        found._data = bytes(data)
        return found

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self._cache = cache
        return True


class _Profile:
    def __init__(self) -> None:
        self._spans: dict[str, tuple[tuple[int, ...], ...]] = {}

    def set_shape(self, name: str, least: Any, usual: Any, most: Any) -> None:
        self._spans[name] = (tuple(least), tuple(usual), tuple(most))


class _TimingCache:
    _world: World
    _data = b""

    def serialize(self) -> Any:
        return self._world.trt.IHostMemory(self._data)


class _Runtime:
    _world: World

    def __init__(self, log: Any) -> None:
        self._world.listen(log)

    def deserialize_cuda_engine(self, data: bytes) -> Any:
        fault = self._world.faults.deserialize
        if fault is not None or not bytes(data).startswith(MAGIC):
            self._world.say(fault or "Magic tag does not match")
            return None
        start = len(MAGIC) + 4
        size = int.from_bytes(data[len(MAGIC) : start], "little")
        head = json.loads(data[start : start + size])
        assert head["version"] == self._world.trt.__version__, "a plan of another TensorRT was handed over"
        found = self._world.trt.ICudaEngine()
        found._head = head
        found._session = ort.InferenceSession(bytes(data[start + size :]), providers=["CPUExecutionProvider"])
        found._inputs = {entry.name: entry for entry in found._session.get_inputs()}
        found._outputs = {entry.name: entry for entry in found._session.get_outputs()}
        return found


class _Engine:
    _world: World
    _inputs: Mapping[str, Any]
    _outputs: Mapping[str, Any]
    num_io_tensors = property(lambda self: len(self._inputs) + len(self._outputs))
    device_memory_size_v2 = property(lambda self: SCRATCH)

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = self._world.trt.TensorIOMode
        return modes.INPUT if name in self._inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(self._world.trt.DataType, KINDS[{**self._inputs, **self._outputs}[name].type][0])

    def create_execution_context(self, strategy: Any) -> Any:
        assert strategy is self._world.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._world.faults.context is not None:
            self._world.say(self._world.faults.context)
            return None
        found = self._world.trt.IExecutionContext()
        found._engine, found._profile, found._shapes, found._addresses = self, None, {}, {}
        found._scratch, found._changes = None, 0
        return found


def _changing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Count a change of a context: a graph that was captured from it is undefined from then on."""

    def call(self: Any, *arguments: Any) -> Any:
        self._changes += 1
        return function(self, *arguments)

    return call


class _Context:
    _world: World
    _engine: Any
    _profile: Mapping[str, Any]
    _shapes: dict[str, tuple[int, ...]]
    _addresses: dict[str, int]
    _scratch: int
    _changes: int

    @_changing
    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= SCRATCH
        self._scratch = memory

    @_changing
    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._profile, self._shapes = self._engine._head["profiles"][index], {}
        return self._world.gpu.give(stream, lambda: None)

    @_changing
    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self._profile.get(name, (shape, shape, shape))
        if not all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)):
            self._world.say(f"{name} of shape {shape} is out of its profile")
            return False
        self._shapes[name] = tuple(shape)
        return True

    @_changing
    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self._engine._inputs if name not in self._shapes]

    def execute_async_v3(self, stream: int) -> bool:
        self._world.faults.runs += 1
        if self._world.faults.execute is not None:
            self._world.say(self._world.faults.execute)
            return False
        changes = self._changes
        self._world.gpu.view(self._scratch, SCRATCH)

        def work() -> None:
            assert changes == self._changes, "a captured graph outlived a change of its context"
            self._compute()

        return self._world.gpu.give(stream, work)

    def _compute(self) -> None:
        """Read the inputs from device memory, run the graph, and write the outputs."""
        view, feeds = self._world.gpu.view, {}
        for name, entry in self._engine._inputs.items():
            dtype, shape = np.dtype(KINDS[entry.type][1]), self._shapes[name]
            size = int(np.prod(shape)) * dtype.itemsize
            feeds[name] = view(self._addresses[name], size).view(dtype).reshape(shape)
        for name, value in zip(self._engine._outputs, self._engine._session.run(None, feeds), strict=True):
            view(self._addresses[name], value.nbytes)[:] = np.ascontiguousarray(value).view(np.uint8).reshape(-1)


# name in the lists -> what it does
BEHAVIOUR: Mapping[str, type] = {
    "ILogger": _Logger,
    "Builder": _Builder,
    "INetworkDefinition": _Network,
    "ITensor": _Tensor,
    "OnnxParser": _Parser,
    "ParserError": _ParserError,
    "IBuilderConfig": _Config,
    "IOptimizationProfile": _Profile,
    "ITimingCache": _TimingCache,
    "Runtime": _Runtime,
    "ICudaEngine": _Engine,
    "IExecutionContext": _Context,
}
