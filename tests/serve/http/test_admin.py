from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.listening.address import release
from tests.serve.http.swapping import TOKEN, swapping
from tests.serve.tasks.bundles import make_bundle


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path, monkeypatch)


@pytest.mark.case(
    "C9", "load and unload on the public listener, with the token, and on the admin listener without it", "403, 401"
)
def test_each_listener_does_its_own(folder: Path) -> None:
    with swapping(folder) as running:
        assert running.admin.get("/v2").json()["extensions"] == ["model_repository"]
        assert running.admin.get("/v2/health/ready").json() == {"ready": True}
        assert running.admin.post("/v1/predict", content=b"x").status_code == 415
        assert running.admin.get("/v2/repository/index").status_code == 405
        assert "model_repository" not in running.client.get("/v2").json()["extensions"]
        for path in ("index", "models/pets/load", "models/pets/unload"):
            refused = running.client.post(f"/v2/repository/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
            assert refused.status_code == 403
            assert refused.json() == {
                "error": "tasks are loaded and unloaded on the admin listener only; start the server with: "
                "atd serve --admin"
            }
        del running.admin.headers["authorization"]
        assert running.change("pets", "unload").status_code == 401
        assert running.service.tasks.current.get("pets") is not None


def test_a_unix_socket_needs_no_token(folder: Path) -> None:
    place = folder / "admin.sock"
    with swapping(folder, where=str(place), token=None) as running:
        assert running.change("pets", "unload").status_code == 200
        assert [entry[:3] for entry in running.index(ready=True)] == [
            ("digits", "1", "READY"), ("flowers", "1", "READY")
        ]  # fmt: skip
    assert not place.exists()


def test_an_address_that_others_reach_asks_for_a_token() -> None:
    with pytest.raises(UsageError, match=r"others than this machine reach this address; set ATD_ADMIN_TOKEN"):
        bind_admin("0.0.0.0:0", None)
    admin = bind_admin("0.0.0.0:0", "a token")
    assert admin.where.startswith("http://0.0.0.0:")
    release(admin.listener)


@pytest.mark.parametrize("where", ["8001", "localhost", ":8001", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(where: str) -> None:
    with pytest.raises(UsageError, match="expected HOST:PORT, such as"):
        bind_admin(where, None)


@pytest.mark.parametrize("token", ["", "  ", "a\nb", "ä"])
def test_a_token_is_what_a_header_can_hold(token: str) -> None:
    with pytest.raises(UsageError, match="ATD_ADMIN_TOKEN: expected printable ASCII"):
        bind_admin("127.0.0.1:0", token)
