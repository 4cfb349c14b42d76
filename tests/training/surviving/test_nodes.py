"""Two nodes train as one process; the nodes are network namespaces of this machine."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.small_training import arguments, config, fit, link_repository, losses

IP = shutil.which("ip")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(IP is None or os.geteuid() != 0, reason="needs root and iproute2"),
]
# Dropout inside the model is drawn by each rank for its own part of the batch.
RUN = ("model.dropout=0", "trainer.val_check_interval=10", "~callbacks.samples")
NODE = (
    "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.precision=32-true",
    "data.batch_size=3",
)  # fmt: skip


def ip(*words: str) -> None:
    subprocess.run([str(IP), *words], check=True, capture_output=True)


def kill_all(node: str) -> None:
    """End all processes of a namespace; it need not be there."""
    command = [str(IP), "netns", "pids", node]
    for process in subprocess.run(command, capture_output=True, text=True).stdout.split():
        os.kill(int(process), signal.SIGKILL)


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """Two namespaces with a cable between them, 10.213.0.1 and 10.213.0.2; the disk is shared."""
    monkeypatch.chdir(tmp_path)
    link_repository(tmp_path)
    names = [f"mg{os.getpid()}n{k}" for k in range(2)]
    cable = [f"mg{os.getpid()}v{k}" for k in range(2)]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for k, (name, end) in enumerate(zip(names, cable, strict=True)):
            ip("link", "set", end, "netns", name, "name", "eth0")
            ip("-n", name, "address", "add", f"10.213.0.{k + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            kill_all(name)
            subprocess.run([str(IP), "netns", "delete", name], capture_output=True)


def start(nodes: list[str], datasets: dict, *overrides: str) -> list[subprocess.Popen]:
    """recipes/torchrun.sh on each node, in this directory."""
    environ = {
        **os.environ, "MASTER_ADDR": "10.213.0.1", "N_NODES": "2", "PROCESSES": "1",
        "GLOO_SOCKET_IFNAME": "eth0", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    keys = arguments("lm_demo", datasets, *RUN, *NODE, *overrides)
    script = ["bash", "recipes/torchrun.sh", *keys]
    return [
        subprocess.Popen(
            [str(IP), "netns", "exec", name, *script], env={**environ, "NODE_RANK": str(k)},
            stderr=subprocess.PIPE, text=True,
        )
        for k, name in enumerate(nodes)
    ]  # fmt: skip


def test_two_nodes_train_as_one_process_with_the_joined_batch(nodes, datasets):
    for node in start(nodes, datasets, "max_steps=8", "name=two"):
        errors = node.communicate(timeout=120)[1]
        assert node.returncode == 0, errors
        assert "find_unused_parameters" not in errors  # a warning of torch's that it is of no use
    one = fit(config("lm_demo", datasets, *RUN, "data.batch_size=6", "max_steps=8", "name=one"))
    ours, theirs = losses(Path("runs/two")), losses(one)
    assert [step for step, _ in ours] == [step for step, _ in theirs] == list(range(8))
    for (step, loss), (_, expected) in zip(ours, theirs, strict=True):
        assert loss == pytest.approx(expected, abs=1e-5), step


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_node_that_is_lost_ends_the_other(nodes, datasets, how):
    endless = ("max_steps=100000", "name=lost", "trainer.strategy.timeout.seconds=10")
    running = start(nodes, datasets, *endless)
    deadline = time.monotonic() + 90
    while not Path("runs/lost/checkpoints/last.ckpt").exists():
        assert time.monotonic() < deadline and running[0].poll() is None
        time.sleep(0.05)
    if how == "killed":
        kill_all(nodes[1])
    else:
        ip("-n", nodes[1], "link", "set", "eth0", "down")
    errors = running[0].communicate(timeout=60)[1]
    assert running[0].returncode
    assert "error: rank 0: another rank is gone (" in errors, errors
    assert "; resume=auto goes on from the last checkpoint" in errors
