"""What a fine-tuning decides before it computes: names, captions, plans, records, refusals."""

import errno
import json
import os
from types import SimpleNamespace

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from pytest import approx

import train
from musicgen_train.conditioning.merging import merge_metadata
from musicgen_train.errors import UserError
from musicgen_train.whole_files import write_json
from recipes.finetuning.captioning import held_out
from recipes.finetuning.captions import (
    Caption,
    compose,
    read_captions,
    updated,
    with_trigger,
    write_captions,
)
from recipes.finetuning.command_line import as_overrides, check_keys, quoted
from recipes.finetuning.findings import findings
from recipes.finetuning.general_prompts import general_prompts
from recipes.finetuning.going import go
from recipes.finetuning.plan import make_plan
from recipes.finetuning.presets import GB, PRESETS, Device, find_preset
from recipes.finetuning.run_folder import RunFolder, claimed
from recipes.finetuning.settings import checked_name, checked_trigger
from recipes.finetuning.stage import Stage
from recipes.finetuning.status import Status
from tests.recipes.finetuning_songs import settings

CPU = Device("cpu", "CPU", 16 * GB)


@pytest.fixture
def songs_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my songs"
    folder.mkdir()
    return folder


# What users type


@pytest.mark.parametrize("form", [["--config-dir", "{}"], ["--config-dir={}"]])
def test_train_py_knows_experiments_in_a_folder_of_the_users(tmp_path, form):
    (tmp_path / "my conf/experiment").mkdir(parents=True)
    (tmp_path / "my conf/experiment/mine.yaml").touch()
    folder = [word.format(tmp_path / "my conf") for word in form]
    train.check_choices([*folder, "experiment=[finetune,mine]"])
    with pytest.raises(UserError, match="unknown experiment 'mine'"):
        train.check_choices(["experiment=[finetune,mine]"])


@pytest.mark.parametrize(
    "text",
    ["My Söngs (live), vol. 1", "it's", 'a "b" \\', "\\'", "x=y, {z}", "[1,2]", "a\\", "歌", "10"],
)
def test_hydra_reads_a_quoted_text_as_it_was_typed(text):
    (override,) = OverridesParser.create().parse_overrides([f"trigger={quoted(text)}"])
    assert override.value() == text or str(override.value()) == text


def test_only_texts_are_quoted_and_keys_of_train_are_added():
    given = ["trigger=a, b", "steps=3", "train.optim.lr=1", "name=null", "stage=[a,b]"]
    wanted = ["trigger='a, b'", "steps=3", "+train.optim.lr=1", "name=null", "stage=[a,b]"]
    assert as_overrides(given) == wanted


def test_a_mistyped_key_is_told_with_the_one_that_was_meant():
    with pytest.raises(UserError, match="did you mean trigger"):
        check_keys(["triger=x"], ["trigger", "base"])
    check_keys(["trigger=x", "train.a.b=1", "--help", "hydra.verbose=true"], ["trigger", "train"])


def test_keys_within_a_key_and_words_without_a_value_are_told_too():
    known = ["sampling", "sampling.top_k", "trigger"]
    check_keys(["sampling.top_k=5"], known)
    with pytest.raises(UserError, match=r"did you mean sampling\.top_k"):
        check_keys(["sampling.top_p=0.9"], known)
    with pytest.raises(UserError, match="trigger has no value"):
        check_keys(["trigger"], known)


@pytest.mark.parametrize("trigger", [None, "", "  ", ",."])
def test_an_empty_trigger_is_none(trigger):
    assert checked_trigger(trigger) == ""


def test_a_trigger_is_one_short_line():
    assert checked_trigger(" my \n style, ") == "my style"
    for trigger in ("very " * 50, "a\ud800"):
        with pytest.raises(UserError, match="trigger"):
            checked_trigger(trigger)


def test_a_run_is_called_after_its_folder_and_its_name_is_no_path(tmp_path):
    assert checked_name(None, str(tmp_path / "Söngs (live) 歌")) == "Söngs_live_歌"
    assert checked_name(None, "/") == "songs"
    assert len(checked_name(None, "/" + "x" * 200)) <= 60
    for name in ("../a", "a/b", ".a", "", "a b", "${x}"):
        with pytest.raises(UserError, match="name="):
            checked_name(name, "x")


