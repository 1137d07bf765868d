"""The page at /: light and dark, narrow and wide, for the keyboard and for screen readers, and how much it weighs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.conftest import IMAGES, Opener, Visit, expected

MOST_BYTES = 100_000
# Ratio of luminances of text and what lies behind it: WCAG 2.2, success criterion 1.4.3, and 1.4.11 for graphics.
LEAST_CONTRAST = 4.5
LEAST_GRAPHIC_CONTRAST = 3.0
# Every piece of text with its colour and the first opaque colour behind it; every bar, dot and line of a task.
COLOURS = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgba(getComputedStyle(at).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return [255, 255, 255, 255];
    };
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        const words = walker.currentNode.textContent.trim();
        if (!words || !element.checkVisibility() || element.closest("noscript")) continue;
        const style = getComputedStyle(element);
        const colour = element.closest("svg") ? style.fill : style.color;
        texts.push({ words, colour: rgba(colour), behind: behind(element) });
    }
    const graphics = [...document.querySelectorAll(".level, .dot, .point, .chip span")].map((element) => {
        const style = getComputedStyle(element, element.matches(".chip span") ? "::before" : null);
        const colour = element.matches(".chip span") ? style.borderTopColor : style.backgroundColor;
        return { words: element.className || "chip", colour: rgba(colour), behind: behind(element.parentElement) };
    });
    return { texts, graphics };
}"""

NAMELESS = """() => [...document.querySelectorAll("button, input:not([hidden]), a, img, canvas:not([hidden])")].filter(
    (element) => !(
        element.ariaLabel
        || element.textContent.trim()
        || element.labels?.length
        || element.querySelector("img[alt]")
        || element.hasAttribute("alt")
    )
).map((element) => element.outerHTML)"""


