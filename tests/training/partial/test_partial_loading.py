"""Starting from another language model: equal where the mathematics allows, told where not."""

import math

import pytest
import torch

from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.lm.delay import default_delays
from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.partial.layer_origins import layer_origins
from musicgen_train.training.partial.loading import (
    same_text_encoder,
    take_language_model,
    take_musicgen,
)
from tests.small_musicgen import tiny

CARD, FRAMES, ROWS = 16, 20, 3
CLOSE = {"rtol": 0, "atol": 2e-5}  # the same sums in another order; logits are of order 10


def model(seed=0, **options):
    """A random model whose every part matters to its logits."""
    arguments = {
        "n_q": 4, "card": CARD, "dim": 16, "num_heads": 2, "num_layers": 3, "text_dim": 8,
    }  # fmt: skip
    torch.manual_seed(seed)
    lm = LanguageModel(**(arguments | options))
    for name, parameter in lm.named_parameters():
        torch.nn.init.normal_(parameter, 1.0 if "norm" in name and "weight" in name else 0.0, 0.4)
    return lm.eval()


def stereo(**options):
    return model(seed=1, n_q=8, delays=default_delays(8, channels=2), **options)


def codes(n_q=4, card=CARD, seed=3):
    return torch.randint(card, (ROWS, n_q, FRAMES), generator=torch.Generator().manual_seed(seed))


def text(dim=8):
    embedding = torch.randn(ROWS, 5, dim, generator=torch.Generator().manual_seed(4))
    mask = torch.ones(ROWS, 5, dtype=torch.long)
    mask[0] = 0  # no text at all
    return embedding * mask[..., None], mask


def chroma(n_frames=6):
    bins = torch.randint(12, (ROWS, n_frames), generator=torch.Generator().manual_seed(5))
    return torch.nn.functional.one_hot(bins, 12).float()


@torch.no_grad()
def logits(lm, tokens, **conditions):
    return lm.logits(tokens, full=True, **conditions)[0]


def part(report, name):
    (found,) = (part for part in report.parts if part.name == name)
    return found


def test_what_fits_is_taken_to_the_last_bit():
    source, target = model(), model(seed=1)
    config = dict(target.config)
    report = take_language_model(target, source)
    assert all(
        torch.equal(tensor, target.state_dict()[name])
        for name, tensor in source.state_dict().items()
    )
    assert report.share == 1 and not report.differences
    assert {part.outcome for part in report.parts} == {"taken"}
    assert target.config == config


def test_half_precision_is_taken_as_float32():
    source, target = model().half(), model(seed=1)
    take_language_model(target, source)
    for name, tensor in target.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, source.state_dict()[name].float())
    both = stereo()
    take_language_model(both, source)
    assert {tensor.dtype for tensor in both.state_dict().values()} == {torch.float32}


def test_a_stereo_model_predicts_mono_music_as_the_mono_model():
    source, target = model(), stereo()
    report = take_language_model(target, source)
    mono = codes()
    expected = logits(source, mono, text=text())
    found = logits(target, mono.repeat_interleave(2, 1), text=text())
    torch.testing.assert_close(found, expected.repeat_interleave(2, 1), **CLOSE)
    assert "mono -> stereo" in part(report, "heads").how and not report.differences
    # The reference's recipe copies the embeddings whole, which is another model.
    target.embedding.weight.data.mul_(2)
    doubled = logits(target, mono.repeat_interleave(2, 1), text=text())
    assert (doubled - found).abs().max() > 0.1


def test_a_mono_model_of_a_stereo_one_predicts_the_mean_of_its_sides():
    source, target = stereo(), model()
    report = take_language_model(target, source)
    mono = codes()
    sides = logits(source, mono.repeat_interleave(2, 1), text=text())
    expected = (sides[:, ::2] + sides[:, 1::2]) / 2
    torch.testing.assert_close(logits(target, mono, text=text()), expected, **CLOSE)
    assert report.share == 1 and "means of both sides" in report.line()