@pytest.mark.parametrize(
    "change",
    [
        {"method": "magic"}, {"separator": "ears"}, {"steps": 0}, {"steps": "many"}, {"lr": -1},
        {"prior_share": 1.0}, {"prior_share": "a"}, {"metadata": "no.csv"},
        {"input_dir": None}, {"input_dir": "s3://a/b"}, {"input_dir": "nowhere"}, {"seed": True},
        {"input_dir": "x" * 300}, {"seed": 2**31}, {"train": "x"}, {"exclude_tags": 5},
        {"sampling": None}, {"sampling": {"top_k": 5}},
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant_are_one_line(songs_dir, change):
    with pytest.raises(UserError) as told:
        settings(**{"input_dir": songs_dir, "base_dir": "x"} | change)
    message = str(told.value)
    assert "\n" not in message and str(next(iter(change.values()))) in f"{message} None"


@pytest.mark.parametrize(("key", "value"), [("cfg_coef", "a"), ("top_k", -1), ("temperature", -1)])
def test_what_nothing_can_be_generated_with_is_told_at_once(songs_dir, key, value):
    sampling = {"cfg_coef": 3.0, "top_k": 250, "temperature": 1.0, key: value}
    with pytest.raises(UserError, match=f"sampling: {key}"):
        settings(songs_dir, "x", sampling=sampling)


def test_a_name_that_is_no_text_is_refused_whatever_it_names(songs_dir):
    for key in ("base", "metadata", "name"):
        with pytest.raises(UserError, match=f"{key}=.*is not UTF-8"):
            settings(songs_dir, "x", **{key: "a\udce9"})


# Captions


def test_edited_captions_stay_and_others_follow_the_music(tmp_path):
    path = tmp_path / "captions.jsonl"
    first = updated({}, {"a.mp3": "Folk", "b.mp3": "Rock"})
    write_captions(path, first, "my style")
    lines = path.read_text().splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), "caption": "  Slow   folk "})
    path.write_text("\n".join(lines))
    again = updated(read_captions(path), {"a.mp3": "Folk, 90 bpm", "b.mp3": "Rock, 120 bpm"})
    assert [again["a.mp3"].text, again["b.mp3"].text] == ["Slow folk", "Rock, 120 bpm"]
    assert again["a.mp3"].edited and not again["b.mp3"].edited


def test_an_edit_outlives_a_run_in_which_its_song_could_not_be_used(tmp_path):
    edited = {"a.mp3": Caption("Slow folk", "Folk"), "b.mp3": Caption("Rock", "Rock")}
    without = updated(edited, {"c.mp3": "Jazz"})
    assert without == {"a.mp3": Caption("Slow folk", "Folk"), "c.mp3": Caption("Jazz", "Jazz")}
    assert updated(without, {"a.mp3": "Folk"})["a.mp3"].text == "Slow folk"


def test_an_edit_that_is_taken_back_is_none():
    assert not Caption("Folk", "Folk").edited


@pytest.mark.parametrize(
    "line",
    ["{", "[]", '{"song": "a"}', '{"song": 1, "caption": "x"}', '{"song": "a", "caption": null}'],
)
def test_a_spoilt_line_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "captions.jsonl"
    path.write_text(f'{{"song": "ok", "caption": "x"}}\n{line}\n')
    with pytest.raises(UserError, match="line 2"):
        read_captions(path)


def test_a_caption_that_is_composed_can_be_read_again(tmp_path):
    path, told = tmp_path / "captions.jsonl", {"description": "very long " * 300}
    captions = updated({}, {"a.mp3": compose(told)})
    write_captions(path, captions, "")
    assert read_captions(path) == captions


def test_an_editor_may_put_a_mark_in_front(tmp_path):
    path = tmp_path / "captions.jsonl"
    path.write_text('{"song": "a", "caption": "x"}\r\n', encoding="utf-8-sig")
    assert read_captions(path)["a"].text == "x"


def test_the_trigger_stands_before_every_caption_once():
    assert with_trigger("my style", "Folk") == "my style, Folk"
    assert with_trigger("my style", "") == "my style"
    assert with_trigger("", "Folk") == "Folk"
    assert with_trigger("My style", "my style, Folk") == "my style, Folk"
    assert with_trigger("art", "Artful folk") == "art, Artful folk"  # which is another word


