"""Fixtures that several parts of the suite use."""

from __future__ import annotations

import functools
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.signal_stack import signal_stack

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported: no test reaches for the network
# Read when numpy and torch are imported, here and in what tests start: the suite's workers share the cores, and threads
# that wait for one another across processes cost more than they bring.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ["ATD_DRAIN_DELAY"] = "0"  # no load balancer has to look away from the servers that tests end
SHARED_DATA = Path(os.environ.get("ATD_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


# The same examples on every run and every machine, however slow it is.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


# A shell that starts the suite in the background has it ignore SIGINT, and nohup SIGHUP, and every process that a test
# starts with it: a server that is told to stop would never do so.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# Fixtures too dear to be built by two workers of pytest-xdist: the files that name one of a line go to one worker.
DEAR = {"traced graphs": r"\b(shared|merged)_graphs?\b"}
# What takes longest starts first, so that no worker ends long after the others; the rest in pytest's own order. The
# first worker makes the quickstart that others of tests/flow/ take up, so the second begins with something else.
LONGEST = ("tests/flow/test_quickstart.py", *DEAR, "tests/flow/", "tests/export/", "tests/train/", "tests/benchmarks/")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests of a worker; a plain run keeps pytest's own order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((at for at, s in enumerate(LONGEST) if _group(item.nodeid).startswith(s)), 99))


@pytest.hookimpl(optionalhook=True)  # pytest-xdist is absent where the device side is tested
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole files, and the files that share a dear fixture as one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFixture(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False  # else by the number of tests, which says little about time
    return ByFixture(config, log)


def _group(nodeid: str) -> str:
    return _group_of_file(nodeid.partition("::")[0])


@functools.cache
def _group_of_file(file: str) -> str:
    text = (Path(__file__).parents[1] / file).read_text()
    return next((group for group, names in DEAR.items() if re.search(names, text)), file)


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


@pytest.fixture(scope="module", autouse=True)
def _signals_keep_their_stack() -> Iterator[None]:
    """No test leaves this thread a dead stack for signals: the next one would end the worker, or ruin its memory."""
    before = signal_stack()
    yield
    assert signal_stack() == before, "a library took the stack on which this thread handles signals"
