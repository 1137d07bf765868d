from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import parse_settings


def test_settings_are_read() -> None:
    assert parse_settings(OpenVinoSettings, {}, "openvino") == OpenVinoSettings("latency", 0)
    given = {"hint": "throughput", "streams": "2", "rest": "bf16"}
    assert parse_settings(OpenVinoSettings, given, "openvino") == OpenVinoSettings("throughput", 2, "bf16")


def test_a_negative_number_of_streams_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^-E streams=-1: expected 0 \(the hint chooses\) or more$"):
        parse_settings(OpenVinoSettings, {"streams": "-1"}, "openvino")