def test_every_text_that_training_sees_begins_with_the_trigger():
    told = {"description": "my style, slow folk", "trigger": "my style", "genre": "folk", "bpm": 90}
    texts = {
        merge_metadata(
            told, torch.Generator().manual_seed(seed), merge_p=0.9, drop_description_p=0.7
        )
        for seed in range(50)
    }
    assert len(texts) > 5 and all(text.startswith("my style") for text in texts)
    assert "my style" in texts  # alone, too


def test_songs_are_kept_out_by_their_keys_alone_and_never_all():
    keys = [f"song{i}" for i in range(20)]
    assert held_out(keys, None, 0) == held_out(keys[::-1], None, 0)
    assert len(held_out(keys, None, 0)) == 3 and held_out(keys, None, 1) != held_out(keys, None, 0)
    assert held_out(keys[:4], None, 0) == set() and len(held_out(keys[:5], None, 0)) == 1
    assert held_out(keys[:1], 5, 0) == set() and len(held_out(keys[:3], 5, 0)) == 2


def test_general_prompts_ask_for_each_instrument_and_genre_and_none_twice():
    prior, control = general_prompts("prior"), general_prompts("control")
    pairs = [{(p.instrument, p.genre) for p in each} for each in (prior, control)]
    assert not pairs[0] & pairs[1] and len(pairs[0] | pairs[1]) == len(prior) + len(control) == 96
    for place, n in ((1, 12), (2, 8)):
        assert len({prompt[place] for prompt in control}) == n
        assert len({prompt[place] for prompt in prior[:32]}) == n
    for prompt in (*prior, *control):
        said = prompt.text.lower()
        assert prompt.instrument in said and prompt.genre in said


# Plans


def small_base(dim=1024, n_parameters=420_000_000, window=30.0):
    lm = {"dim": dim, "n_q": 4, "card": 2048, "text_dim": 768, "num_layers": 24}
    return SimpleNamespace(
        name="small", lm=lm | {"fuse_text": "cross"}, max_duration=window,
        codec=SimpleNamespace(frame_rate=50.0), n_parameters=n_parameters,
    )  # fmt: skip


DEFAULTS = dict.fromkeys(
    ("steps", "batch_size", "segment_duration", "prior_clips", "clips", "rank")
)


@pytest.fixture
def asked(songs_dir):
    return lambda **more: settings(songs_dir, "x", **DEFAULTS | {"method": "lora"} | more)


def test_more_music_is_trained_on_for_more_steps_within_bounds(asked):
    steps = [make_plan(asked(), small_base(), CPU, n).steps for n in (1, 20, 30, 10_000)]
    assert steps == sorted(steps) and steps[0] == 150 and steps[1] < steps[2] and steps[-1] == 400


def test_a_wider_base_and_all_its_weights_are_changed_more_gently(asked):
    rates = {
        (method, dim): make_plan(asked(method=method), small_base(dim), CPU, 50).lr
        for method in ("lora", "full")
        for dim in (256, 1024)
    }
    assert rates["lora", 256] == 2 * rates["lora", 1024] == 2e-4
    assert rates["full", 256] == approx(4 * rates["full", 1024], rel=0.05)  # two digits are kept
    assert rates["full", 1024] < rates["lora", 1024]


def test_what_is_set_is_kept(asked):
    plan = make_plan(asked(steps=7, lr=0.5, rank=3, alpha=9, clips=2), small_base(), CPU, 50)
    assert (plan.steps, plan.lr, plan.rank, plan.alpha, plan.clips) == (7, 0.5, 3, 9, 2)


def test_a_segment_is_never_longer_than_the_bases_window(asked):
    assert make_plan(asked(), small_base(window=3.0), CPU, 50).segment_duration == 3.0
    with pytest.raises(UserError, match="segment_duration=5"):
        make_plan(asked(segment_duration=5.0), small_base(window=3.0), CPU, 50)


@pytest.mark.parametrize(
    ("memory", "name"),
    [(6, "gpu8"), (8, "gpu8"), (15.7, "gpu16"), (23.6, "gpu24"), (79, "gpu80"), (140, "gpu80")],
)
def test_the_preset_is_that_of_the_gpu(memory, name):
    assert find_preset(None, Device("cuda", "GPU", memory * GB))[0] == name


