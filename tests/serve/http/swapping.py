"""A real server over a bundle that changes, with an admin listener, and a numpy engine inside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.serve.fakes import WAIT_S
from tests.serve.tasks.bundles import FAKE

TOKEN = "a token of this test"


@dataclass(frozen=True)
class Swapping:
    """A server: clients of both listeners, its bundle, its insides."""

    client: httpx.Client
    admin: httpx.Client
    folder: Path
    service: Service

    def change(self, name: str, what: str = "load") -> httpx.Response:
        return self.admin.post(f"/v2/repository/models/{name}/{what}")

    def index(self, **asked: bool) -> list[tuple[str, str, str, str]]:
        entries = self.admin.post("/v2/repository/index", json=asked).json()
        return [(entry["name"], entry["version"], entry["state"], entry.get("reason", "")) for entry in entries]


@contextmanager
def swapping(
    folder: Path,
    form: str = "shared",
    watched: bool = False,
    where: str = "127.0.0.1:0",
    token: str | None = TOKEN,
    settings: Settings | None = None,
) -> Iterator[Swapping]:
    """Serve a bundle of tests.serve.tasks.bundles."""
    opener = Opener(folder, bundle.read_manifest(folder), FAKE)
    session = open_from(opener, None, form)
    app = make_app(session, settings, source=BundleSource(opener, session.form, None, watched=watched))
    admin = bind_admin(where, token)
    base, transport = admin.where, httpx.HTTPTransport()
    if "/" in where:
        base, transport = "http://admin", httpx.HTTPTransport(uds=where)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with (
        serving(app, admin=admin) as url,
        httpx.Client(base_url=url, timeout=WAIT_S) as client,
        httpx.Client(base_url=base, timeout=WAIT_S, headers=headers, transport=transport) as changes,
    ):
        while client.get("/v2/health/ready").status_code != 200:
            pass
        yield Swapping(client, changes, folder, app.state.service)
    session.close()
