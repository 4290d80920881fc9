"""The report in a real browser, from file://. Skipped where there is no Chromium; `.ci/run` installs one."""

import shutil
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from disk import HOSTILE, put_everything, put_photographed, put_run
from PIL import Image

from deepinside.html_report import write_report
from deepinside.html_report.single_file import write_single_file

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
SERIOUS = {"serious", "critical"}
SLIDER = "img-comparison-slider"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("ü results #1 100%")
    put_everything(found)
    put_photographed(found)
    write_report(found)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as program:
        found = program.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that must stay without complaints, and that nobody outside the folder is asked from."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found = context.new_page()
    complaints: list[str] = []
    found.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("dialog", lambda dialog: (complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
    found.on("requestfailed", lambda request: complaints.extend(missing(request)))
    found.on("request", lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url))
    yield found
    context.close()
    assert complaints == []


def missing(request: Any) -> list[str]:
    """What cannot be loaded; what the reader no longer waits for, having gone elsewhere, is none of it."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"{request.failure}: {request.url}"]


def path_of(root: Path, pattern: str) -> Path:
    (found,) = root.glob(pattern)
    return found


def address(root: Path, pattern: str, place: str = "") -> str:
    return path_of(root, pattern).as_uri() + (f"#{place}" if place else "")


def rows(page: Any) -> list[str]:
    return [row.inner_text() for row in page.query_selector_all("tbody tr") if row.is_visible()]


def until(page: Any, expression: str) -> None:
    """Wait until it is true; Playwright's own way needs `eval`, which the pages forbid."""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"never came true: {expression}")


PAGES = ["index.html", "report/runs.html", "report/class-models.html", "report/experiments/fig2.html"]
PAGES += ["report/sweeps/*.html", "report/runs/localisation*.html"]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(root: Path, browser: Any, colours: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme=colours)
    page = context.new_page()
    for pattern in PAGES if colours == "light" else [PAGES[0], PAGES[5]]:
        page.goto(address(root, pattern))
        found = Axe().run(page, options={"preload": False}).response["violations"]
        faults = [(fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in SERIOUS]
        assert faults == [], pattern
    context.close()


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_the_screen(root: Path, browser: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800})
    page = context.new_page()
    for pattern in PAGES:
        page.goto(address(root, pattern))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), pattern
    context.close()


def test_every_page_opens_without_complaints(root: Path, page: Any) -> None:
    for path in [root / "index.html", *root.glob("report/**/*.html")]:
        page.goto(path.as_uri())
        assert page.title().endswith("deepinside")
        assert page.get_attribute("html", "lang") == "en"
        assert page.query_selector_all("img:not([alt])") == []


def test_links_lead_from_the_overview_to_a_run_and_back(root: Path, page: Any) -> None:
    page.goto(address(root, "index.html"))
    page.click(".problems a >> nth=0")
    assert "This run failed" in page.inner_text("main")
    page.click(".crumbs a >> nth=0")
    assert "Looking inside" in page.inner_text("h1")
    page.go_back()
    assert "This run failed" in page.inner_text("main")


def test_hostile_names_are_shown_as_text(root: Path, page: Any) -> None:
    page.goto(address(root, "index.html"))
    assert HOSTILE in page.inner_text(".problems")
    page.goto(address(root, "report/runs/fig2--net--images*.html"))
    page.select_option("[name=item]", index=2)
    assert page.inner_text("h1") == "<script>alert(3)</script>"
    titles = page.inner_text("main")
    assert "<script>alert(2)" in titles and 'it\'s "q" #1 100% ü' in titles
    assert all(page.eval_on_selector_all("#stage img", "all => all.map(one => one.complete && one.naturalWidth > 0)"))


# each as soon as the last has happened: sorting, which comes a little later, must not make a new step
THREE_STEPS_BACK = """async () => {
    const soon = window.setTimeout;
    window.setTimeout = (work, wait) => soon(work, wait + 50);
    for (let i = 0; i < 3; i++) {
        const gone = new Promise(done => addEventListener("popstate", done, { once: true }));
        history.back();
        await gone;
    }
    await new Promise(done => soon(done, 200));
}"""


def test_a_table_is_filtered_and_sorted_and_the_back_button_undoes_it(root: Path, page: Any) -> None:
    page.goto(address(root, "report/sweeps/*.html"))
    assert len(page.query_selector_all("#runs tbody tr")) == 3
    page.select_option("[name=Status]", "done")
    assert "2 of 3 rows" in page.inner_text(".count")
    page.click("#runs th button >> text=score")
    until(page, "location.hash.includes('sort=')")
    first = "#runs tbody tr:not([hidden]) td:nth-child(2)"
    assert page.inner_text(first) == "0.01"
    page.click("#runs th button >> text=score")
    until(page, "location.hash.endsWith('-')")
    assert page.inner_text(first) == "0.001"
    assert page.get_attribute("#runs th:has-text('score')", "aria-sort") == "descending"
    page.reload()
    until(page, "document.querySelector('th[aria-sort=descending]')")
    assert page.inner_text(first) == "0.001" and "2 of 3 rows" in page.inner_text(".count")
    page.evaluate(THREE_STEPS_BACK)
    assert page.evaluate("location.hash") == ""
    until(page, "document.querySelector('.count').textContent === '3 rows'")