def test_mono_to_stereo_and_back_is_bitwise_the_same():
    source, both, back = model(), stereo(), model(seed=2)
    take_language_model(both, source)
    take_language_model(back, both)
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, back.state_dict()[name]), name


def test_more_codebooks_leave_the_known_ones_as_they_are_and_know_nothing():
    source, target = model(), model(seed=1, n_q=6)
    report = take_language_model(target, source)
    more = codes(6)
    found = logits(target, more, text=text())
    torch.testing.assert_close(found[:, :4], logits(source, more[:, :4], text=text()), **CLOSE)
    assert not found[:, 4:].any()  # all codes are equally likely
    assert part(report, "embeddings").n_taken == 4 * (CARD + 1) * 16
    back = model(seed=2)
    take_language_model(back, target)
    assert torch.equal(back.embedding.weight, source.embedding.weight)
    assert torch.equal(back.heads.weight, source.heads.weight)


def test_new_codebooks_learn_from_the_first_step():
    target = model(seed=1, n_q=6)
    take_language_model(target, model())
    predicted, mask = target.logits(codes(6))
    chosen = torch.log_softmax(predicted, -1).gather(-1, codes(6)[..., None])[..., 0]
    (-chosen[mask].mean()).backward()
    tables = target.embedding.weight.grad.view(6, CARD + 1, -1)
    assert tables[4:].abs().amax((1, 2)).min() > 0
    assert target.heads.weight.grad.view(6, CARD, -1)[4:].abs().amax((1, 2)).min() > 0


def test_fewer_codebooks_keep_the_first_heads_and_say_what_is_missing():
    source, target = model(), model(seed=1, n_q=2)
    report = take_language_model(target, source)
    assert torch.equal(target.heads.weight, source.heads.weight[: 2 * CARD])
    assert any("2 of its 4 codebooks heard no more" in told for told in report.differences)


@pytest.mark.parametrize("card", [10, 25])
def test_another_number_of_codes_leaves_the_logits_of_those_that_both_have(card):
    source, target = model(), model(seed=1, card=card)
    report = take_language_model(target, source)
    n = min(card, CARD)
    known = codes(card=n)
    found = logits(target, known, text=text())
    expected = logits(source, known, text=text())
    torch.testing.assert_close(found[..., :n], expected[..., :n], **CLOSE)
    special = [lm.embedding.weight.view(4, -1, 16)[:, -1] for lm in (source, target)]
    assert torch.equal(*special)
    assert bool(report.differences) == (card > CARD)


def test_new_codes_cost_the_known_ones_no_more_than_their_number():
    source, target = model(), model(seed=1, card=2 * CARD)
    take_language_model(target, source)
    old, new = (
        torch.log_softmax(logits(lm, codes(), text=text()), -1)[..., :CARD]
        for lm in (source, target)
    )
    assert (old - new).max() <= math.log(2) + 1e-5
    assert (old - new).min() >= -1e-5


@pytest.mark.parametrize("num_layers", [4, 6, 7])
def test_added_layers_leave_the_function_bitwise_unchanged(num_layers):
    source, target = model(), model(seed=1, num_layers=num_layers)
    report = take_language_model(target, source)
    assert torch.equal(logits(target, codes(), text=text()), logits(source, codes(), text=text()))
    assert not report.differences and part(report, "layers").outcome == "resized"
    assert part(report, "layers").n_taken * num_layers == 3 * part(report, "layers").size


def test_added_layers_learn_from_the_first_step():
    target = model(seed=1, num_layers=6)
    take_language_model(target, model())
    predicted, mask = target.logits(codes(), text=text())
    chosen = torch.log_softmax(predicted, -1).gather(-1, codes()[..., None])[..., 0]
    (-chosen[mask].mean()).backward()
    for layer in target.layers:
        for module in (layer.self_attn, layer.cross_attn):
            assert module.out.weight.grad.abs().max() > 0
        assert layer.ffn.down.weight.grad.abs().max() > 0


