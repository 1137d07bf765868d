"""A real server over the golden bundle, whose tasks the commands change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource

TOKEN = "the token of these tests"


@contextmanager
def administered(
    bundle: Path, where: str = "127.0.0.1:0", token: str | None = TOKEN, form: str = "shared"
) -> Iterator[tuple[str, httpx.Client]]:
    """Serve a bundle; yields where it is changed, and a client of what it serves."""
    opener = Opener(bundle, read_manifest(bundle), ON_CPU)
    session = open_from(opener, None, form)
    admin = bind_admin(where, token)
    app = make_app(session, source=BundleSource(opener, session.form))
    with serving(app, admin=admin) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield admin.where, client
    session.close()
