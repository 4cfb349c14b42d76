"""Audio of any length on disk."""

import os
import signal
import subprocess
import sys

import torch

from data_prep.spool import Spool


def test_what_is_put_in_comes_out_anywhere():
    wav = torch.randn(2, 1, 1000, generator=torch.Generator().manual_seed(0))
    with Spool() as spool:
        for block in wav.split(333, dim=-1):
            spool.append(block)
        assert spool.n_samples == 1000
        assert torch.equal(spool.read(0, 1000), wav)
        assert torch.equal(spool.read(250, 700), wav[..., 250:700])
        assert torch.equal(spool.read(990, 2000), wav[..., 990:])
        assert [block.shape[-1] for block in spool.blocks(400)] == [400, 400, 200]
        assert torch.equal(torch.cat(list(spool.blocks(400)), dim=-1), wav)


def test_an_empty_one_has_no_blocks():
    with Spool() as spool:
        assert list(spool.blocks()) == []


def test_nothing_is_left_of_it_when_its_process_is_killed(tmp_path):
    code = (
        "import os, signal, torch; from data_prep.spool import Spool; spool = Spool();"
        "spool.append(torch.zeros(1, 1, 100000)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
