"""Generation beside transformers' MusicGen of the same shape, weights and type, in one run.

python -m benchmarks.generate [--shape small --batches 1 4 16 --steps 40]

Both decode the same text greedily with guidance, alternately in one process, on the same random
weights; ratios are medians of paired rounds. What is timed is a step in the middle of a generation:
start and codec are left out. Tokens must be equal where the type of the weights is. The bound is
one reading of the weights per step at the memory bandwidth measured in this run.
"""

import argparse
import copy
import json
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.memory import in_fresh_process, peak_mib

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from musicgen_train.lm import LanguageModel

SHAPES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32)}
N_Q, CARD, TEXT_DIM, TEXT_LENGTH = 4, 2048, 768, 12
WARM = 8  # steps that are not timed
BITS = {"float32": 32, "bfloat16": 16, "int8": 8}  # of a weight


def variants(cuda: bool) -> dict[str, dict[str, Any]]:
    """The ways of preparing our model, by name."""
    if not cuda:
        return {"float32": {}, "bfloat16": {"weights": "bfloat16"}, "int8": {"weights": "int8"}}
    half = {"weights": "bfloat16"}
    return {
        "bfloat16": half,
        "bfloat16 graphs": {**half, "cuda_graphs": True},
        "bfloat16 compiled graphs": {**half, "compile": True, "cuda_graphs": True},
    }


def our_model(shape: str, device: str) -> "LanguageModel":
    """A random language model of a published shape."""
    import torch

    from musicgen_train.lm import LanguageModel

    torch.manual_seed(0)
    dim, layers, heads = SHAPES[shape]
    with torch.device(device):
        return LanguageModel(
            n_q=N_Q, card=CARD, dim=dim, num_layers=layers, num_heads=heads, text_dim=TEXT_DIM
        ).eval()


def their_model(lm: "LanguageModel", dtype: "torch.dtype") -> Any:
    """transformers' MusicGen with the weights of `lm`, around a tiny codec and T5."""
    import torch
    from transformers import (
        EncodecConfig,
        MusicgenConfig,
        MusicgenDecoderConfig,
        MusicgenForConditionalGeneration,
        T5Config,
    )

    from musicgen_train.formats.lm_layouts import to_layout, transformers_pieces

    config = lm.config
    decoder = MusicgenDecoderConfig(
        vocab_size=CARD, hidden_size=lm.dim, num_hidden_layers=config["num_layers"],
        num_attention_heads=config["num_heads"], ffn_dim=4 * lm.dim, num_codebooks=N_Q,
        dropout=0.0, pad_token_id=CARD, bos_token_id=CARD, decoder_start_token_id=CARD,
        audio_channels=1,
    )  # fmt: skip
    codec = EncodecConfig(
        num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=CARD, sampling_rate=32000,
        upsampling_ratios=[8, 5, 4, 4], target_bandwidths=[2.2], num_lstm_layers=1,
    )  # fmt: skip
    text = T5Config(d_model=TEXT_DIM, d_kv=8, d_ff=8, num_layers=1, num_heads=1, vocab_size=32)
    with torch.device(lm.device):
        model = MusicgenForConditionalGeneration(
            MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)
        )
    missing, unknown = model.load_state_dict(to_layout(lm, transformers_pieces(lm)), strict=False)
    assert not unknown and all(n.startswith(("text_", "audio_")) for n in missing), missing
    model.generation_config.pad_token_id = CARD
    return model.to(dtype).eval()


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def our_run(lm: "LanguageModel", text: "Tensor", steps: int) -> tuple[float, "Tensor"]:
    """Seconds a step, and the codes [B, K, T]."""
    import torch

    began, codes = 0.0, torch.empty(0)
    mask = torch.ones(text.shape[:2], device=text.device)
    for progress in lm.steps(steps, (text, mask), greedy=True, cfg_coef=3.0):
        if progress.done == WARM:
            synchronize()
            began = time.perf_counter()
        if progress.done == progress.total:
            codes = progress.codes()
            synchronize()
            return (time.perf_counter() - began) / (progress.total - WARM), codes
    raise AssertionError("a generation has a last step")


