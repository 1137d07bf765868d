"""A running server, as atd list, add and remove reach it: the repository extension on its admin listener."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from adaptertune_deploy.cli.parts.options import PLACES, value
from adaptertune_deploy.core.errors import AtdError, UsageError

TOKEN = "ATD_ADMIN_TOKEN"
SECONDS = 120
SENT_SAMPLES = 8
Server = Annotated[
    str | None,
    value(
        "--server",
        "URL",
        PLACES,
        "A running server's admin listener instead: http://HOST:PORT, or the path of its Unix socket.",
        "the bundle",
    ),
]


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """See HTTPConnection."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)


class Remote:
    """Asks a server to change its tasks; the token comes from the environment."""

    def __init__(self, where: str) -> None:
        """Check an address.

        Raises:
            UsageError: neither http://HOST:PORT nor the path of a Unix socket.
        """
        self.where = where
        try:
            self._parts = urlsplit(where)
            valid = bool(self._parts.hostname) if self._parts.scheme in ("http", "https") else "/" in where
            _ = self._parts.port  # which says where it is no number of a port
        except ValueError:
            valid = False
        if not valid:
            raise UsageError(f"--server {where}: expected http://HOST:PORT, or the path of a Unix socket")
        self._base = self._parts.path.rstrip("/") if self._parts.scheme else ""

    def index(self) -> list[dict[str, str]]:
        """Return every version of every task: name, version, state, and why where one is unavailable."""
        found: list[dict[str, str]] = self._post("index")
        return found

    def load(self, task: str, parameters: dict[str, str] | None = None) -> None:
        """Load a task: what the server's bundle holds, or what the parameters do."""
        self._post(f"models/{quote(task, safe='')}/load", {"parameters": parameters or {}})

    def unload(self, task: str) -> None:
        """Let the server answer for a task no more."""
        self._post(f"models/{quote(task, safe='')}/unload")

    def _post(self, path: str, document: object = None) -> Any:
        body = json.dumps(document or {}).encode()
        headers = {"Content-Type": "application/json"}
        if token := os.environ.get(TOKEN):
            headers["Authorization"] = f"Bearer {token}"
        connection = self._connection()
        try:
            connection.request("POST", f"{self._base}/v2/repository/{path}", body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or error
            raise AtdError(
                f"{self.where}: no server answers there ({reason}); start one with: atd serve --admin"
            ) from None
        finally:
            connection.close()
        if answer.status == 401:
            raise AtdError(f"{self.where}: asks for its token; set {TOKEN} to the one that it was started with")
        if answer.status != 200:
            raise AtdError(f"{self.where}: {_error(text) or f'answers with status {answer.status}'}")
        return json.loads(text) if text else None

    def _connection(self) -> http.client.HTTPConnection:
        if not self._parts.scheme:
            return _UnixConnection(self.where)
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        return kind(self._parts.netloc, timeout=SECONDS)


def remote(ctx: typer.Context, server: str | None) -> Remote | None:
    """Return the server that --server names, None where a bundle is meant.

    Raises:
        UsageError: both were given; or see Remote.
    """
    if server is None:
        return None
    source = ctx.get_parameter_source("bundle")
    if source is not None and source.name != "DEFAULT":
        raise UsageError("--bundle and --server: give one of them, what is at rest or what runs")
    return Remote(server)


def adapter_files(folder: Path) -> dict[str, str]:
    """Return the files of an adapter folder that a server takes, as parameters of a load: "file:NAME" -> base64.

    Of the images that training held back a few go along, for the server to verify the task on.

    Raises:
        FormatError: no adapter folder, or a damaged config.
    """
    from adaptertune_deploy.core.adapter import samples
    from adaptertune_deploy.core.adapter.folder import CONFIG_NAME, MODEL_NAME, read_config
    from adaptertune_deploy.core.adapter.reference import REFERENCE_NAME

    config = read_config(folder)
    names = [CONFIG_NAME, MODEL_NAME, *([REFERENCE_NAME] if config.reference_sha256 else [])]
    held = {name: (folder / name).read_bytes() for name in names}
    found = samples.read(folder, config.samples)[:SENT_SAMPLES]
    held |= {f"{samples.SAMPLES_NAME}/{config.samples[place].file}": data for place, data in found}
    return {f"file:{name}": base64.b64encode(data).decode() for name, data in held.items()}


def _error(text: bytes) -> str:
    """Return what a server says is wrong, "" where that is no JSON of ours."""
    try:
        found = json.loads(text)["error"]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(found)
