from __future__ import annotations

import pytest

from adaptertune_deploy.core.answers.stored_answer import StoredAnswer


def test_logits_are_finite_numbers() -> None:
    assert StoredAnswer("pets", "waves-1", (1.0, -2.0)).logits == (1.0, -2.0)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="of task 'pets': logits must be finite"):
            StoredAnswer("pets", "waves-1", (0.0, wrong))
