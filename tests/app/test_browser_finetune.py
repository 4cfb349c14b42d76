"""The Fine-tune and the Evaluate tab in a real browser."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.app.browsing import arrive, ask, choose, done, facts, state
from tests.app.finetunings_here import wav
from tests.app.test_run_results import sampled


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


def begun(page, folder, name, button="#ft-start"):
    """A fine-tuning of one song under a name, with a button of the form."""
    page.get_by_role("tab", name="Fine-tune").click()
    page.set_input_files("#songs input[type=file]", wav(folder / "a.wav"))
    page.wait_for_function("document.querySelectorAll('#gathered input').length === 1")
    page.fill("#run-name input, #run-name textarea", name)
    page.click(button)
    page.wait_for_function("name => document.querySelector('#run input').value === name", arg=name)


@pytest.mark.slow
def test_every_control_of_the_form_is_a_word_of_the_recipe(tab, here, tmp_path):
    tab.get_by_role("tab", name="Fine-tune").click()
    tab.locator("#ft-more button").first.click()
    numbers = {
        "steps": "7", "batch": "2", "lr": "0,001", "rank": "4", "share": "0.5", "held-out": "1",
        "clips": "3",
    }  # fmt: skip
    for name, value in numbers.items():
        tab.fill(f"#ft-{name} input, #ft-{name} textarea", value)
    tab.get_by_label("dora").check()
    tab.get_by_label("there are none").check()
    choose(tab, "preset", "cpu")
    choose(tab, "base", "small")
    choose(tab, "base", "tiny")
    tab.fill("#trigger input, #trigger textarea", "my 🎹 style")
    begun(tab, tmp_path, "every_control", "#only-captions")
    state(tab, "Done")
    words = json.loads((Path(here.parts.runs_dir) / "every_control/words.json").read_text())
    assert set(words["words"][3:]) == {
        "trigger=my 🎹 style", "method=dora", "separator=none", "preset=cpu", "steps=7",
        "batch_size=2", "rank=4", "held_out=1", "clips=3", "seed=0", "lr=0.001", "prior_share=0.5",
        "stage=[prepare,tokenize,captions]",
    }  # fmt: skip
    tab.fill("#ft-steps input, #ft-steps textarea", "many")
    tab.click("#ft-start")
    tab.wait_for_function("document.querySelector('#ft-said').innerText.includes('steps')")


@pytest.mark.slow
def test_what_was_made_is_seen_heard_taken_away_and_used_at_once(tab, here, tmp_path):
    begun(tab, tmp_path, "with_results")
    state(tab, "Done")
    runs = Path(here.parts.runs_dir)
    write_results(runs / "with_results", runs / "mine/adapter")
    arrive(tab, here.url)
    tab.get_by_role("tab", name="Fine-tune").click()
    choose(tab, "run", "with_results")
    tab.wait_for_selector("#losses canvas, #losses svg")
    tab.wait_for_function("document.querySelectorAll('#ft-samples audio').length === 5")
    for name, said in (("Songs", "prepared"), ("Log", "at work in runs/with_results")):
        tab.locator(f"#ft-{name.lower()} button").first.click()
        tab.get_by_text(said).first.wait_for()
    tab.click("#ft-pack")
    with tab.expect_download() as download:
        tab.locator("#ft-file a").first.click()
    assert zipfile.is_zipfile(download.value.path())
    tab.click("#ft-use")
    tab.wait_for_function("document.querySelector('#text textarea')?.value === 'my style'")
    assert "runs/with_results" in tab.inner_text("#weight-0")
    ask(tab, "my style")
    done(tab)
    assert facts(tab.locator(".take").first)["adapters"] == "runs/with_results × 1"


def write_results(run, adapter):
    """What a fine-tuning leaves, with another's adapter."""
    shutil.copytree(adapter, run / "adapter")
    log = run / "training/logs/version_0/metrics.csv"
    log.parent.mkdir(parents=True)
    log.write_text("step,train/ce,valid/ce\n1,4.0,4.5\n2,3.0,\n3,2.5,4.0\n")
    sampled(run)


@pytest.mark.slow
def test_a_fine_tuning_that_is_chosen_fills_the_form(tab, here, tmp_path):
    tab.get_by_role("tab", name="Fine-tune").click()
    for name, trigger in (("chosen_one", "one"), ("chosen_two", "two")):
        tab.fill("#trigger input, #trigger textarea", trigger)
        begun(tab, tmp_path, name)
        state(tab, "Done")
    choose(tab, "run", "chosen_one")
    tab.wait_for_function(
        "document.querySelector('#trigger input, #trigger textarea').value === 'one'"
    )
    assert tab.locator("#run-name input, #run-name textarea").input_value() == "chosen_one"
