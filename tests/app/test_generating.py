import gc
import threading
import time
import weakref

import pytest
import soundfile
import torch

from musicgen_train import MusicGen, audio_write
from musicgen_train.app.broadcast import Broadcast
from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.events import Chunk, Done, Failed, Loading, Progress, Stopped, Waiting
from musicgen_train.app.generating import Clock, Generation
from musicgen_train.app.generations import Generations
from musicgen_train.app.models import ModelShelf
from musicgen_train.app.request import Limits, Request
from musicgen_train.app.sounds import Sound
from musicgen_train.app.takes import TakeStore, read_settings
from musicgen_train.errors import UserError
from tests.app.small_shelf import write_runs
from tests.small_musicgen import RATE, tone

LIMITS = Limits(max_jobs=3)
ENDLESS = 110.0  # seconds of music, which nobody waits for here


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("generating"))


@pytest.fixture(scope="module")
def shelf(root):
    return ModelShelf([str(root / "base")], device="cpu", runs_dir=root / "runs")


@pytest.fixture
def queue():
    return DeviceQueue()


@pytest.fixture
def store(tmp_path):
    store = TakeStore(tmp_path, LIMITS)
    yield store
    store.close()


@pytest.fixture
def started(shelf, queue, store):
    """Starts requests, and stops whatever a test leaves behind."""
    jobs = []

    def start(visitor="ada", **options):
        given = {"model": "base", "duration": 1.0} | options
        jobs.append(Generation(Request(**given), shelf, queue, store, LIMITS, visitor).start())
        return jobs[-1]

    yield start
    for job in jobs:
        job.cancel()
        job.wait(20)


@pytest.fixture
def generations(shelf, queue, store):
    generations = Generations(shelf, queue, store, LIMITS)
    yield generations
    generations.close()


def end_of(job):
    return list(job.follow())[-1]


def chunks_in(events):
    return [event for event in events if isinstance(event, Chunk)]


def until(happened, timeout=20.0):
    end = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def until_music(job):
    return next(event for event in job.follow() if isinstance(event, Chunk))


def expected(root, **options):
    """Two variants from the API itself, with seeds 5 and 6."""
    model = MusicGen.get_pretrained(str(root / "base"), "cpu")
    model.set_generation_params(duration=1.0)
    return model, {"seeds": [5, 6], **options}


def heard(wav, tmp_path):
    """What a take of this wav holds."""
    path = audio_write(tmp_path / "x", wav, RATE, strategy="loudness", loudness_compressor=True)
    return soundfile.read(path)[0]


def test_the_variants_are_the_music_of_their_seeds(started, root, tmp_path):
    job = started(text="a", negative_text="b", seed=5, variants=2)
    takes = end_of(job).takes
    model, options = expected(root, negative_descriptions="b")
    wavs = model.generate(["a", "a"], **options)
    for i, (take, wav) in enumerate(zip(takes, wavs, strict=True)):
        assert abs(soundfile.read(take.wav)[0] - heard(wav, tmp_path)).max() < 1e-3
        assert read_settings(take.wav) == take.settings
        assert (take.settings["seed"], take.settings["variants"]) == (5 + i, 1)
    assert abs(wavs[0] - wavs[1]).max() > 0.01


def test_the_settings_of_a_take_make_it_again(started):
    first = end_of(started(text="a", seed=2**40, variants=2, top_k=3)).takes[1]
    again = end_of(started(**first.settings)).takes[0]
    assert again.settings == first.settings
    assert abs(soundfile.read(again.wav)[0] - soundfile.read(first.wav)[0]).max() < 1e-3


def test_a_melody_is_followed(started, root, tmp_path):
    melody = Sound(tone(1.0, 300.0), RATE, "hum.wav", 1.0)
    take = end_of(started(text="a", seed=5, variants=2, melody=melody)).takes[1]
    model, options = expected(root)
    wavs = model.generate_with_chroma(["a", "a"], [melody.wav] * 2, RATE, **options)
    assert abs(soundfile.read(take.wav)[0] - heard(wavs[1], tmp_path)).max() < 1e-3
    assert take.settings["melody"] == "hum.wav"


