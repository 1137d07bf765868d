from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.cli.terminal import completion
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.forms import FORMS
from adaptertune_deploy.serve.sessions.session import open_session

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"


@pytest.mark.parametrize("form", FORMS)
def test_a_session_opens_in_every_form(form: str) -> None:
    session = open_session(GOLDEN, form=form, options=EngineOptions(threads=1))
    session.close()
    assert form in ("auto", session.form)


def test_no_other_form_is_known_and_the_shell_offers_these() -> None:
    with pytest.raises(UsageError, match=f"only {', '.join(FORMS)}"):
        open_session(GOLDEN, form="plain")
    assert completion.forms("") == list(FORMS)
