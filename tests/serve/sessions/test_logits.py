from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.sessions.logits import check_finite
from tests.builders import make_task


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_withheld(value: float) -> None:
    check_finite(make_task("pets"), np.zeros(3, dtype=np.float32))
    with pytest.raises(EngineError, match="task 'pets' gave logits that are NaN or infinite"):
        check_finite(make_task("pets"), np.array([0, value, 0], dtype=np.float32))