def test_a_prompt_is_the_beginning_of_the_result(started, root, tmp_path):
    prompt = Sound(tone(3.0, 300.0), RATE, "riff.wav", 3.0)
    job = started(text="a", seed=5, variants=2, prompt=prompt, prompt_duration=0.4)
    take = end_of(job).takes[1]
    model, options = expected(root)
    part = prompt.wav[:, : round(0.4 * RATE)].expand(2, -1, -1)
    wavs = model.generate_continuation(part, RATE, ["a", "a"], **options)
    assert abs(soundfile.read(take.wav)[0] - heard(wavs[1], tmp_path)).max() < 1e-3
    assert take.duration == 1.0


def test_adapters_are_heard(started):
    plain, adapted = (
        soundfile.read(end_of(started(text="a", adapters=adapters)).takes[0].wav)[0]
        for adapters in ({}, {"runs/mine": 1.0})
    )
    assert abs(plain - adapted).max() > 0.01


def test_chunks_put_together_are_the_first_variant(started, root):
    events = list(started(text="a", seed=5, variants=2).follow())
    chunks = chunks_in(events)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) >= 2
    model, options = expected(root)
    wav = model.generate(["a", "a"], **options)[0]
    assert torch.allclose(torch.cat([chunk.wav for chunk in chunks], 1), wav, atol=1e-4)
    assert {chunk.sample_rate for chunk in chunks} == {RATE}


def test_whoever_follows_is_told_how_far_it_is(started):
    events = [e for e in started(duration=10.0).follow() if not isinstance(e, Chunk)]
    shares = [event.share for event in events if isinstance(event, Progress)]
    assert shares == sorted(shares)
    assert len(shares) >= 2
    assert 0 < shares[0] < 0.9
    assert isinstance(events[-1], Done)
    left = [e.seconds_left for e in events if isinstance(e, Progress) and 0.3 < e.share < 0.9]
    assert all(0 < seconds < 20 for seconds in left)


def test_the_seconds_left_are_told_by_what_was_made_not_by_the_prompt(monkeypatch):
    now, told = [0.0], []
    monkeypatch.setattr("musicgen_train.app.generating.time.monotonic", lambda: now[0])
    clock = Clock(told.append, lambda: None, 10.0)
    for now[0], done in ((0.0, 60), (1.0, 70), (2.0, 80)):  # the first 60 are a prompt's
        clock(done, 100)
    assert [event.seconds_left for event in told] == [None, 3.0, 2.0]
    assert told[-1].note == "8.0 of 10 s"


def test_a_follower_who_comes_late_gets_what_they_missed(started):
    job = started(duration=20.0)
    first = until_music(job)
    assert until_music(job) is first  # a second follower
    resumed = [chunk.index for chunk in chunks_in(job.follow(after=2))]
    assert len(resumed) > 5
    assert resumed == list(range(2, 2 + len(resumed)))


def test_any_number_follow_and_get_the_same(started):
    job = started(duration=5.0)
    seen = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda events=events: events.extend(job.follow()))
        for events in seen
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for events in seen:
        assert isinstance(events[-1], Done)
        assert [c.index for c in chunks_in(events)] == list(range(len(chunks_in(seen[0]))))


def test_after_the_end_only_the_end_is_told_and_nothing_is_kept(started):
    melody = Sound(tone(1.0), RATE, "hum.wav", 1.0)
    job = started(melody=melody)
    events = list(job.follow())
    wavs = [weakref.ref(chunk.wav) for chunk in chunks_in(events)]
    sound, takes = weakref.ref(melody.wav), events[-1].takes
    del melody, events
    job.wait(10)
    gc.collect()
    assert [wav() for wav in (*wavs, sound)] == [None] * (len(wavs) + 1)
    (end,) = job.follow()
    assert end.takes == takes


