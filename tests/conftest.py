"""Fixtures that several parts of the suite use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test reaches for the network
SHARED_DATA = Path(os.environ.get("ATD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


# The same examples on every run and every machine, however slow it is.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


# A shell that starts the suite in the background has it ignore SIGINT, and every process that a test starts with it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with real datasets and a pretrained DeiT-Tiny; a test that needs it is skipped when it is absent."""
    if not (SHARED_DATA / "weights").is_dir():
        pytest.skip(f"no real datasets at {SHARED_DATA}; set ATD_TEST_DATA to a folder that holds them")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _own_weights_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test away from the cache of the person who runs the suite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
