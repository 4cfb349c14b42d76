import itertools
import json

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import SingleDeviceStrategy

from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.data.shards import DatasetWriter
from musicgen_train.errors import UserError
from tests.data.small_dataset import INFO, npy, write_dataset

N = 7


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "set", N, n_valid=5)


class Recorder(lightning.LightningModule):
    """Notes what it trains on; `read_steps_in` names the hook that asks for the number of steps."""

    def __init__(self, read_steps_in=None, save_at=None, path=None):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.read_steps_in, self.save_at, self.path = read_steps_in, save_at, path
        self.trained, self.validated = [], []

    def _maybe_read_steps(self, hook):
        if self.read_steps_in == hook:
            assert self.trainer.estimated_stepping_batches > 0

    def setup(self, stage):
        self._maybe_read_steps("setup")

    def configure_optimizers(self):
        self._maybe_read_steps("configure_optimizers")
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        self.trained.append((batch.keys, batch.codes[:, 1, 0].tolist()))
        return self.layer(torch.ones(1, 1)).sum()

    def on_train_batch_end(self, outputs, batch, batch_idx):
        if self.trainer.global_step == self.save_at:
            self.trainer.save_checkpoint(self.path)

    def validation_step(self, batch, batch_idx):
        self.validated += batch.keys


class LateRestore(SingleDeviceStrategy):
    """Restores a checkpoint after the optimizers exist, as the sharded strategies do."""

    restore_checkpoint_after_setup = True


def fit(module, datamodule, max_steps, ckpt_path=None, **options):
    # With max_epochs=-1 the number of steps would be known without building the loader.
    options = {"limit_val_batches": 0, "strategy": SingleDeviceStrategy("cpu"), **options}
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=max_steps, max_epochs=1000, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        check_val_every_n_epoch=None, num_sanity_val_steps=0, **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=datamodule, ckpt_path=ckpt_path)
    return trainer


def data(path, **options):
    return MusicDataModule(path, **{"batch_size": 2, "segment_duration": 1.0, **options})


@pytest.mark.parametrize(
    ("num_workers", "hook", "late"),
    [(0, hook, late) for hook in (None, "setup", "configure_optimizers") for late in (False, True)]
    + [(2, None, False), (2, "setup", True)],
)
def test_a_stopped_and_resumed_run_trains_on_what_the_straight_run_did(
    dataset, tmp_path, num_workers, hook, late
):
    path = tmp_path / "stop.ckpt"
    straight = Recorder(hook)
    fit(straight, data(dataset, num_workers=num_workers, seed=5), 12)
    stopped = Recorder(hook, save_at=5, path=path)
    fit(stopped, data(dataset, num_workers=num_workers, seed=5), 8)  # runs on past the checkpoint
    resumed = Recorder(hook)
    strategy = LateRestore("cpu") if late else SingleDeviceStrategy("cpu")
    fit(resumed, data(dataset, num_workers=num_workers), 12, ckpt_path=path, strategy=strategy)
    assert len(straight.trained) == 12
    assert stopped.trained == straight.trained[:8]
    assert resumed.trained == straight.trained[5:]


def test_a_run_may_be_resumed_again_and_again_with_other_batch_sizes(dataset, tmp_path):
    straight = Recorder()
    fit(straight, data(dataset, batch_size=1), 24)
    path, seen, step = tmp_path / "c.ckpt", [], 0
    for batch_size, n_steps in ((2, 3), (4, 2), (1, 5), (5, 1)):
        step += n_steps
        module = Recorder(save_at=step, path=path)
        resume = path if seen else None
        fit(module, data(dataset, batch_size=batch_size), step, ckpt_path=resume)
        seen += [key for keys, _ in module.trained for key in keys]
    assert seen == [keys[0] for keys, _ in straight.trained]


