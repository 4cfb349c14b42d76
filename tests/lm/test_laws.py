"""Laws of the language model that hold for any weights."""

import gc
import math
import weakref

import pytest
import torch

from musicgen_train.lm import LanguageModel, generation
from musicgen_train.lm.decoder import Decoder
from musicgen_train.lm.delay import delay_codes, undelay
from musicgen_train.lm.sampling import draw_uniforms

CARD = 16
FUSING = [
    ("cross", "prepend"),
    ("prepend", "prepend"),
    ("cross", "cross"),
    ("cross", "sum"),
    ("sum", "sum"),
]


def small_model(fuse_text: str = "cross", fuse_chroma: str = "prepend", **kwargs) -> LanguageModel:
    torch.manual_seed(0)
    shape = {
        "n_q": 3,
        "card": CARD,
        "dim": 32,
        "num_heads": 2,
        "num_layers": 2,
        "text_dim": 8,
        "chroma_dim": 12,
        "chroma_rate": 0.5,
    }
    model = LanguageModel(
        **{**shape, **kwargs}, fuse_text=fuse_text, fuse_chroma=fuse_chroma, chroma_length=3
    )
    # The text projection starts small: make the text matter.
    if model.fuser.text_proj is not None:
        torch.nn.init.normal_(model.fuser.text_proj.weight)
    return model.eval()


