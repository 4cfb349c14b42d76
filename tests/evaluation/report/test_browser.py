"""What only a browser shows: sorting, filtering, playing, and the width of a telephone."""

import shutil
from pathlib import Path

import pytest

from musicgen_train.evaluation.report.compare_page import write_comparison
from musicgen_train.evaluation.report.page import write_report
from musicgen_train.evaluation.report.run_comparison import compare_runs
from musicgen_train.evaluation.report.runs import read_runs
from tests.evaluation.report.small_runs import clip, measured, write_run

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

KL = {"a": 0.5, "b2": 10.0, "b10": 2.0, "c": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    rows = [measured("kl.judge", 4.0, interval=(1.0, 8.0), bad_end=9.0, bad_end_is="others")]
    clips = [clip(key, {"kl.judge": value}, f"text of {key}") for key, value in KL.items()]
    write_report(write_run(root / "one", rows, clips), root / "report")
    write_run(root / "two", rows, clips)
    compared = compare_runs(read_runs([root / "one", root / "two"]))
    write_comparison(compared, root / "compared")
    return root


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, folder):
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto((folder / "report" / "index.html").as_uri())
    yield page
    page.close()
    assert not errors


def order(page) -> list[str]:
    return page.eval_on_selector_all("#clip-table tbody td.key", "e => e.map(x => x.textContent)")


def test_a_click_sorts_by_number_and_another_turns_it_with_missing_values_last(page):
    head = page.locator("#clip-table th", has_text="KL judge")
    head.locator("button").click()
    assert order(page) == ["a", "b10", "b2", "c"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert order(page) == ["b2", "b10", "a", "c"]
    assert head.get_attribute("aria-sort") == "descending"


def test_names_sort_as_people_count_and_the_keyboard_does_it_too(page):
    page.locator("#clip-table th button", has_text="Clip").focus()
    page.keyboard.press("Enter")
    assert order(page) == ["a", "b2", "b10", "c"]
    page.keyboard.press("Space")
    assert order(page) == ["c", "b10", "b2", "a"]


def test_the_filter_leaves_rows_with_all_its_words(page):
    page.fill("#filter", "TEXT b1")
    assert page.locator("#clip-table tbody tr:visible").count() == 1
    assert page.inner_text("#shown") == "1 of 4 clips"


def test_a_player_is_made_when_a_clip_is_played_and_only_one_plays(page):
    assert page.locator(".player").count() == 0
    page.locator("a.play", has_text="Generated").first.click()
    page.locator("a.play", has_text="Reference").first.click()
    assert page.locator(".player audio").count() == 1
    assert page.locator(".player audio").get_attribute("src") == "audio/reference/a.wav"
    assert page.locator("a.play.on").count() == 1


@pytest.mark.parametrize("place", ["report", "compared"])
def test_a_telephone_never_scrolls_sideways_and_nothing_comes_from_the_web(browser, folder, place):
    page, asked = browser.new_page(viewport={"width": 390, "height": 800}), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / place / "index.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert all(url.startswith("file:") for url in asked)
    page.close()


def test_hardly_a_sound_is_loaded_before_it_is_played(browser, folder):
    page, asked = browser.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "report" / "index.html").as_uri())
    page.wait_for_timeout(200)
    assert not [url for url in asked if url.endswith((".wav", ".flac"))]
    page.close()
