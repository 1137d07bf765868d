"""engines.tensorrt.engine on doubles of TensorRT and CUDA that compute with ONNX Runtime: answers, flow and faults.

Nothing here ran on a GPU; tests/gpu/ is for that.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.graph_facts import PRECISION_KEY
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.cuda import driver as cuda_driver
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.tensorrt import engine as module
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.engine import check_installed, open_graph
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from adaptertune_deploy.serve.sessions.session import open_session
from tests.builders import make_adapter, make_task
from tests.engines.cuda_double import CudaDouble, DriverDouble, cudaError_t
from tests.engines.golden import BUNDLE, GOLDEN
from tests.engines.onnx_files import metadata
from tests.engines.tensorrt import double
from tests.engines.tensorrt.conftest import Open, install
from tests.engines.tensorrt.double import Faults

SLOTS, WIDTH, RANK, TASKS = (0, 1, 2), 32, 4, 5
OPTIONS = EngineOptions(engine="tensorrt")
DRAW = np.random.default_rng(0)
IMAGES = DRAW.normal(size=(8, 3, 32, 32)).astype(np.float32)
SHAPES = bank.slot_shapes(SLOTS, WIDTH, RANK)
HELD = {name: DRAW.normal(size=(TASKS, *shape), scale=0.3).astype(np.float32) for name, shape in SHAPES.items()}


def rows(images: int, image: list[int], task: list[int]) -> dict[str, Any]:
    return {bank.IMAGES: IMAGES[:images], bank.IMAGE: np.array(image), bank.TASK: np.array(task)}


def reference(graph: bytes, feeds: dict[str, Any]) -> Any:
    """Return what ONNX Runtime answers on the graph as it is in the bundle."""
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, feeds)[0]


def resident(engine: Any, capacity: int = TASKS) -> Any:
    slab = engine.allocate(SHAPES, capacity)
    for task in range(TASKS):
        slab.write(task, {name: value[task] for name, value in HELD.items()})
    return slab


MIXED = rows(3, [0, 2, 1, 2, 0], [4, 0, 2, 1, 3])


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_every_version_answers_as_onnx_runtime(
    version: str, name: str, gpu: CudaDouble, faults: Faults, shared: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = double.make(version, gpu, faults, name.replace("-", "_"))
    double.install(monkeypatch, made)
    monkeypatch.setattr(module, "build_in_child", lambda engine, *rest: build(made, *rest))
    opened = open_graph(shared, "g", EngineOptions(engine=name), TensorrtSettings())
    assert (opened.name, opened.version, opened.device) == (name, made.__version__, "cuda:0")
    assert opened.precision is Precision.FP32
    found = opened.run(MIXED, resident(opened))[bank.FEATURES]
    np.testing.assert_allclose(found, reference(shared, {**MIXED, **HELD}), atol=2e-6)
    opened.close()


def test_inputs_outputs_and_facts_are_those_of_the_graph(open_plan: Open, shared: bytes) -> None:
    """Whoever opens a bundle compares them with its manifest, which knows nothing of packed banks."""
    opened = open_plan(shared)
    session = ort.InferenceSession(shared, providers=["CPUExecutionProvider"])
    assert list(opened.inputs) == [entry.name for entry in session.get_inputs()]
    assert list(opened.outputs) == [entry.name for entry in session.get_outputs()]
    assert opened.metadata == session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_any_number_of_rows_is_answered_whatever_ran_before(
    open_plan: Open, shared: bytes, count: int, graphs: bool
) -> None:
    opened = open_plan(shared, max_rows=8, cuda_graphs=graphs)
    slab = resident(opened)
    draw = np.random.default_rng(count)
    for turn in range(4):
        images = int(draw.integers(1, count + 1)) if turn else count
        image, task = draw.integers(0, images, count), draw.integers(0, TASKS, count)
        feeds = rows(images, image.tolist(), task.tolist())
        feeds[bank.IMAGES] = draw.normal(size=feeds[bank.IMAGES].shape).astype(np.float32)
        found = opened.run(feeds, slab)[bank.FEATURES]
        np.testing.assert_allclose(found, reference(shared, {**feeds, **HELD}), atol=2e-6)


def test_more_images_than_rows_are_no_trouble(open_plan: Open, shared: bytes) -> None:
    opened = open_plan(shared, max_rows=8)
    feeds = rows(5, [4], [2])
    found = opened.run(feeds, resident(opened))[bank.FEATURES]
    np.testing.assert_allclose(found, reference(shared, {**feeds, **HELD}), atol=2e-6)


def test_one_slot_alone_is_a_bank_of_one_task(open_plan: Open, shared: bytes) -> None:
    opened = open_plan(shared)
    slab = resident(opened)
    for slot in (3, 0):
        feeds = rows(2, [1, 0], [0, 0])
        own = {name: value[slot : slot + 1] for name, value in HELD.items()}
        found = opened.run(feeds, slab, slot)[bank.FEATURES]
        np.testing.assert_allclose(found, reference(shared, {**feeds, **own}), atol=2e-6)


def test_a_bank_in_host_memory_is_brought_along(open_plan: Open, shared: bytes) -> None:
    """What a batch of several ranks takes; other tasks in the next run, and another rank."""
    opened = open_plan(shared, max_rows=8)
    for tasks, rank in ((5, 4), (3, 4), (5, 3)):
        held = {}
        for name, shape in bank.slot_shapes(SLOTS, WIDTH, rank).items():
            held[name] = DRAW.normal(size=(tasks, *shape), scale=0.3).astype(np.float32)
        feeds = {**rows(3, [0, 2, 1], [2, 0, 1]), **held}
        np.testing.assert_allclose(opened.run(feeds)[bank.FEATURES], reference(shared, feeds), atol=2e-6)


def test_a_task_that_is_replaced_answers_at_once_and_needs_no_new_graph(
    open_plan: Open, shared: bytes, gpu: CudaDouble, faults: Faults
) -> None:
    opened = open_plan(shared)
    slab = resident(opened)
    for _ in range(2):
        before = opened.run(MIXED, slab)[bank.FEATURES]
    captured, asked = set(gpu.graphs), faults.runs
    slab.write(1, {name: -value[1] for name, value in HELD.items()})
    changed = {name: np.concatenate([value[:1], -value[1:2], value[2:]]) for name, value in HELD.items()}
    found = opened.run(MIXED, slab)[bank.FEATURES]
    np.testing.assert_allclose(found, reference(shared, {**MIXED, **changed}), atol=2e-6)
    assert np.abs(found - before).max(axis=1).argmax() == 3
    assert (set(gpu.graphs), faults.runs) == (captured, asked), "a launch is all that a run gives to the GPU"


def test_a_merged_graph_answers_as_onnx_runtime(open_plan: Open, merged: bytes) -> None:
    opened = open_plan(merged, max_rows=8)
    assert (opened.limits.max_slots, opened.limits.max_rank) == (None, None)
    for count in (1, 3, 8, 3):
        feeds = {bank.IMAGES: IMAGES[:count]}
        np.testing.assert_allclose(opened.run(feeds)[bank.LOGITS], reference(merged, feeds), atol=2e-6)
    with pytest.raises(EngineError, match=r"^a merged graph has no bank$"):
        opened.allocate(SHAPES, 1)


def test_answers_are_the_callers_own(open_plan: Open, merged: bytes) -> None:
    opened = open_plan(merged)
    first = opened.run({bank.IMAGES: IMAGES[:2]})[bank.LOGITS]
    held = first.copy()
    opened.run({bank.IMAGES: IMAGES[2:4]})
    np.testing.assert_array_equal(first, held)


def test_limits_say_what_a_run_takes(open_plan: Open, shared: bytes) -> None:
    opened = open_plan(shared, max_rows=12, slots=20, max_rank=5)
    limits = opened.limits
    assert (limits.rows, limits.max_rows) == ((1, 2, 4, 8, 12), 12)
    assert (limits.max_slots, limits.max_rank) == (20, 5)
    with pytest.raises(EngineError, match=r"^a run takes 1 to 12 rows, 13 were given; see -E max_rows$"):
        opened.run(rows(1, [0] * 13, [0] * 13), resident(opened))
    with pytest.raises(EngineError, match=r"20 slots of rank 5 at most, 21 of rank 4 .* -E slots=21 -E max_rank=5$"):
        opened.allocate(SHAPES, 21)
    with pytest.raises(EngineError, match=r"-E slots=20 -E max_rank=6$"):
        opened.allocate(bank.slot_shapes(SLOTS, WIDTH, 6), 2)
    assert [opened.allocate(SHAPES, count).capacity for count in (1, 5, 16, 17, 20)] == [1, 8, 16, 20, 20]


def test_an_index_out_of_range_never_reaches_the_gpu(open_plan: Open, shared: bytes, faults: Faults) -> None:
    """There it would read whatever lies behind the bank."""
    opened = open_plan(shared)
    slab = resident(opened)
    for feeds, slot in ((rows(2, [0], [slab.capacity]), None), (rows(2, [2], [0]), None), (rows(2, [0], [1]), 3)):
        with pytest.raises(EngineError, match="names"):
            opened.run(feeds, slab, slot)
    with pytest.raises(EngineError, match="no slot 8"):
        opened.run(rows(2, [0], [0]), slab, 8)
    assert faults.runs == 0


def test_wrong_feeds_are_refused(open_plan: Open, shared: bytes) -> None:
    opened, other = open_plan(shared), open_plan(shared)
    slab = resident(opened)
    one = rows(1, [0], [0])
    for feeds, held, message in (
        (one, None, "was not given"),
        ({**one, "more": IMAGES}, slab, "no input 'more'"),
        ({**one, bank.IMAGES: IMAGES[:1].astype(np.float16)}, slab, "has dtype float16"),
        ({**one, bank.IMAGES: IMAGES[:1, :, :4]}, slab, "has shape"),
        ({bank.IMAGES: IMAGES[:1]}, slab, "with a resident bank a run takes 'images', 'image' and 'task'"),
        ({**one, **HELD}, slab, "with a resident bank a run takes"),
        (one, resident(other), "of another engine"),
    ):
        with pytest.raises(EngineError, match=message):
            opened.run(feeds, held)


def test_a_graph_that_stands_still_is_kept_and_not_built_again(
    open_plan: Open, merged: bytes, faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        open_plan(merged).run({bank.IMAGES: IMAGES[:2]})
    assert faults.builds == 1
    assert caplog.text.count("building a TensorRT plan for NVIDIA Double, once on this machine") == 1
    open_plan(merged, max_rows=4)
    assert faults.builds == 2


@pytest.mark.parametrize("spoiled", ["bytes", "header", "garbage"])
def test_a_corrupt_plan_is_built_again(
    open_plan: Open, merged: bytes, faults: Faults, tmp_path: Path, spoiled: str
) -> None:
    open_plan(merged)
    (plan,) = (tmp_path / "cache" / "plans").glob("*.plan")
    data = bytearray(plan.read_bytes())
    if spoiled == "garbage":
        data[:] = b"garbage"
    else:
        data[-1 if spoiled == "bytes" else 20] ^= 1
    plan.write_bytes(data)
    feeds = {bank.IMAGES: IMAGES[:2]}
    found = open_plan(merged).run(feeds)[bank.LOGITS]
    np.testing.assert_allclose(found, reference(merged, feeds), atol=2e-6)
    assert faults.builds == 2


def test_a_new_driver_or_tensorrt_builds_again(
    gpu: CudaDouble, faults: Faults, merged: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    built = []
    for version, release in (("10.3", "540.3.0"), ("10.3", "540.4.0"), ("10.13.3", "540.4.0"), ("10.13.3", "540.4.0")):
        install(gpu, faults, monkeypatch, version)
        monkeypatch.setattr(cuda_driver, "_release", lambda release=release: release)
        open_graph(merged, "g", OPTIONS, TensorrtSettings()).close()
        built.append(faults.builds)
    assert built == [1, 2, 3, 3]
    assert len(list((tmp_path / "plans").glob("*.plan"))) == 1


FAULTS = [
    ("build", "OutOfMemory", r"can't build a plan: OutOfMemory; give the build less: -E workspace_mb=256"),
    ("deserialize", "bad magic", r"tensorrt can't load the plan it built: bad magic"),
    ("context", "no memory", r"tensorrt makes no execution context: no memory"),
    ("execute", "kernel failed", r"tensorrt could not run the plan: kernel failed"),
]


@pytest.mark.parametrize(("where", "said", "message"), FAULTS)
def test_a_failure_of_tensorrt_is_one_line_with_its_own_words(
    open_plan: Open, merged: bytes, faults: Faults, where: str, said: str, message: str
) -> None:
    setattr(faults, where, said)
    with pytest.raises(EngineError, match=message) as caught:
        open_plan(merged).run({bank.IMAGES: IMAGES[:2]})
    assert "\n" not in str(caught.value)


def test_a_failed_build_leaves_no_file(open_plan: Open, merged: bytes, faults: Faults, tmp_path: Path) -> None:
    faults.build = "no"
    with pytest.raises(EngineError):
        open_plan(merged)
    assert not list((tmp_path / "cache" / "plans").iterdir())


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaMallocHost", "cudaStreamCreateWithFlags"])
def test_no_memory_when_opening_leaves_none_taken(
    open_plan: Open, merged: bytes, gpu: CudaDouble, function: str
) -> None:
    gpu.failing[function] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match="out of memory"):
        open_plan(merged)
    assert not gpu.live


@pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_capture_that_fails_is_an_error_and_never_a_slower_run(
    open_plan: Open, merged: bytes, gpu: CudaDouble, function: str
) -> None:
    opened = open_plan(merged)
    feeds = {bank.IMAGES: IMAGES[:2]}
    gpu.failing[function] = cudaError_t.cudaErrorInvalidValue
    with pytest.raises(EngineError, match=r"CUDA graph: error cudaErrorInvalidValue .*-E cuda_graphs=false"):
        opened.run(feeds)


def test_a_run_that_fails_does_not_keep_its_lane(open_plan: Open, merged: bytes, gpu: CudaDouble) -> None:
    opened = open_plan(merged)
    feeds = {bank.IMAGES: IMAGES[:2]}
    gpu.failing["cudaStreamSynchronize"] = cudaError_t.cudaErrorInvalidValue
    with pytest.raises(EngineError, match="running on the GPU"):
        opened.run(feeds)
    gpu.streams[max(gpu.streams)].pending.clear()
    np.testing.assert_allclose(opened.run(feeds)[bank.LOGITS], reference(merged, feeds), atol=2e-6)


def test_runs_of_several_threads_do_not_mix(open_plan: Open, merged: bytes) -> None:
    opened = open_plan(merged, contexts=2)
    wanted = reference(merged, {bank.IMAGES: IMAGES})
    wrong: list[int] = []

    def ask(place: int) -> None:
        for _ in range(5):
            found = opened.run({bank.IMAGES: IMAGES[place : place + 1]})[bank.LOGITS]
            if np.abs(found - wanted[place]).max() > 2e-6:
                wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_engine_gives_its_memory_back_and_does_not_run(
    open_plan: Open, shared: bytes, gpu: CudaDouble
) -> None:
    opened = open_plan(shared)
    slab = resident(opened)
    opened.run(MIXED, slab)
    opened.close()
    opened.close()
    closed = r"^this engine is closed; open the graph again$"
    with pytest.raises(EngineError, match=closed):
        opened.run(MIXED, slab)
    with pytest.raises(EngineError, match=closed):
        opened.allocate(SHAPES, 1)
    del slab
    assert not gpu.live


def test_another_gpu_is_used_where_it_is_named(
    gpu: CudaDouble, open_plan: Open, merged: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = ("NVIDIA Second", (8, 9), 24 << 30, False)
    monkeypatch.setattr(cuda_driver, "load_library", DriverDouble(gpus=(*DriverDouble().gpus, second)).library)
    opened = open_plan(merged, device="cuda:1")
    opened.run({bank.IMAGES: IMAGES[:1]})
    assert (opened.device, gpu.device) == ("cuda:1", 1)
    with pytest.raises(EngineError, match=r"^no GPU cuda:2 here, only cuda:0 .*, cuda:1 \(NVIDIA Second\)$"):
        open_plan(merged, device="cuda:2")


def test_dynamic_int8_is_refused_before_anything_is_built(open_plan: Open, merged: bytes, faults: Faults) -> None:
    with pytest.raises(EngineError, match="TensorRT has no operators for int8; take --precision int8-qdq"):
        open_plan(merged + metadata(PRECISION_KEY, "int8"))
    assert faults.builds == 0


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.parametrize("what", ["open", "check"])
def test_without_a_driver_nothing_of_tensorrt_is_touched(
    name: str, what: str, merged: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one TensorRT's runtime ends the process with a segmentation fault."""
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-that-is-not-there.so.1")
    monkeypatch.setattr(module.library, "load", lambda engine: pytest.fail("the library was imported"))
    asked = EngineOptions(engine=name), TensorrtSettings()
    call = (lambda: open_graph(merged, "g", *asked)) if what == "open" else (lambda: check_installed(*asked))
    with pytest.raises(EngineError, match=r"^no NVIDIA driver here .*or take --engine onnxruntime$"):
        call()