def test_words_are_searched_for(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs.html"))
    page.fill("[name=q]", "LOCAL net")
    assert page.inner_text(".count").startswith("1 of")
    assert "q=LOCAL" in page.url


def test_the_slider_is_moved_by_keys_and_mouse(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs/fig2--net--default*.html"))
    slider = page.wait_for_selector(SLIDER)
    assert slider.get_attribute("aria-valuenow") == "50"
    slider.focus()
    page.keyboard.down("ArrowRight")
    until(page, f"document.querySelector('{SLIDER}').value > 60")
    page.keyboard.up("ArrowRight")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 20)
    assert abs(int(slider.get_attribute("aria-valuenow")) - 25) <= 2


def test_colours_of_a_map_can_be_chosen_and_are_drawn(root: Path, page: Any) -> None:
    """The pixels on the screen change, so the filter works from file:// where no script may read a picture."""
    page.goto(address(root, "report/runs/fig2--net--default*.html", "view=side&a=photo&b=map"))
    drawn = [page.locator("#stage img").nth(1).screenshot() for _ in range(2)]
    assert drawn[0] == drawn[1]
    page.select_option("[name=map]", "inferno")
    assert "map-inferno" in page.evaluate("document.querySelectorAll('#stage img')[1].style.filter")
    page.select_option("[name=map]", "cividis")
    assert page.locator("#stage img").nth(1).screenshot() != drawn[0]
    page.go_back()
    until(page, "document.querySelector('[name=map]').value === 'inferno'")


def test_overlay_and_blink(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs/fig2--net--default*.html", "view=overlay&opacity=30"))
    over = page.locator(".stack > *").nth(1)
    assert over.evaluate("one => one.style.opacity") == "0.3"
    page.fill("[name=opacity]", "80")
    assert over.evaluate("one => one.style.opacity") == "0.8" and "opacity=80" in page.url
    page.check("[value=blink]")
    assert over.is_hidden()
    page.wait_for_selector(".stack.swapped")
    assert over.is_visible()


def colour_at(page: Any, across: float, down: float) -> tuple[int, ...]:
    """The colour of the stage's first frame at a place, in fractions of its width and height."""
    frame = page.locator("#stage .frame").first
    picture = Image.open(BytesIO(frame.screenshot())).convert("RGB")
    return picture.getpixel((int(across * picture.width), int(down * picture.height)))  # type: ignore[return-value]


def test_a_photo_is_shown_as_taken_and_its_map_over_the_part_that_is_seen(root: Path, page: Any) -> None:
    """The photo is blue but for its middle, which is all that the network sees; the map is high on its left."""
    place = "report/runs/photographed--*.html"
    page.goto(address(root, place, "view=overlay&opacity=100&unboxed=on"))
    page.wait_for_selector(".stack img >> nth=1")
    assert page.evaluate("document.querySelector('#stage img').naturalWidth") == 400
    blue, red = (0, 0, 255), (255, 0, 0)
    assert near(colour_at(page, 0.1, 0.5), blue) and near(colour_at(page, 0.65, 0.5), red)  # clear where it is low
    assert near(colour_at(page, 0.35, 0.5), INFERNO_END)
    page.check("[name=solid]")
    until(page, "location.hash.includes('solid')")
    assert near(colour_at(page, 0.65, 0.5), (0, 0, 4))
    page.check("[name=cropped]")
    until(page, "location.hash.includes('cropped')")
    assert near(colour_at(page, 0.1, 0.5), INFERNO_END)
    page.goto(address(root, place, "view=side"))
    page.wait_for_selector("#stage svg.part rect")
    (x, frame) = (page.locator("#stage rect").first.bounding_box(), page.locator("#stage .frame").first.bounding_box())
    assert abs((x["x"] - frame["x"]) / frame["width"] - 0.375) < 0.03  # a quarter into the middle half
    page.check("[name=unboxed]")
    until(page, "!document.querySelector('#stage rect')")


INFERNO_END = (252, 255, 164)


def near(colour: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(colour, other, strict=True))


def test_right_and_wrong_are_words_in_viewer_and_gallery(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs/photographed--*.html"))
    assert page.inner_text("#item-verdict") == "wrong: labelled tabby"
    assert page.inner_text(".items .judged.wrong") == "wrong: labelled tabby"


def test_who_wants_less_motion_swaps_by_hand(root: Path, browser: Any) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(address(root, "report/runs/fig2--net--default*.html", "view=blink"))
    page.wait_for_timeout(900)
    assert page.query_selector(".stack.swapped") is None
    page.click("[name=swap]")
    assert page.query_selector(".stack.swapped") is not None
    context.close()


def test_a_run_of_one_picture_shows_it_alone(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs/fig2--net--technique.l2=0.01-*.html"))
    assert page.get_attribute("#viewer", "data-view") == "one"
    assert page.locator("#stage img").is_visible() and page.locator("[name=item]").is_hidden()


def test_a_picture_leads_to_the_viewer(root: Path, page: Any) -> None:
    page.goto(address(root, "report/runs/localisation*.html"))
    page.click(".strip figure a >> nth=-1")
    until(page, "document.querySelector('[name=item]').value === 'cup'")
    assert page.input_value("[name=b]") == "map_2"
    page.go_back()
    until(page, "document.querySelector('[name=item]').value === 'cat'")


def test_class_models_of_two_networks_stand_side_by_side(root: Path, page: Any) -> None:
    page.goto(address(root, "report/class-models.html"))
    page.wait_for_selector(".side tbody tr")
    heads = page.eval_on_selector_all(".side thead small", "all => all.map(one => one.textContent)")
    assert set(heads) == {"net", "other"}
    before = len(heads)
    page.click("button.plain >> nth=0")
    until(page, f"document.querySelectorAll('.side thead small').length === {before - 1}")
    page.select_option("[name=add]", index=1)
    until(page, f"document.querySelectorAll('.side thead small').length === {before}")
    page.select_option("[name=panel]", "clearer")
    until(page, "document.querySelectorAll('.side tbody img').length > 0")
    images = page.eval_on_selector_all(".side tbody img", "all => all.map(one => one.alt)")
    assert all(alt.endswith("clearer") for alt in images)


def test_without_scripts_the_pictures_are_there(root: Path, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address(root, "report/runs/fig2--net--default*.html"))
    assert page.locator(".strip img").count() == 4
    context.close()


def test_the_keyboard_reaches_the_content_first(root: Path, page: Any) -> None:
    page.goto(address(root, "index.html"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_run_in_one_file_works_alone(root: Path, tmp_path: Path, page: Any) -> None:
    (place,) = root.glob("localisation/net/default")
    alone = shutil.move(write_single_file(place), tmp_path / "sent.html")
    page.goto(alone.as_uri())
    page.select_option("[name=item]", "cup")
    page.select_option("[name=b]", "map")
    page.select_option("[name=map]", "viridis")
    assert "map-viridis" in page.evaluate("document.querySelectorAll('#stage img')[1].style.filter")
    assert all(page.eval_on_selector_all("img", "all => all.map(one => !one.src || one.complete)"))
    assert all(page.eval_on_selector_all("#stage img", "all => all.map(one => one.naturalWidth > 0)"))


def test_a_claim_is_a_dot_in_the_part_that_meets_the_threshold(root: Path, page: Any) -> None:
    page.goto(address(root, "index.html"))
    boxes = [page.locator(f".bar-axis {name}").first.bounding_box() for name in (".meets", "circle", ".threshold")]
    meets, dot, threshold = boxes
    assert meets["width"] > 20 and dot["x"] > threshold["x"]
    assert "Measured: 2.5" in page.locator(".claim").first.inner_text()


def test_a_row_of_all_runs_is_a_link_and_fits_a_phone(root: Path, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.goto(address(root, "report/runs.html"))
    row = page.locator("table.runs tbody tr").first
    box = row.bounding_box()
    assert box["width"] <= 360
    row.click(position={"x": box["width"] - 5, "y": box["height"] - 5})
    assert "/report/runs/" in page.url
    context.close()


def test_a_point_of_a_curve_says_its_value(root: Path, page: Any) -> None:
    page.goto(address(root, "report/sweeps/*.html"))
    said = page.eval_on_selector_all(".charts .point title", "all => all.map(one => one.textContent)")
    assert said == ["0.001: 1000", "0.01: 100"]


@pytest.mark.slow
def test_five_hundred_runs_open_in_a_moment(tmp_path: Path, page: Any) -> None:
    """In two seconds and 20 MB, whatever the page loads at first counted."""
    put_many(tmp_path, 500)
    write_report(tmp_path)
    loaded: list[Path] = []
    page.on("requestfinished", lambda request: loaded.append(request.url))
    for name in ("index.html", "report/runs.html"):
        started = time.perf_counter()
        page.goto(address(tmp_path, name), wait_until="load")
        assert time.perf_counter() - started < 2
    assert len(page.query_selector_all("#runs tbody tr")) == 500
    assert sum(Path(unquote(urlparse(url).path)).stat().st_size for url in set(loaded)) < 20e6


def put_many(root: Path, count: int) -> None:
    place = put_run(root, items=["a", "b", "c"], side=64)
    for seed in range(1, count):
        other = root / f"fig{seed % 20}" / "net" / f"seed={seed}"
        shutil.copytree(place, other, ignore=shutil.ignore_patterns("panels"))
        shutil.copytree(place / "panels", other / "panels", copy_function=lambda a, b: Path(b).hardlink_to(a))
