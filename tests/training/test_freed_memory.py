"""Freed memory is taken again without page faults, and no more of it is used."""

import subprocess
import sys

PROGRAM = """
import ctypes, resource, sys, torch
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: pages of 4 kB, whatever the system's
from musicgen_train.training.freed_memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
torch.set_num_threads(1)
def step():
    kept = [torch.ones(2**20) for _ in range(40)]  # 160 MB in blocks of 4 MB
    kept.append(torch.ones(2**24))  # and one of 64 MB
for _ in range(8):  # until the blocks lie where they stay
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_minflt - before, after.ru_maxrss)
"""


def faults_and_peak(way):
    command = [sys.executable, "-c", PROGRAM, way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    faults, peak = map(int, done.stdout.split())
    return faults, peak


def test_what_a_step_freed_the_next_one_has():
    given_back, peak = faults_and_peak("given back")
    kept, its_peak = faults_and_peak("kept")
    assert given_back > 30_000  # of 3 x 224 MB in pages of 4 kB, 168 000
    assert kept < given_back / 5
    assert its_peak < 1.1 * peak
