from __future__ import annotations

import re
from html.parser import HTMLParser

from adaptertune_deploy.serve.http import static
from adaptertune_deploy.serve.http.openapi import page as described
from tests.serve.conftest import Running
from tests.serve.http.test_routes import REFUSED, ROUTES


class Opened(HTMLParser):
    """Notes what a page refers to, its identifiers, and whether every element is closed in its turn."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := values.get(name))]
        self.names += [value for value in [values.get("id")] if value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_description_has_every_route_for_programs(server: Running) -> None:
    response = server.client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    described = {path: {name.upper() for name in found} for path, found in response.json()["paths"].items()}
    left_out = {"/", "/docs", "/openapi.json", "/page/{file}", "/samples/{task}/{place}"}
    expected = {path for path in ROUTES if path not in left_out and not any(part in path for part in REFUSED)}
    assert described == {path: ROUTES[path] for path in expected}


def test_the_page_shows_every_endpoint_and_takes_nothing_from_elsewhere(server: Running) -> None:
    response = server.client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == static.POLICY
    page = Opened()
    page.feed(response.text)
    assert page.open == []
    for path in server.client.get("/openapi.json").json()["paths"]:
        assert f"<code>{path}</code>" in response.text
    assert not re.search(r"<style|\sstyle=|<script|https?://", response.text)
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.names
        else:
            assert server.client.get(f"/{link}").status_code == 200
    assert len(set(page.names)) == len(page.names)


def test_what_a_description_says_is_text_and_no_markup() -> None:
    nasty = "<script>alert('x')</script>"
    operation = {"summary": nasty, "responses": {"200": {"description": nasty, "content": {}}}}
    document = {"info": {"description": nasty}, "paths": {nasty: {"get": operation}}, "components": {"schemas": {}}}
    assert "<script" not in described.page(document)
