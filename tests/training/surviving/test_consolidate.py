"""A sharded checkpoint as one file is what a run on one device would have written."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

from musicgen_train.training.surviving.checkpoint_files import is_whole, seal
from musicgen_train.training.surviving.consolidate import main
from tests.training import toy_sharded
from tests.training.survival import differences, plain
from tests.training.toy_sharded import Toy, batches, trainer


def weights(module: Toy) -> object:
    return plain(module.state_dict(), "")


def resumed(checkpoint: Path) -> Toy:
    """Six more steps on one process."""
    module = Toy()
    trainer(10).fit(module, batches(), ckpt_path=checkpoint, weights_only=True)
    return module


def test_one_file_holds_what_the_folder_does_and_is_resumed_exactly(tmp_path, capsys):
    module, single = Toy(), trainer(4)
    single.fit(module, batches())
    single.save_checkpoint(tmp_path / "single.ckpt")
    expected = torch.load(tmp_path / "single.ckpt", weights_only=True)
    partial, folder = tmp_path / "step=4.ckpt.part", tmp_path / "step=4.ckpt"
    states = {
        "state_dict": get_model_state_dict(module),
        "optimizer_0": get_optimizer_state_dict(module, single.optimizers[0]),
    }
    dcp.save(states, checkpoint_id=partial, no_dist=True)
    rest = {k: v for k, v in expected.items() if k not in ("state_dict", "optimizer_states")}
    torch.save(rest, partial / "meta.pt")
    seal(partial, folder)

    main([str(folder), str(tmp_path / "one.ckpt")])
    assert capsys.readouterr().out == f"checkpoint: {tmp_path / 'one.ckpt'}\n"
    found = torch.load(tmp_path / "one.ckpt", weights_only=True)
    apart = list(differences(plain(expected, ""), plain(found, "")))
    assert not apart, apart
    straight = weights(resumed(tmp_path / "single.ckpt"))
    assert weights(resumed(tmp_path / "one.ckpt")) == straight


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "one.ckpt"], "nowhere is no folder"),
        (["empty", "one.ckpt"], "empty is no checkpoint folder"),
        (["empty", "there.ckpt"], "there.ckpt exists already"),
    ],
)
def test_what_cannot_be_turned_into_a_file_is_one_line(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("there.ckpt").touch()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and message in told and told.count("\n") == 1
    assert not Path("one.ckpt").exists()


@pytest.mark.slow
def test_two_sharded_processes_are_resumed_by_one(tmp_path):
    folder = tmp_path / "step=4.ckpt"
    subprocess.run([sys.executable, toy_sharded.__file__, str(folder)], check=True, timeout=300)
    assert is_whole(folder) and len(list(folder.glob("*.distcp"))) == 2
    main([str(folder), str(tmp_path / "one.ckpt")])
    single = trainer(4)
    single.fit(Toy(), batches())
    single.save_checkpoint(tmp_path / "single.ckpt")
    ours, theirs = (
        torch.load(tmp_path / name, weights_only=True) for name in ("single.ckpt", "one.ckpt")
    )
    assert ours.keys() == theirs.keys()
    for name, tensor in ours["state_dict"].items():  # both saw the same batches
        torch.testing.assert_close(theirs["state_dict"][name], tensor)
    for name in ("param_groups",):
        assert ours["optimizer_states"][0][name] == theirs["optimizer_states"][0][name]
    for place, state in ours["optimizer_states"][0]["state"].items():
        torch.testing.assert_close(theirs["optimizer_states"][0]["state"][place], state)
    end, straight = resumed(tmp_path / "one.ckpt"), resumed(tmp_path / "single.ckpt")
    for name, tensor in straight.state_dict().items():
        torch.testing.assert_close(end.state_dict()[name], tensor)
