"""Small parts of the page: what is shown is safe, and folders stay within their bounds."""

import asyncio
import os
import time
import wave
from io import BytesIO

import pytest
import soundfile
import torch

from musicgen_train.app import take_cards
from musicgen_train.app.events import Chunk, Failed, Loading, Progress, Stopped, Waiting
from musicgen_train.app.finetune_form import options_of, values_of
from musicgen_train.app.finetune_options import FinetuneOptions
from musicgen_train.app.finetune_view import samples_html, state_html
from musicgen_train.app.following import line, playable, status_line
from musicgen_train.app.markup import duration, paragraph, player, table, text
from musicgen_train.app.optional_number import as_typed, number_in, whole_in
from musicgen_train.app.run_results import SamplePair
from musicgen_train.app.run_status import RunPlan, RunStatus, StageStatus
from musicgen_train.app.shown_files import ShownFiles
from musicgen_train.app.upload_room import UploadRoom
from musicgen_train.app.visitor import checked, known_or_new
from musicgen_train.app.waveform import outline
from musicgen_train.errors import UserError

BAD = "<img src=x onerror='alert(1)'>&\""


def test_a_token_is_kept_and_anything_else_gets_a_new_one():
    token = known_or_new(None)
    assert known_or_new(token) == token and checked(token) == token
    for other in ("", "x" * 64, token[:-1], token + "\n", 5, None, [token], token.upper() + "Z"):
        assert known_or_new(other) != other
        with pytest.raises(UserError, match="reload"):
            checked(other)


def test_any_text_is_safe_in_what_is_shown(tmp_path):
    stage = StageStatus(BAD, BAD, BAD, None, None)
    status = RunStatus(BAD, "failed", message=BAD, stages=(stage,), plan=RunPlan(device=BAD))
    pair = SamplePair("style", BAD, 0, tmp_path / f"{BAD.replace('/', '')}.wav", None)
    shown = [
        text(BAD), paragraph(BAD), line(BAD), table([BAD], [[text(BAD)]]),
        player(tmp_path / BAD, BAD), state_html(status), status_line(Failed(BAD), []),
        samples_html([pair], [], lambda path: path),
    ]  # fmt: skip
    for markup in shown:
        assert "<img" not in markup and "onerror='" not in markup, markup


def test_of_many_samples_the_first_few_are_shown_and_it_is_said(tmp_path):
    copied = []
    pairs = [SamplePair("general", f"text {i}", i, tmp_path / f"{i}", None) for i in range(20)]
    markup = samples_html(pairs, [], lambda path: copied.append(path) or path)
    assert "(the first 8 of 20)" in markup and "text 7" in markup and "text 8" not in markup
    assert copied == [pair.before for pair in pairs[:8]]
    assert "(the first" not in samples_html(pairs[:8], [], lambda path: path)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Waiting(1), "1 job comes first"),
        (Waiting(3), "3 jobs come first"),
        (Loading("loading tiny"), "Loading tiny"),
        (Progress(0.5, 3.2, "4.0 of 8 s"), "4.0 of 8 s, 3 s left"),
        (Progress(0.0, None, "0.0 of 8 s"), "0.0 of 8 s<"),
        (Stopped(), "Stopped"),
    ],
)
def test_the_line_says_how_far_a_job_is(state, said):
    assert said in status_line(state, [])


def test_a_chunk_is_a_wav_file_that_does_not_wrap_around():
    wav = torch.tensor([[0.0, 2.0, -2.0, 0.5]])
    with wave.open(BytesIO(playable(Chunk(wav, 16_000, 0)))) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 4)
        samples = memoryview(file.readframes(4)).cast("h").tolist()
    assert samples == [0, 32767, -32767, 16384]


@pytest.mark.parametrize(
    ("typed", "number"), [("", None), (None, None), (" ", None), ("1,5", 1.5), ("2", 2.0)]
)
def test_a_number_may_be_left_out(typed, number):
    assert number_in(typed, "n") == number


