"""The page at /: every way to bring a picture, and what the page says of it."""

from __future__ import annotations

import base64
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from adaptertune_deploy.core.spec import HEAD_ONLY, TaskSpec
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.settings import Settings
from tests.browser.conftest import IMAGES, Opener, Visit, expected, wait_ready
from tests.builders import encode, make_adapter, make_backbone_spec, make_image, make_task
from tests.serve.fakes import SLOTS, WIDTH, FakeEngine, make_shared

# Makes a file in the page and gives it to an event, as a drop and a paste do.
BRING = """([text, name, kind, field]) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const held = new DataTransfer();
    held.items.add(new File([bytes], name, { type: "image/png" }));
    const kinds = { drop: DragEvent, paste: ClipboardEvent };
    const event = new kinds[kind](kind, { bubbles: true, cancelable: true, [field]: held });
    document.body.dispatchEvent(event);
    return event.defaultPrevented;
}"""


def test_a_picture_is_picked(visit: Opener) -> None:
    found = visit()
    with found.page.expect_file_chooser() as chooser:
        found.page.get_by_role("button", name="Choose a picture").click()
    chooser.value.set_files(IMAGES[0])
    assert found.answers() == expected(IMAGES[0].read_bytes())
    assert found.page.get_by_role("img", name="The picture: 0.png").is_visible()
    assert found.page.locator("#hint").is_hidden()


@pytest.mark.parametrize(("kind", "field"), [("drop", "dataTransfer"), ("paste", "clipboardData")])
def test_a_picture_is_dropped_or_pasted(visit: Opener, kind: str, field: str) -> None:
    found = visit()
    data = IMAGES[2].read_bytes()
    kept = found.page.evaluate(BRING, [base64.b64encode(data).decode(), "mine.png", kind, field])
    assert found.answers() == expected(data)
    assert kept == (kind == "drop")  # else the browser would leave the page for the file
    assert "mine.png" in found.page.locator("#snippet").inner_text()


def test_a_sample_is_tried(visit: Opener) -> None:
    found = visit()
    found.page.get_by_role("button", name="birds: a bird").click()
    assert found.answers() == expected(IMAGES[1].read_bytes())


def test_another_picture_takes_the_place_of_the_first(visit: Opener) -> None:
    found = visit()
    for image in IMAGES[:2]:
        found.pick(image)
        found.page.get_by_role("img", name=f"The picture: {image.name}").wait_for()
        with_this = expected(image.read_bytes())
        found.page.wait_for_function(
            "words => document.querySelector('#answers').innerText.includes(words)", arg=with_this["birds"][0][1]
        )
        assert found.answers() == with_this


def test_only_the_chosen_tasks_are_asked(visit: Opener) -> None:
    found = visit()
    found.page.get_by_role("checkbox", name="birds").uncheck(force=True)
    found.pick(IMAGES[0])
    assert list(found.answers()) == ["cars"]
    found.page.get_by_role("checkbox", name="birds").check(force=True)  # asks again
    found.page.wait_for_function("() => document.querySelectorAll('.card .bars').length === 2")
    asked = [parse_qs(urlsplit(request.url).query)["tasks"] for request in found.questions]
    assert asked == [["cars"], ["birds,cars"]]


def test_the_time_is_split_and_the_batch_named(visit: Opener) -> None:
    found = visit()
    found.pick(IMAGES[0])
    found.answers()
    words = found.page.locator("#timing").inner_text()
    assert {"read", "decode", "queue", "model", "rest"} <= set(words.split())
    assert "rode in a batch of 2\u00a0rows: 1\u00a0image, 2\u00a0tasks" in words


def test_a_screen_reader_is_told_the_answer_in_a_sentence(visit: Opener) -> None:
    found = visit()
    found.pick(IMAGES[0])
    birds, cars = (labels[0] for labels in found.answers().values())
    spoken = found.page.locator("#spoken[role=status][aria-live=polite]").inner_text()
    percents = [f"{float(share.split(chr(160))[0]):.0f}" for _, share in (birds, cars)]
    assert spoken == f"birds: {birds[0]}, {percents[0]} percent; cars: {cars[0]}, {percents[1]} percent"