def test_the_state_counts_what_was_trained_on_and_not_what_was_prefetched(dataset, tmp_path):
    datamodule = data(dataset, num_workers=2)
    fit(Recorder(save_at=5, path=tmp_path / "c.ckpt"), datamodule, 9)
    saved = torch.load(tmp_path / "c.ckpt", weights_only=True)["MusicDataModule"]
    assert (saved["epoch"], saved["consumed"]) == (10 // N, 10 % N)
    assert saved["fingerprint"] == datamodule.index.fingerprint
    assert datamodule.position() == 18


def test_a_step_that_fails_is_not_counted(dataset):
    module, datamodule = Recorder(), data(dataset)
    train = module.training_step

    def fail_on_the_fourth(batch, batch_idx):
        if batch_idx == 3:
            raise RuntimeError("out of memory")
        return train(batch, batch_idx)

    module.training_step = fail_on_the_fourth
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(module, datamodule, 9)
    assert datamodule.position() == 6


def test_accumulated_gradients_count_every_batch(dataset, tmp_path):
    straight, resumed, path = Recorder(), Recorder(), tmp_path / "c.ckpt"
    fit(straight, data(dataset), 6, accumulate_grad_batches=2)
    stopped = Recorder(save_at=2, path=path)
    stopped.on_train_batch_end = lambda *_: None
    fit(stopped, data(dataset), 2, accumulate_grad_batches=2).save_checkpoint(path)
    fit(resumed, data(dataset), 6, ckpt_path=path, accumulate_grad_batches=2)
    assert resumed.trained == straight.trained[4:]


def test_lightning_epochs_do_not_restart_the_data(dataset):
    straight, epochs = Recorder(), Recorder()
    fit(straight, data(dataset), 9)
    fit(epochs, data(dataset), 9, limit_train_batches=2)
    assert epochs.trained == straight.trained


def test_a_second_fit_of_the_same_trainer_goes_on_and_a_new_trainer_begins_anew(dataset):
    straight, datamodule, module = Recorder(), data(dataset), Recorder()
    fit(straight, data(dataset), 8)
    trainer = fit(module, datamodule, 4)
    trainer.fit_loop.epoch_loop.max_steps = 8
    trainer.fit(module, datamodule=datamodule)
    assert module.trained == straight.trained
    anew = Recorder()
    fit(anew, datamodule, 3)
    assert anew.trained == straight.trained[:3]


def test_validation_sees_every_sample_once_and_in_order(dataset):
    module = Recorder()
    fit(module, data(dataset), 4, limit_val_batches=1.0, val_check_interval=2)
    assert module.validated == ["s007", "s008", "s009", "s010", "s011"] * 2
    loader = data(dataset).val_dataloader()
    assert len(loader) == len(list(loader)) == 3
    assert data(dataset).test_dataloader() == []


def test_a_step_of_more_samples_than_there_are_is_remarked(dataset):
    assert data(dataset).remarks(N) == []
    (remark,) = data(dataset).remarks(N + 1)
    assert f"a step takes {N + 1} samples, but there are {N} to train on" in remark


def test_data_without_samples_to_validate_on_are_remarked(dataset_copy):
    (remark,) = data(dataset_copy).remarks(2)
    assert "has no samples to validate on" in remark and str(dataset_copy) in remark


def test_audio_batches_are_crops_of_the_stored_segments(dataset):
    datamodule = data(dataset, kind="audio", segment_duration=0.25, sample_rate=1000, channels=1)
    for batch in itertools.islice(datamodule.train_dataloader(), 10):
        assert batch.wav.shape == (2, 1, 250)
        assert (batch.wav.diff() == 1 / 2**14).all()  # consecutive samples of the ramp


def test_a_checkpoint_of_other_data_is_refused(dataset, tmp_path):
    other = write_dataset(tmp_path / "other", N + 1)
    state = data(other).state_dict()
    with pytest.raises(UserError, match="is not the checkpoint's"):
        data(dataset).load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "value"),
    [("codec_identity", "other"), ("sample_rate", 16000), ("channels", 2), ("frame_rate", 25.0),
     ("n_q", 4), ("card", 2048)],
)  # fmt: skip
def test_data_of_another_codec_is_refused_naming_both_values(dataset, name, value):
    with pytest.raises(UserError, match=rf"{name} is \S+, but the codec's is {value}"):
        data(dataset, **{name: value})


