"""The page in a real browser: every control is used as a visitor uses it."""

import re
from contextlib import contextmanager
from pathlib import Path

import pytest

from musicgen_train.app.takes import read_settings
from tests.app.finetunings_here import wav
from tests.app.served_page import chromium, served
from tests.app.test_runs import clip, evaluation, row

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install -e .[dev]"
)
pytestmark = pytest.mark.skipif(chromium() is None, reason="needs a chromium on the PATH")

PATIENCE = 60_000  # ms
PHONE = {"width": 390, "height": 844}
_FLAGS = [
    "--no-sandbox", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


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
    with sync_api.sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium(), args=_FLAGS)
        yield running
        running.close()


@pytest.fixture
def tab(here, browser):
    with opened(here, browser) as page:
        yield page


@contextmanager
def opened(here, browser, **options):
    """A visitor of their own, whose page must end without an error of a script."""
    context = browser.new_context(accept_downloads=True, **options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    arrive(page, here.url)
    yield page
    context.close()
    assert not faults


def arrive(page, url):
    """Open the page, and wait until it knows its visitor."""
    page.goto(url)
    page.wait_for_selector("#generate")
    page.wait_for_function("localStorage.getItem('musicgen_train-visitor') !== null")
    page.wait_for_timeout(500)


def write_adapter_of_tiny(folder):
    from musicgen_train import MusicGen
    from tests.adapters.small_adapters import trained, write

    model = MusicGen.get_pretrained("tiny", "cpu")
    write(model.lm, trained(model.lm), folder)


def write_evaluation(folder, value):
    """What evaluate.py leaves, with one clip."""
    wav(folder / "audio/text/000.wav")
    clips = [clip("000", "calm piano", generated="audio/text/000.wav")]
    evaluation(folder, row("kad.judge", value), clips=clips)


def more(page):
    """Open the accordion of the rarer controls."""
    if not page.locator("#seed input").is_visible():
        page.locator("#more button").first.click()
    page.wait_for_selector("#seed input")


def put(page, name, value):
    """A number into a control."""
    box = page.locator(f"#{name} input").first
    box.fill(str(value))
    box.press("Tab")


def ask(page, text="calm piano", duration=1, seed=None):
    page.fill("#text textarea", text)
    put(page, "duration", duration)
    if seed is not None:
        more(page)
        put(page, "seed", seed)
    press(page)


def press(page):
    """Generate; the line of the music before, if there is one, is marked as old."""
    page.evaluate("document.querySelector('#status .status')?.setAttribute('data-old', '')")
    page.click("#generate")


def done(page, words="Done"):
    """Wait for a new line with these words, and return it."""
    line = "#status .status:not([data-old])"
    page.wait_for_function(
        "([line, words]) => document.querySelector(line)?.innerText.includes(words)",
        arg=[line, words],
    )
    return page.inner_text(line)


def facts(card):
    """The settings that a card tells."""
    card.locator("summary").click()
    names, values = card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts()
    return dict(zip(names, values, strict=True))


def test_a_text_becomes_music_that_plays(tab):
    ask(tab, "calm piano", 1, seed=7)
    assert "Seed 7." in done(tab)
    card = tab.locator(".take")
    assert card.count() == 1
    assert card.locator("h4").inner_text() == "calm piano"
    card.locator(".play").click()
    tab.wait_for_function("document.querySelector('.take audio').currentTime > 0.2")
    tab.wait_for_function("document.querySelector('.take .picture').naturalWidth > 100")


@pytest.mark.slow
def test_the_music_is_heard_while_it_is_made(tab):
    ask(tab, duration=30)
    tab.wait_for_selector("#live audio")
    tab.wait_for_function("document.querySelector('#live audio').currentTime > 0.5")
    assert re.search(r"of 30 s", tab.inner_text("#status"))
    assert not tab.locator("#generate").is_enabled()
    tab.click("#cancel")
    done(tab, "Stopped")
    assert tab.locator("#generate").is_enabled()
    assert tab.locator(".take").count() == 0
    ask(tab, duration=1)  # and it can go on with something else
    done(tab)


@pytest.mark.slow
def test_every_control_of_the_form_is_in_the_music(tab):
    more(tab)
    assert tab.locator("#seed input").input_value() == ""  # and so it is a random one
    tab.fill("#negative-text textarea", "drums")
    values = {
        "seed": 11, "cfg-coef": 2.5, "temperature": 0.9, "top-k": 100, "top-p": 0.8, "variants": 2,
    }  # fmt: skip
    for name, value in values.items():
        put(tab, name, value)
    ask(tab, "fast drums", 1.5)
    assert "11, 12" in done(tab)
    told = facts(tab.locator(".take").last)
    assert told == {
        "text": "fast drums", "model": "tiny", "not": "drums", "duration": "1.5 s", "seed": "11",
        "guidance": "2.5", "temperature": "0.9", "top-k": "100", "top-p": "0.8",
    }  # fmt: skip


@pytest.mark.slow
def test_an_example_fills_the_form_and_a_melody_is_followed(tab):
    tab.get_by_text("folk tune on a flute").click()
    tab.wait_for_function("document.querySelector('#text textarea').value.includes('folk tune')")
    tab.wait_for_selector("#melody audio", state="attached")
    put(tab, "duration", 1)
    press(tab)
    done(tab)
    assert facts(tab.locator(".take").first)["melody"] == "frere_jacques.wav"


@pytest.mark.slow
def test_a_melody_is_uploaded_and_only_where_the_model_takes_one(tab, tmp_path):
    tab.locator("#melody-box button").first.click()
    tab.set_input_files("#melody input[type=file]", wav(tmp_path / "my tune.wav", 2, 16_000, 400))
    ask(tab)
    done(tab)
    assert facts(tab.locator(".take").first)["melody"] == "my tune.wav"
    choose(tab, "model", "small")
    tab.wait_for_function("document.querySelector('#model').innerText.includes('downloaded')")
    tab.wait_for_selector("#melody-box", state="hidden")


@pytest.mark.slow
def test_a_melody_is_recorded(tab):
    tab.locator("#melody-box button").first.click()
    tab.locator("#melody").get_by_label("Record audio").first.click()
    tab.locator("#melody .record-button").first.click()
    tab.wait_for_timeout(1500)
    tab.locator("#melody .stop-button").first.click()
    tab.wait_for_timeout(1500)
    ask(tab)
    said = done(tab, "")
    assert "melody" in facts(tab.locator(".take").first) or "silent" in said


@pytest.mark.slow
def test_what_cannot_be_is_said_in_a_line_and_the_page_goes_on(tab, tmp_path):
    tab.locator("#prompt-box button").first.click()
    bad = tmp_path / "words.wav"
    bad.write_text("no music")
    tab.set_input_files("#prompt input[type=file]", bad)
    ask(tab)
    assert "words.wav" in done(tab, "words.wav")
    assert tab.locator("#status .failed").count() == 1
    assert tab.locator("#generate").is_enabled()


@pytest.mark.slow
def test_a_reload_in_the_middle_follows_on_and_keeps_the_takes(tab, here):
    ask(tab, "first", 1)
    done(tab)
    ask(tab, "second", 20)
    tab.wait_for_function("document.querySelector('#status').innerText.includes('of 20 s')")
    arrive(tab, here.url)
    assert tab.locator(".take").count() == 1
    tab.wait_for_function("document.querySelector('#status').innerText.includes('of 20 s')")
    assert tab.locator("#cancel").is_enabled()
    done(tab)
    assert tab.locator(".take").count() == 2
    arrive(tab, here.url)
    tab.wait_for_function("document.querySelectorAll('.take').length === 2")


@pytest.mark.slow
def test_another_visitor_sees_none_of_it(tab, here, browser):
    ask(tab)
    done(tab)
    with opened(here, browser) as other:
        assert other.locator(".take").count() == 0


@pytest.mark.slow
def test_the_buttons_of_a_take(tab, tmp_path):
    ask(tab, "calm piano", 1, seed=3)
    done(tab)
    card = tab.locator(".take").first
    saved = {}
    for format in ("wav", "flac", "mp3"):
        with tab.expect_download() as download:
            card.get_by_text(format, exact=True).click()
        saved[format] = tmp_path / download.value.suggested_filename
        download.value.save_as(saved[format])
        assert saved[format].suffix == f".{format}"
        assert read_settings(saved[format])["seed"] == 3
    tab.fill("#text textarea", "other")
    card.get_by_text("Use these settings").click()
    tab.wait_for_function("document.querySelector('#text textarea').value === 'calm piano'")
    assert tab.locator("#seed input").input_value() == "3"
    card.get_by_text("Continue this one").click()
    tab.wait_for_function("document.querySelector('#duration input').value === '9'")
    tab.wait_for_selector("#prompt audio", state="attached")
    put(tab, "duration", 2)
    press(tab)
    done(tab)
    assert "continues" in facts(tab.locator(".take").first)
    tab.fill("#text textarea", "other")
    with tab.expect_file_chooser() as chooser:
        tab.click("#refill")
    chooser.value.set_files(saved["mp3"])
    tab.wait_for_function("document.querySelector('#text textarea').value === 'calm piano'")
    tab.locator(".take").first.get_by_text("Remove").click()
    tab.wait_for_function("document.querySelectorAll('.take').length === 1")


@pytest.mark.slow
def test_two_takes_are_compared_at_one_position(tab):
    more(tab)
    put(tab, "variants", 2)
    ask(tab, "calm piano", 6)
    done(tab)
    cards = tab.locator(".take")
    cards.nth(0).get_by_text("As A").click()
    cards.nth(1).get_by_text("As B").click()
    tab.evaluate(_SPY)
    tab.locator(".ab-play").click()
    tab.wait_for_function("window.sides().A.time > 0.5")
    sides = tab.evaluate("window.sides()")
    assert abs(sides["A"]["time"] - sides["B"]["time"]) < 0.2
    assert not sides["A"]["muted"] and sides["B"]["muted"]
    tab.locator("body").press("x")
    assert tab.evaluate("window.sides().A.muted && !window.sides().B.muted")
    tab.locator(".ab-swap").click()
    assert tab.evaluate("!window.sides().A.muted && window.sides().B.muted")
    tab.locator(".ab-play").click()
    assert tab.evaluate("window.sides().A.paused && window.sides().B.paused")
    tab.locator(".ab-close").click()
    tab.wait_for_selector(".ab", state="hidden")


# The two players are in no document; what was played last is noted here.
_SPY = """() => {
  const known = {};
  const play = HTMLMediaElement.prototype.play;
  HTMLMediaElement.prototype.play = function () {
    if (this.dataset.side) known[this.dataset.side] = this;
    return play.call(this);
  };
  const tell = (one) => ({ time: one.currentTime, muted: one.muted, paused: one.paused });
  window.sides = () => ({ A: known.A ? tell(known.A) : {}, B: known.B ? tell(known.B) : {} });
}"""


@pytest.mark.slow
def test_an_adapter_gets_a_slider_and_is_in_the_music(tab):
    choose(tab, "adapters", "runs/mine")
    tab.wait_for_function("document.querySelector('#weight-0')?.innerText.includes('runs/mine')")
    assert "my style" in tab.inner_text("#weight-0")
    put(tab, "weight-0", 0.5)
    ask(tab)
    done(tab)
    assert facts(tab.locator(".take").first)["adapters"] == "runs/mine × 0.5"


def choose(page, name, label):
    """One of a dropdown's choices."""
    page.locator(f"#{name} input").first.click()
    page.get_by_role("option", name=label, exact=True).click()
    page.keyboard.press("Escape")


@pytest.mark.slow
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["wide", "phone"])
def test_nothing_sticks_out_whatever_the_text(here, browser, size):
    texts = [
        "x" * 300,
        "<img src=x onerror=window.broken=1> ${broken} {{broken}}",
        "موسيقى 🎹 " * 40,
    ]
    with opened(here, browser, viewport=size) as page:
        for text in texts:
            ask(page, text, 1)
            done(page)
            page.wait_for_function(
                "text => document.querySelector('.take h4').textContent === text", arg=text.strip()
            )
            page.wait_for_timeout(300)
        for name in ("Generate", "Fine-tune", "Evaluate"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(1500)
            assert page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
        assert page.evaluate("window.broken === undefined")


@pytest.mark.slow
def test_songs_are_fine_tuned_stopped_gone_on_with_and_used(tab, here, tmp_path):
    tab.get_by_role("tab", name="Fine-tune").click()
    songs = [wav(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav")]
    (tmp_path / "no song.wav").write_text("words")
    tab.set_input_files("#songs input[type=file]", [*songs, tmp_path / "no song.wav"])
    tab.wait_for_function("document.querySelectorAll('#gathered input').length === 3")
    assert "no song.wav" in tab.inner_text("#ft-said")
    tab.locator("#gathered input").last.check()
    tab.click("#remove-songs")
    tab.wait_for_function("document.querySelectorAll('#gathered input').length === 2")
    tab.fill("#run-name input, #run-name textarea", "in_the_browser")
    tab.locator("#ft-more button").first.click()
    assert tab.locator("#ft-steps input").input_value() == ""
    tab.click("#estimate")
    state(tab, "Estimate: 1 song")
    tab.fill("#trigger input, #trigger textarea", "wait")
    tab.click("#ft-start")
    state(tab, "step 3")
    arrive(tab, here.url)  # in the middle
    tab.get_by_role("tab", name="Fine-tune").click()
    state(tab, "step 3")
    tab.click("#ft-stop")
    state(tab, "goes on")
    assert tab.locator("#run-name input, #run-name textarea").input_value() == "in_the_browser"
    tab.fill("#trigger input, #trigger textarea", "well")
    tab.click("#ft-start")
    state(tab, "Done")
    tab.get_by_text("Captions: what training is told of each song (1)").click()
    cell = tab.locator("#captions [role=gridcell][data-col='1']").first
    cell.dblclick()
    tab.keyboard.press("Control+A")
    tab.keyboard.type("a lively tune")
    tab.keyboard.press("Enter")
    tab.click("#save-captions")
    tab.wait_for_timeout(1500)
    run = Path(here.parts.runs_dir) / "in_the_browser"
    assert "a lively tune" in (run / "captions.jsonl").read_text()


def state(page, words):
    page.wait_for_function(
        "words => document.querySelector('#ft-state').innerText.includes(words)", arg=words
    )


@pytest.mark.slow
def test_evaluations_stand_side_by_side(tab):
    tab.get_by_role("tab", name="Evaluate").click()
    tab.wait_for_selector("#evaluation table")
    for label in ("first", "second"):
        if label not in tab.inner_text("#evaluations"):
            choose(tab, "evaluations", label)
    tab.wait_for_function(
        "document.querySelector('#evaluation').innerText.includes('second better')"
    )
    assert tab.locator("#evaluation .players audio").count() >= 2