def conditions(lengths: list[int]) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Text rows of the given lengths (0: no text), and a chroma."""
    generator = torch.Generator().manual_seed(1)
    embedding = torch.randn(len(lengths), max(lengths), 8, generator=generator)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    bins = torch.randint(12, (len(lengths), 4), generator=generator)
    return (embedding, mask), torch.nn.functional.one_hot(bins, 12).float()


def random_codes(B: int, T: int, n_q: int = 3) -> torch.Tensor:
    return torch.randint(CARD, (B, n_q, T), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("delays", [(0, 0, 0, 0), (0, 1, 2, 3), (0, 0, 1, 1), (0, 3, 1, 2)])
def test_undelay_inverts_delay(delays):
    codes = torch.randint(16, (2, len(delays), 7))
    assert torch.equal(undelay(delay_codes(codes, delays, fill=16), delays), codes)


def test_frames_beyond_the_delayed_steps_are_zero():
    steps = torch.ones(1, 2, 4)
    assert undelay(steps, [0, 1], n_frames=4)[0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize("fusing", FUSING)
def test_no_logit_sees_the_future(fusing):
    model = small_model(*fusing)
    text, chroma = conditions([3, 2])
    codes = random_codes(2, 9)
    before, mask = model.logits(codes, text, chroma, full=True)
    # Code (k, t) is predicted at delayed step t + delays[k] and fed in at the step after.
    step = torch.arange(9) + torch.tensor(model.delays)[:, None]
    for k, t in [(0, 0), (0, 4), (1, 3), (2, 0), (2, 7)]:
        changed = codes.clone()
        changed[:, k, t] = (changed[:, k, t] + 1) % CARD
        after, _ = model.logits(changed, text, chroma, full=True)
        later = step > step[k, t]
        difference = (after - before).abs().amax(dim=(0, 3))
        assert difference[~later].max() < 1e-6
        assert difference[later].min() > 1e-6, "every later prediction sees the change"
    assert mask.all()


@pytest.mark.parametrize("fusing", FUSING)
@pytest.mark.parametrize("lengths", [[3, 3], [4, 1], [2, 0]])
def test_cached_decoding_equals_the_full_forward(fusing, lengths):
    model = small_model(*fusing)
    text, chroma = conditions(lengths)
    codes = model.generate(10, text, chroma, cfg_coef=1.0, greedy=True)
    with torch.no_grad():
        logits, mask = model.logits(codes, text, chroma, full=True)
    assert mask.all()
    assert torch.equal(logits.argmax(dim=-1), codes)


@pytest.mark.parametrize("fusing", FUSING)
def test_guidance_one_is_conditional_and_zero_unconditional(fusing):
    model = small_model(*fusing)
    text, chroma = conditions([3, 3])
    options = {"greedy": True}
    conditional = model.generate(10, text, chroma, cfg_coef=1.0, **options)
    # Just beside 1 and 0 both branches are computed.
    assert torch.equal(model.generate(10, text, chroma, cfg_coef=1 + 1e-6, **options), conditional)
    null = model.generate(10, text, chroma, cfg_coef=0.0, **options)
    assert torch.equal(model.generate(10, text, chroma, cfg_coef=1e-6, **options), null)
    assert not torch.equal(conditional, null)
    guided = model.generate(10, text, chroma, cfg_coef=5.0, **options)
    assert not torch.equal(guided, conditional)


def test_unconditional_guidance_changes_nothing():
    model = small_model()
    one = model.generate(8, seeds=[1, 2], cfg_coef=1.0)
    assert torch.equal(model.generate(8, seeds=[1, 2], cfg_coef=3.0), one)


@pytest.mark.parametrize("fusing", FUSING)
def test_an_absent_text_is_no_text(fusing):
    model = small_model(*fusing)
    (embedding, _), chroma = conditions([3, 3])
    codes = random_codes(2, 6)
    absent, _ = model.logits(codes, (embedding, torch.zeros(2, 3)), chroma)
    without, _ = model.logits(codes, None, chroma)
    torch.testing.assert_close(absent, without)
    assert absent.isfinite().all()


@pytest.mark.parametrize("fusing", FUSING)
def test_a_row_does_not_depend_on_its_neighbours(fusing):
    model = small_model(*fusing)
    (embedding, mask), chroma = conditions([5, 2, 0, 1])
    embedding[mask == 0] = 1e3  # whatever stands in the padding
    codes = random_codes(4, 7)
    together, _ = model.logits(codes, (embedding, mask), chroma)
    for row in range(4):
        length = max(1, int(mask[row].sum()))
        alone = (embedding[row : row + 1, :length], mask[row : row + 1, :length])
        logits, _ = model.logits(codes[row : row + 1], alone, chroma[row : row + 1])
        torch.testing.assert_close(logits[0], together[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusing", FUSING)
@pytest.mark.parametrize("cfg_coef", [1.0, 3.0])
def test_a_seed_gives_the_same_tokens_in_any_batch(fusing, cfg_coef):
    model = small_model(*fusing)
    (embedding, mask), chroma = conditions([5, 2, 0])
    together = model.generate(
        12, (embedding, mask), chroma, seeds=[7, 8, 9], cfg_coef=cfg_coef, top_k=0
    )
    for row, seed in enumerate([7, 8, 9]):
        only = slice(row, row + 1)
        alone = model.generate(
            12,
            (embedding[only], mask[only]),
            chroma[only],
            seeds=[seed],
            cfg_coef=cfg_coef,
            top_k=0,
        )
        assert torch.equal(alone[0], together[row])


def test_seeds_decide_and_default_to_torchs_generator():
    model = small_model()
    a, b, c = model.generate(12, seeds=[1, 2, 1], top_k=0)
    assert torch.equal(a, c)
    assert not torch.equal(a, b)
    assert torch.equal(model.generate(5, seeds=[1], top_k=0)[0], a[:, :5])  # longer only adds
    torch.manual_seed(5)
    first, second = model.generate(12), model.generate(12)
    torch.manual_seed(5)
    assert torch.equal(model.generate(12), first)
    assert not torch.equal(first, second)


def test_a_prompt_is_kept_and_continued():
    model = small_model()
    prompt = random_codes(2, 4)
    codes = model.generate(9, prompt=prompt, seeds=[0, 1])
    assert torch.equal(codes[..., :4], prompt)
    assert codes.shape == (2, 3, 9)
    assert 0 <= int(codes.min()) <= int(codes.max()) < CARD
    whole = model.generate(9, seeds=[0, 1], greedy=True)
    again = model.generate(9, prompt=whole[..., :5], greedy=True)
    assert torch.equal(again, whole)


@pytest.mark.parametrize("fusing", FUSING)
def test_rows_of_different_length_are_what_they_are_alone(fusing):
    model = small_model(*fusing)
    (embedding, mask), chroma = conditions([4, 2, 0])
    lengths, seeds = [5, 9, 2], [4, 5, 6]
    together = model.generate(lengths, (embedding, mask), chroma, seeds=seeds, top_k=0)
    assert together.shape == (3, 3, 9)
    for row, (length, seed) in enumerate(zip(lengths, seeds, strict=True)):
        only = slice(row, row + 1)
        text = (embedding[only], mask[only])
        alone = model.generate(length, text, chroma[only], seeds=[seed], top_k=0)
        assert torch.equal(together[row, :, :length], alone[0])
        assert (together[row, :, length:] == model.special_token_id).all()


@pytest.mark.parametrize("fusing", FUSING)
def test_two_passes_give_what_one_batch_gives(fusing):
    model = small_model(*fusing)
    text, chroma = conditions([4, 1])
    options = {"seeds": [1, 2], "cfg_coef": 4.0, "top_k": 0}
    once = model.generate(12, text, chroma, **options)
    assert torch.equal(model.generate(12, text, chroma, two_pass=True, **options), once)


@pytest.mark.parametrize("place", ["cross", "prepend", "sum"])
def test_a_negative_text_takes_the_place_of_the_null_text(place):
    model = small_model(place, chroma_dim=None)
    text, _ = conditions([4, 2])
    negative = (text[0].flip(0) + 1, text[1].flip(0))
    options = {"seeds": [1, 2], "top_k": 0}
    plain = model.generate(12, text, cfg_coef=1.0, **options)
    # Pushed away from itself, a text stays what it is, however hard.
    self_guided = model.generate(12, text, negative_text=text, cfg_coef=5.0, **options)
    assert torch.equal(self_guided, plain)
    # No guidance at all: only the negative text is left.
    only = model.generate(12, text, negative_text=negative, cfg_coef=0.0, **options)
    assert torch.equal(only, model.generate(12, negative, cfg_coef=1.0, **options))
    guided = model.generate(12, text, negative_text=negative, cfg_coef=3.0, **options)
    assert not torch.equal(guided, model.generate(12, text, cfg_coef=3.0, **options))
    # A row whose negative text is empty is guided as if nobody had one.
    mixed = (negative[0], negative[1] * torch.tensor([[1], [0]]))
    half = model.generate(12, text, negative_text=mixed, cfg_coef=3.0, **options)
    assert torch.equal(half[0], guided[0])
    assert torch.equal(half[1], model.generate(12, text, cfg_coef=3.0, **options)[1])
    # Without a text it is still avoided, and its length may differ from the text's.
    longer = (torch.ones(2, 7, 8), torch.ones(2, 7))
    assert model.generate(5, negative_text=longer, seeds=[1, 2]).shape == (2, 3, 5)
    assert model.generate(5, text, negative_text=longer, seeds=[1, 2]).shape == (2, 3, 5)


def test_an_added_chroma_is_heard_when_it_sounds():
    model = small_model("cross", "sum", chroma_rate=0.24)
    chroma = torch.nn.functional.one_hot(torch.tensor([[0, 2, 4, 6]]), 12).float()
    other = chroma.clone()
    other[:, 2] = chroma[:, 3]
    codes = random_codes(1, 14)
    with torch.no_grad():
        a = model.logits(codes, None, chroma, full=True)[0][:, 0]  # codebook 0 has no delay
        b = model.logits(codes, None, other, full=True)[0][:, 0]
    changed = (a - b).abs().amax(dim=(0, 2)) > 1e-6
    # Frame 2 of the chroma begins at 1.5 / 0.24 = 6.25 codec frames.
    assert changed.tolist() == [False] * 7 + [True] * 7


def test_progress_hands_out_the_frames_that_are_complete():
    model = small_model()
    final = model.generate(9, prompt=random_codes(2, 4), seeds=[1, 2])
    seen = []
    for progress in model.steps(9, prompt=random_codes(2, 4), seeds=[1, 2]):
        assert torch.equal(progress.codes(), final[..., : progress.frames])
        seen.append((progress.done, progress.frames))
    # The last codebook of frame t is known two steps (its delay) after the first.
    assert seen == [(1, 4), (2, 4), (3, 5), (4, 6), (5, 7), (6, 8), (7, 9)]


def test_a_generation_leaves_nothing_behind(monkeypatch):
    decoders = []

    class Watched(Decoder):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            decoders.append(weakref.ref(self))

    monkeypatch.setattr(generation, "Decoder", Watched)
    model = small_model()
    gc.disable()  # the memory of a GPU may be full long before Python collects its garbage
    try:
        model.generate(4, seeds=[1])
        steps = model.steps(4, seeds=[1])
        next(steps)
        steps.close()
        assert [decoder() for decoder in decoders] == [None, None]
    finally:
        gc.enable()


def test_seeds_differ_beyond_32_bits_and_ignore_torchs_defaults():
    model = small_model()
    small, large = (model.generate(12, seeds=[seed], top_k=0) for seed in (5, 5 + 2**32))
    assert not torch.equal(small, large)
    uniforms = draw_uniforms([5, -5, 2**70], 3, 2)
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(draw_uniforms([5, -5, 2**70], 3, 2), uniforms)
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.device("meta"):
        assert torch.equal(draw_uniforms([5, -5, 2**70], 3, 2), uniforms)


def test_initial_loss_is_near_the_uniform_one():
    torch.manual_seed(0)
    model = LanguageModel(n_q=4, card=256, dim=64, num_heads=4, num_layers=4)
    codes = torch.randint(256, (4, 4, 30))
    logits, mask = model.logits(codes)
    loss = torch.nn.functional.cross_entropy(logits[mask], codes[mask]).item()
    # Heads of std 1 / sqrt(dim) on a normalised input give logits of variance 1: half a nat more.
    assert loss == pytest.approx(math.log(256) + 0.5, abs=0.15)


def test_initial_weights_have_the_reference_spread():
    torch.manual_seed(0)
    model = LanguageModel(n_q=2, card=200, dim=128, num_heads=4, num_layers=3, text_dim=8)
    std = 1 / math.sqrt(128)
    cut = 0.9866  # what cutting at three standard deviations leaves of one
    for weight in (model.embedding.weight, model.heads.weight):
        assert weight.std().item() == pytest.approx(cut * std, rel=0.03)
        assert weight.abs().max() <= 3 * std
    for depth, layer in enumerate(model.layers, start=1):
        expected = cut * std / math.sqrt(2 * depth)
        for linear in (layer.self_attn.qkv, layer.cross_attn.kv, layer.ffn.up):
            assert linear.weight.std().item() == pytest.approx(expected, rel=0.03)
        assert layer.ffn.down.weight.std().item() == pytest.approx(expected / 2, rel=0.03)


@pytest.mark.parametrize("fusing", FUSING)
def test_every_parameter_learns(fusing):
    model = small_model(*fusing).train()
    text, chroma = conditions([3, 0])
    codes = random_codes(2, 8)
    logits, mask = model.logits(codes, text, chroma)
    torch.nn.functional.cross_entropy(logits[mask], codes[mask]).backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_config_rebuilds_the_model():
    model = small_model("prepend", dropout=0.1)
    twin = LanguageModel(**model.config)
    twin.load_state_dict(model.state_dict())
    codes = random_codes(1, 5)
    assert torch.equal(twin.eval().logits(codes)[0], model.logits(codes)[0])


def test_bad_requests_are_refused_by_name():
    model = small_model()
    text, chroma = conditions([3, 2])
    with pytest.raises(ValueError, match="4 delays for 3 codebooks"):
        small_model(delays=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="needs chroma_rate"):
        small_model(fuse_chroma="sum", chroma_rate=None)
    with pytest.raises(ValueError, match="not 'append'"):
        small_model("append")
    with pytest.raises(ValueError, match="no text"):
        small_model(text_dim=None).generate(4, text)
    with pytest.raises(ValueError, match="no text"):
        small_model(text_dim=None).generate(4, negative_text=text)
    with pytest.raises(ValueError, match="text 2, n_frames 3"):
        model.generate([4, 5, 6], text)
    with pytest.raises(ValueError, match="no chroma"):
        small_model(chroma_dim=None).generate(4, chroma=chroma)
    with pytest.raises(ValueError, match="text 2, seeds 3"):
        model.generate(4, text, seeds=[1, 2, 3])
    with pytest.raises(ValueError, match="prompt has 4 frames"):
        model.generate(4, prompt=random_codes(2, 4))
    with pytest.raises(ValueError, match="prompt of 2 codebooks"):
        model.generate(4, prompt=random_codes(2, 3, n_q=2))
    with pytest.raises(ValueError, match="0 frames"):
        model.generate(0)


def test_the_callback_counts_every_step_and_may_cancel():
    model = small_model().train()
    seen = []
    model.generate(6, callback=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 8) for i in range(1, 9)]  # 6 frames and 2 steps of delay

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.generate(6, callback=cancel)
    assert model.training, "generation leaves the model in the mode it found"
