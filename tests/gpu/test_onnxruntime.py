"""ONNX Runtime on a GPU: torch's answers, one task sent to the bank, CUDA graphs, mixed ranks, memory given back.

On a machine with a GPU and onnxruntime-gpu (`pip install '.[gpu]'`), with neither torch nor onnx needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.cuda.driver import ask_driver
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.opening import check_options, open_engine
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from adaptertune_deploy.serve.sessions.session import open_session
from tests.gpu.mixtures import check_mixtures

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
BUNDLE = GOLDEN / "bundle"
MANIFEST = read_manifest(BUNDLE)
SHARED = read_graph(BUNDLE, select_graph(MANIFEST, "shared"))
SHAPES = {"birds": (4, 3), "cars": (4, 5), "trees": (4, 4), "cars-adapter": (4, 5)}
RANK, TASKS = 4, 5
TOLERANCE = 1e-4  # of logits of about 1, in float32: two providers sum in other orders
DEVICE = "cuda"
SETTINGS = {"cuda": {}, "cuda-graphs": {"cuda_graphs": "true", "max_rows": "8"}, "tensorrt": {"provider": "tensorrt"}}


def is_there(settings: dict[str, str]) -> bool:
    try:
        ask_driver()
        check_options(EngineOptions(device=DEVICE, settings=settings))
        if "provider" in settings:  # ONNX Runtime lists a provider whose libraries are absent
            open_engine(SHARED, "g", EngineOptions(device=DEVICE, settings=settings)).close()
    except EngineError:
        return False
    return True


pytestmark = pytest.mark.gpu


@pytest.fixture(params=SETTINGS)
def options(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineOptions:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path))
    settings = SETTINGS[request.param]
    if not is_there(settings):
        pytest.skip(f"no GPU, or no {request.param} of onnxruntime-gpu")
    return EngineOptions(device=DEVICE, settings=settings)


@pytest.fixture
def opened(options: EngineOptions) -> Iterator[Engine]:
    engine = open_engine(SHARED, "g", options)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def usual() -> Iterator[Engine]:
    """What is compared with: the same on the CPU."""
    engine = open_engine(SHARED, "g", ON_CPU)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def pixels() -> Array:
    paths = sorted((GOLDEN / "images").iterdir())
    return np.stack([preprocess.preprocess(path.read_bytes(), MANIFEST.preprocess) for path in paths])


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_answers_are_torchs(options: EngineOptions, form: str, pixels: Array) -> None:
    expected = tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), SHAPES, "golden")
    session = open_session(BUNDLE, form=form, options=options)
    names = [task.name for task in session.tasks.values()]
    image, task = np.divmod(np.arange(8), 2)
    for _ in range(3):  # captured, then launched
        rows = session.run(pixels, image, task)
        for row, place, of in zip(rows, image, task, strict=True):
            np.testing.assert_allclose(row, expected[names[of]][place], atol=TOLERANCE)
    session.close()


def test_a_task_that_is_written_answers_in_the_next_run_and_the_others_stay(
    opened: Engine, usual: Engine, pixels: Array
) -> None:
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(MANIFEST.slots, MANIFEST.backbone.width, RANK)
    held = {name: draw.normal(size=(TASKS, *shape), scale=0.2).astype(np.float32) for name, shape in shapes.items()}
    slab = opened.allocate(shapes, TASKS)
    for slot in range(TASKS):
        slab.write(slot, {name: value[slot] for name, value in held.items()})
    feeds = {bank.IMAGES: pixels, bank.IMAGE: np.arange(TASKS) % 4, bank.TASK: np.arange(TASKS)}
    alone = {bank.IMAGES: pixels, bank.IMAGE: np.arange(4), bank.TASK: np.zeros(4, np.int64)}
    for turn in range(4):
        for name, value in held.items():
            value[turn] = draw.normal(size=shapes[name], scale=0.2)
        slab.write(turn, {name: value[turn] for name, value in held.items()})
        found, wanted = opened.run(feeds, slab)[bank.FEATURES], usual.run({**feeds, **held})[bank.FEATURES]
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)
        one = {name: value[turn : turn + 1] for name, value in held.items()}
        found, wanted = opened.run(alone, slab, turn)[bank.FEATURES], usual.run({**alone, **one})[bank.FEATURES]
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_tasks_of_several_ranks_in_every_mixture(opened: Engine, usual: Engine, pixels: Array) -> None:
    check_mixtures(opened, usual, MANIFEST, pixels, TOLERANCE)


def test_every_number_of_rows(opened: Engine, usual: Engine, pixels: Array) -> None:
    shapes = bank.slot_shapes(MANIFEST.slots, MANIFEST.backbone.width, RANK)
    slabs = opened.allocate(shapes, 2), usual.allocate(shapes, 2)
    for rows in (1, 2, 3, 5, 8, OrtSettings().max_rows):
        if not opened.limits.takes(rows):
            continue
        feeds = {bank.IMAGES: pixels, bank.IMAGE: np.arange(rows) % 4, bank.TASK: np.zeros(rows, np.int64)}
        for _ in range(2):
            found, wanted = opened.run(feeds, slabs[0])[bank.FEATURES], usual.run(feeds, slabs[1])[bank.FEATURES]
            np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_giving_memory_back_changes_no_answer(opened: Engine, pixels: Array) -> None:
    shapes = bank.slot_shapes(MANIFEST.slots, MANIFEST.backbone.width, RANK)
    slab = opened.allocate(shapes, 2)
    feeds = {bank.IMAGES: pixels, bank.IMAGE: np.arange(8) % 4, bank.TASK: np.zeros(8, np.int64)}
    wanted = opened.run(feeds, slab)[bank.FEATURES]
    one = {bank.IMAGES: pixels[:1], bank.IMAGE: np.zeros(1, np.int64), bank.TASK: np.zeros(1, np.int64)}
    for _ in range(70):
        opened.run(one, slab)
    np.testing.assert_allclose(opened.run(feeds, slab)[bank.FEATURES], wanted, atol=TOLERANCE)
