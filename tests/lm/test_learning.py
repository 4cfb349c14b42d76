"""The model learns what its conditions say, and guidance finds it again."""

import torch

from musicgen_train.lm import LanguageModel


def test_text_and_chroma_decide_what_is_generated():
    """Text says which tune, chroma whether it is played four codes higher."""
    torch.manual_seed(0)
    model = LanguageModel(
        n_q=2, card=8, dim=32, num_heads=2, num_layers=2, text_dim=4, chroma_dim=12, chroma_length=2
    )
    embedding = torch.eye(2, 4).repeat_interleave(2, dim=0)[:, None]  # texts 0 0 1 1
    mask = torch.ones(4, 1)
    chroma = torch.zeros(4, 2, 12)
    chroma[[0, 2], :, 3] = 1.0
    chroma[[1, 3], :, 7] = 1.0
    tunes = torch.randint(4, (2, 2, 8))
    codes = torch.stack([tunes[0], tunes[0] + 4, tunes[1], tunes[1] + 4])

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        logits, valid = model.logits(codes, (embedding, mask), chroma, full=True)
        loss = torch.nn.functional.cross_entropy(logits[valid], codes[valid])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert loss.item() < 0.05
    for cfg_coef in (1.0, 2.0):
        generated = model.generate(
            8, (embedding, mask), chroma, cfg_coef=cfg_coef, top_k=1, seeds=[0, 1, 2, 3]
        )
        assert torch.equal(generated, codes)
