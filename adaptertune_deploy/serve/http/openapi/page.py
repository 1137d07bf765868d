"""GET /openapi.json, and GET /docs: the same for people, on a page that needs no script and nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adaptertune_deploy.serve.http import static
from adaptertune_deploy.serve.http.openapi import description
from adaptertune_deploy.serve.http.responses import encode

# Routes of the page for people and of this description itself.
NOT_OFFERED = ("/v2/repository/", "/v2/systemsharedmemory/", "/v2/cudasharedmemory/")
UNDESCRIBED = ("/", "/docs", "/openapi.json", "/page/", "/samples/", *NOT_OFFERED)
HEAD = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>adaptertune-deploy: how to ask</title>
  <link rel="icon" href="page/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="page/page.css">
  <link rel="stylesheet" href="page/docs.css">
</head>
<body>
<header class="top">
<p class="name"><img src="page/icon.svg" width="22" height="22" alt=""> adaptertune-deploy</p>
</header>
<main class="docs">
"""
TAIL = "</main>\n</body>\n</html>\n"


async def show_document(request: Request) -> Response:
    """Answer GET /openapi.json."""
    return static.answer(request, encode(_document(request)), "application/json")


async def show_page(request: Request) -> Response:
    """Answer GET /docs."""
    return static.answer(request, page(_document(request)).encode(), "text/html")


def routes() -> list[Route]:
    """Return the routes of both."""
    return [Route("/openapi.json", show_document), Route("/docs", show_page)]


def page(document: Mapping[str, Any]) -> str:
    """Return the page that shows an OpenAPI document."""
    info = document["info"]
    parts = [HEAD, f"<h1>How to ask</h1>\n<p class='lead'>{escape(info['description'])} "]
    parts.append("For programs: <a href='openapi.json'>openapi.json</a>.</p>\n")
    for path, methods in document["paths"].items():
        parts += [_operation(path, method, operation) for method, operation in methods.items()]
    parts.append("<h2>Documents</h2>\n")
    parts += [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return "".join(parts) + TAIL


def _document(request: Request) -> dict[str, Any]:
    paths: dict[str, set[str]] = {}
    for route in request.app.routes:
        if isinstance(route, Route) and not _undescribed(route.path):
            paths.setdefault(route.path, set()).update((route.methods or set()) - {"HEAD"})
    return description.document(paths)


def _undescribed(path: str) -> bool:
    return path in UNDESCRIBED or path.startswith(tuple(start for start in UNDESCRIBED[1:] if start.endswith("/")))


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(_rows(operation))
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> <span>{escape(operation['summary'])}"
        f"</span></summary>\n<table>{rows}</table></details>\n"
    )


def _rows(operation: Mapping[str, Any]) -> Iterator[str]:
    for found in operation.get("parameters", []):
        yield _row(found["in"], f"<code>{escape(found['name'])}</code>", found.get("description", ""))
    body = operation.get("requestBody")
    if body is not None:
        yield _row("body", _contents(body["content"]), body.get("description", ""))
    for status, answer in operation["responses"].items():
        yield _row(status, _contents(answer["content"]), answer["description"])


def _row(kind: str, what: str, text: str) -> str:
    return f"<tr><th>{escape(kind)}</th><td>{what}</td><td>{escape(text)}</td></tr>\n"


def _contents(content: Mapping[str, Any]) -> str:
    """Return media types, and links to what they hold."""
    found = []
    for kind, held in content.items():
        name = held["schema"].get("$ref", "").rpartition("/")[2]
        link = f" <a href='#{escape(name)}'>{escape(name)}</a>" if name else ""
        found.append(f"<code>{escape(kind)}</code>{link}")
    return "<br>".join(found)


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary>\n<pre>{text}</pre></details>\n"
