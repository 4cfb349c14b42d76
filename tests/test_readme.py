"""README's commands run, as written, in the order in which they stand."""

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.data_prep.small_library import write_song

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", README, flags=re.DOTALL)
# As written a training takes minutes to hours: here it takes two steps of the same kind.
SHORT = {
    "recipes/finetune.py": "separator=none steps=2 batch_size=2 clips=2 prior_clips=4 shown=1",
    "train.py": "trainer.limit_val_batches=1 num_threads=1 data.batch_size=2",
    "name=my_codec": "max_steps=2 schedule.warmup_steps=0 task.kmeans_batches=20 "
    "task.warmup_steps=1 task.adversary.start_step=1",
    "experiment=lm_demo": "max_steps=2 schedule.warmup_steps=0",
    "evaluate.py": "duration=2 n_clips=2 num_threads=1 sampling.batch_size=2",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A directory that looks like a clone, with a folder of songs in it."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("train.py", "evaluate.py", "conf", "data_prep", "musicgen_train", "recipes"):
        (root / name).symlink_to(ROOT / name)
    for artist in ("ada", "bo", "cy", "dee", "eve"):
        write_song(root / "my_songs", artist, "one", 25.0)
    write_song(root, "my_songs", "song", 3.0)
    return root


def run(command, cwd):
    # The directory itself comes first, as for somebody who works in a clone.
    env = {**os.environ, "PYTHONPATH": str(cwd), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, shell=True, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@contextmanager
def page(cwd):
    """The web page on a free port, while the block runs; gives its address."""
    env = {**os.environ, "PYTHONPATH": str(cwd), "OMP_NUM_THREADS": "1"}
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    command = [sys.executable, "-m", "musicgen_train.app", "--port", port]
    server = subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, text=True)
    try:
        said = server.stdout.readline()
        yield re.search(r"http://127.0.0.1:\d+", said).group()
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_every_make_target_exists():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    used = set(re.findall(r"make (?:[A-Z]+=\S+ )?(\w+)", README))
    assert {"demo", "test", "lint"} <= used <= targets


def test_every_path_in_the_tree_exists():
    tree = README.split("## Where is what")[1].split("```")[1]
    folder = ROOT
    for line in tree.strip().splitlines():
        name = line.split()[0]
        inner = line.startswith("  ")
        path = folder / name if inner else ROOT / name
        assert path.exists(), line
        folder = folder if inner else path


def test_nothing_is_left_to_fill_in_and_every_picture_exists():
    assert "@@" not in README
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):  # without the place in a page
        assert (ROOT / target).exists(), target


def test_the_commands_run_in_order(clone):
    for kind, block in BLOCKS:
        if kind == "python" and "gradio_client" in block:
            with page(clone) as address:
                (clone / "example.py").write_text(block.replace("http://127.0.0.1:7860", address))
                run(f"{sys.executable} example.py", clone)
            continue
        if kind == "python":
            (clone / "example.py").write_text(block)
            run(f"{sys.executable} example.py", clone)
            continue
        for command in block.strip().splitlines():
            if command.startswith("make") or re.search(r"listening_test|\.app$", command):
                continue  # a server, which tests of its own start and use
            extra = " ".join(short for key, short in SHORT.items() if key in command)
            for key in re.findall(r"(max_steps|n_clips)=", extra):
                command = re.sub(rf" {key}=\S+", "", command)
            run(f"{sys.executable} {command.removeprefix('python ')} {extra}", clone)
    assert list(clone.glob("songs/*calm*.wav"))
    assert (clone / "songs" / "1.wav").exists()
    assert (clone / "my_evaluation" / "metrics.json").exists()
    assert (clone / "my_comparison" / "index.html").exists()
    assert (clone / "my_codec_evaluation" / "report" / "index.html").exists()
    assert (clone / "song.wav").exists()
