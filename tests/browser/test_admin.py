"""The page of the admin listener: a task is added by dropping its adapter folder, and removed again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.browser.conftest import GOLDEN, IMAGES, WAIT_MS, Visit, wait_ready
from tests.browser.conftest import Opener as Visits
from tests.browser.test_looks import COLOURS, LEAST_CONTRAST, NAMELESS, contrast
from tests.cli.administered import TOKEN, administered


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[str, str]]:
    """The addresses of the pages of a server: the public one's and the admin listener's."""
    with administered(GOLDEN / "bundle") as (admin, client):
        public = str(client.base_url).rstrip("/")
        wait_ready(public)
        yield f"{public}/", f"{admin}/"


@pytest.fixture
def admin(places: tuple[str, str]) -> Iterator[str]:
    """The admin listener's address; afterwards the server has the tasks that it began with."""
    yield places[1]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for name in ("trees", "cars", "birds"):
        what = "unload" if name == "trees" else "load"
        httpx.post(f"{places[1]}v2/repository/models/{name}/{what}", headers=headers).raise_for_status()


def type_token(found: Visit, token: str = TOKEN) -> None:
    found.page.get_by_label("Token of this server").fill(token)


def drop(found: Visit, *files: Path) -> None:
    """Drop files or folders on the page as a file manager does."""
    session = found.page.context.new_cdp_session(found.page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})


def press_for_files(found: Visit, name: str) -> Any:
    """Press Enter on a button and return the dialog that opens.

    Chromium on a busy machine now and then takes a key for no gesture of a user's, and opens none.
    """
    from playwright.sync_api import TimeoutError as TookTooLong

    for wait in (10_000, 10_000, WAIT_MS):
        found.page.get_by_role("button", name=name).focus()
        try:
            with found.page.expect_file_chooser(timeout=wait) as chooser:
                found.page.keyboard.press("Enter")
            return chooser.value
        except TookTooLong:
            continue
    raise AssertionError("Enter opens no dialog")


def said(found: Visit, kind: str) -> str:
    """Return what came of a change, once it is over."""
    found.page.locator(f"#change.{kind}").wait_for(timeout=WAIT_MS)
    return str(found.page.locator("#change").inner_text())


def tasks(found: Visit) -> list[str]:
    return list(found.page.locator(".chip").all_inner_texts())


def test_a_dropped_folder_is_a_task_that_answers_and_can_be_removed(visit: Visits, admin: str) -> None:
    found = visit(admin)
    assert tasks(found) == ["birds", "cars"]
    type_token(found)
    found.pick(IMAGES[0])
    found.answers()
    drop(found, GOLDEN / "adapters" / "trees")
    assert said(found, "good") == "Added trees; it is served until this server is started again."
    assert tasks(found) == ["birds", "cars", "trees"]
    found.page.get_by_role("article", name="trees").locator(".bars").wait_for()  # it is asked without a click
    assert "trees" in found.answers()
    assert "rank 3" in found.page.locator("#tasks tbody tr").nth(2).inner_text()
    found.page.once("dialog", lambda dialog: dialog.accept())
    found.page.get_by_role("button", name="Remove trees").click()
    found.page.get_by_role("article", name="trees").wait_for(state="detached")
    assert said(found, "good") == "Removed trees; the bundle keeps it."
    assert tasks(found) == ["birds", "cars"]
    assert [record.task.name for record in read_manifest(GOLDEN / "bundle").tasks] == ["birds", "cars"]


def test_a_folder_is_chosen_by_the_keyboard_too(visit: Visits, admin: str) -> None:
    found = visit(admin)
    type_token(found)
    chooser = press_for_files(found, "Choose an adapter folder")
    chooser.set_files(str(GOLDEN / "adapters" / "trees"))
    assert said(found, "good").startswith("Added trees")
    assert tasks(found) == ["birds", "cars", "trees"]