def test_what_is_no_picture_is_refused_in_plain_words_where_it_was(visit: Opener) -> None:
    found = visit()
    found.pick({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    assert found.trouble() == "The data is not a JPEG, PNG, WebP, BMP or GIF image."
    assert found.page.locator("#drop #trouble[role=alert]").is_visible()
    assert found.page.locator(".card .nothing").all_inner_texts() == ["no answer", "no answer"]
    found.pick(IMAGES[0])  # and the next one is answered
    assert found.answers() == expected(IMAGES[0].read_bytes())
    assert found.page.locator("#trouble").is_hidden()


def test_no_task_chosen_is_said_without_asking(visit: Opener) -> None:
    found = visit()
    for name in ("birds", "cars"):
        found.page.get_by_role("checkbox", name=name).uncheck(force=True)
    found.pick(IMAGES[0])
    assert found.trouble() == "No task is chosen; tick at least one."
    assert found.questions == []


def snippet(found: Visit, way: str) -> str:
    found.page.get_by_role("tab", name=way).click()
    text: str = found.page.locator("#snippet").text_content()
    return text


def test_the_request_is_told_for_a_shell_for_python_and_for_tritonclient(visit: Opener, tmp_path: Path) -> None:
    name = 'it\'s "one" $HOME.png'
    (tmp_path / name).write_bytes(IMAGES[0].read_bytes())
    found = visit()
    found.pick(tmp_path / name)
    best = {task: labels[0][0] for task, labels in found.answers().items()}
    program, option, file, url = shlex.split(snippet(found, "curl"))
    assert (program, option, file) == ("curl", "--data-binary", f"@{name}")
    document = httpx.post(url, content=(tmp_path / name).read_bytes()).json()
    assert {task: labels[0]["label"] for task, labels in document["images"][0]["tasks"].items()} == best
    for way in ("Python", "tritonclient"):
        code = [sys.executable, "-c", snippet(found, way)]
        done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        assert {task: words.removesuffix(words[len(best[task]) :]) for task, words in told.items()} == best


def test_a_snippet_is_copied(visit: Opener) -> None:
    found = visit(permissions=["clipboard-read", "clipboard-write"])
    found.pick(IMAGES[0])
    found.answers()
    found.page.get_by_role("button", name="Copy").click()
    found.page.get_by_role("button", name="Copied").wait_for()
    assert found.page.evaluate("navigator.clipboard.readText()") == snippet(found, "curl")


@pytest.fixture
def strange() -> Iterator[tuple[str, FakeEngine]]:
    """A server whose labels are markup, whose pictures are small, and whose engine can be held."""
    labels = ("<img src=x onerror=alert(1)>", "<script>alert(2)</script>")
    adapter = make_adapter(TaskSpec("odd", labels, HEAD_ONLY), make_backbone_spec(width=WIDTH, depth=len(SLOTS)))
    engine = FakeEngine()
    with serving(make_app(make_shared(engine, [adapter]), Settings(body_limit=5000))) as url:
        wait_ready(url)
        yield f"{url}/", engine
        engine.gate.set()


def test_labels_are_text_and_never_markup(visit: Opener, strange: tuple[str, FakeEngine]) -> None:
    found = visit(strange[0])
    found.pick({"name": "small.png", "mimeType": "image/png", "buffer": encode(make_image(8, 8))})
    labels = {label for label, _ in found.answers()["odd"]}
    assert labels == {"<img src=x onerror=alert(1)>", "<script>alert(2)</script>"}


def test_a_picture_too_large_is_said_before_it_is_sent(visit: Opener, strange: tuple[str, FakeEngine]) -> None:
    found = visit(strange[0])
    found.pick({"name": "large.png", "mimeType": "image/png", "buffer": b"x" * 5001})
    assert found.trouble() == "The picture has 5.0\u00a0kB; this server takes at most 5.0\u00a0kB."
    assert found.questions == []


def test_of_many_tasks_a_dozen_is_asked_and_the_others_are_found_by_name(visit: Opener) -> None:
    backbone = make_backbone_spec(width=WIDTH, depth=len(SLOTS))
    adapters = [make_adapter(make_task(f"line-{place}"), backbone, place) for place in range(14)]
    with serving(make_app(make_shared(adapters=adapters))) as url:
        wait_ready(url)
        found = visit(f"{url}/")
        found.pick(IMAGES[0])
        assert list(found.answers()) == [f"line-{place}" for place in range(12)]
        found.page.get_by_role("searchbox", name="Find a task").fill("13")
        assert found.page.locator(".chip:visible").all_inner_texts() == ["line-13"]
        found.page.get_by_role("checkbox", name="line-13").check(force=True)
        found.page.get_by_role("article", name="line-13").locator(".bars").wait_for()
        assert len(found.answers()) == 13
        assert "and 10 more" in found.page.locator("#drawing").inner_text()


def test_a_server_that_is_gone_is_said(visit: Opener) -> None:
    with serving(make_app(make_shared())) as url:
        wait_ready(url)
        found = visit(f"{url}/")
    found.pick(IMAGES[0])
    assert found.trouble() == "The server does not answer; is it still running?"


def frames(found: Visit, count: int) -> None:
    """Return when so many pictures were asked about since."""
    wanted = len(found.questions) + count
    while len(found.questions) < wanted:
        found.page.wait_for_event("requestfinished", timeout=30_000)


def test_the_camera_is_watched_one_frame_at_a_time(visit: Opener, site: str) -> None:
    under_way: list[Any] = []
    most = 0

    def begun(request: Any) -> None:
        nonlocal most
        if request.method == "POST":
            under_way.append(request)
            most = max(most, len(under_way))

    def ended(request: Any) -> None:
        if request in under_way:
            under_way.remove(request)

    found = visit(permissions=["camera"])
    for event, handler in (("request", begun), ("requestfinished", ended), ("requestfailed", ended)):
        found.page.on(event, handler)
    found.page.get_by_role("button", name="Use the camera").click()
    frames(found, 4)
    assert list(found.answers()) == ["birds", "cars"]
    assert found.page.locator("#video").is_visible()
    assert most == 1
    found.page.get_by_role("button", name="Stop the camera").click()
    found.page.get_by_role("button", name="Use the camera").wait_for()
    asked = len(found.questions)
    found.page.evaluate("new Promise((done) => { requestAnimationFrame(() => requestAnimationFrame(done)); })")
    found.page.evaluate("fetch('v2/health/live').then((answer) => answer.text())")
    assert len(found.questions) == asked
    assert found.page.locator("#video").is_hidden()
    assert httpx.get(f"{site}v2/health/live").status_code == 200


def test_a_camera_that_is_forbidden_is_said(visit: Opener) -> None:
    found = visit()
    found.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError')); }"
    )
    found.page.get_by_role("button", name="Use the camera").click()
    found.page.locator("#camera-note:not([hidden])").wait_for()
    assert found.page.locator("#camera-note").inner_text() == "This browser does not let the page use the camera."
    assert found.page.get_by_role("button", name="Use the camera").get_attribute("aria-pressed") == "false"


def test_a_camera_that_is_stopped_before_it_began_stays_off(visit: Opener) -> None:
    found = visit(permissions=["camera"])
    tracks = (
        "() => { const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices); window.opened = []; "
    )
    tracks += "navigator.mediaDevices.getUserMedia = async (wish) => { const made = await real(wish); "
    tracks += "window.opened.push(...made.getTracks()); return made; }; }"
    found.page.evaluate(tracks)
    found.page.evaluate(
        "() => { for (let press = 0; press < 4; press += 1) document.getElementById('camera').click(); }"
    )
    found.page.wait_for_function("() => window.opened.length === 2")
    found.page.wait_for_function("() => window.opened.every((track) => track.readyState === 'ended')")
    assert found.page.locator("#video").is_hidden()
    assert found.page.get_by_role("button", name="Use the camera").get_attribute("aria-pressed") == "false"
    assert found.questions == []


def test_a_sample_that_is_gone_is_said(visit: Opener) -> None:
    found = visit()
    found.page.route("**/samples/**", lambda route: route.fulfill(status=404, body="{}"))
    found.page.get_by_role("button", name="birds: a bird").click()
    assert found.trouble() == "The server has this picture no longer."