def test_a_generation_that_nobody_follows_ends_in_the_history(started, store, queue):
    job = started("gone")
    job.wait(20)
    assert isinstance(job.state, Done)
    assert store.of("gone") == job.state.takes
    assert queue.jobs() == []


def test_a_follower_who_leaves_stops_nothing(started):
    job = started(duration=5.0)
    follower = job.follow()
    next(follower)
    follower.close()
    assert isinstance(end_of(job), Done)


def test_a_generation_that_waits_says_how_many_are_before_it_and_can_be_cancelled(started, queue):
    first, second, third = (started(duration=ENDLESS) for _ in range(3))
    until_music(first)
    until(lambda: third.state == Waiting(2))
    second.cancel()
    assert isinstance(end_of(second), Stopped)
    until(lambda: third.state == Waiting(1))
    first.cancel()
    assert isinstance(end_of(first), Stopped)
    until_music(third)
    assert [job.title for job in queue.jobs()] == ["music, 110 s × 1"]


def test_music_is_cancelled_between_two_steps(started, store, queue):
    job = started(duration=ENDLESS, variants=2)
    until_music(job)
    begun = time.monotonic()
    job.cancel()
    assert isinstance(end_of(job), Stopped)
    assert time.monotonic() - begun < 2.0
    assert store.of("ada") == []
    until(lambda: queue.jobs() == [])


def test_what_is_cancelled_while_its_model_loads_stops_then(started, shelf, monkeypatch, queue):
    loading, loaded, take = threading.Event(), threading.Event(), shelf.take

    def slowly(label, adapters, told):
        told("loading base")
        loading.set()
        loaded.wait(10)
        return take(label, adapters, told)

    monkeypatch.setattr(shelf, "take", slowly)
    job = started()
    assert loading.wait(10)
    assert job.state == Loading("loading base")
    job.cancel()
    assert job.state == Loading("stops as soon as the model is loaded")
    loaded.set()
    assert isinstance(end_of(job), Stopped)
    until(lambda: queue.jobs() == [])


def test_a_cancelled_generation_is_over_for_good(started):
    job = started(duration=ENDLESS)
    until_music(job)
    job.cancel()
    job.cancel()
    end = end_of(job)
    job.cancel()
    assert [end, job.state] == [Stopped(), Stopped()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nothing"}, "is not on the list"),
        ({"adapters": {"runs/other": 1.0}}, "adapter 'runs/other' is none of base"),
        ({"duration": 1000.0}, "at most 120 s"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_what_cannot_work_is_refused_at_once(shelf, queue, store, options, message):
    request = Request(**{"model": "base", **options})
    with pytest.raises(UserError, match=message):
        Generation(request, shelf, queue, store, LIMITS, "ada").start()
    assert queue.jobs() == []


def test_a_prompt_that_fills_the_music_fails_in_one_line(started):
    prompt = Sound(tone(0.999), RATE, "riff.wav", 0.999)
    end = end_of(started(prompt=prompt))
    assert isinstance(end, Failed)
    assert "the prompt lasts" in end.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory at /srv/x"), "not enough memory for this"),
        (RuntimeError("/srv/secret is on fire"), "something went wrong on the server"),
        (UserError("/srv/models/x: is broken"), "x: is broken"),
    ],
)
def test_what_fails_on_the_way_is_told_in_one_line_and_the_next_works(
    started, monkeypatch, store, error, message
):
    def fail(*given, **options):
        raise type(error)(*error.args)  # a raised one would keep the model

    with monkeypatch.context() as patch:
        patch.setattr(MusicGen, "generate_stream", fail)
        end = end_of(started())
    assert isinstance(end, Failed)
    assert end.message.startswith(message)
    assert "/srv" not in end.message
    assert isinstance(end_of(started()), Done)


