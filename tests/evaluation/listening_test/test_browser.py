"""The whole way of a listener, in a real browser, from the command to the results."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.evaluation.listening_test.small_listening import SYSTEMS, TEXTS, write_systems

ROOT = Path(__file__).parents[3]
NAMES = ("chromium", "google-chrome", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
def page():
    """A page of a headless browser; any error on it fails the test."""
    if CHROMIUM is None:
        # In CI it must be there: a test that is always skipped tests nothing.
        assert not os.environ.get("CI"), "no chromium: .ci/run installs it"
        pytest.skip("no chromium on PATH: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    errors = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--mute-audio"],
        )
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
        browser.close()
    assert errors == []


@pytest.fixture
def address(tmp_path):
    """The address that the command prints; ended as by Ctrl-C, it ends well and leaves nothing."""
    folders = write_systems(tmp_path, duration=0.6)
    options = ["--texts", "texts.json", "--melodies", "melodies", "--port", "0"]
    options += ["--n-trials", "2", "--repeats", "1"]
    (tmp_path / "temporary").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "musicgen_train.evaluation.listening_test", *folders, *options],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temporary")},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        told = ""
        while "Ctrl-C" not in told:
            line = server.stdout.readline()
            assert line, told
            told += line
        yield re.findall(r"listening test: (\S+)", told)[0]
        server.send_signal(signal.SIGINT)
        rest = server.communicate(timeout=10)[0]
        assert server.returncode == 0 and "Traceback" not in rest, rest
        assert list((tmp_path / "temporary").iterdir()) == []
    finally:
        server.kill()
        server.wait()


def rate(page, points):
    """Play every clip and move every slider; question by question, `points` for A, then B."""
    from playwright.sync_api import expect

    for place, cards in enumerate(page.locator(".clip").all()):
        sliders = cards.locator(".question input")
        cards.locator(".play").click()
        expect(sliders.first).to_be_enabled()
        for slider in sliders.all():
            slider.fill(str(points[place]))


def test_a_listener_takes_the_test_reloads_in_the_middle_and_finishes(page, address, tmp_path):
    from playwright.sync_api import expect

    page.goto(address)
    expect(page.locator("h1:visible")).to_have_text("Listening test")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#place")).to_have_text("Page 1 of 3")
    expect(page.locator("#text")).to_have_text(re.compile("piece"))

    # Nothing can be rated unheard, and nothing is sent unrated.
    expect(page.get_by_label("Overall quality, clip A")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#error")).to_have_text("Listen to A, B first.")
    page.keyboard.press("a")  # plays A
    expect(page.get_by_label("Overall quality, clip A")).to_be_enabled()
    expect(page.get_by_label("Overall quality, clip B")).to_be_disabled()
    page.keyboard.press("b")
    expect(page.get_by_label("Overall quality, clip B")).to_be_enabled()
    page.get_by_label("Overall quality, clip A").press("ArrowRight")
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#error")).to_have_text("Move the 5 sliders that are marked.")

    # A reload keeps the page and what was set on it.
    page.reload()
    expect(page.locator("#place")).to_have_text("Page 1 of 3")
    expect(page.locator("output").first).to_have_text("51")
    rate(page, (80, 30))
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#place")).to_have_text("Page 2 of 3")
    page.reload()
    expect(page.locator("#place")).to_have_text("Page 2 of 3")
    for number in (2, 3):
        rate(page, (80, 30))
        page.get_by_role("button", name="Finish" if number == 3 else "Next").click()
        if number < 3:
            expect(page.locator("#place")).to_have_text(f"Page {number + 1} of 3")
    expect(page.locator("h1:visible")).to_have_text("Thank you!")
    page.reload()
    expect(page.locator("h1:visible")).to_have_text("Thank you!")

    rows = [json.loads(line) for line in (tmp_path / "listening_test.jsonl").open()]
    assert len(rows) == 3 * 2 * 3 and {row["listener"] for row in rows} == {"Ada"}
    assert len({row["name"] for row in rows}) == 2 and {row["name"] for row in rows} < set(TEXTS)
    assert [row["repeat"] for row in rows] == [0] * 12 + [1] * 6
    assert {row["system"] for row in rows} == set(SYSTEMS)
    assert all(row["rating"] == (80 if row["position"] == 1 else 30) for row in rows)
    assert all(row["heard"] >= 0.25 and row["seconds"] > 0 for row in rows)

    page.goto(f"{address}/results")
    expect(page.locator("p").first).to_contain_text("18 ratings of 2 prompts by 1 listener")
    for system in SYSTEMS:
        expect(page.locator("td.name", has_text=re.compile(f"^{system}$")).first).to_be_visible()
