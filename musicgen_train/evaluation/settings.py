"""Settings of evaluate.py, refused in one line each before anything heavy is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from musicgen_train.arguments import number, shown
from musicgen_train.errors import UserError
from musicgen_train.evaluation.protocol import make_protocol
from musicgen_train.generation_params import LONGEST

ACCELERATORS = ("auto", "cpu", "gpu", "cuda")
WEIGHTS = ("vggish", "passt", "clap", "clap_tokenizer", "mert", "aesthetics", "judge")
SPLITS = ("train", "valid", "test")
SHORTEST_LONG = 20.0  # seconds; in a quarter of it the judge has a whole window
LOUDEST, SOFTEST = 0.0, -70.0  # LUFS


def check_settings(given: Mapping[str, Any]) -> None:
    """Refuse numbers, names and places that cannot be meant."""
    make_protocol(given["protocol"], given["metrics"], given["embedders"])
    _check_counts(given)
    _check_names(given)
    _check_sampling(given["sampling"], given["duration"])
    for option in ("output_dir", "cache_dir"):
        if given[option] is not None:
            _check_place(option, Path(str(given[option])))


def _check_counts(given: Mapping[str, Any]) -> None:
    whole = "give a whole number"
    number("n_clips", given["n_clips"], lambda n: n >= 2, f"{whole} from 2 on", whole=True)
    number("n_cards", given["n_cards"], lambda n: n >= 0, f"{whole}, 0 for none", whole=True)
    number("long_clips", given["long_clips"], lambda n: n >= 2, f"{whole} from 2 on", whole=True)
    if given["long_duration"] is not None:
        remedy = f"give {SHORTEST_LONG:g} to {LONGEST:g} s, or null"
        fits = lambda s: SHORTEST_LONG <= s <= LONGEST  # noqa: E731
        number("long_duration", given["long_duration"], fits, remedy, unit=" s")
    number("num_nodes", given["num_nodes"], lambda n: n >= 1, f"{whole} from 1 on", whole=True)
    remedy = f"{whole} from 1 on, or -1 for every GPU"
    number("devices", given["devices"], lambda n: n == -1 or n >= 1, remedy, whole=True)
    if given["num_threads"] is not None:
        remedy = f"{whole} from 1 on, or null"
        number("num_threads", given["num_threads"], lambda n: n >= 1, remedy, whole=True)


def _check_names(given: Mapping[str, Any]) -> None:
    if given["accelerator"] not in ACCELERATORS:
        raise UserError(f"accelerator={given['accelerator']}: choose of {', '.join(ACCELERATORS)}")
    splits = given["splits"]
    if not isinstance(splits, list) or not splits or not set(map(str, splits)) <= set(SPLITS):
        raise UserError(f"splits={shown(splits)}: give a list of {', '.join(SPLITS)}")
    for option in ("check_weights", "report"):
        if not isinstance(given[option], bool):
            raise UserError(f"{option}={given[option]}: give true or false")
    for option in ("weights", "curves"):
        if not isinstance(given[option], Mapping):
            raise UserError(f"{option}={shown(given[option])}: give {{name: path}}")
    if unknown := sorted(set(given["weights"]) - set(WEIGHTS)):
        raise UserError(f"weights.{unknown[0]}: choose of {', '.join(WEIGHTS)}")


def _check_sampling(given: Any, duration: Any) -> None:
    from musicgen_train.evaluation.sampling import Sampling
    from musicgen_train.generation_params import GenerationParams, check_seeds

    known = {field.name for field in fields(Sampling)}
    if not isinstance(given, Mapping) or set(given) != known:
        raise UserError(f"sampling={shown(given)}: give {', '.join(sorted(known))}, nothing else")
    rules = {name: given[name] for name in ("top_k", "top_p", "temperature", "cfg_coef")}
    GenerationParams(duration=duration, **rules)
    check_seeds([given["seed"]])
    remedy = "give a whole number from 1 on"
    number("sampling.batch_size", given["batch_size"], lambda n: n >= 1, remedy, whole=True)
    if given["loudness"] is not None:
        remedy = f"give LUFS from {SOFTEST:g} to {LOUDEST:g}, or null"
        fits = lambda level: SOFTEST <= level <= LOUDEST  # noqa: E731
        number("sampling.loudness", given["loudness"], fits, remedy)


def _check_place(option: str, place: Path) -> None:
    """A folder that is there, or can be made."""
    there = place
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{option}={place}: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{option}={place}: {there} may not be written to; name another place")
