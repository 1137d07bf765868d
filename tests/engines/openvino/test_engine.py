"""engines.openvino.engine: what it really computes in, tensors that stay where they are, and errors in one line."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter, read_adapter
from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from adaptertune_deploy.core.bundle.graph_facts import PRECISION_KEY
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.doctor.probes import small_graph
from adaptertune_deploy.doctor.probes.engine import answer
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.bank.packed import WEIGHTS
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.openvino import engine as openvino
from adaptertune_deploy.engines.openvino.engine import OpenVinoEngine
from adaptertune_deploy.engines.openvino.library import ov
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.openvino.slab import OpenVinoSlab
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.session import open_session
from tests.engines.onnx_files import INDEX, ROWS, TABLE, field, graph, lookup, model, node

GOLDEN = Path(__file__).parents[2] / "device" / "golden"
BUNDLE = GOLDEN / "bundle"
ROOT = Path(__file__).parents[3]
MANIFEST = read_manifest(BUNDLE)
SHARED = read_graph(BUNDLE, select_graph(MANIFEST, "shared"))
TEN = np.arange(30, dtype=np.float32).reshape(10, 3)
FP32, BF16 = Precision.FP32, Precision.BF16
HAS_BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason="this CPU does not multiply bfloat16")
SMALL = small_graph.shared_graph()
SHAPES = bank.slot_shapes(small_graph.SLOTS, small_graph.WIDTH, 2)
ONE_ROW = {
    bank.IMAGES: np.zeros((1, 3, small_graph.SIDE, small_graph.SIDE), np.float32),
    bank.IMAGE: np.array([0]),
    bank.TASK: np.array([0]),
}
PRECISIONS = [FP32, pytest.param(BF16, marks=needs_bf16)]


def asked(precision: Precision = FP32, threads: int = 1, **settings: str) -> EngineOptions:
    return EngineOptions("openvino", "cpu", precision, threads, settings)


def opened(data: bytes, options: EngineOptions | None = None) -> OpenVinoEngine:
    engine = open_engine(data, "bundle/g.onnx", options or asked())
    assert isinstance(engine, OpenVinoEngine)
    return engine


def replaced(task: Adapter, times: float) -> Adapter:
    """Return another task of the same rank."""
    return Adapter(task.task, {name: (times * tensor).astype(np.float32) for name, tensor in task.tensors.items()})


@pytest.fixture(scope="module")
def pictures() -> Array:
    """Return images for the small graph."""
    side = small_graph.SIDE
    return np.random.default_rng(0).normal(size=(3, 3, side, side)).astype(np.float32)


@pytest.fixture(scope="module")
def pixels() -> Array:
    paths = sorted((GOLDEN / "images").iterdir())
    return np.stack([preprocess.preprocess(path.read_bytes(), MANIFEST.preprocess) for path in paths])


@pytest.fixture(scope="module")
def expected() -> dict[str, Array]:
    shapes = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
    return tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")


def test_a_graph_is_described_by_its_file() -> None:
    engine = opened(lookup())
    assert engine.inputs == {
        "table": TensorInfo("table", np.dtype(np.float32), ("T", 3)),
        "index": TensorInfo("index", np.dtype(np.int64), ("B",)),
    }
    assert engine.outputs == {"rows": TensorInfo("rows", np.dtype(np.float32), ("B", 3))}
    assert engine.metadata == {"about": "lookup"}
    assert (engine.name, engine.provider, engine.device, engine.precision) == ("openvino", "CPU", "cpu", FP32)
    assert engine.version.count(".") == 2


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_both_forms_give_torchs_logits_in_mixed_rows_and_alone(
    form: str, precision: Precision, pixels: Array, expected: dict[str, Array]
) -> None:
    session = open_session(BUNDLE, form=form, options=asked(precision))
    assert session.engine.precision is precision
    names = [task.name for task in session.tasks.values()]
    image, task = np.repeat(np.arange(4), 2), np.tile(np.arange(2), 4)
    mixed, tolerance = session.run(pixels, image, task), TOLERANCES[precision]
    for logits, i, t in zip(mixed, image, task, strict=True):
        wanted = expected[names[t]]
        np.testing.assert_allclose(logits, wanted[i], rtol=0, atol=tolerance.largest(float(np.abs(wanted).max())))
        (alone,) = session.run(pixels[i : i + 1], np.zeros(1, np.int64), np.array([t]))
        np.testing.assert_allclose(logits, alone, rtol=0, atol=1e-5)
    session.close()


def products(engine: OpenVinoEngine) -> set[str]:
    facts = [operator.get_rt_info() for operator in engine._compiled.get_runtime_model().get_ops()]
    return {held["runtimePrecision"].astype(str) for held in facts if held["layerType"].astype(str) == "FullyConnected"}


@needs_bf16
def test_bf16_differs_from_fp32_and_each_is_what_every_product_runs_in(pixels: Array) -> None:
    graph = read_graph(BUNDLE, select_graph(MANIFEST, "merged", task="birds"))
    exact, coarse = opened(graph), opened(graph, asked(BF16))
    assert (products(exact), products(coarse)) == ({"f32"}, {"bf16"})
    (one,), (other,) = (engine.run({bank.IMAGES: pixels}).values() for engine in (exact, coarse))
    assert 1e-4 < np.abs(one - other).max() < 0.5


@needs_bf16
def test_its_own_choice_of_a_precision_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_config", lambda options, settings: {})
    with pytest.raises(EngineError, match=r"OpenVINO computes in bf16, fp32 was asked for; .*--precision bf16"):
        opened(SHARED)


def test_bf16_is_refused_where_it_is_computed_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(openvino.HINTS, BF16, "f32")
    with pytest.raises(EngineError, match=r"OpenVINO computes in fp32, bf16 was asked for; .*--precision fp32"):
        opened(SHARED, asked(BF16))


def test_a_graph_in_fp16_is_not_computed_in_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(openvino.HINTS, Precision.FP16, "f32")  # as on a CPU that does not multiply float16
    half = SHARED + field(14, field(1, PRECISION_KEY) + field(2, "fp16"))
    with pytest.raises(EngineError, match="OpenVINO computes in fp32, fp16 was asked for"):
        opened(half, asked(Precision.FP16))


def test_a_graph_without_products_is_in_what_was_asked_for() -> None:
    assert opened(lookup()).precision is FP32


def test_a_slot_that_is_written_is_there_in_the_next_run(pictures: Array) -> None:
    """One more task changes its own rows and no other; a bank that is fed gives what one that is resident gives."""
    engine = opened(SMALL)
    slab = engine.allocate(bank.slot_shapes(small_graph.SLOTS, small_graph.WIDTH, 2), 3)
    assert slab.capacity == 4
    first, second = small_graph.task(2), replaced(small_graph.task(2), 0.5)
    slab.write(1, bank.folded_blocks(first))
    rows = {bank.IMAGES: pictures, bank.IMAGE: np.array([0, 1, 2]), bank.TASK: np.array([1, 0, 3])}
    before = engine.run(rows, slab)[bank.FEATURES]
    np.testing.assert_allclose(before[0], answer(pictures[0], first), atol=1e-5)
    slab.write(3, bank.folded_blocks(second))
    after = engine.run(rows, slab)[bank.FEATURES]
    assert np.array_equal(after[:2], before[:2])
    np.testing.assert_allclose(after[2], answer(pictures[2], second), atol=1e-5)
    alone = engine.run({**rows, bank.TASK: np.zeros(3, np.int64)}, slab, 3)[bank.FEATURES]
    assert np.array_equal(alone[2], after[2])
    held = [slab.read(slot) for slot in range(4)]
    fed = bank.stack(held, small_graph.SLOTS, small_graph.WIDTH)
    assert np.array_equal(engine.run({**rows, **fed})[bank.FEATURES], after)


WRONG: dict[str, tuple[Callable[[OpenVinoEngine], object], str]] = {
    "unknown input": (lambda engine: engine.run({"indx": np.array([0])}), "no input 'indx', .* Did you mean 'index'"),
    "missing input": (lambda engine: engine.run({"index": np.array([0])}), "input 'table' was not given"),
    "dtype": (lambda engine: engine.run({"index": np.array([0], np.int32), "table": TEN}), "dtype int32, expected"),
    "shape": (lambda engine: engine.run({"index": np.array([0]), "table": TEN[:, :2]}), r"expected \['T', 3\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_does_not_fit_is_refused(what: str) -> None:
    ask, message = WRONG[what]
    with pytest.raises(EngineError, match=message):
        ask(opened(lookup()))


BANK_WRONG: dict[str, tuple[Callable[[OpenVinoEngine, OpenVinoSlab], object], str]] = {
    "shapes": (lambda engine, _: engine.allocate({"blocks.0.adapter.down.weight": (4,)}, 1), "not the shapes of one"),
    "bank of another engine": (lambda engine, _: engine.run(ONE_ROW, opened(SMALL).allocate(SHAPES, 1)), "of another"),
    "host's slab": (lambda engine, _: engine.run(ONE_ROW, HostSlab(SHAPES, engine.inputs, 1)), "of another engine"),
    "bank fed beside a resident one": (
        lambda engine, slab: engine.run({**ONE_ROW, "blocks.0.adapter.up.bias": np.zeros((1, 8), np.float32)}, slab),
        "with a resident bank a run takes images, image, task, not 'blocks.0.adapter.up.bias'",
    ),
    "no bank": (lambda engine, _: engine.run(ONE_ROW), "'blocks.0.adapter.down.weight' was not given"),
    "no rows": (lambda engine, slab: engine.run({bank.IMAGES: ONE_ROW[bank.IMAGES]}, slab), "'image' was not given"),
    "slot": (lambda engine, slab: engine.run(ONE_ROW, slab, 1), "no slot 1, only 0 to 0"),
    "bank of a graph without one": (lambda _, slab: opened(lookup()).allocate(SHAPES, 1), "this graph has no bank"),
}


@pytest.mark.parametrize("what", BANK_WRONG)
def test_a_bank_that_does_not_fit_is_refused(what: str) -> None:
    ask, message = BANK_WRONG[what]
    engine = opened(SMALL)
    with pytest.raises(EngineError, match=message):
        ask(engine, engine.allocate(SHAPES, 1))


def test_inputs_may_be_read_only_and_strided() -> None:
    table = np.asfortranarray(TEN)
    table.flags.writeable = False
    found = opened(lookup()).run({"index": np.arange(10)[::3], "table": table})
    assert np.array_equal(found["rows"], TEN[::3])


@pytest.mark.parametrize(("image", "task"), [([0, 4], [0, 0]), ([0, 0], [0, 7])])
def test_rows_that_name_nothing_are_answered_by_openvino_and_refused_before_it(
    image: list[int], task: list[int], pixels: Array
) -> None:
    engine = opened(SHARED)
    places = {bank.IMAGE: np.array(image), bank.TASK: np.array(task)}
    table = bank.stack([{}, {}], MANIFEST.slots, MANIFEST.backbone.width)
    wrong = engine.run({bank.IMAGES: pixels, **places, **table})[bank.FEATURES]
    assert wrong.shape == (2, MANIFEST.backbone.features)  # no error, whatever it is
    with pytest.raises(EngineError, match="but there are"):
        bank.check_rows(len(pixels), places[bank.IMAGE], places[bank.TASK], 2)


def test_no_row_that_names_nothing_reaches_openvino(pixels: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened(SHARED)
    held = SlotBank(engine, MANIFEST.slots, MANIFEST.backbone.width, MANIFEST.backbone.features)
    handle = held.write(read_adapter(GOLDEN / "adapters" / "birds")[1])
    held.remove(handle)
    monkeypatch.setattr(OpenVinoEngine, "run", None)
    with pytest.raises(EngineError, match="'image' names 0 to 4, but there are 4 only"):
        held.features(pixels, np.array([0, 4]), [handle, handle])
    with pytest.raises(EngineError, match="the bank holds no task of rank 2 in slot 1"):
        held.features(pixels, np.array([0]), [handle])


def test_runs_at_the_same_time_do_not_disturb_each_other(pictures: Array) -> None:
    engine = opened(SMALL)
    held = SlotBank(engine, small_graph.SLOTS, small_graph.WIDTH, small_graph.WIDTH)
    tasks = [small_graph.task(2), replaced(small_graph.task(2), 0.5), small_graph.task(3)]
    handles = [held.write(task) for task in tasks]
    expected = np.array([[answer(image, task) for task in tasks] for image in pictures])
    start, errors = threading.Barrier(4), []

    def ask(seed: int) -> None:
        draw = np.random.default_rng(seed)
        start.wait()
        for _ in range(30):
            image, task = draw.integers(0, 3, (2, int(draw.integers(1, 20))))
            found = held.features(pictures, image, [handles[place] for place in task])
            if np.abs(found - expected[image, task]).max() > 1e-5:
                errors.append(seed)

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert 1 <= len(engine._idle) <= 4


def test_a_closed_engine_refuses_and_holds_nothing() -> None:
    engine = opened(SMALL)
    slab = engine.allocate(SHAPES, 4)
    engine.run(ONE_ROW, slab)
    memory = weakref.ref(slab.arrays[WEIGHTS])
    engine.close()
    for ask in (lambda: engine.run(ONE_ROW), lambda: engine.allocate(SHAPES, 1)):
        with pytest.raises(EngineError, match="this engine is closed; open the graph again"):
            ask()
    del slab
    gc.collect()
    assert memory() is None


def test_a_run_that_outlives_its_engine_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened(lookup())
    run = openvino._Request.run

    def closing(self: Any, tensors: Any) -> Any:
        engine.close()
        return run(self, tensors)

    monkeypatch.setattr(openvino._Request, "run", closing)
    assert engine.run({"index": np.array([3]), "table": TEN})["rows"].tolist() == [[9, 10, 11]]
    assert engine._idle == []


def test_a_graphs_bytes_are_let_go() -> None:
    data = bytes(bytearray(SHARED))
    before = sys.getrefcount(data)
    engine = opened(data)
    assert sys.getrefcount(data) == before
    engine.close()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="OpenVINO takes no more threads than there are cores")
def test_settings_and_threads_reach_openvino() -> None:
    compiled = opened(lookup(), asked(threads=2, hint="throughput", streams="2"))._compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("NUM_STREAMS") == 2
    assert str(compiled.get_property("PERFORMANCE_HINT")).endswith("THROUGHPUT")
    assert str(opened(lookup())._compiled.get_property("PERFORMANCE_HINT")).endswith("LATENCY")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (
            node("MatMul", ("index", "table"), "rows"),
            "While validating ONNX node .*MatMul.*: Arguments do not have the",
        ),
        (node("Softmax", ("tabel",), "rows"), "tabel node not found in graph cache"),
        (node("Concat", ("table", "table"), "rows"), "While validating ONNX node .*Concat.*: .* attribute 'axis'"),
    ],
)
def test_a_graph_that_it_refuses_is_one_line(wrong: bytes, reason: str) -> None:
    data = model(graph(wrong, inputs=(TABLE, INDEX), outputs=(ROWS,)))
    with pytest.raises(EngineError, match=rf"^bundle/g\.onnx: OpenVINO refuses this graph: {reason}") as caught:
        opened(data)
    assert not re.search(r"\n|\.cpp|Exception from", str(caught.value))


def test_a_run_that_fails_is_one_line_and_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = opened(lookup())
    text = "Exception from src/inference/src/cpp/infer_request.cpp:75:\nCheck 'x' failed at y.cpp:3:\n\nno memory\n"

    def fail(self: object, tensors: object) -> None:
        raise RuntimeError(text)

    with monkeypatch.context() as patch:
        patch.setattr(openvino._Request, "run", fail)
        with pytest.raises(EngineError, match=r"^OpenVINO could not run the graph: no memory$"):
            engine.run({"index": np.array([3]), "table": TEN})
    assert engine.run({"index": np.array([3]), "table": TEN})["rows"].tolist() == [[9, 10, 11]]


def test_the_defaults_are_the_settings_own() -> None:
    openvino.check_installed(asked(), OpenVinoSettings())
    assert openvino._config(asked(threads=0), OpenVinoSettings()) == {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }


@pytest.mark.skipif(not openvino.multiplies(Precision.FP16), reason="this CPU does not multiply float16")
def test_a_graph_in_fp16_is_computed_in_it(pixels: Array) -> None:
    pytest.importorskip("onnx")
    from adaptertune_deploy.export.precision.ranges import NONE
    from adaptertune_deploy.export.precision.table import graph_in

    half = graph_in(SHARED, Precision.FP16, NONE, MANIFEST.backbone.name)
    _, birds = read_adapter(GOLDEN / "adapters" / "birds")
    found = []
    for data, precision in ((SHARED, FP32), (half, Precision.FP16)):
        engine = opened(data, asked(precision))
        assert engine.precision is precision
        held = SlotBank(engine, MANIFEST.slots, MANIFEST.backbone.width, MANIFEST.backbone.features)
        found.append(held.features(pixels, np.arange(len(pixels)), [held.write(birds)] * len(pixels)))
        engine.close()
    exact, rounded = found
    assert 0 < np.abs(rounded - exact).max() < TOLERANCES[Precision.FP16].largest(float(np.abs(exact).max()))
