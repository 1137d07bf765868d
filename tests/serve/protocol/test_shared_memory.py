from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.shared_memory import check_status, refuse_register


def test_there_is_no_region_to_tell_of() -> None:
    check_status("")
    with pytest.raises(RequestError, match="no shared memory region of this name is registered") as caught:
        check_status("a name")
    assert caught.value.status == 404
    assert "a name" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 501])
def test_none_is_registered(status: int) -> None:
    with pytest.raises(RequestError, match="names a shared memory region, which this server does not offer") as caught:
        refuse_register(status)
    assert caught.value.status == status
