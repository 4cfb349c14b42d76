"""A running page with two evaluations and an adapter, and a browser to open it in."""

import pytest

from tests.app.browsing import FLAGS, opened, write_adapter_of_tiny, write_evaluation
from tests.app.served_page import chromium, served


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    write_adapter_of_tiny(folder / "runs/mine/adapter")
    write_evaluation(folder / "runs/first", 10.0)
    write_evaluation(folder / "runs/second", 8.0)
    with served(folder, max_duration=60.0) as page:
        yield page


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright: pip install -e .[dev]"
    )
    if chromium() is None:
        pytest.skip("needs a chromium on the PATH")
    with sync_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def tab(here, browser):
    with opened(here, browser) as page:
        yield page