def test_who_says_no_to_the_question_keeps_the_task(visit: Visits, admin: str) -> None:
    found = visit(admin)
    type_token(found)
    asked: list[str] = []
    found.page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    found.page.get_by_role("button", name="Remove cars").click()
    assert "Remove cars?" in asked[0]
    assert [request.url for request in found.questions] == []


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "Not added: type the server's token first."),
        ("another", "Not added: the server does not know this token."),
        ("täglich", "Not added: the token has characters that no token has."),
    ],
)
def test_without_the_token_nothing_changes(visit: Visits, admin: str, token: str, words: str) -> None:
    found = visit(admin)
    type_token(found, token)
    drop(found, GOLDEN / "adapters" / "trees")
    assert said(found, "bad") == words
    assert tasks(found) == ["birds", "cars"]


def spoil(folder: Path, what: str) -> Path:
    """Return a folder with something wrong."""
    shutil.copytree(GOLDEN / "adapters" / "trees", folder)
    config = folder / "adapter_config.json"
    if what == "a bundle":
        shutil.rmtree(folder)
        shutil.copytree(GOLDEN / "bundle", folder)
    elif what == "damaged JSON":
        config.write_text("{")
    elif what == "something else":
        config.write_text(json.dumps({"peft_type": "LORA"}))
    elif what == "damaged tensors":
        (folder / "adapter_model.safetensors").write_bytes(b"damaged")
    else:
        document = json.loads(config.read_text())
        config.write_text(json.dumps({**document, "backbone": {**document["backbone"], "sha256": "c" * 64}}))
    return folder


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("a bundle", "holds no adapter_config.json, so it is no adapter folder"),
        ("damaged JSON", "holds a damaged adapter_config.json"),
        ("something else", "holds an adapter_config.json of something else"),
        ("damaged tensors", "adapter_model.safetensors"),
        ("another backbone", "backbone"),
    ],
)
def test_a_folder_that_is_no_adapter_of_this_server_says_why(
    visit: Visits, admin: str, tmp_path: Path, what: str, words: str
) -> None:
    found = visit(admin)
    type_token(found)
    drop(found, spoil(tmp_path / "given", what))
    assert words in said(found, "bad")
    assert tasks(found) == ["birds", "cars"]


def test_a_dropped_picture_is_still_a_picture_and_two_folders_are_too_many(visit: Visits, admin: str) -> None:
    found = visit(admin)
    type_token(found)
    drop(found, IMAGES[0])
    assert list(found.answers()) == ["birds", "cars"]
    drop(found, GOLDEN / "adapters" / "trees", GOLDEN / "adapters" / "birds")
    assert said(found, "bad") == "Not added: drop one folder at a time."


def test_the_public_page_has_no_such_form_and_takes_no_folder(visit: Visits, places: tuple[str, str]) -> None:
    found = visit(places[0])
    assert found.page.locator("#admin").is_hidden()
    drop(found, GOLDEN / "adapters" / "trees")
    found.trouble()
    assert not [request for request in found.requests if "/v2/repository/" in request.url]
    assert httpx.get(places[0]).json()["changes"] is False


def test_without_a_token_the_listener_has_a_page_and_no_form(visit: Visits) -> None:
    with administered(GOLDEN / "bundle", token=None) as (where, client):
        wait_ready(str(client.base_url).rstrip("/"))
        assert visit(f"{where}/").page.locator("#admin").is_hidden()


@pytest.mark.parametrize(
    "options", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"width": 320}, {"width": 390}]
)
def test_the_form_is_readable_and_fits(visit: Visits, admin: str, options: dict[str, Any]) -> None:
    found = visit(admin, **options)
    drop(found, GOLDEN / "adapters" / "trees")
    said(found, "bad")
    assert [text for text in found.page.evaluate(COLOURS)["texts"] if contrast(text) < LEAST_CONTRAST] == []
    assert found.page.evaluate(NAMELESS) == []
    assert found.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
