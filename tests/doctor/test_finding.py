from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.finding import Finding


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bad", "disk", "full"), "status 'bad' must be one of ok, note, problem"),
        (("ok", "disk", ""), "a finding says what was found and of what, got 'disk' and ''"),
        (("ok", "", "full"), "a finding says what was found and of what"),
        (("problem", "disk", "full"), "disk: a problem says what was expected and what to do"),
        (("problem", "disk", "full", "room"), "disk: a problem says what was expected and what to do"),
    ],
)
def test_a_finding_checks_itself(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Finding(*words)
    assert Finding("problem", "disk", "full", "room", "free some").fix == "free some"
