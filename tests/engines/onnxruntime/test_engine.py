"""engines.onnxruntime.engine: sessions that run where they were asked to, on tensors that stay on the device."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort_library
import pytest

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.bundle.graph_facts import PRECISION_KEY
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnxruntime import engine as ort
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, cuda_options
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.onnxruntime.slab import OrtSlab
from adaptertune_deploy.engines.opening import check_options, open_engine
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from tests.engines import cuda_double
from tests.engines.onnx_files import FLOAT, INDEX, ROWS, TABLE, field, graph, lookup, model, node, value_info
from tests.engines.onnxruntime.sessions import (
    Provider,
    check_message,
    open_ort,
    refusal,
    with_cuda_that_does_not_load,
    without_cuda,
)

TEN = np.arange(30, dtype=np.float32).reshape(10, 3)


@pytest.fixture
def engine() -> OrtEngine:
    return open_ort(lookup(), "cpu", 1)


def test_inputs_outputs_and_metadata_are_described(engine: OrtEngine) -> None:
    assert engine.inputs == {
        "table": TensorInfo("table", np.dtype(np.float32), ("T", 3)),
        "index": TensorInfo("index", np.dtype(np.int64), ("B",)),
    }
    assert engine.outputs == {"rows": TensorInfo("rows", np.dtype(np.float32), ("B", 3))}
    assert engine.metadata == {"about": "lookup"}
    assert engine.provider == CPU
    assert (engine.name, engine.version) == ("onnxruntime", importlib.metadata.version("onnxruntime"))


def test_the_table_of_engines_opens_it() -> None:
    opened = open_engine(lookup(), "g.onnx", ON_CPU)
    assert opened.run({"table": TEN, "index": np.array([3])})["rows"].tolist() == [[9, 10, 11]]


def put(engine: OrtEngine, table: npt.NDArray[np.float32]) -> OrtSlab:
    """Return a slab with these rows in its slots."""
    slab = engine.allocate({"table": (3,)}, len(table))
    for slot, row in enumerate(table):
        slab.write(slot, {"table": row})
    return slab


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_feeds_and_resident_tensors_give_the_same(engine: OrtEngine, batch: int) -> None:
    index = np.arange(batch) % 10
    assert np.array_equal(engine.run({"table": TEN, "index": index})["rows"], TEN[index])
    assert np.array_equal(engine.run({"index": index}, put(engine, TEN))["rows"], TEN[index])


@pytest.mark.parametrize("slot", range(10))
def test_one_slot_alone_is_a_bank_of_one(engine: OrtEngine, slot: int) -> None:
    found = engine.run({"index": np.zeros(2, np.int64)}, put(engine, TEN), slot)["rows"]
    assert np.array_equal(found, TEN[[slot, slot]])
    with pytest.raises(EngineError, match="out of data bounds"):
        engine.run({"index": np.array([1])}, put(engine, TEN), slot)


def test_what_is_written_is_there_in_the_next_run_and_nothing_else_changes(engine: OrtEngine) -> None:
    slab, index = put(engine, TEN), np.arange(10)
    for slot in range(10):
        engine.run({"index": np.array([0])}, slab, slot)
    slab.write(4, {"table": TEN[0] + 100})
    wanted = TEN.copy()
    wanted[4] = [100, 101, 102]
    assert np.array_equal(engine.run({"index": index}, slab)["rows"], wanted)
    assert engine.run({"index": np.array([0])}, slab, 4)["rows"].tolist() == [[100, 101, 102]]
    assert engine.run({"index": np.array([0])}, slab, 5)["rows"].tolist() == [[15, 16, 17]]


def test_outputs_belong_to_the_caller(engine: OrtEngine) -> None:
    slab = put(engine, TEN)
    engine.run({"index": np.array([1])}, slab)["rows"][:] = -2
    assert engine.run({"index": np.array([1])}, slab)["rows"].tolist() == [[3, 4, 5]]


def test_capacity_is_rounded_up_and_fresh_slots_are_zero(engine: OrtEngine) -> None:
    assert [engine.allocate({"table": (3,)}, count).capacity for count in (1, 2, 3, 10, 1000)] == [1, 2, 4, 16, 1024]
    slab = put(engine, TEN)
    assert engine.run({"index": np.array([9, 10, 15])}, slab)["rows"].tolist() == [[27, 28, 29], [0, 0, 0], [0, 0, 0]]
    with pytest.raises(EngineError, match=r"could not run the graph: .*out of data bounds"):
        engine.run({"index": np.array([16])}, slab)


def test_two_slabs_are_two_banks(engine: OrtEngine) -> None:
    one, other = put(engine, TEN), put(engine, TEN[:2] + 100)
    assert engine.run({"index": np.array([1])}, other)["rows"].tolist() == [[103, 104, 105]]
    assert engine.run({"index": np.array([1])}, one)["rows"].tolist() == [[3, 4, 5]]


def test_a_tensor_is_resident_or_fed(engine: OrtEngine) -> None:
    with pytest.raises(EngineError, match="'table' is resident and was given besides; leave it out of the feeds"):
        engine.run({"table": TEN * 2, "index": np.array([1])}, put(engine, TEN))


def test_transposed_arrays_mean_what_they_show(engine: OrtEngine) -> None:
    assert np.array_equal(engine.run({"table": np.asfortranarray(TEN), "index": np.arange(10)})["rows"], TEN)
    index = np.arange(20)[::2] // 2
    assert np.array_equal(engine.run({"index": index}, put(engine, np.asfortranarray(TEN)))["rows"], TEN)


def test_the_slab_of_another_engine_is_refused(engine: OrtEngine) -> None:
    foreign = HostSlab({"table": (3,)}, engine.inputs, 2)
    with pytest.raises(EngineError, match="resident tensors are of another engine"):
        engine.run({"index": np.array([0])}, foreign)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"tabel": (3,)}, "no input 'tabel', only table, index. Did you mean 'table'?"),
        ({"table": (4,)}, r"'table' has shape \[2, 4\], expected \['T', 3\]"),
        ({"table": (3, 1)}, r"'table' has shape \[2, 3, 1\]"),
    ],
)
def test_room_for_what_the_graph_does_not_take_is_refused(
    engine: OrtEngine, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        engine.allocate(shapes, 2)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"index": np.array([0])}, r"input 'table' was not given \(1 missing in all\)"),
        ({"tabel": TEN, "index": np.array([0])}, "no input 'tabel', only table, index. Did you mean 'table'?"),
        ({"table": TEN.astype(np.float64), "index": np.array([0])}, "'table' has dtype float64, expected float32"),
        ({"table": TEN[:, :2], "index": np.array([0])}, r"'table' has shape \[10, 2\], expected \['T', 3\]"),
        ({"table": TEN, "index": np.array(0)}, r"'index' has shape \[\], expected \['B'\]"),
    ],
)
def test_wrong_feeds_are_refused_by_name(engine: OrtEngine, feeds: dict[str, Any], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        engine.run(feeds)


def test_a_closed_engine_says_so(engine: OrtEngine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.run({"table": TEN, "index": np.array([0])})
    with pytest.raises(EngineError, match="this engine is closed"):
        engine.allocate({"table": (3,)}, 2)


def test_runs_beside_writes_of_other_slots_see_whole_rows(engine: OrtEngine) -> None:
    slab = put(engine, TEN)
    seen: list[bool] = []

    def ask() -> None:
        for _ in range(50):
            rows = engine.run({"index": np.tile(np.arange(9), 100)}, slab)["rows"]
            seen.append(np.array_equal(rows, np.tile(TEN[:9], (100, 1))))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for value in range(200):
        slab.write(9, {"table": np.full(3, value, np.float32)})
    for thread in threads:
        thread.join()
    assert len(seen) == 150
    assert all(seen)


def test_failures_stay_off_the_terminal(engine: OrtEngine, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(EngineError) as failure:
        engine.run({"table": TEN, "index": np.array([10])})
    check_message(str(failure.value))
    assert "NoSuchOp" in refusal(model(graph(node("NoSuchOp", ("table",), "rows"), inputs=(TABLE,), outputs=(ROWS,))))
    assert capfd.readouterr() == ("", "")


def test_a_graph_with_strings_is_refused() -> None:
    text = value_info("text", 8, ("B",))
    same = node("Identity", ("text",), "same")
    data = model(graph(same, inputs=(text,), outputs=(value_info("same", 8, ("B",)),)))
    assert "'text' has type tensor(string)" in refusal(data)


def test_an_unnamed_dimension_is_dynamic() -> None:
    unnamed = value_info("table", FLOAT, ("", 3))
    data = model(graph(node("Gather", ("table", "index"), "rows"), inputs=(unnamed, INDEX), outputs=(ROWS,)))
    assert open_ort(data, "cpu", 1).inputs["table"].shape == ("?", 3)


def test_auto_takes_the_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cuda(monkeypatch)
    assert open_ort(lookup(), "auto", 0).provider == CPU


@pytest.mark.parametrize(("device", "provider"), [("cpu", "cuda"), ("cuda:1", "cpu"), ("cpu", "tensorrt")])
def test_a_provider_that_does_not_run_on_the_device_is_refused(device: str, provider: Provider) -> None:
    message = f"^-E provider={provider}: does not run on --device {device}; leave out one$"
    options = EngineOptions(device=device, settings={"provider": provider})
    for ask in (lambda: open_ort(lookup(), device, 0, provider), lambda: check_options(options)):
        with pytest.raises(UsageError, match=message):
            ask()


def test_a_provider_may_be_named_in_place_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_cuda_that_does_not_load(monkeypatch)
    assert open_ort(lookup(), "auto", 0, "cpu").provider == CPU
    with pytest.raises(EngineError, match=f"asked for {CUDA} and loaded only"):
        open_ort(lookup(), "auto", 0, "cuda")
    with pytest.raises(EngineError, match=f"asked for {CUDA} and loaded only"):
        open_ort(lookup(), "cuda:3", 0)
    assert asked == [
        [CPU],
        [(CUDA, cuda_options(0)), CPU],
        [(CUDA, cuda_options(3)), CPU],
    ]


def test_cuda_graphs_take_the_cuda_provider_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = with_cuda_that_does_not_load(monkeypatch)
    graphs = OrtSettings(cuda_graphs=True, max_rows=8)
    with pytest.raises(EngineError, match=f"asked for {CUDA} and loaded only"):
        ort.open_graph(lookup(), "g", EngineOptions(), graphs)
    assert asked == [[(CUDA, cuda_options(0, graphs=True)), CPU]]
    assert cuda_options(0, graphs=True).items() - cuda_options(0).items() == {("enable_cuda_graph", "1")}
    for device, provider, message in (
        ("cpu", "auto", "-E cuda_graphs=true: does not run on --device cpu; leave out one"),
        ("auto", "cpu", "-E cuda_graphs=true: goes with -E provider=cuda, not with cpu"),
    ):
        settings = {"cuda_graphs": "true", "provider": provider}
        with pytest.raises(UsageError) as refused:
            check_options(EngineOptions(device=device, settings=settings))
        assert str(refused.value) == message


def test_it_says_where_and_in_what_it_computes(engine: OrtEngine) -> None:
    assert (engine.device, engine.precision, engine.limits) == ("cpu", Precision.FP32, Limits())
    half = field(14, field(1, PRECISION_KEY) + field(2, "fp16"))
    assert open_ort(lookup() + half, "cpu", 0).precision is Precision.FP16


@pytest.mark.parametrize(("threads", "asked", "found"), [(3, 4, 3), (8, 4, 4), (1, 4, 1), (2, 1, 1)])
def test_runs_beside_others_share_the_threads_out(threads: int, asked: int, found: int) -> None:
    options = EngineOptions(device="cpu", threads=threads, at_once=asked)
    with contextlib.closing(open_engine(lookup(), "g.onnx", options)) as engine:
        assert engine.limits == Limits(at_once=found)


def test_a_run_beside_another_goes_to_the_session_of_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives the same, from a bank that lies in memory once."""
    opened: list[int] = []
    real = ort_library.InferenceSession

    def noted(data: bytes | str, options: Any, **rest: Any) -> Any:
        if isinstance(data, str):  # the file of the weights, which another session writes and gives up
            opened.append(options.intra_op_num_threads)
        return real(data, options, **rest)

    monkeypatch.setattr(ort_library, "InferenceSession", noted)
    options = EngineOptions(device="cpu", threads=2, at_once=2)
    with contextlib.closing(open_engine(lookup(), "g.onnx", options)) as opened_engine:
        assert isinstance(opened_engine, OrtEngine)
        assert opened == [2, 1]
        slab = put(opened_engine, TEN)
        lanes = opened_engine._open_lanes()
        with lanes.take() as first:
            beside = opened_engine.run({"index": np.array([3])}, slab)
            with lanes.take() as second:
                assert second.session is not first.session
        alone = opened_engine.run({"index": np.array([3])}, slab)
        assert beside["rows"].tolist() == alone["rows"].tolist() == [[9, 10, 11]]


