"""The page for those who see little, use no mouse, or have to sign in: in a real browser."""

import pytest

from tests.app.browsing import ask, done, more, opened
from tests.app.served_page import served

pytestmark = pytest.mark.slow
LEAST = 4.5  # of https://www.w3.org/TR/WCAG22/#contrast-minimum

# Texts that stand out too little from the nearest thing that is painted behind them.
_PALE = """least => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05;
  const behind = element => {
    for (; element; element = element.parentElement) {
      const [r, g, b, a = 1] = parts(getComputedStyle(element).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const words = element => [...element.childNodes].map(
    node => node.nodeType === Node.TEXT_NODE ? node.textContent : '').join('').trim();
  const tags = 'button, a, p, span, label, h1, h4, td, th, summary, dt, dd, div';
  return [...document.querySelectorAll(tags)].flatMap(element => {
    if (!element.offsetParent || element.disabled || !words(element)) return [];
    if (element.closest(':disabled')) return [];
    const pair = [light(parts(getComputedStyle(element).color)), light(behind(element))];
    const contrast = Math.max(...pair) / Math.min(...pair);
    return contrast < least ? [`${words(element)}: ${contrast.toFixed(2)}`] : [];
  });
}"""

# What can be used and is called nothing. The live player is Gradio's own.
_NAMELESS = """() => [...document.querySelectorAll('input, textarea, select, button, [tabindex]')]
  .filter(one => one.offsetParent && !one.closest('#live'))
  .filter(one => ![
    one.getAttribute('aria-label'), one.getAttribute('aria-labelledby'), one.title, one.innerText,
    ...[...(one.labels || [])].map(label => label.innerText),
  ].some(name => name && name.trim()))
  .map(one => one.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out_and_all_controls_have_names(here, browser, scheme):
    with opened(here, browser, color_scheme=scheme) as page:
        ask(page)
        done(page)
        more(page)
        page.get_by_text("As A").click()
        for name in ("Generate", "Fine-tune", "Evaluate"):
            page.get_by_role("tab", name=name).click()
            page.wait_for_timeout(1500)
            assert page.evaluate(_PALE, LEAST) == []
            assert page.evaluate(_NAMELESS) == []


def test_a_take_is_made_heard_and_removed_by_keys_alone(here, browser):
    with opened(here, browser) as page:
        page.focus("#text textarea")
        page.keyboard.type("calm piano")
        reach(page, "#duration input")
        page.keyboard.press("Control+A")
        page.keyboard.type("3")
        reach(page, "#generate")
        page.keyboard.press("Enter")
        done(page)
        reach(page, ".take .wave")
        wave = page.locator(".take .wave")
        assert wave.get_attribute("aria-valuetext") == "0:00 of 0:03"
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "document.querySelector('.take .wave').getAttribute('aria-valuenow') === '1.0'"
        )
        page.keyboard.press(" ")
        page.wait_for_function("document.querySelector('.take audio').currentTime > 1.2")
        reach(page, ".take .side-B")
        page.keyboard.press("Enter")
        assert page.locator(".take .side-B").get_attribute("aria-pressed") == "true"
        reach(page, ".take .drop")
        page.keyboard.press("Enter")
        page.wait_for_selector(".no-takes", state="visible")


def reach(page, selector):
    """Go there as the Tab key goes."""
    for _ in range(60):
        if page.evaluate("it => document.activeElement.matches(it)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never comes to {selector}")


def test_whoever_signs_in_uses_the_page_and_nobody_else(tmp_path, browser):
    with served(tmp_path, password="open sesame") as here:
        context = browser.new_context()
        page = context.new_page()
        page.goto(here.url)
        for password, lets_in in (("guess", False), ("open sesame", True)):
            page.get_by_label("username").fill("musicgen")
            page.get_by_label("password").fill(password)
            page.get_by_role("button", name="Login").click()
            page.wait_for_timeout(2500)
            assert bool(page.locator("#generate").count()) is lets_in
        page.wait_for_function("localStorage.getItem('musicgen_train-visitor') !== null")
        ask(page)
        done(page)
        page.wait_for_function("document.querySelector('.take .picture').naturalWidth > 100")
        context.close()