def test_added_layers_are_spread_and_fewer_ones_keep_both_ends():
    added = [(origin.layer, origin.added) for origin in layer_origins(48, 24)]
    assert added == [(i // 2, i % 2 == 1) for i in range(48)]
    assert [origin.layer for origin in layer_origins(4, 6)] == [0, 2, 3, 5]
    assert [origin.layer for origin in layer_origins(24, 48)][-1] == 47
    assert [origin.layer for origin in layer_origins(1, 4)] == [0]


def test_fewer_layers_are_reported():
    source, target = model(), model(seed=1, num_layers=2)
    report = take_language_model(target, source)
    assert torch.equal(target.layers[1].ffn.up.weight, source.layers[2].ffn.up.weight)
    assert "1 of its 3 layers left out" in report.line()


def test_wider_feed_forward_networks_leave_the_function_unchanged_and_narrower_ones_say_so():
    source, target = model(), model(seed=1, ffn_mult=6)
    report = take_language_model(target, source)
    torch.testing.assert_close(
        logits(target, codes(), text=text()), logits(source, codes(), text=text()), **CLOSE
    )
    assert not report.differences
    assert "left out" in take_language_model(model(ffn_mult=2), source).differences[0]


MELODY = {"chroma_dim": 12, "chroma_length": 6, "chroma_rate": 0.3}


def test_a_melody_that_is_added_starts_silent():
    source, target = model(), model(seed=1, fuse_chroma="sum", **MELODY)
    report = take_language_model(target, source)
    expected = logits(source, codes(), text=text())
    assert torch.equal(logits(target, codes(), text=text(), chroma=chroma()), expected)
    assert torch.equal(logits(target, codes(), text=text()), expected)
    assert part(report, "chroma projection").outcome == "started anew" and not report.differences


def test_text_to_melody_takes_the_texts_projection_and_leaves_cross_attention_out():
    source = model()
    target = model(seed=1, fuse_text="prepend", fuse_chroma="prepend", **MELODY)
    report = take_language_model(target, source)
    assert torch.equal(target.fuser.text_proj.weight, source.fuser.text_proj.weight)
    left = part(report, "cross-attention")
    assert left.outcome == "left out"
    assert left.size == sum(
        p.numel() for n, p in source.named_parameters() if "cross" in n and "layers" in n
    )
    assert "text enters by prepend, there by cross" in report.differences
    assert "chroma stands in front of the music" in report.differences


def test_melody_to_text_starts_cross_attention_silent():
    source = model(fuse_text="prepend", fuse_chroma="prepend", **MELODY)
    target = model(seed=1)
    report = take_language_model(target, source)
    assert part(report, "cross-attention").outcome == "started anew"
    assert part(report, "chroma projection").outcome == "left out"
    assert not any(layer.cross_attn.out.weight.any() for layer in target.layers)
    assert torch.equal(target.fuser.text_proj.weight, source.fuser.text_proj.weight)


def test_a_text_that_is_newly_attended_to_starts_silent():
    source, target = model(text_dim=None), model(seed=1)
    report = take_language_model(target, source)
    assert torch.equal(logits(target, codes(), text=text()), logits(source, codes()))
    assert not report.differences and "silent" in part(report, "cross-attention").how


def test_a_model_that_gives_its_text_up_is_the_source_without_a_text():
    source, target = model(), model(seed=1, text_dim=None)
    report = take_language_model(target, source)
    assert torch.equal(logits(target, codes()), logits(source, codes()))
    assert "text is a condition no more" in report.differences


def test_another_text_encoder_starts_its_projection_anew():
    for target, same in ((model(seed=1, text_dim=10), True), (model(seed=1), False)):
        before = target.fuser.text_proj.weight.clone()
        report = take_language_model(target, model(), same_text=same)
        assert torch.equal(target.fuser.text_proj.weight, before)
        assert part(report, "text projection").outcome == "started anew"
        assert "text has other features" in report.differences


def test_text_encoders_are_the_same_by_name_or_by_table():
    words, t5 = WordTextEncoder(8), T5TextEncoder("google-t5/t5-base")
    assert same_text_encoder(words, WordTextEncoder(8, max_words=9))
    assert not same_text_encoder(words, WordTextEncoder(8, vocab_size=9))
    assert not same_text_encoder(words, t5) and not same_text_encoder(None, t5)
    assert same_text_encoder(t5, T5TextEncoder("t5-base")) and same_text_encoder(None, None)
    assert not same_text_encoder(t5, T5TextEncoder("google/flan-t5-base"))


def test_words_are_taken_unless_they_hash_otherwise():
    source = tiny(melody=False)
    for vocab_size, outcome in ((4096, "taken"), (100, "started anew")):
        mine = tiny(melody=False)
        encoder = WordTextEncoder(8, vocab_size)
        torch.nn.init.normal_(mine.lm.fuser.text_proj.weight)
        report = take_musicgen(mine.lm, encoder, None, source, mine.codec)
        assert part(report, "text encoder").outcome == outcome
        assert part(report, "text projection").outcome == outcome
        same = torch.equal(
            encoder.embedding.weight[:100], source.text_encoder.embedding.weight[:100]
        )
        assert same == (outcome == "taken")


def test_added_layers_and_positions_of_a_word_encoder_change_nothing_at_first():
    source = tiny(melody=False)
    encoder = WordTextEncoder(8, max_words=20, num_layers=2).eval()
    report = take_musicgen(tiny(melody=False).lm, encoder, None, source)
    texts = ["slow piano", "", "a loud and fast guitar"]
    with torch.no_grad():
        torch.testing.assert_close(encoder(texts), source.text_encoder(texts))
    assert part(report, "text encoder").outcome == "resized"


def test_codes_of_another_codec_are_told():
    source, mine = tiny(), tiny(decay=0.5)
    told = take_musicgen(mine.lm, mine.text_encoder, mine.chroma, source, mine.codec).remarks
    assert not told  # the same sounds
    other = tiny(n_filters=2).codec
    told = take_musicgen(mine.lm, mine.text_encoder, mine.chroma, source, other).remarks
    assert "the codes are another codec's" in told[0]
    both = tiny(stereo=True)
    told = take_musicgen(both.lm, both.text_encoder, both.chroma, source, both.codec).remarks
    assert not any("another codec" in remark for remark in told)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 32}, "16 wide .* this one 32: .* set model.dim=16"),
        ({"num_heads": 4}, "2 attention heads, this one 4: .* set model.num_heads=2"),
    ],
)
def test_a_model_that_shares_nothing_is_refused_in_one_line(options, message):
    target = model(seed=1, **options)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(UserError, match=message) as refusal:
        take_language_model(target, model())
    assert "\n" not in str(refusal.value)
    assert all(torch.equal(tensor, before[n]) for n, tensor in target.state_dict().items())


def test_the_table_adds_up_to_the_model_and_the_line_names_what_is_not_taken(capsys):
    target = stereo(num_layers=4, fuse_chroma="sum", **MELODY)
    report = take_language_model(target, model())
    assert report.size == sum(p.numel() for p in target.parameters())
    assert 0.5 < report.share < 1
    report.show("runs/mono/model")
    shown = capsys.readouterr().out
    for word in ("embeddings", "cross-attention", "final norm", "mono -> stereo", "silent"):
        assert word in shown
    (line,) = (row for row in shown.splitlines() if row.startswith("init_from runs/mono/model: "))
    assert "started anew: chroma projection" in line and line.count("weights taken") == 1


def test_growth_in_all_directions_at_once_still_starts_as_the_source():
    source = model()
    target = stereo(num_layers=5, ffn_mult=5, fuse_chroma="sum", **MELODY)
    report = take_language_model(target, source)
    found = logits(target, codes().repeat_interleave(2, 1), text=text(), chroma=chroma())
    expected = logits(source, codes(), text=text()).repeat_interleave(2, 1)
    torch.testing.assert_close(found, expected, **CLOSE)
    assert not report.differences
