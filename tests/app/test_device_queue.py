import threading
import time

import pytest

from musicgen_train.app.device_queue import Cancelled, DeviceQueue
from musicgen_train.errors import UserError


class Job(threading.Thread):
    """Takes its turn, and keeps it until it is let go."""

    def __init__(self, queue, title, log):
        super().__init__(daemon=True)
        self.queue, self.title, self.log = queue, title, log
        self.cancelled, self.running, self.done = (threading.Event() for _ in range(3))
        self.positions, self.error = [], None

    def run(self):
        try:
            with self.queue.turn(self.title, self.cancelled, self.positions.append):
                self.log.append(self.title)
                self.running.set()
                self.done.wait(10)
        except BaseException as error:
            self.error = error

    def begin(self):
        """Start, and come back when it is in the queue."""
        before = len(self.queue.jobs())
        self.start()
        until(lambda: len(self.queue.jobs()) > before or not self.is_alive())
        return self


def until(happened, timeout=5.0):
    end = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


@pytest.fixture
def log():
    return []


@pytest.fixture
def queue():
    return DeviceQueue(limit=4)


def test_who_comes_first_is_served_first_and_alone(queue, log):
    jobs = [Job(queue, title, log).begin() for title in "abc"]
    for i, job in enumerate(jobs):
        assert job.running.wait(5)
        assert log == list("abc"[: i + 1])
        job.done.set()
        job.join(5)
    assert queue.jobs() == []


def test_all_see_who_runs_and_who_waits(queue, log):
    first, second = (Job(queue, title, log).begin() for title in "ab")
    assert first.running.wait(5)
    assert [(job.title, job.state) for job in queue.jobs()] == [("a", "running"), ("b", "waiting")]
    time.sleep(0.3)
    assert all(0.3 <= job.seconds < 5 for job in queue.jobs())
    first.done.set()
    assert second.running.wait(5)
    (job,) = queue.jobs()
    assert (job.title, job.state) == ("b", "running")
    assert job.seconds < 0.25  # it has waited longer, but not run longer
    second.done.set()


def test_a_job_is_told_how_many_are_before_it(queue, log):
    jobs = [Job(queue, title, log).begin() for title in "abc"]
    until(lambda: jobs[2].positions == [2])
    jobs[0].done.set()
    until(lambda: jobs[2].positions == [2, 1])
    assert jobs[0].positions == []
    assert jobs[1].positions == [1]
    for job in jobs:
        job.done.set()


def test_a_job_that_waits_can_be_cancelled(queue, log):
    jobs = [Job(queue, title, log).begin() for title in "abc"]
    assert jobs[0].running.wait(5)
    jobs[1].cancelled.set()
    jobs[1].join(5)
    assert isinstance(jobs[1].error, Cancelled)
    assert [job.title for job in queue.jobs()] == ["a", "c"]
    jobs[0].done.set()
    assert jobs[2].running.wait(5)
    jobs[2].done.set()
    assert log == ["a", "c"]


def test_what_was_cancelled_before_its_turn_never_runs(queue):
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled), queue.turn("a", cancelled, print):
        pytest.fail("it ran")
    assert queue.jobs() == []


def test_a_job_that_fails_lets_the_next_one_in(queue):
    with pytest.raises(ZeroDivisionError), queue.turn("a", threading.Event(), print):
        raise ZeroDivisionError
    with queue.turn("b", threading.Event(), print):
        assert [job.title for job in queue.jobs()] == ["b"]


def test_a_full_queue_takes_no_more(queue, log):
    jobs = [Job(queue, title, log).begin() for title in "abcd"]
    with pytest.raises(UserError, match="4 jobs are waiting: try again later"):
        queue.turn("e", threading.Event(), print).__enter__()
    jobs[3].cancelled.set()
    jobs[3].join(5)
    Job(queue, "e", log).begin().cancelled.set()
    for job in jobs:
        job.done.set()


def test_any_number_of_threads_have_their_turns_one_by_one():
    queue, inside, most = DeviceQueue(limit=60), [], []

    def work():
        with queue.turn("x", threading.Event(), lambda position: None):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.001)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert most == [1] * 50