def test_a_driver_that_is_older_than_the_bindings_is_named(open_plan: Open, merged: bytes, gpu: CudaDouble) -> None:
    gpu.failing["cudaSetDevice"] = cudaError_t.cudaErrorInsufficientDriver
    with pytest.raises(EngineError, match=r"^using cuda:0: the NVIDIA driver is too old for these CUDA bindings; "):
        open_plan(merged)


def test_what_is_there_is_enough(gpu: CudaDouble, trt: Any) -> None:
    check_installed(OPTIONS, TensorrtSettings())


def test_tasks_of_several_ranks_are_brought_together_once(open_plan: Open, shared: bytes, gpu: CudaDouble) -> None:
    """A mixture that comes again is one launch, and not a byte of a bank."""
    opened = open_plan(shared)
    manifest = read_manifest(BUNDLE)
    held = SlotBank(opened, manifest.slots, manifest.backbone.width, manifest.backbone.features)
    tasks = [
        make_adapter(make_task(f"t{rank}", rank=rank, blocks=SLOTS), manifest.backbone, rank) for rank in (2, 3, 0)
    ]
    handles = [held.write(task) for task in tasks]
    expected = bank.stack([bank.folded_blocks(task) for task in tasks], SLOTS, WIDTH)
    feeds = rows(3, [0, 1, 2], [0, 1, 2])
    wanted = reference(shared, {**feeds, **expected})
    for _ in range(3):
        gpu.calls.clear()
        found = held.features(IMAGES[:3], feeds[bank.IMAGE], handles)
        np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert [name for name in gpu.calls if name != "cudaSetDevice"] == ["cudaGraphLaunch", "cudaStreamSynchronize"]


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_bundle_answers_as_torch(open_plan: Open, form: str) -> None:
    """Through a session, as a server runs it: slots, a head only among the tasks, mixed rows."""
    manifest = read_manifest(BUNDLE)
    paths = sorted((GOLDEN / "images").iterdir())
    pixels = np.stack([preprocess.preprocess(path.read_bytes(), manifest.preprocess) for path in paths])
    shapes = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
    expected = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")
    session = open_session(BUNDLE, form=form, options=OPTIONS)
    image, task = np.divmod(np.arange(8), 2)
    for _ in range(3):
        for row, place, of in zip(session.run(pixels, image, task), image, task, strict=True):
            np.testing.assert_allclose(row, expected[session.tasks[of].name][place], atol=1e-5)
    session.close()
