"""engines.tensorrt.library: the module that an engine needs, and the last words of its log."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.tensorrt import library
from tests.engines.tensorrt import double
from tests.engines.tensorrt.double import Faults


@pytest.fixture
def module(version: str) -> Any:
    return double.make(version, None, Faults())


@pytest.mark.parametrize(("engine", "name"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")])
def test_each_engine_has_its_module(monkeypatch: pytest.MonkeyPatch, engine: str, name: str) -> None:
    made = double.make("10.3", None, Faults(), name)
    double.install(monkeypatch, made)
    assert library.load(engine) is made


@pytest.mark.parametrize("engine", library.LIBRARIES)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    held = library.LIBRARIES[engine]
    monkeypatch.setitem(sys.modules, held.module, None)
    wanted = rf"^{held.label} can't be imported .*: pip install 'adaptertune-deploy\[{held.extra}\]'"
    with pytest.raises(EngineError, match=wanted):
        library.load(engine)


def test_the_latest_error_is_told_once_and_on_one_line(module: Any) -> None:
    log = library.message_log(module)
    assert library.message_log(module) is log
    assert library.last_words(module) == "it does not say why"
    log.log(module.ILogger.ERROR, "first")
    log.log(module.ILogger.INTERNAL_ERROR, "second\n  line")
    log.log(module.ILogger.WARNING, "only a warning")
    assert library.last_words(module) == "second line"
    assert library.last_words(module) == "it does not say why"
