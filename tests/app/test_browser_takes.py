"""Takes in a real browser: heard, compared, downloaded, gone on from and removed."""

import pytest

from musicgen_train.app.takes import read_settings
from tests.app.browsing import ask, done, facts, more, press, put
from tests.app.finetunings_here import wav


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
def test_the_outline_is_where_one_points(tab):
    ask(tab, duration=4)
    done(tab)
    wave = tab.locator(".take .wave")
    box = wave.bounding_box()
    wave.click(position={"x": 0.75 * box["width"], "y": 10})
    assert abs(float(wave.get_attribute("aria-valuenow")) - 3) < 0.2
    assert 0.7 < tab.locator(".take rect.played").count() / tab.locator(".take rect").count() < 0.8


@pytest.mark.slow
def test_either_of_two_takes_is_heard_from_anywhere(tab):
    more(tab)
    put(tab, "variants", 2)
    ask(tab, duration=4)
    done(tab)
    for number, side in enumerate("AB"):
        tab.locator(".take").nth(number).get_by_text(f"As {side}").click()
    tab.locator(".ab-side").nth(1).click()
    assert tab.locator(".ab-side").nth(1).get_attribute("aria-pressed") == "true"
    tab.locator(".ab-seek").fill("2")
    assert tab.locator(".ab-time").inner_text() == "0:02"
    tab.evaluate(_SPY)
    tab.locator(".ab-play").click()
    tab.wait_for_function("window.sides().B.time > 2.2")
    assert tab.evaluate("window.sides().A.muted && !window.sides().B.muted")
    assert tab.locator(".ab-play").get_attribute("aria-label") == "Pause both"
    tab.locator(".take").nth(1).get_by_text("Remove").click()
    tab.wait_for_selector(".ab", state="hidden")


@pytest.mark.slow
def test_settings_of_a_take_without_a_melody_leave_none_in_the_form(tab, tmp_path):
    ask(tab, "no melody", seed=3)
    done(tab)
    tab.locator("#melody-box button").first.click()
    tab.set_input_files("#melody input[type=file]", wav(tmp_path / "tune.wav", 2, 16_000, 400))
    tab.wait_for_selector("#melody audio", state="attached")
    tab.locator(".take").get_by_text("Use these settings").click()
    tab.wait_for_selector("#melody audio", state="detached")
    press(tab)
    done(tab)
    tab.wait_for_function("document.querySelectorAll('.take').length === 2")
    assert "melody" not in facts(tab.locator(".take").first)
