from __future__ import annotations

from adaptertune_deploy.inspection.inspected import Inspected, Size


def test_sheets_and_faults_are_optional() -> None:
    found = Inspected("graph", {"bytes": 3}, (("size", Size(3)),))
    assert (found.sheets, found.faults) == ((), ())
