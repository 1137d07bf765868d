"""TensorRT on a GPU: the golden bundle's answers, slots written while a server runs, CUDA graphs. `make test-gpu`.

On a machine with a GPU and TensorRT (`pip install '.[tensorrt]'`), with neither torch nor onnx needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.cuda.driver import ask_driver
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import check_options, open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.session import open_session
from tests.gpu.mixtures import check_mixtures

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
BUNDLE = GOLDEN / "bundle"
CLASSES = {"birds": 3, "cars": 5}
SLOTS, WIDTH, RANK, TASKS = (0, 1, 2), 32, 4, 5
TOLERANCE = 1e-4  # of logits of about 1, in float32: two engines sum in other orders


def is_there(engine: str) -> bool:
    try:
        ask_driver()
        check_options(EngineOptions(engine=engine))
    except EngineError:
        return False
    return True


ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not is_there(name), reason=f"no GPU, or no {name}"))
    for name in ("tensorrt", "tensorrt-rtx")
]
pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt]


@pytest.fixture(scope="module")
def pixels() -> Array:
    spec = read_manifest(BUNDLE).preprocess
    return np.stack([preprocess.preprocess(path.read_bytes(), spec) for path in sorted((GOLDEN / "images").iterdir())])


@pytest.fixture(params=ENGINES)
def options(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineOptions:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    return EngineOptions(engine=request.param, settings={"max_rows": "8", "slots": "16", "max_rank": "8"})


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_answers_are_torchs(options: EngineOptions, form: str, pixels: Array) -> None:
    data = (GOLDEN / "logits.safetensors").read_bytes()
    shapes = {**{name: (4, count) for name, count in (*CLASSES.items(), ("trees", 4))}, "cars-adapter": (4, 5)}
    expected = tensors.unpack(data, shapes, "golden")
    session = open_session(BUNDLE, form=form, options=options)
    names = [task.name for task in session.tasks.values()]
    image, task = np.divmod(np.arange(8), 2)
    for _ in range(3):  # given and captured, then launched
        rows = session.run(pixels, image, task)
        for row, place, of in zip(rows, image, task, strict=True):
            np.testing.assert_allclose(row, expected[names[of]][place], atol=TOLERANCE)
    session.close()


@pytest.fixture
def opened(options: EngineOptions) -> Iterator[Engine]:
    graph = next(record for record in read_manifest(BUNDLE).graphs if record.form == "shared")
    engine = open_engine((BUNDLE / graph.file).read_bytes(), graph.file, options)
    yield engine
    engine.close()


@pytest.fixture
def usual() -> Iterator[Engine]:
    """What is compared with: ONNX Runtime on the CPU."""
    pytest.importorskip("onnxruntime")
    graph = next(record for record in read_manifest(BUNDLE).graphs if record.form == "shared")
    engine = open_engine((BUNDLE / graph.file).read_bytes(), graph.file, EngineOptions(device="cpu"))
    yield engine
    engine.close()


def test_a_slot_that_is_written_answers_in_the_next_run_and_the_others_stay(
    opened: Engine, usual: Engine, pixels: Array
) -> None:
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(SLOTS, WIDTH, RANK)
    held = {name: draw.normal(size=(TASKS, *shape), scale=0.2).astype(np.float32) for name, shape in shapes.items()}
    slab = opened.allocate(shapes, TASKS)
    for slot in range(TASKS):
        slab.write(slot, {name: value[slot] for name, value in held.items()})
    feeds = {bank.IMAGES: pixels, bank.IMAGE: np.arange(TASKS) % 4, bank.TASK: np.arange(TASKS)}
    for turn in range(4):
        for name, value in held.items():
            value[turn] = draw.normal(size=shapes[name], scale=0.2)
        slab.write(turn, {name: value[turn] for name, value in held.items()})
        found, wanted = opened.run(feeds, slab)[bank.FEATURES], usual.run({**feeds, **held})[bank.FEATURES]
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
    back = slab.read(2)
    assert all(np.array_equal(back[name], value[2]) for name, value in held.items())


def test_every_step_of_rows_and_a_bank_of_host_memory(opened: Engine, usual: Engine, pixels: Array) -> None:
    draw = np.random.default_rng(1)
    for rows in (1, 2, 3, 5, 8):
        for rank in (2, 3):
            shapes = bank.slot_shapes(SLOTS, WIDTH, rank)
            held = {name: draw.normal(size=(3, *shape), scale=0.2).astype(np.float32) for name, shape in shapes.items()}
            feeds = {bank.IMAGES: pixels, bank.IMAGE: draw.integers(0, 4, rows), bank.TASK: draw.integers(0, 3, rows)}
            for _ in range(3):
                found = opened.run({**feeds, **held})[bank.FEATURES]
                np.testing.assert_allclose(found, usual.run({**feeds, **held})[bank.FEATURES], atol=TOLERANCE)


def test_tasks_of_several_ranks_in_every_mixture(opened: Engine, usual: Engine, pixels: Array) -> None:
    check_mixtures(opened, usual, read_manifest(BUNDLE), pixels, TOLERANCE)


def test_a_kept_plan_is_loaded_and_answers_the_same(
    opened: Engine, options: EngineOptions, pixels: Array, caplog: pytest.LogCaptureFixture
) -> None:
    graph = next(record for record in read_manifest(BUNDLE).graphs if record.form == "shared")
    again = open_engine((BUNDLE / graph.file).read_bytes(), graph.file, options)
    shapes = bank.slot_shapes(SLOTS, WIDTH, RANK)
    feeds = {bank.IMAGES: pixels, bank.IMAGE: np.arange(4), bank.TASK: np.zeros(4, np.int64)}
    one, other = (engine.run(feeds, engine.allocate(shapes, 2))[bank.FEATURES] for engine in (opened, again))
    np.testing.assert_array_equal(one, other)
    assert caplog.text.count("building a") <= 1
    again.close()
