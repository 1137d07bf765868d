"""engines.engine: every engine of the table keeps the contract."""

from __future__ import annotations

import importlib
import inspect

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.options import settings_of

FP32, FP16, BF16, INT8 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.INT8


def test_every_engine_of_the_table_keeps_the_entrys_promises() -> None:
    assert "onnxruntime" in table.ENGINES
    for entry in table.ENGINES.values():
        assert entry.module.startswith("adaptertune_deploy.engines.")
        assert set(entry.everywhere) <= set(entry.devices) <= {"auto", "cpu", "cuda"}
        assert FP32 not in entry.derives
        for setting in settings_of(entry.settings).values():
            assert setting.meaning.endswith("."), setting
        try:
            module = importlib.import_module(entry.module)
        except EngineError:  # its library is an extra of its own
            continue
        assert [*inspect.signature(module.open_graph).parameters] == ["graph", "where", "options", "settings"]
        assert [*inspect.signature(module.check_installed).parameters] == ["options", "settings"]
