from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.lookup import find
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import make_shared


def test_a_model_is_found_by_its_name_and_version() -> None:
    service = Service(make_shared(), Settings())
    for name, version in (("flowers", ""), ("flowers", "1"), ("flowers__tensor", "1")):
        model = find(service, name, version)
        assert (model.name, model.task) == (name, service.tasks.current.get("flowers"))


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nope", "", "Request for unknown model: 'nope' is not found"),
        ("flower", "1", "'flower' is not found. Did you mean 'flowers'?"),
        ("flowers__tensor__tensor", "", "'flowers__tensor__tensor' is not found"),
        ("__tensor", "", "'__tensor' is not found"),
        ("", "", "'' is not found"),
        ("flowers", "9" * 500, f"'flowers' version {'9' * 20} is not found"),
        ("flowers__tensor", "01", "'flowers__tensor' version 01 is not found"),
    ],
)
def test_what_there_is_not_is_404(name: str, version: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        find(Service(make_shared(), Settings()), name, version)
    assert caught.value.status == 404
    assert message in str(caught.value)