def luminance(colour: list[int]) -> float:
    """Return the relative luminance of WCAG 2.2."""
    parts = [value / 255 for value in colour[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(found: dict[str, Any]) -> float:
    light, dark = sorted((luminance(found["colour"]), luminance(found["behind"])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def paper(found: Visit) -> str:
    return str(found.page.evaluate("getComputedStyle(document.body).backgroundColor"))


def asked(visit: Opener, **options: Any) -> Visit:
    """Open the page and ask about a picture."""
    found = visit(**options)
    found.pick(IMAGES[0])
    assert found.answers() == expected(IMAGES[0].read_bytes())
    return found


def test_the_page_and_all_it_loads_is_light(visit: Opener) -> None:
    found = visit()
    sizes = {
        request.url: len(request.response().body()) for request in found.requests if "/samples/" not in request.url
    }
    assert len(sizes) > 10
    assert sum(sizes.values()) < MOST_BYTES


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_bars_stand_out(visit: Opener, scheme: str) -> None:
    found = asked(visit, color_scheme=scheme)
    found.pick({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    found.trouble()  # its colours too
    wrong = found.page.evaluate(COLOURS)
    asked_again = asked(visit, color_scheme=scheme).page.evaluate(COLOURS)
    texts, graphics = wrong["texts"] + asked_again["texts"], asked_again["graphics"]
    assert len(texts) > 60
    assert len(graphics) > 10
    assert [(text["words"], contrast(text)) for text in texts if contrast(text) < LEAST_CONTRAST] == []
    faint = [(item["words"], contrast(item)) for item in graphics if contrast(item) < LEAST_GRAPHIC_CONTRAST]
    assert faint == []


def test_the_systems_theme_holds_until_a_person_chooses_one(visit: Opener) -> None:
    found = visit(color_scheme="dark")
    dark = paper(found)
    found.page.get_by_role("radio", name="Light").check(force=True)
    light = paper(found)
    assert (dark, light) == ("rgb(15, 18, 20)", "rgb(255, 255, 255)")
    found.page.reload()
    assert paper(found) == light  # from the first paint on
    found.page.get_by_role("radio", name="Auto").check(force=True)
    assert paper(found) == dark
    assert paper(visit(color_scheme="light")) == light


@pytest.mark.parametrize("width", [390, 320, 768])
def test_a_narrow_screen_shows_everything_without_scrolling_sideways(visit: Opener, width: int) -> None:
    found = asked(visit, width=width, height=844, has_touch=True)
    assert found.page.evaluate("document.documentElement.scrollWidth") == width
    for place in ("#pick", "#camera", ".card", "#timing", "#tasks tbody tr", "#drawing svg"):
        box = found.page.locator(place).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    # WCAG 2.2, success criterion 2.5.8: targets of at least 24 pixels.
    for target in found.page.query_selector_all("button:visible, .chip, .theme label"):
        assert min(target.bounding_box()[side] for side in ("width", "height")) >= 24
    assert found.page.get_by_role("cell", name="rank 2, 2\u00a0blocks").count() == 1  # another layout, still a table


def test_who_wants_less_motion_gets_none(visit: Opener) -> None:
    moving = "getComputedStyle(document.querySelector('.level')).transitionDuration"
    assert asked(visit).page.evaluate(moving) == "0.18s"
    assert asked(visit, reduced_motion="reduce").page.evaluate(moving) in ("0s", "")


def test_everything_has_a_role_and_a_name(visit: Opener) -> None:
    page = asked(visit).page
    for role in ("banner", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["One backbone, many\u00a0tasks."]
    for name in ("Ask about a picture", "The same request from your code", "Tasks on this server"):
        assert page.get_by_role("region", name=name).count() == 1
    for name in ("Tasks that answer", "Answers", "Colours"):
        assert page.get_by_role("group", name=name).count() == 1
    assert page.get_by_role("article", name="birds").count() == 1
    assert page.get_by_role("table", name="Tasks on this server").get_by_role("row").count() == 3
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate("document.documentElement.lang") == "en"


def focused(found: Visit) -> str:
    """Return what has the focus: its text, value or id; it can be seen."""
    words, outline = found.page.evaluate(
        """() => {
            const at = document.activeElement;
            const seen = at.matches(".chip input, .theme input") ? at.nextElementSibling : at;
            const style = getComputedStyle(seen);
            const words = at.matches("input") ? at.value : at.querySelector("img[alt]")?.alt || at.textContent.trim();
            return [words, style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth)];
        }"""
    )
    assert outline >= 2, f"nobody sees that {words!r} has the focus"
    return str(words)


def test_the_keyboard_alone_reaches_everything_in_order(visit: Opener) -> None:
    found = asked(visit)
    found.page.evaluate("document.activeElement.blur()")
    order = []
    for _ in range(15):
        found.page.keyboard.press("Tab")
        if found.page.evaluate("document.activeElement === document.body"):
            break
        order.append(focused(found))
    buttons = ["Skip to the picture", "system", "Choose a picture", "Use the camera", "birds: a bird", "birds", "cars"]
    assert order[:8] == [*buttons, "curl"]
    assert order[8] == "Copy"
    assert order[10:13] == ["API", "Metrics", "Open Inference Protocol"]


def test_the_keyboard_alone_asks_and_chooses(visit: Opener) -> None:
    found = visit()
    page = found.page
    page.on("filechooser", lambda chooser: chooser.set_files(IMAGES[0]))
    page.get_by_role("button", name="Choose a picture").press("Enter")
    assert list(found.answers()) == ["birds", "cars"]
    page.get_by_role("checkbox", name="cars").focus()
    page.keyboard.press("Space")
    page.wait_for_function("() => document.querySelectorAll('.card').length === 1")
    assert list(found.answers()) == ["birds"]
    page.get_by_role("tab", name="curl").focus()
    page.keyboard.press("ArrowRight")
    assert focused(found) == "Python"
    assert "urllib" in page.get_by_role("tabpanel", name="Python").inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert focused(found) == "tritonclient"
    page.get_by_role("radio", name="Auto").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert paper(found) == "rgb(15, 18, 20)"


def test_the_table_tells_accuracy_with_its_interval_or_that_nobody_recorded_it(visit: Opener) -> None:
    page = visit().page
    birds, cars = page.locator("#tasks tbody tr").all_inner_texts()
    # Wilson's 95 % interval of 15 of 20, as R's prop.test(15, 20, correct = FALSE) gives it: 0.5313 to 0.8881.
    assert {"birds", "squares", "75.0\u00a0%"} <= set(birds.replace("\n", "\t").split("\t"))
    assert "53.1 to 88.8, 20\u00a0images" in birds
    assert cars.count("not recorded") == 2


def test_the_idea_is_drawn_of_the_tasks_that_are_there(visit: Opener) -> None:
    found = visit()
    assert found.page.locator("#drawing .block").count() == 3
    # birds adapts blocks 1 and 2, cars none; one more dot each stands at its name.
    assert found.page.locator("#drawing .adapter").count() == 2 + 2
    assert "191\u00a0kB is loaded once" in found.page.locator("#lead").inner_text()