def their_run(model: Any, text: "Tensor", steps: int) -> tuple[float, "Tensor"]:
    """The same with `generate`, whose steps a stopping criterion watches."""
    import torch
    from transformers.modeling_outputs import BaseModelOutput

    from musicgen_train.lm.delay import default_delays, undelay

    times: list[float] = []
    delayed = torch.empty(0)
    # Our text instead of its T5's: the models are to see the same, whatever their type.
    hidden = BaseModelOutput(last_hidden_state=text.to(model.dtype))
    model.text_encoder.forward = lambda *_, **__: hidden
    ids = torch.ones(text.shape[:2], dtype=torch.long, device=text.device)

    def watch(sequence: "Tensor", scores: Any, **_: Any) -> "Tensor":
        nonlocal delayed
        synchronize()
        times.append(time.perf_counter())
        delayed = sequence
        return torch.zeros(len(sequence), dtype=torch.bool, device=sequence.device)

    model.generate(
        input_ids=ids, attention_mask=ids, do_sample=False, guidance_scale=3.0,
        max_new_tokens=steps + N_Q - 1, stopping_criteria=[watch],
    )  # fmt: skip
    codes = undelay(delayed.view(len(text), N_Q, -1)[..., 1:], default_delays(N_Q))
    return (times[-1] - times[WARM - 1]) / (len(times) - WARM), codes


def prepared(lm: "LanguageModel", options: dict[str, Any]) -> "LanguageModel":
    """A copy of the model, prepared as a variant asks."""
    from musicgen_train.lm.inference import prepare

    twin = copy.deepcopy(lm)
    prepare(twin, **options)
    return twin


def compare(
    models: dict[str, "LanguageModel"], peers: dict[str, Any], batch: int, steps: int, rounds: int
) -> list[dict[str, Any]]:
    """One row a model of ours: steps a second, ratios to each peer, tokens equal to the first's."""
    import torch

    device = next(iter(models.values())).device
    text = torch.randn(batch, TEXT_LENGTH, TEXT_DIM, device=device)
    runs: dict[str, list[tuple[float, Tensor]]] = {name: [] for name in [*peers, *models]}
    for i in range(rounds):
        print(f"batch {batch}, round {i + 1} of {rounds} ...", flush=True)
        for name, peer in peers.items():
            runs[name].append(their_run(peer, text, steps))
        for name, lm in models.items():
            runs[name].append(our_run(lm, text, steps))
    seconds = {name: [s for s, _ in pairs] for name, pairs in runs.items()}
    truth = runs[next(iter(peers))][0][1]
    return [
        {
            "name": name,
            "batch": batch,
            "steps_per_second": 1 / statistics.median(seconds[name]),
            "times_peer": {
                peer: statistics.median(b / a for a, b in zip(seconds[name], theirs, strict=True))
                for peer, theirs in ((peer, seconds[peer]) for peer in peers)
            },
            "equal_tokens": (pairs[0][1] == truth).float().mean().item(),
        }
        for name, pairs in runs.items()
    ]


def first_chunk(lm: "LanguageModel", chunk: float) -> dict[str, float]:
    """Seconds until a stream's first audio is there, through MusicGen's own codec (random)."""
    import torch

    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.musicgen import MusicGen

    codec = Encodec(
        sample_rate=32000, channels=1, n_q=N_Q, card=CARD, ratios=[8, 5, 4, 4], n_filters=64
    )
    model = MusicGen("random", codec.to(lm.device), lm)
    model.set_generation_params(duration=2 * chunk)
    seconds = []
    wav = torch.empty(0)
    for _ in range(3):
        began = time.perf_counter()
        stream = model.generate_stream([""], chunk_duration=chunk, seeds=[0])
        wav = next(stream)
        synchronize()
        seconds.append(time.perf_counter() - began)
        stream.close()
    return {"seconds": statistics.median(seconds), "audio_seconds": wav.shape[-1] / 32000}


