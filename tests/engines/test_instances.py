from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.instances import for_instances
from adaptertune_deploy.engines.options import EngineOptions, parse_settings
from adaptertune_deploy.engines.table import ENGINES


@pytest.mark.parametrize(
    ("engine", "threads", "instances", "cores", "expected", "settings"),
    [
        ("onnxruntime", 0, 2, 8, 4, {}),
        ("onnxruntime", 0, 3, 2, 1, {}),
        ("onnxruntime", 3, 2, 8, 3, {}),
        ("openvino", 0, 2, 8, 8, {"streams": "2"}),  # whose threads are those of all streams together
        ("openvino", 3, 2, 8, 6, {"streams": "2"}),
        ("tensorrt", 0, 4, 8, 2, {"contexts": "4"}),
    ],
)
def test_the_cores_are_shared_out_and_the_engine_is_told(
    engine: str, threads: int, instances: int, cores: int, expected: int, settings: dict[str, str]
) -> None:
    found = for_instances(EngineOptions(engine, threads=threads), instances, cores)
    assert (found.threads, dict(found.settings)) == (expected, settings)


def test_one_instance_changes_nothing() -> None:
    options = EngineOptions("openvino", settings={"streams": "7"})
    assert for_instances(options, 1, 8) is options


def test_a_setting_that_allows_another_number_is_refused() -> None:
    agreed = EngineOptions("openvino", settings={"streams": "2"})
    assert for_instances(agreed, 2, 8).settings == {"streams": "2"}
    with pytest.raises(UsageError, match=r"^-E streams=2: does not go with --instances 3; leave out one$"):
        for_instances(agreed, 3, 8)


def test_the_setting_is_one_that_the_engine_has() -> None:
    for name, entry in ENGINES.items():
        if entry.at_once:
            options = for_instances(EngineOptions(name), 3, 8)
            assert getattr(parse_settings(entry.settings, options.settings, name), entry.at_once) == 3
