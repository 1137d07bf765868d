"""engines.tensorrt.build on doubles of three versions: what is asked of TensorRT, and every way in which it refuses.

That TensorRT's own parser and builder take the graphs is tests/engines/tensorrt/test_rtx_builds.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.shapes import Capacity, profiles
from tests.engines.onnx_files import lookup
from tests.engines.tensorrt import double
from tests.engines.tensorrt.double import Faults

REQUEST = BuildRequest(Capacity(32, 8, 0, 0, 0), "8.6", workspace=1 << 28, tactic_memory=1 << 29, level=4)


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def trt(version: str, faults: Faults) -> Any:
    return double.make(version, None, faults)


def head_of(plan: bytes) -> dict[str, Any]:
    size = int.from_bytes(plan[6:10], "little")
    found: dict[str, Any] = json.loads(plan[10 : 10 + size])
    return found


def test_profiles_and_limits_reach_the_builder(trt: Any, merged: bytes) -> None:
    plan, timing = build(trt, merged, REQUEST, b"before", "g")
    head = head_of(plan)
    wanted = profiles(onnx_signature.read(merged, "g").inputs, REQUEST.capacity)
    assert head["profiles"] == json.loads(json.dumps(wanted))
    pools = trt.MemoryPoolType
    assert head["settings"] == {str(int(pools.WORKSPACE)): 1 << 28, str(int(pools.TACTIC_DRAM)): 1 << 29}
    assert (head["level"], head["version"]) == (4, trt.__version__)
    assert timing == b"beforet"


def test_limits_of_zero_are_left_to_tensorrt(trt: Any, merged: bytes) -> None:
    plan, _ = build(trt, merged, BuildRequest(REQUEST.capacity, "8.6"), b"", "g")
    assert head_of(plan)["settings"] == {}


def test_float32_means_float32(trt: Any, merged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT multiplies float32 in TF32, with 10 bits of mantissa, unless told not to."""
    configs: list[Any] = []
    plain = trt.IBuilderConfig.__init__
    monkeypatch.setattr(trt.IBuilderConfig, "__init__", lambda self: (plain(self), configs.append(self))[0])
    build(trt, merged, REQUEST, b"", "g")
    assert configs[0]._flags == set()
    assert configs[0].max_aux_streams == 0


def test_a_graph_that_the_parser_refuses_says_why(trt: Any, merged: bytes) -> None:
    with pytest.raises(EngineError, match=rf"^g: tensorrt {trt.__version__} can't read it: Gather 'blocks.0': "):
        build(trt, merged[:-40], REQUEST, b"", "g")


def test_an_input_that_tensorrt_drops_is_found(trt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt.INetworkDefinition, "num_inputs", property(lambda self: 1))
    with pytest.raises(EngineError, match=r"^g: tensorrt reads input 'index' as absent, the graph says int64 \[-1\]"):
        build(trt, lookup(), REQUEST, b"", "g")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Error Code 2: OutOfMemory (requested 1 GiB)", "(requested 1 GiB); give the build less: -E workspace_mb=256 "),
        ("Error Code 10: could not find any implementation", "could not find any implementation"),
    ],
)
def test_a_build_that_fails_gives_the_last_words(trt: Any, merged: bytes, faults: Faults, said: str, told: str) -> None:
    faults.build = said
    with pytest.raises(EngineError, match=rf"^g: tensorrt {trt.__version__} can't build a plan: Error Code") as caught:
        build(trt, merged, REQUEST, b"", "g")
    assert told in str(caught.value)


def test_a_profile_that_is_refused_is_an_error(trt: Any, merged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt.IBuilderConfig, "add_optimization_profile", lambda self, profile: -1)
    with pytest.raises(EngineError, match=r"^g: tensorrt refuses the shapes of a profile"):
        build(trt, merged, REQUEST, b"", "g")
