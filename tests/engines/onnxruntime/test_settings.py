from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.options import parse_settings, settings_of


def test_only_providers_that_work_may_be_named() -> None:
    assert OrtSettings().provider == "auto"
    assert settings_of(OrtSettings)["provider"].values == "auto, cpu, cuda or tensorrt"


def test_rows_have_a_range() -> None:
    assert parse_settings(OrtSettings, {"cuda_graphs": "true", "max_rows": "8"}, "onnxruntime").max_rows == 8
    with pytest.raises(UsageError, match=r"^-E max_rows=0: expected 1 to 1024$"):
        parse_settings(OrtSettings, {"max_rows": "0"}, "onnxruntime")
