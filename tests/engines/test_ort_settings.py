from __future__ import annotations

from adaptertune_deploy.engines.options import settings_of
from adaptertune_deploy.engines.ort_settings import OrtSettings


def test_only_providers_that_work_may_be_named() -> None:
    assert OrtSettings().provider == "auto"
    assert settings_of(OrtSettings)["provider"].values == "auto, cpu, cuda or tensorrt"
