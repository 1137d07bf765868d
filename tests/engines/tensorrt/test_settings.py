"""engines.tensorrt.settings: what is typed becomes what a plan is built for; a value out of range is refused."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.options import parse_settings, settings_of
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings


def test_every_setting_has_a_line_of_help() -> None:
    assert all(setting.meaning for setting in settings_of(TensorrtSettings).values())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_rows", "0", "-E max_rows=0: expected 1 to 1024"),
        ("slots", "31", "-E slots=31: expected 32 to 65536"),
        ("level", "6", "-E level=6: expected -1 to 5"),
        ("cuda_graphs", "no", "-E cuda_graphs=no: expected true or false"),
        ("max_row", "8", "-E max_row: tensorrt has no setting 'max_row'"),
    ],
)
def test_a_value_out_of_range_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings(TensorrtSettings, {name: value}, "tensorrt")
    assert str(caught.value).startswith(message)