def test_longer_segments_than_are_stored_are_refused(dataset):
    with pytest.raises(UserError, match=r"last 2\.0 s, but segment_duration is 3\.0"):
        data(dataset, segment_duration=3.0)


def test_what_is_no_dataset_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(UserError, match="no such dataset folder"):
        data(tmp_path / "none")
    with pytest.raises(UserError, match="not a dataset"):
        data(tmp_path)


def test_codes_and_audio_are_asked_of_datasets_that_hold_them(dataset, tmp_path):
    audio_only = write_dataset(tmp_path / "audio", 2)
    info = json.loads((audio_only / "dataset.json").read_text())
    (audio_only / "dataset.json").write_text(json.dumps(info | {"codec_identity": None}))
    with pytest.raises(UserError, match=r"run data_prep\.tokenize"):
        data(audio_only)
    codes_only = tmp_path / "codes"
    codes_only.mkdir()
    writer = DatasetWriter(codes_only, ["codes.npy", "json"])
    writer.write("s", {"codes.npy": npy(np.ones((2, 100), np.uint16)), "json": b"{}"}, "train", 2.0)
    writer.close(dict(INFO))
    with pytest.raises(UserError, match="holds no audio"):
        data(codes_only, kind="audio")
    with pytest.raises(UserError, match="unknown kind"):
        data(dataset, kind="midi")


def test_keys_that_would_lead_out_of_a_folder_are_refused(tmp_path):
    folder = write_dataset(tmp_path / "set", 2)
    with np.load(folder / "index.npz") as stored:
        arrays = dict(stored)
    arrays["keys"] = np.array([b"../../x", b"y"])
    np.savez(folder / "index.npz", **arrays)
    with pytest.raises(UserError, match=r"index\.npz is damaged \(a key in it holds '/'"):
        data(folder)


@pytest.mark.parametrize("kind", ["codes", "audio"])
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value)
     for name in ("sample_rate", "channels", "n_q", "card", "frame_rate", "segment_duration")
     for value in ("fast", -1, 0, float("nan"), float("inf"), [2], True, 10**400)]
    + [("fingerprint", value) for value in (None, 3, ["a"])]
    + [("shards", value) for value in (None, 3, {}, [3], [{}], [{"bytes": -1, "sha256": "a"}])]
    + [("members", value) for value in ("flac", [3], {"a": 1}, ["json"])]
    + [("codec_identity", value) for value in (3, ["a"], "a\nb", "", "\x1b[2J")]
    + [("chroma", value) for value in (3, [], {}, {"hop": 0}, {"hop": "4"})]
    + [("format_version", value) for value in (True, "1\n2", None, 1.5)],
)  # fmt: skip
def test_a_damaged_field_of_dataset_json_is_refused_in_one_line(dataset_copy, kind, name, value):
    path = dataset_copy / "dataset.json"
    info = json.loads(path.read_text())
    try:
        path.write_text(json.dumps(info | {name: value}))
        with pytest.raises(UserError, match=r"is damaged|dataset format") as caught:
            data(dataset_copy, kind=kind)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    finally:
        path.write_text(json.dumps(info))


@pytest.mark.parametrize(
    "name",
    ["sample_rate", "channels", "segment_duration", "n_q", "card", "frame_rate", "members",
     "chroma", "shards", "fingerprint"],
)  # fmt: skip
def test_an_absent_field_of_dataset_json_is_named(dataset_copy, name):
    path = dataset_copy / "dataset.json"
    info = json.loads(path.read_text())
    try:
        path.write_text(json.dumps({key: info[key] for key in info if key != name}))
        with pytest.raises(UserError, match=rf"dataset\.json is damaged \(.*{name}"):
            data(dataset_copy)
    finally:
        path.write_text(json.dumps(info))


@pytest.fixture(scope="module")
def dataset_copy(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("copy") / "set", 2)
