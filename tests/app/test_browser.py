"""The form of the Generate tab in a real browser: every control is used as a visitor uses it."""

import re

import pytest
import soundfile

from tests.app.browsing import PHONE, arrive, ask, choose, done, facts, more, opened, press, put
from tests.app.finetunings_here import wav


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
def test_an_adapter_gets_a_slider_and_is_in_the_music(tab):
    choose(tab, "adapters", "runs/mine")
    tab.wait_for_function("document.querySelector('#weight-0')?.innerText.includes('runs/mine')")
    assert "my style" in tab.inner_text("#weight-0")
    put(tab, "weight-0", 0.5)
    ask(tab)
    done(tab)
    assert facts(tab.locator(".take").first)["adapters"] == "runs/mine × 0.5"


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
def test_of_a_melody_only_the_selected_part_is_followed(tab, here, tmp_path):
    tab.locator("#melody-box button").first.click()
    tab.set_input_files("#melody input[type=file]", wav(tmp_path / "long tune.wav", 4, 16_000, 400))
    tab.locator("#melody time", has_text="0:04").wait_for()
    tab.get_by_label("Trim audio to selection").click()
    tab.locator("#melody [part~=region]").first.wait_for()
    with tab.expect_response(lambda answer: "/upload" in answer.url):
        tab.locator("#melody").get_by_text("Trim", exact=True).click()
    tab.get_by_label("Trim audio to selection").wait_for()
    tab.wait_for_timeout(1000)
    ask(tab)
    done(tab)
    assert "melody" in facts(tab.locator(".take").first)
    uploaded = [path for path in here.parts.uploads.glob("*/*.wav") if len(path.parent.name) == 64]
    newest = max(uploaded, key=lambda path: path.stat().st_mtime)
    assert 0.2 < soundfile.info(newest).duration < 3.8


@pytest.mark.slow
def test_of_a_clip_the_first_seconds_are_gone_on_from(tab, tmp_path):
    tab.locator("#prompt-box button").first.click()
    tab.set_input_files("#prompt input[type=file]", wav(tmp_path / "my clip.wav", 3, 16_000, 400))
    tab.wait_for_selector("#prompt audio", state="attached")
    tab.fill("#prompt-duration input, #prompt-duration textarea", "3")
    ask(tab, duration=2)
    assert "longer duration" in done(tab, "prompt lasts")
    tab.fill("#prompt-duration input, #prompt-duration textarea", "0.5")
    press(tab)
    done(tab)
    told = facts(tab.locator(".take").first)
    assert told["continues"] == "my clip.wav" and told["used of it"] == "0.5 s"


@pytest.mark.slow
def test_drums_of_no_melody_are_not_asked_for(tab):
    tab.locator("#melody-box button").first.click()
    tab.locator("#separate input").check()
    ask(tab)
    done(tab)
    assert "melody" not in facts(tab.locator(".take").first)


@pytest.mark.slow
def test_two_clicks_make_one_take_which_the_back_button_finds(tab):
    tab.fill("#text textarea", "once")
    tab.locator("#generate").dblclick()
    done(tab)
    assert tab.locator(".take").count() == 1
    tab.goto("about:blank")
    tab.go_back()
    tab.wait_for_function("document.querySelectorAll('.take').length === 1")
    tab.wait_for_timeout(1500)
    assert tab.locator(".take").count() == 1 and tab.locator("#generate").is_enabled()


@pytest.mark.slow
def test_another_tab_of_a_visitor_follows_the_job_and_stops_it(tab, here):
    ask(tab, duration=60)
    tab.wait_for_function("document.querySelector('#status').innerText.includes('of 60 s')")
    second = tab.context.new_page()
    arrive(second, here.url)
    second.wait_for_function("document.querySelector('#status').innerText.includes('of 60 s')")
    second.click("#cancel")
    done(second, "Stopped")
    done(tab, "Stopped")
    assert tab.locator("#generate").is_enabled() and second.locator("#generate").is_enabled()


@pytest.mark.slow
def test_who_waits_sees_how_many_come_first_and_what_runs(tab, here, browser):
    ask(tab, duration=60)
    tab.wait_for_function("document.querySelector('#status').innerText.includes('of 60 s')")
    with opened(here, browser) as other:
        ask(other)
        assert "Now: music, 60 s × 1" in done(other, "1 job comes first")
        assert other.locator("#cancel").is_enabled()
        tab.click("#cancel")
        done(other)
    done(tab, "Stopped")


@pytest.mark.slow
def test_what_is_stopped_at_once_makes_nothing_and_the_next_works(tab):
    ask(tab, duration=60)
    tab.locator("#cancel:not([disabled])").click()
    done(tab, "Stopped")
    assert tab.locator(".take").count() == 0
    ask(tab)
    done(tab)
    assert tab.locator(".take").count() == 1