def test_without_memory_the_model_goes_too(started, shelf, monkeypatch):
    end_of(started())
    model = weakref.ref(shelf._model)

    def fail(*given, **options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(MusicGen, "generate_stream", fail)
        assert isinstance(end_of(started()), Failed)
    gc.collect()
    assert model() is None


def test_a_full_queue_fails_in_one_line(shelf, store):
    queue = DeviceQueue(limit=1)
    with queue.turn("a fine-tuning", threading.Event(), print):
        job = Generation(Request(model="base"), shelf, queue, store, LIMITS, "ada").start()
        assert end_of(job) == Failed("1 jobs are waiting: try again later")


def test_a_state_is_told_again_when_nothing_happens():
    events = Broadcast()
    follower = events.follow(after=0, beat=0.05)
    assert [next(follower) for _ in range(3)] == [Waiting(0)] * 3


def test_what_comes_after_an_end_is_not_told():
    events = Broadcast()
    events.tell(Stopped())
    events.tell(Progress(0.5, None, ""))
    assert list(events.follow(0, 1.0)) == [Stopped()]


def test_a_slow_follower_gets_every_chunk_though_they_are_forgotten_at_the_end():
    events = Broadcast()
    follower = events.follow(after=0, beat=0.05)
    next(follower)
    for i in range(3):
        events.add(Chunk(torch.zeros(1, 1), RATE, i))
    events.tell(Done([]))
    assert [type(event) for event in follower] == [Chunk, Chunk, Chunk, Done]


def test_a_reload_finds_the_visitors_jobs_and_nobody_elses(generations):
    request = Request(model="base", duration=ENDLESS, text="a")
    jobs = [generations.start("ada", request) for _ in range(2)]
    other = generations.start("bo", request)
    assert generations.of("ada") == jobs[::-1]
    assert generations.of("bo") == [other] and generations.of("") == []
    assert jobs[0].settings["text"] == "a"


def test_a_visitor_has_so_many_jobs_at_once_and_more_when_they_end(generations):
    request = Request(model="base", duration=ENDLESS)
    jobs = [generations.start("ada", request) for _ in range(3)]
    with pytest.raises(UserError, match="3 of your jobs are not done"):
        generations.start("ada", request)
    jobs[2].cancel()
    jobs[2].wait(10)
    generations.start("ada", request)
    generations.start("bo", request)


def test_a_refused_request_takes_no_place(generations):
    for _ in range(5):
        with pytest.raises(UserError, match="duration"):
            generations.start("ada", Request(model="base", duration=-1))
    assert generations.of("ada") == []


def test_jobs_that_ended_long_ago_are_forgotten(generations, monkeypatch):
    job = generations.start("ada", Request(model="base", duration=0.2))
    job.wait(20)
    assert generations.of("ada") == [job]
    later = time.monotonic() + 700
    monkeypatch.setattr("musicgen_train.app.generations.time.monotonic", lambda: later)
    assert generations.of("ada") == []


def test_closing_stops_what_runs_and_what_waits(shelf, queue, store):
    generations = Generations(shelf, queue, store, LIMITS)
    jobs = [generations.start("ada", Request(model="base", duration=ENDLESS)) for _ in range(3)]
    until_music(jobs[0])
    generations.close()
    assert [job.state for job in jobs] == [Stopped()] * 3
    assert queue.jobs() == []


def test_memory_returns_to_where_it_was_after_many_jobs(started):
    end_of(started(duration=2.0))

    def tensors():
        gc.collect()
        return sum(t.numel() for t in gc.get_objects() if type(t) is torch.Tensor)

    before, threads = tensors(), threading.active_count()
    for i in range(6):
        job = started(duration=2.0, variants=2, seed=i, melody=Sound(tone(9.0), RATE, "x", 9.0))
        if i % 2:
            until_music(job)
            job.cancel()
        end_of(job)
        job.wait(10)
    assert tensors() <= before
    assert threading.active_count() <= threads
