"""serve.http.page: the page's files and the images to try, small, of known types, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from adaptertune_deploy.core.storage.files import sha256_bytes
from adaptertune_deploy.serve.facts.about import About, AboutTask, Sample
from adaptertune_deploy.serve.facts.told import Told
from adaptertune_deploy.serve.http import page
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from tests.serve.conftest import Running
from tests.serve.fakes import make_shared

FILES = page.read_page()
MOST_BYTES = 100_000


def test_the_whole_page_is_light() -> None:
    assert sum(map(len, FILES.values())) < MOST_BYTES


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_served_as_what_it_is(server: Running, name: str) -> None:
    response = server.client.get(f"/page/{name}")
    assert response.content == FILES[name]
    assert response.headers["content-type"].split(";")[0] == page.MEDIA_TYPES[name.rpartition(".")[2]]


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_names_a_place_outside(name: str) -> None:
    outside = re.findall(r"https?://[\w.-]+", FILES[name].decode())
    assert set(outside) <= {"http://www.w3.org"}  # the name of SVG


@pytest.mark.parametrize("name", sorted(FILES))
def test_no_file_needs_more_than_the_policy_allows(name: str) -> None:
    text = FILES[name].decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|innerHTML|\beval\(|new Function", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/../about.py", "/page/%2e%2e%2fabout.py", "/page/"])
def test_nothing_else_is_served(server: Running, path: str) -> None:
    assert server.client.get(path).status_code == 404


@pytest.fixture(scope="module")
def sampled(png: bytes) -> Iterator[httpx.Client]:
    """A server with one image to try, of `pets`."""
    pets = AboutTask(1, None, frozenset({""}), (Sample(png, "image/png", "cat", sha256_bytes(png)),))
    with (
        serving(make_app(make_shared(), told=Told(About(tasks={"pets": pets})))) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def test_a_sample_is_the_very_image(sampled: httpx.Client, png: bytes) -> None:
    response = sampled.get("/samples/pets/0")
    assert (response.content, response.headers["content-type"]) == (png, "image/png")
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["pets/1", "pets/-1", "pets/x", "flowers/0", "nobody/0", "pets", f"pets/{10**30}"])
def test_there_is_no_other_sample(sampled: httpx.Client, path: str) -> None:
    assert sampled.get(f"/samples/{path}").status_code == 404
