"""The report in a real browser: from a folder, without a network, by mouse and keyboard, whatever strangers wrote."""

import base64
import functools
import io
import itertools
import json
import re
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Browser, axe, browser  # noqa: F401
from conftest import Run
from PIL import Image
from report_world import change, moved
from selenium.webdriver.common.keys import Keys

from cluster.config import Config
from jobs.report.report import report

# Each tries to become markup, script, an address or an order of writing that it is not.
HOSTILE = (
    "</script><script>window.stolen = 1</script>",
    "<img src=x onerror='window.stolen = 2'>",
    "\u202egnp.exe\u2066 \u200f\u2028\u2029",
    '"><svg onload=window.stolen=3>',
    "javascript:window.stolen=4//../../etc/passwd",
    "${window.stolen = 5} {{7*7}} <!-- ]]>",
)


@pytest.fixture(scope="module")
def page(undisturbed: Run, catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 40 images, five of them failed."""
    return Path(report(str(moved(undisturbed, catalog, tmp_path_factory.mktemp("page"))), Config()).index)


def names(browser: Browser) -> list[str]:  # noqa: F811
    """What the cards that are there say, in the order in which a screen reader goes through them."""
    return browser.texts("#grid .card b")


def shot(browser: Browser, selector: str) -> np.ndarray:  # noqa: F811
    """What an element looks like, uint8[H, W, 3]."""
    box = browser.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", selector)
    clip = {name: box[name] for name in ("x", "y", "width", "height")} | {"scale": 1}
    picture = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png", "clip": clip})
    with Image.open(io.BytesIO(base64.b64decode(picture["data"]))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def drawn(browser: Browser, before: str = "") -> str:  # noqa: F811
    """The view that the canvas shows, once it is another than before."""
    shown = "document.getElementById('canvas').dataset.view"
    return browser.until(f"({shown} ?? '') !== {before!r} && {shown}")


def test_from_a_folder_it_asks_for_nothing_elsewhere_and_nothing_is_wrong(browser: Browser, page: Path) -> None:  # noqa: F811
    browser.open(page.as_uri())
    assert browser.texts("#count") == ["40 images"]
    assert browser.texts("#figures dd")[:2] == ["35", "5"]
    assert len(names(browser)) >= 12
    thumbnail = shot(browser, "#grid li .plate:nth-child(2)")
    assert thumbnail.std() > 8, "a view of a mesh is there"
    for part in ("failures", "charts", "run"):
        browser.click(f"#tab-{part}")
        assert browser.run("return document.getElementById(arguments[0]).innerText.length", part) > 100
    assert len(browser.texts("#failures .card")) == 5
    assert len(browser.texts("#charts svg")) >= 4
    assert "catalog" in browser.texts("#run dt")
    browser.click("#tab-gallery")
    browser.click("#grid .card")
    browser.until("document.getElementById('viewer-note').textContent.includes('faces')")
    asked = browser.requests()
    assert len(asked) > 10
    assert all(address.startswith(("file:", "data:")) for address in asked), asked
    assert browser.complaints() == []


def test_the_gallery_filters_sorts_and_is_found_again_by_its_address(browser: Browser, page: Path) -> None:  # noqa: F811
    browser.open(page.as_uri())
    browser.choose("category", "car")
    assert browser.texts("#count") == ["8 of 40 images"]
    browser.choose("sort", "vertices")
    vertices = [int(re.search(r"([\d,]+) vertices", text)[1].replace(",", "")) for text in browser.texts("#grid small")]
    assert vertices == sorted(vertices)
    browser.click("#direction")
    assert browser.texts("#grid small")[0].split(" · ")[1] == f"{max(vertices):,} vertices"
    address = browser.run("return location.href")
    browser.open(address)
    assert browser.texts("#count") == ["8 of 40 images"]
    assert browser.texts("#grid small")[0].split(" · ")[1] == f"{max(vertices):,} vertices"
    browser.click("#clear")
    browser.until("document.getElementById('count').textContent === '40 images'")
    browser.choose("outcome", "failed")
    assert browser.texts("#count") == ["5 of 40 images"]
    browser.choose("outcome", "empty_file")
    assert names(browser) == ["empty.png"]
    browser.choose("q", "nothing like it")
    assert browser.run("return document.getElementById('nothing').hidden") is False
    browser.click("#clear-too")
    browser.until("document.getElementById('count').textContent === '40 images'")
    browser.choose("quality", "watertight")
    assert browser.texts("#count") == ["35 of 40 images"]
    browser.choose("q", "STÜHLE ☕")  # in the address of the picture, whatever its case
    assert browser.texts("#count") == ["1 of 40 images"]


def test_a_page_of_thousands_holds_what_is_on_the_screen(browser: Browser, page: Path, tmp_path: Path) -> None:  # noqa: F811
    """5,040 items: the first sheet's, 210 times, each with its pictures."""
    folder = Path(shutil.copytree(page.parent, tmp_path / "report"))
    script = (folder / "data" / "00000.js").read_text().removeprefix("isofleet.sheet(0,")
    for index in range(210):
        (folder / "data" / f"{index:05d}.js").write_text(f"isofleet.sheet({index},{script}")
        shutil.copy(page.parent / "sheets" / "00000.webp", folder / "sheets" / f"{index:05d}.webp")
    run = (folder / "data" / "run.js").read_text()
    (folder / "data" / "run.js").write_text(
        run.replace('"sheets":2,', '"sheets":210,').replace('"items":40,', '"items":5040,')
    )
    browser.open((folder / "index.html").as_uri())
    assert browser.texts("#count")[0].startswith("5,040 images")
    most = 3 * (900 // 190 + 2 + 2 * 2) + 1  # columns × (rows on the screen, two that are cut, two more on either side)
    for share in (0, 0.37, 1):
        browser.run("scrollTo(0, arguments[0] * document.documentElement.scrollHeight)", share)
        browser.until("document.querySelectorAll('#grid li')[1].getBoundingClientRect().bottom > -900")
        places = [
            int(place)
            for place in browser.run("return [...document.querySelectorAll('#grid li')].map((one) => one.ariaPosInSet)")
        ]
        assert len(places) <= most
        assert places == sorted(places)
    assert places[-1] == 5040
    browser.choose("sort", "vertices")
    browser.choose("outcome", "failed")
    failed = json.loads(f"[{script.rpartition(')')[0]}]")[0]["items"]["status"].count("failed")
    assert browser.texts("#count")[0].startswith(f"{210 * failed:,} of 5,040 images")
    assert len(names(browser)) <= most


def test_a_mesh_turns_by_mouse_and_wheel(browser: Browser, page: Path) -> None:  # noqa: F811
    browser.open(page.as_uri() + "#category=chair")
    browser.click("#grid .card")
    browser.until("document.getElementById('viewer-note').textContent.includes('faces')")
    view = drawn(browser)
    first = shot(browser, "#canvas")
    middle = first[first.shape[0] // 4 : -first.shape[0] // 4, first.shape[1] // 4 : -first.shape[1] // 4]
    assert middle.std() > 10, "there is a mesh"
    browser.drag("#canvas", 200, 40)
    turned = drawn(browser, view)
    second = shot(browser, "#canvas")
    assert (np.abs(first - second).max(axis=2) > 20).mean() > 0.02
    browser.run(
        "document.getElementById('canvas').dispatchEvent(new WheelEvent('wheel', {deltaY: 500, cancelable: true}))"
    )
    drawn(browser, turned)
    background = second[5, 5]
    covered = [(np.abs(image - background).max(axis=2) > 12).mean() for image in (second, shot(browser, "#canvas"))]
    assert covered[1] < covered[0] * 0.7, "farther away it is smaller"
    assert browser.complaints() == []


def test_the_keyboard_alone_suffices(browser: Browser, page: Path) -> None:  # noqa: F811
    browser.open(page.as_uri())

    def focused() -> str:
        return browser.run("return document.activeElement.id || document.activeElement.className")

    for _ in range(40):
        browser.press(Keys.TAB)
        if focused() == "card":
            break
    assert focused() == "card"
    browser.press(Keys.ARROW_RIGHT, Keys.ARROW_DOWN, Keys.END)
    assert browser.run("return document.activeElement.closest('li').ariaPosInSet") == "40"
    assert browser.run(
        "const b = document.activeElement.getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight"
    )
    browser.press(Keys.HOME, Keys.ARROW_DOWN)
    name = browser.run("return document.activeElement.querySelector('b').textContent")
    browser.press(Keys.ENTER)
    assert browser.texts("#viewer-title") == [name]
    browser.until("document.getElementById('viewer-note').textContent.includes('faces')")
    assert focused() == "canvas"
    view = drawn(browser)
    picture = shot(browser, "#canvas")
    for key in (Keys.ARROW_LEFT, Keys.ARROW_UP, "+"):
        browser.press(key)
        view = drawn(browser, view)
    assert (np.abs(picture - shot(browser, "#canvas")).max(axis=2) > 20).mean() > 0.02
    browser.press("0")
    drawn(browser, view)
    browser.press(Keys.PAGE_DOWN)
    assert browser.texts("#viewer-title") != [name]
    browser.press(Keys.PAGE_UP)
    assert browser.texts("#viewer-title") == [name]
    browser.press(Keys.ESCAPE)
    browser.until("!document.getElementById('viewer').open")
    browser.until(f"document.activeElement.querySelector('b')?.textContent === {name!r}")


@pytest.mark.usefixtures("axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Browser, page: Path, scheme: str) -> None:  # noqa: F811
    for part in ("", "part=failures", "part=charts", "part=run", "item=chair/2.png", "item=broken/empty.png"):
        browser.open(f"{page.as_uri()}#{part}", scheme=scheme)
        if part.startswith("item"):
            browser.until("document.getElementById('viewer').open")
        assert browser.serious() == [], part
    browser.open(page.as_uri(), 390, 844, scheme)
    assert browser.serious() == []
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out to the right"


def test_over_http_the_viewer_shows_the_file_itself(browser: Browser, page: Path) -> None:  # noqa: F811
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(page.parent.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.open(f"http://127.0.0.1:{server.server_port}/report/index.html#q=st%C3%BChle")
        browser.click("#grid .card")
        browser.until("document.getElementById('viewer-note').textContent.startsWith('The file itself')")
        assert shot(browser, "#canvas").std() > 10
        link = browser.run("return document.querySelector('#viewer-actions a').href")
        assert browser.run("return fetch(arguments[0]).then((answer) => answer.status)", link) == 200
        assert browser.complaints() == []
        server.shutdown()


def test_what_strangers_wrote_stays_text(browser: Browser, page: Path, tmp_path: Path) -> None:  # noqa: F811
    output = Path(shutil.copytree(page.parent.parent, tmp_path / "<b>hostile</b>"))
    numbers = itertools.count()

    def edit(row: dict[str, Any]) -> None:
        number = next(numbers)
        text = HOSTILE[number % len(HOSTILE)]
        row |= {"item_id": f"{text} {number}", "category": text, "source_uri": f"s3://shop/{text}"}
        if row["status"] == "failed":
            row["error_message"] = text * 3

    change(output, edit)
    (output / "_run.json").write_text((output / "_run.json").read_text().replace("photos", HOSTILE[1]))
    hostile = Path(report(str(output), Config()).index)
    browser.open(hostile.as_uri())
    assert HOSTILE[1] in browser.run("return document.getElementById('title').textContent")
    for text in HOSTILE:
        browser.choose("category", text)
        assert browser.run("return document.getElementById('count').textContent") != "40 images"
        assert [name for name in names(browser) if text.split("/")[-1] not in name] == []
    browser.click("#clear")
    browser.until("document.getElementById('count').textContent === '40 images'")
    browser.click("#grid .card")
    assert browser.texts("#viewer-facts code")[0].startswith(HOSTILE[0])
    browser.press(Keys.ESCAPE)
    for part in ("failures", "charts", "run"):
        browser.click(f"#tab-{part}")
    assert browser.run(
        "return window.stolen === undefined && document.querySelectorAll('img, main svg svg, iframe').length === 0"
    )
    assert browser.complaints() == []
    assert all(address.startswith(("file:", "data:")) for address in browser.requests())