def test_no_thread_is_bound_to_a_core() -> None:
    """As ONNX Runtime binds them where nobody says how many there are."""
    own, before = os.sched_getaffinity(0), set(os.listdir("/proc/self/task"))
    engine = open_ort(lookup(), "cpu", 0)
    made = set(os.listdir("/proc/self/task")) - before
    assert len(made) == cores.physical(cores.read_small) - 1
    assert all(os.sched_getaffinity(int(thread)) == own for thread in made)
    engine.close()


def test_on_a_gpu_a_bank_lies_there_and_one_task_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = cuda_double.DriverDouble()
    cuda_double.install(monkeypatch, driver)
    real, placed = ort.ort.OrtValue.ortvalue_from_numpy, []

    def on_the_gpu(array: npt.NDArray[np.float32], *place: object) -> Any:
        placed.append(place)
        return real(array.copy())

    monkeypatch.setattr(ort.ort.OrtValue, "ortvalue_from_numpy", on_the_gpu)
    session = ort.ort.InferenceSession(lookup(), providers=[CPU])
    slab = OrtEngine(session, CUDA, 3, "g").allocate({"table": (3,)}, 10)
    assert (slab.capacity, placed) == (10, [("cuda", 3)])
    slab.write(4, {"table": TEN[1]})
    ((gpu, _, size),) = driver.copies
    assert (gpu, size) == (3, 12)
