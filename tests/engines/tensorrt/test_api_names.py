"""Every name of TensorRT that the code uses is in the bindings of 10.3 (JetPack 6), 10.13.3 (JetPack 7) and 11.4."""

from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.engines import tensorrt
from tests.engines.tensorrt import api_lists
from tests.engines.tensorrt.used_names import Walker

FILES = sorted(Path(tensorrt.__file__).parent.glob("*.py"))


def walk(source: str, version: str = "10.3") -> Walker:
    walker = Walker(api_lists.read(version))
    walker.walk(source)
    return walker


@pytest.mark.parametrize("version", api_lists.VERSIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_name_and_signature_is_there(file: Path, version: str) -> None:
    assert walk(file.read_text(), version).wrong == []


def test_the_walk_finds_what_the_engine_lives_on() -> None:
    """A walk that followed nothing would complain of nothing."""
    used = set().union(*(walk(file.read_text()).used for file in FILES))
    assert used >= {
        "trt.Builder",
        "Builder.build_serialized_network",
        "Builder.create_network",
        "BuilderFlag.TF32",
        "ICudaEngine.create_execution_context",
        "ICudaEngine.device_memory_size_v2",
        "IBuilderConfig.add_optimization_profile",
        "IBuilderConfig.builder_optimization_level",
        "IBuilderConfig.set_timing_cache",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_device_memory",
        "IExecutionContext.set_input_shape",
        "INetworkDefinition.get_input",
        "IOptimizationProfile.set_shape",
        "ITensor.dtype",
        "ITimingCache.serialize",
        "MemoryPoolType.TACTIC_DRAM",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParser.parse",
        "ParserError.desc",
        "Runtime.deserialize_cuda_engine",
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("trt.Builderr(log)", "no trt.Builderr"),
        ("trt.Builder()", "Builder does not take these arguments"),
        ("trt.Builder(log).create_network(0, 1)", "Builder.create_network does not take these arguments"),
        ("trt.Builder(log).create_network(flag=0)", "Builder.create_network does not take these arguments"),
        ("trt.BuilderFlag.FP17", "no BuilderFlag.FP17"),
        ("context.execute_async_v4(1)", "no IExecutionContext.execute_async_v4"),
        ("self.program.plan.num_tensors", "no ICudaEngine.num_tensors"),
        ("plan.name = 'x'", "no ICudaEngine.name"),
        ("config = builder.create_builder_config(); config.set_flags(1)", "no IBuilderConfig.set_flags"),
        ("print([network.get_input(i).names for i in x])", "no ITensor.names"),
    ],
)
def test_a_wrong_name_is_found(line: str, complaint: str) -> None:
    (found,) = walk(f"def work(trt, builder, network, plan, context, log, self, x):\n    {line}\n").wrong
    assert found == f"line 2: {complaint} in TensorRT 10.3.0"


def test_what_only_some_versions_have_stands_behind_hasattr() -> None:
    """TensorRT 11 has no FP16 flag, TensorRT 10.3 no queryKeys."""
    assert walk("def work(trt):\n    trt.BuilderFlag.FP16\n", "11.4").wrong
    assert not walk(
        "def work(trt):\n    if hasattr(trt.BuilderFlag, 'FP16'):\n        trt.BuilderFlag.FP16\n", "11.4"
    ).wrong


@pytest.mark.parametrize(
    ("text", "positional", "keywords", "fits"),
    [
        ("f(self: A, b: int, c: str = None) -> D", 1, "", True),
        ("f(self: A, b: int, c: str = None) -> D", 0, "b c", True),
        ("f(self: A, b: int, c: str = None) -> D", 0, "c", False),
        ("f(self: A, b: int, c: str = None) -> D", 2, "c", False),
        ("f(self: A, b: Tuple[bool, List[Tuple[List[int], bool]]], c: int) -> D", 2, "", True),
        ("f(self: A, b: S = <S.STATIC: 0>) -> D", 0, "", True),
        ("f(self: A) -> None", 1, "", False),
    ],
)
def test_signatures_are_read_as_pybind11_writes_them(text: str, positional: int, keywords: str, fits: bool) -> None:
    assert api_lists.overload(text).takes(positional, frozenset(keywords.split())) is fits