def peak_of(shape: str, device: str, batch: int, name: str, ours: bool) -> float:
    """Peak memory in MiB of generating, in a process that does nothing else."""
    import torch

    text = torch.randn(batch, TEXT_LENGTH, TEXT_DIM, device=device)
    if ours:
        lm = our_model(shape, device)
        from musicgen_train.lm.inference import prepare

        prepare(lm, **variants(device == "cuda")[name])
        our_run(lm, text, 2 * WARM)
    else:
        peer = their_model(our_model(shape, device), getattr(torch, name))
        their_run(peer, text, 2 * WARM)
    return peak_mib()


def bandwidth(device: str) -> float:
    """Bytes a second that reading a large tensor reaches, the best of five."""
    import torch

    x = torch.ones(2**28, device=device)
    best = 0.0
    for _ in range(5):
        synchronize()
        began = time.perf_counter()
        x.sum()
        synchronize()
        best = max(best, 4 * len(x) / (time.perf_counter() - began))
    return best


def print_table(rows: list[dict[str, Any]], peers: list[str]) -> None:
    heads = "".join(f"{'x transf. ' + peer:>22}" for peer in peers)
    print(f"{'':26}{'batch':>6}{'steps/s':>9}{heads}{'equal tokens':>14}{'of bound':>10}{'MiB':>8}")
    for r in rows:
        ratios = "".join(f"{r['times_peer'][peer]:22.2f}" for peer in peers)
        bound = f"{r['of_bound']:.0%}" if "of_bound" in r else ""
        peak = f"{r['peak_mib']:.0f}" if "peak_mib" in r else ""
        print(
            f"{r['name']:26}{r['batch']:6}{r['steps_per_second']:9.2f}{ratios}"
            f"{r['equal_tokens']:14.1%}{bound:>10}{peak:>8}"
        )


def measure(args: argparse.Namespace, device: str) -> dict[str, Any]:
    """All rows, and what bounds them."""
    import torch

    lm = our_model(args.shape, device)
    types = ["bfloat16"] if device == "cuda" else ["float32", "bfloat16"]
    peers = {f"transformers {t}": their_model(lm, getattr(torch, t)) for t in types}
    models = {f"ours {n}": prepared(lm, o) for n, o in variants(device == "cuda").items()}
    n_weights = sum(p.numel() for p in lm.layers.parameters()) + lm.heads.weight.numel()
    del lm
    read = bandwidth(device)
    rows = []
    for batch in args.batches:
        rows += compare(models, peers, batch, args.steps, args.rounds)
    for r in rows:
        bits = next(b for t, b in BITS.items() if t in r["name"])
        r["of_bound"] = r["steps_per_second"] * n_weights * bits / 8 / read
    chunks = {name: first_chunk(model, args.chunk) for name, model in models.items()}
    models.clear()
    peers.clear()
    for r in rows:
        if r["batch"] == args.batches[0]:
            whose, name = r["name"].split(" ", 1)
            print(f"memory: {r['name']} ...", flush=True)
            r["peak_mib"] = in_fresh_process(
                peak_of, args.shape, device, r["batch"], name, whose == "ours"
            )
    return {"rows": rows, "read_bytes_per_second": read, "first_chunk": chunks}


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="small")
    add("--batches", type=int, nargs="+", default=[1, 4, 16])
    add("--steps", type=int, default=40)
    add("--rounds", type=int, default=5)
    add("--chunk", type=float, default=0.5, help="seconds of the stream's first chunk")
    add("--output", type=Path, help="also write the JSON to this file")
    args = parser.parse_args()

    import torch

    cuda = torch.cuda.is_available()
    result = {
        "shape": args.shape,
        "steps": args.steps,
        "rounds": args.rounds,
        **measure(args, "cuda" if cuda else "cpu"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": torch.cuda.get_device_name() if cuda else platform.processor() or "cpu",
    }
    peers = [r["name"] for r in result["rows"] if r["name"].startswith("transformers")]
    print_table(result["rows"], list(dict.fromkeys(peers)))
    print(f"memory is read at {result['read_bytes_per_second'] / 1e9:.1f} GB/s")
    for name, chunk in result["first_chunk"].items():
        audio, seconds = chunk["audio_seconds"], chunk["seconds"]
        print(f"{name}: the first {audio:.2f} s of audio after {seconds:.2f} s")
    print(json.dumps(result))
    if args.output:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
