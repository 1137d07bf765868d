"""One server for clients that others wrote; they come as they are, and are never changed for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.images import preprocess
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import FakeEngine, make_adapters, reference
from tests.serve.grpc.conftest import Called, Serving

pytest.importorskip("grpc", reason="grpcio is not installed")


@pytest.fixture(scope="session")
def both() -> Iterator[Called]:
    """A server that speaks HTTP and gRPC."""
    with ExitStack() as stack:
        yield stack.enter_context(Serving(FakeEngine(), None))


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three images, as files in a folder of their own."""
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{seed}.jpg" for seed in range(3)]
    for seed, path in enumerate(paths):
        path.write_bytes(encode(make_image(seed=seed), "JPEG"))
    return paths


def expected(image: bytes, task: int) -> npt.NDArray[np.float64]:
    """Return a task's logits about an encoded image."""
    return reference(preprocess.preprocess(image, make_preprocess_spec()), make_adapters()[task])
