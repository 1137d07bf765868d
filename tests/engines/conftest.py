"""An engine of the table that is no real one."""

from __future__ import annotations

import sys

import pytest

from adaptertune_deploy.engines import table
from tests.engines.echo import ENTRY, Echo


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch) -> Echo:
    module = Echo()
    monkeypatch.setitem(table.ENGINES, "echo", ENTRY)
    monkeypatch.setitem(sys.modules, "echo", module)
    return module
