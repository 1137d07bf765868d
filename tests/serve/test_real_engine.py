"""A bundle of real ONNX graphs, opened, run by ONNX Runtime, served over HTTP and compared with numpy."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.offline.classify import classify
from adaptertune_deploy.serve.sessions.session import open_session
from tests.builders import encode, make_image, write_bundle, write_merged
from tests.serve.fakes import WAIT_S, indices, make_adapters, random_images, reference

pytest.importorskip("onnx", reason="onnx makes this test's graphs")
pytest.importorskip("onnxruntime", reason="onnxruntime runs this test's graphs")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.serve.tiny_graph import merged_graph, shared_graph

    folder, adapters = tmp_path_factory.mktemp("bundle"), make_adapters()
    manifest = write_bundle(folder, adapters, graph=shared_graph())
    write_merged(folder, manifest, {adapter.task.name: merged_graph(adapter) for adapter in adapters})
    return folder


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_mixed_batch_of_32_equals_its_rows_one_by_one_and_the_reference(folder: Path, form: str) -> None:
    session = open_session(folder, form=form, options=EngineOptions(device="cpu", threads=1))
    generator = np.random.default_rng(5)
    images = random_images(8, seed=4)
    image, task = np.sort(generator.integers(0, 8, 32)), generator.integers(0, 3, 32)
    rows = session.run(images, image, task)
    adapters = make_adapters()
    for row, logits in enumerate(rows):
        i, t = int(image[row]), int(task[row])
        alone = session.run(images[i : i + 1], indices(0), indices(t))[0]
        assert logits.shape == (len(adapters[t].task.labels),)
        np.testing.assert_allclose(logits, alone, atol=1e-5)
        np.testing.assert_allclose(logits, reference(images[i], adapters[t]), rtol=1e-4, atol=1e-4)
    session.close()


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_served_answers_equal_offline_answers(folder: Path, form: str) -> None:
    session = open_session(folder, ["digits", "pets"], form, options=EngineOptions(device="cpu", threads=1))
    images = [encode(make_image(seed=seed), "JPEG") for seed in range(4)]
    offline = classify(session, images)
    with serving(make_app(session)) as url:
        response = httpx.post(f"{url}/v1/predict", files=[("i", ("i", data)) for data in images], timeout=WAIT_S)
    served = [
        (place, task, [label["index"] for label in labels])
        for place, entry in enumerate(response.json()["images"])
        for task, labels in entry["tasks"].items()
    ]
    assert served == [(item.image, item.task, [label.index for label in item.top]) for item in offline]
    session.close()
