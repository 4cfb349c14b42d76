"""What a visitor does in a real browser, for the tests that drive it."""

from contextlib import contextmanager

from tests.app.finetunings_here import wav
from tests.app.test_runs import clip, evaluation, row

PATIENCE = 60_000  # ms
PHONE = {"width": 390, "height": 844}
FLAGS = [
    "--no-sandbox", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip


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


def choose(page, name, label):
    """One of a dropdown's choices."""
    page.locator(f"#{name} input").first.click()
    page.get_by_role("option", name=label, exact=True).click()
    page.keyboard.press("Escape")


def state(page, words):
    page.wait_for_function(
        "words => document.querySelector('#ft-state').innerText.includes(words)", arg=words
    )