@pytest.mark.parametrize("typed", ["x", "nan", "inf", "1e999", "1 2", "٣x"])
def test_what_is_no_number_is_named(typed):
    with pytest.raises(UserError, match="steps"):
        number_in(typed, "steps")
    with pytest.raises(UserError, match="steps"):
        whole_in(typed, "steps")


def test_whole_numbers_keep_all_their_digits():
    assert whole_in(str(2**53 - 3), "seed") == 2**53 - 3
    assert whole_in("3.0", "n") == 3 and whole_in("", "n") is None
    assert as_typed(None) == "" and whole_in(as_typed(7), "n") == 7
    with pytest.raises(UserError, match="whole"):
        whole_in("1.5", "n")


def test_a_form_asks_for_the_options_that_filled_it():
    options = FinetuneOptions(base="tiny", trigger="x", steps=7, lr=0.001, preset="cpu", rank=4)
    assert options_of("all", values_of(options)) == options
    assert options_of("all", values_of(FinetuneOptions())) == FinetuneOptions()


def test_an_outline_shows_where_it_is_loud(tmp_path):
    wav = torch.cat([torch.zeros(8000), torch.full((8000,), 0.5)]).numpy()
    soundfile.write(tmp_path / "a.wav", wav, 16_000)
    bars = outline(tmp_path / "a.wav")
    assert set(bars[: len(bars) // 2]) == {0} and set(bars[len(bars) // 2 :]) == {100}
    soundfile.write(tmp_path / "short.wav", wav[-3:], 16_000)
    assert len(outline(tmp_path / "short.wav")) == len(bars)


def test_a_shown_file_is_a_copy_and_old_copies_go(tmp_path):
    shown = ShownFiles(tmp_path / "shown", 250)
    files = [tmp_path / f"{i}.wav" for i in range(3)]
    for file in files:
        file.write_bytes(bytes(100))
    copies = [shown.copy(file) for file in files]
    assert [copy.is_file() for copy in copies] == [False, True, True]
    assert shown.copy(files[1]) == copies[1]
    files[2].write_bytes(bytes(120))
    assert shown.copy(files[2]).stat().st_size == 120
    with pytest.raises(UserError, match=r"none\.wav"):
        shown.copy(tmp_path / "none.wav")


def test_old_uploads_make_room_and_fresh_ones_stay(tmp_path):
    room = UploadRoom(tmp_path, 250)
    for number, name in enumerate(["a", "b", "c"]):
        folder = tmp_path / (name * 64)
        folder.mkdir()
        (folder / "song.wav").write_bytes(bytes(100))
        old = time.time() - 10_000 + number
        if name != "c":
            os.utime(folder / "song.wav", (old, old))
    (tmp_path / "takes").mkdir()
    (tmp_path / "takes/kept.wav").write_bytes(bytes(1000))
    assert room.make(100)
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["c", "t"]
    assert not room.make(200)
    assert (tmp_path / ("c" * 64) / "song.wav").is_file()


def test_durations_are_said_as_one_says_them():
    said = [duration(seconds) for seconds in (0.2, 59, 100, 3000, 10_000)]
    assert said == ["1 s", "59 s", "2 min", "50 min", "2.8 h"]


def test_the_facts_of_a_take_leave_out_what_was_not_used():
    unused = {"melody": None, "negative_text": "", "prompt": None}
    settings = {"text": "x", "adapters": {"a": 0.5}, "top_p": 0.0} | unused
    assert take_cards._facts(settings) == [("text", "x"), ("adapters", "a × 0.5"), ("top-p", "0")]


def test_a_follower_holds_no_thread_and_sees_the_end():
    from musicgen_train.app.broadcast import Broadcast
    from musicgen_train.app.following import follow

    class Job:
        events = Broadcast()

        def follow(self, beat):
            return self.events.follow(0, beat)

    async def watch():
        job, seen = Job(), []
        async for event in follow(job):
            seen.append(event)
            if len(seen) == 2:
                job.events.tell(Stopped())
        return seen

    seen = asyncio.run(asyncio.wait_for(watch(), 10))
    assert isinstance(seen[-1], Stopped)
