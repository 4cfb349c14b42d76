"""An adapter's folder: peft reads it, it knows its base in every layout, and bad ones are named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from musicgen_train.adapters.adapter_file import CONFIG, RECORD, WEIGHTS, read_adapter
from musicgen_train.adapters.mixing import AdapterMix
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_lm,
    save_audiocraft_musicgen,
    save_musicgen,
    save_transformers_musicgen,
)
from tests.adapters.small_adapters import logits, trained, write
from tests.conditioning.small_t5 import save_t5
from tests.formats.small_lms import KINDS, our_model
from tests.small_musicgen import tiny

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tiny().lm
    return write(base, trained(base, "dora"), tmp_path_factory.mktemp("made") / "adapter")


@pytest.fixture
def folder(made, tmp_path):
    """A copy to break."""
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_the_record_comes_back(folder):
    adapter = read_adapter(folder)
    assert adapter.kind.rank == 4 and adapter.kind.scale == 2.0 and adapter.kind.dora
    record = adapter.record
    assert (record.name, record.base_name, record.trigger) == ("mine", "tiny", "my style")
    assert (record.training, record.licence) == ({"steps": 7}, "MIT")


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_peft_loads_the_folder_as_one_of_its_own(tmp_path, kind):
    from peft import PeftModel

    base = tiny().lm
    adapted = trained(base, kind)
    write(base, adapted, tmp_path)
    loaded = PeftModel.from_pretrained(base, str(tmp_path)).base_model.model.eval()
    assert torch.equal(logits(loaded), logits(adapted))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_an_adapter_in_half_precision_is_one_too(folder, dtype):
    model, exact = tiny(), tiny()
    exact.load_adapter(folder)
    halved = {name: t.to(dtype) for name, t in load_file(folder / WEIGHTS).items()}
    save_file(halved, folder / WEIGHTS)
    model.load_adapter(folder)
    difference = (logits(model.lm) - logits(exact.lm)).abs().max()
    assert 0 < difference < 0.05


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("t5"), 512)


@pytest.mark.parametrize("kind", KINDS)
def test_a_base_is_the_same_whoever_stores_it(kind, t5, tmp_path):
    model = our_model(kind, t5, text_dim=512)
    folder = write(model.lm, trained(model.lm, rank=2), tmp_path / "adapter")
    stored = [save_musicgen(model, tmp_path / dtype, dtype=dtype) for dtype in
              ("float32", "float16", "bfloat16")]  # fmt: skip
    save_transformers_musicgen(model, tmp_path / "transformers")
    assert isinstance(model.text_encoder, T5TextEncoder)
    model.text_encoder.name_or_path = "t5-small"  # audiocraft knows names only
    save_audiocraft_musicgen(model, tmp_path / "audiocraft")
    model.load_adapter(folder)
    expected = logits(model.lm)
    for path in (*stored, tmp_path / "transformers", tmp_path / "audiocraft"):
        lm = load_lm(path)
        AdapterMix(lm).load(folder)
        error = (logits(lm) - expected).norm() / expected.norm()
        assert error < (0.05 if path.name.endswith("16") else 1e-6), path.name


def test_a_fresh_process_computes_the_same(folder, tmp_path):
    model = tiny()
    save_musicgen(model, tmp_path / "base")
    model.load_adapter(folder, 0.7)
    code = (
        "from musicgen_train import MusicGen; from tests.adapters.small_adapters import logits\n"
        "import sys, torch; model = MusicGen.get_pretrained(sys.argv[1], 'cpu')\n"
        "model.load_adapter(sys.argv[2], 0.7); torch.save(logits(model.lm), sys.argv[3])"
    )
    arguments = [str(tmp_path / "base"), str(folder), str(tmp_path / "logits")]
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, check=True)
    torch.testing.assert_close(torch.load(tmp_path / "logits"), logits(model.lm), rtol=0, atol=1e-5)


def test_a_saved_model_has_its_adapters_in_its_weights_and_says_so(folder, tmp_path):
    model = tiny()
    model.load_adapter(folder, 0.7)
    saved = save_musicgen(model, tmp_path / "merged", training={"steps": 3})
    assert torch.equal(logits(load_lm(saved)), logits(model.lm))
    record = json.loads((saved / "config.json").read_text())["training"]
    assert record == {"steps": 3, "adapters": "mine=0.7"}
    model.set_adapters({})
    saved = save_musicgen(model, tmp_path / "base")
    assert "training" not in json.loads((saved / "config.json").read_text())
    assert torch.equal(logits(load_lm(saved)), logits(tiny().lm))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def edit_tensors(change):
    def edit(folder):
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return edit


NAME = "base_model.model.layers.0.ffn.up.lora_A.weight"
BAD_FILES = [
    (lambda f: (f / RECORD).unlink(), "nobody knows which model it belongs to"),
    (lambda f: (f / CONFIG).unlink(), "no adapter at"),
    (lambda f: (f / WEIGHTS).unlink(), "adapter_model.safetensors is missing"),
    (lambda f: cut(f / WEIGHTS), "truncated or corrupt"),
    (lambda f: cut(f / CONFIG), "is no JSON"),
    (lambda f: (f / CONFIG).write_text("[]"), "is no configuration of peft"),
    (lambda f: (f / RECORD).write_text("[]"), "is no record of an adapter"),
    (lambda f: (f / RECORD).write_text("[" * 100000), "is no JSON"),
    (lambda f: (f / CONFIG).write_text(" " * (2**25 + 1)), "34 MB, which no adapter's has"),
    (edit_tensors(lambda t: t.pop(NAME)), r"layers\.0\.ffn\.up\.lora_A\.weight is missing"),
    (edit_tensors(lambda t: t.update({NAME: t[NAME][:, :3].clone()})),
     r"is \[4, 3\], not \[4, 16\]"),
    (edit_tensors(lambda t: t.update({NAME: t[NAME].to(torch.int8)})), "no floating point"),
    (edit_tensors(lambda t: t[NAME].fill_(float("nan"))), "infinite values"),
    (edit_tensors(lambda t: t.update({"other.weight": torch.ones(1)})), "no tensor of peft's"),
    (edit_tensors(lambda t: t.update({"base_model.model.no.lora_A.weight": torch.ones(1)})),
     "of no matrix of the model"),
    (edit_tensors(lambda t: t.clear()), "it holds no matrices"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "message"), BAD_FILES)
def test_a_broken_adapter_is_one_line_and_changes_nothing(folder, break_it, message):
    model = tiny()
    before = logits(model.lm)
    break_it(folder)
    with pytest.raises(UserError, match=message) as refusal:
        model.load_adapter(folder)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500
    assert model.adapters == {} and torch.equal(logits(model.lm), before)


BAD_VALUES = [
    (CONFIG, ("peft_type",), "LOHA", "peft_type is 'LOHA', but should be 'LORA'"),
    (CONFIG, ("r",), 0, "r is 0"),
    (CONFIG, ("r",), 8, r"is \[4, 8\], not \[8, 8\]"),
    (CONFIG, ("r",), 10**30, "r is 10"),
    (CONFIG, ("lora_alpha",), float("nan"), "lora_alpha is nan"),
    (CONFIG, ("use_dora",), False, "has a magnitude, but use_dora is not true"),
    (CONFIG, ("bias",), "all", "bias is 'all'"),
    (CONFIG, ("init_lora_weights",), "pissa", "init_lora_weights is 'pissa'"),
    (CONFIG, ("use_rslora",), True, "'use_rslora' is True: adapters of that kind are not known"),
    (CONFIG, ("rank_pattern",), {"up": 2}, "'rank_pattern' is"),
    (CONFIG, ("new_method",), {"x": 1}, "'new_method' is"),
    (RECORD, ("version",), 99, "no record of an adapter of version <= 1"),
    (RECORD, ("format",), "else", "no record of an adapter"),
    (RECORD, ("base",), None, "does not say which model it belongs to"),
    (RECORD, ("base", "samples", "heads.weight"), [1.0], "samples of 'heads.weight' are not 8"),
    (RECORD, ("base", "samples", "heads.weight"), [10**400] * 8, "samples of 'heads.weight'"),
    (RECORD, ("base", "shape", "num_heads"), 4, "belongs to another model"),
    (RECORD, ("base", "samples", "more.weight"), [1.0] * 8, "belongs to another model"),
    (RECORD, ("trigger",), 5, "trigger is 5"),
    (RECORD, ("name",), "x" * 501, "name is"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "keys", "value", "message"), BAD_VALUES)
def test_a_value_that_cannot_be_is_refused(folder, file, keys, value, message):
    content = json.loads((folder / file).read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        tiny().load_adapter(folder)


@pytest.mark.parametrize("path", ["nowhere", "\0", "a\nb"])
def test_a_path_without_an_adapter_is_refused(path):
    with pytest.raises(UserError, match=r"no (adapter|checkpoint) at"):
        read_adapter(path)


def test_the_folder_of_a_run_is_answered_with_its_adapter(folder):
    inner = folder / "adapter"
    inner.mkdir()
    for name in (CONFIG, RECORD, WEIGHTS):
        (folder / name).rename(inner / name)
    with pytest.raises(UserError, match=rf"it has no {CONFIG}; give .*/adapter"):
        read_adapter(folder)


def test_tensors_of_a_model_of_another_size_are_not_read(folder, monkeypatch):
    """Sizes are compared first: a file may be larger than the memory."""
    from musicgen_train.lm import LanguageModel

    wider = LanguageModel(n_q=2, card=16, dim=32, num_heads=2, num_layers=1, text_dim=8)
    adapter = read_adapter(folder)
    monkeypatch.setattr(torch.Tensor, "clone", lambda *_: pytest.fail("a tensor was read"))
    with pytest.raises(UserError, match="copy or export it again"):
        adapter.matrices(wider)
