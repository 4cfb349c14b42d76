"""Fine-tunings with the stand-in for the recipe, in a folder of the test's own."""

import struct
import time
import wave
from pathlib import Path

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.request import Limits
from musicgen_train.app.songs import SongFolder
from musicgen_train.errors import UserError

STAND_IN = Path(__file__).parent / "stand_in/finetune.py"


class Shelf:
    """Knows one base, and counts how often its memory was asked for."""

    def __init__(self, sources=None):
        self.sources = sources or {"tiny": "tiny"}
        self.released = 0

    def source(self, label):
        if label not in self.sources:
            raise UserError(f"model {label!r} is not on the list: choose one of the list")
        return self.sources[label]

    def release(self):
        self.released += 1


def wav(path, seconds=0.5, rate=8000, hertz=50):
    """A file with a loud triangle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    period = rate // hertz
    samples = [int(20000 * (2 * abs((i % period) / period * 2 - 1) - 1)) for i in range(period)]
    n_periods = max(1, int(seconds * rate) // period)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(struct.pack(f"<{period}h", *samples) * n_periods)
    return path


def dropped(folder, names=("a.wav",)):
    """Songs that a visitor has dropped."""
    songs = SongFolder(folder / "staging", folder / "uploads", Limits())
    for name in names:
        songs.add(wav(folder / "uploads" / "upload.wav"), name)
    return songs


def finetunings(folder, queue=None, shelf=None, **options):
    """The fine-tunings of a server that has just started."""
    queue, shelf = queue or DeviceQueue(), shelf or Shelf()
    return Finetunings(folder / "runs", queue, shelf, recipe=STAND_IN, **options)


def until(condition, seconds=10.0):
    """Wait for something that must become true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.02)
    return found


def ended(job):
    """The status of a job that has come to its end."""
    return until(lambda: None if (status := job.status()).active else status)
