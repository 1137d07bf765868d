from __future__ import annotations

from dataclasses import replace

import pytest

from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.precision import Precision
from tests.bench.planted import tried


def test_a_configuration_in_numbers_and_words() -> None:
    entry = tried("openvino", Precision.BF16, threads=2, batch=4, milliseconds=20)
    assert entry.images_per_second == 200
    assert entry.setup == Setup("openvino", Precision.BF16, "auto", 2)
    assert entry.words == "openvino in bf16 on 2 threads, batches of 4"
    assert tried(threads=1).words == "onnxruntime in fp32 on 1 thread, batches of 8"
    assert tried().words == "onnxruntime in fp32, batches of 8"


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"threads": -1}, {"rounds": 0}, {"milliseconds": Spread(1, 2, 3)},
              {"milliseconds": Spread(0, 0, 0)}, {"milliseconds": Spread(float("nan"), 1, 2)}]
)  # fmt: skip
def test_impossible_numbers_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|ascending"):
        replace(tried(), **wrong)  # type: ignore[arg-type]