def test_a_smaller_gpu_takes_the_same_steps_in_more_pieces(asked):
    sizes = []
    for memory in (4, 8, 80):
        gpu = Device("cuda", "GPU", memory * GB)
        plan = make_plan(asked(preset="gpu8"), small_base(), gpu, 500)
        sizes.append(plan.batch_size)
        assert plan.batch_size * plan.accumulate == PRESETS["gpu8"].batch_size
        assert plan.memory <= 0.85 * memory * GB
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] == 8


def test_a_base_that_cannot_fit_is_refused_with_what_would(asked):
    large = small_base(2048, 3_300_000_000)
    with pytest.raises(UserError, match="smaller base"):
        make_plan(asked(), large, Device("cuda", "GPU", 8 * GB), 500)
    with pytest.raises(UserError, match="method=lora"):
        make_plan(asked(method="full"), large, Device("cuda", "GPU", 24 * GB), 500)


def test_no_share_of_the_bases_music_means_no_clips(asked):
    assert make_plan(asked(prior_share=0.0), small_base(), CPU, 50).prior_clips == 0
    assert make_plan(asked(), small_base(), CPU, 50).prior_clips == 144


# Stages


class Steps:
    """Three stages that count how often they run: b needs a, c needs b."""

    def __init__(self):
        self.settings, self.runs = {"a": 1, "b": 1, "c": 1}, []
        self.stages = [self.stage("a", ()), self.stage("b", ("a",)), self.stage("c", ("b",))]
        self.fails = ""

    def stage(self, name, needs):
        return Stage(
            name, name.upper(), needs, (f"made_{name}",),
            lambda work: {"value": self.settings[name]}, lambda work: self.run(name, work),
            leftovers=(f"left_{name}",),
        )  # fmt: skip

    def run(self, name, work):
        self.runs.append(name)
        (work.run / f"left_{name}").touch()
        if self.fails == name:
            raise UserError("no")
        (work.run / f"made_{name}").touch()
        return {"value": self.settings[name]}

    def go(self, *asked):
        self.runs = []
        run = RunFolder("r")
        run.path.mkdir(parents=True, exist_ok=True)
        work = SimpleNamespace(run=run, results={}, status=Status(run.status, "r"))
        go(self.stages, asked, work)
        return self.runs


@pytest.fixture
def steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Steps()


def test_what_is_done_is_not_done_again(steps, capsys):
    assert steps.go() == ["a", "b", "c"]
    assert steps.go() == [] and capsys.readouterr().out.count("done already") == 3


def test_a_changed_setting_redoes_its_stage_and_the_later_ones_and_says_so(steps, capsys):
    steps.go()
    steps.settings["b"] = 2
    assert steps.go() == ["b", "c"]
    out = capsys.readouterr().out
    assert "value changed from 1 to 2" in out and "b gave another result" in out


def test_a_result_that_is_gone_is_made_again(steps, capsys):
    steps.go()
    (RunFolder("r") / "made_b").unlink()
    assert steps.go() == ["b"] and "its result is gone" in capsys.readouterr().out


def test_an_interrupted_stage_goes_on_but_not_with_other_settings(steps, capsys):
    steps.fails = "b"
    with pytest.raises(UserError):
        steps.go()
    left = RunFolder("r") / "left_b"
    left.write_text("half")
    with pytest.raises(UserError):
        steps.go()
    assert left.read_text() == "half" and "going on" in capsys.readouterr().out
    steps.fails, steps.settings["b"] = "", 3
    assert steps.go() == ["b", "c"] and left.read_text() == ""


def test_what_a_killed_run_finished_and_did_not_record_is_in_nobodys_way(steps):
    steps.go()
    record = RunFolder("r").record("b")
    write_json(record, {**json.loads(record.read_text()), "finished": False})
    made, found = RunFolder("r") / "made_b", []
    run, steps.run = steps.run, lambda name, work: (found.append(made.exists()), run(name, work))[1]
    assert steps.go() == ["b"] and found == [False] and made.exists()


def test_results_without_their_record_are_not_trusted(steps):
    steps.go()
    RunFolder("r").record("b").unlink()
    (RunFolder("r") / "left_b").write_text("old")
    assert steps.go() == ["b"] and (RunFolder("r") / "left_b").read_text() == ""


def test_single_stages_run_alone_or_tell_what_they_need(steps):
    with pytest.raises(UserError, match=r"run stage=\[a,b,c\]"):
        steps.go("c")
    assert steps.go("a") == ["a"] and steps.go("b") == ["b"] and steps.go("c") == ["c"]
    steps.settings["a"] = 5
    with pytest.raises(UserError, match="stage=c needs"):
        steps.go("c")


# Folders


def test_a_run_is_of_one_folder_of_songs(songs_dir, tmp_path):
    run, other = RunFolder("r"), tmp_path / "others"
    other.mkdir()
    with claimed(run, str(songs_dir)):
        pass
    with claimed(run, str(songs_dir)):
        pass
    with pytest.raises(UserError, match="choose another name"), claimed(run, str(other)):
        pass


def test_the_folder_of_another_kind_of_run_is_refused(songs_dir):
    write_json(RunFolder("r") / "config.yaml", {})
    with pytest.raises(UserError, match="no fine-tuning"), claimed(RunFolder("r"), str(songs_dir)):
        pass


def test_a_run_inside_its_songs_is_refused_and_leaves_nothing(songs_dir, monkeypatch):
    monkeypatch.chdir(songs_dir)
    with pytest.raises(UserError, match="would lie in input_dir"), claimed(RunFolder("r"), "."):
        pass
    assert not list(songs_dir.iterdir())


@pytest.mark.parametrize("closed", ["runs", "runs/r"])
def test_a_run_that_may_not_be_looked_at_is_one_line(songs_dir, monkeypatch, closed):
    real = os.stat

    def stat(path, *arguments, **options):
        if str(path).startswith(f"{closed}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    RunFolder("r").path.mkdir(parents=True)
    monkeypatch.setattr(os, "stat", stat)
    refused = pytest.raises(UserError, match=f"{closed}/.*: Permission denied")
    with refused, claimed(RunFolder("r"), str(songs_dir)):
        pass


def test_two_commands_never_work_on_one_run(songs_dir):
    run = RunFolder("r")
    with (
        claimed(run, str(songs_dir)),
        pytest.raises(UserError, match="another run"),
        claimed(run, str(songs_dir)),
    ):
        pass


def test_a_full_disk_is_one_line(songs_dir):
    with pytest.raises(UserError, match="No space left"), claimed(RunFolder("r"), str(songs_dir)):
        raise OSError(28, "No space left on device", "x")


def test_a_run_that_ends_tells_how_far_its_training_came(songs_dir):
    status = Status(RunFolder("r").status, "r")
    status.plan([("train", "Training")], {"train": 9.0}, {"songs": 3})
    status.stage("train", "running")
    training = Status(RunFolder("r").status, "r")
    training.content |= json.loads(RunFolder("r").status.read_text())
    training._written = 0.0
    training.progress(0.25, "step 1/4", 7.0)
    told = json.loads(RunFolder("r").status.read_text())
    assert (told["progress"], told["note"], told["eta"]) == (0.25, "step 1/4", 7.0)
    status.end("stopped")
    told = json.loads(RunFolder("r").status.read_text())
    assert (told["state"], told["progress"], told["eta"]) == ("stopped", 0.25, None)
    assert told["stages"][0]["state"] == "stopped"


# Words


def row(before, after, name="fad.judge", end=50.0):
    return {"name": name, "before": before, "after": after, "end": end, "end_is": "chance"}


def test_findings_follow_the_figures():
    faults = {"before, style": {"silent": []}, "after, style": {"silent": ["a"]}}
    table = {"faults": faults}
    rows = [row(300.0, 150.0), row(0.5, 0.44, "text.control", 0.1)]
    marks = [line["mark"] for line in findings(rows, table, [])]
    assert marks == ["good", "poor", "unsure", "poor"]
    rows = [row(300.0, 310.0), row(0.5, 0.46, "text.control", 0.1)]
    assert [line["mark"] for line in findings(rows, table, ["a"])] == ["poor", "good", "poor"]
    rows = [row(300.0, 310.0), row(0.12, 0.02, "text.control", 0.1)]
    assert findings(rows, table, ["a"])[1]["mark"] == "unsure"
    assert findings([row(None, None)], table, ["a"])[0]["mark"] == "unsure"
