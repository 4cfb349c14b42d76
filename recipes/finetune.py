"""Fine-tune a model on a folder of songs, in one command.

python recipes/finetune.py input_dir=my_songs base=small [trigger="my style"] [key=value …]

Everything lies in runs/NAME, named after the folder: vocal-free segments, captions.jsonl to edit,
codes, the training, clips from before and after, the merged model, the adapter, and
report/index.html. Run it again at any time: what is done and unchanged is skipped, what was
interrupted goes on. stage=captions, or a list of stages, does only that; estimate=true only says
what it would take.

Stages: prepare, tokenize, captions, prior, train, samples, evaluate, export, report.
Keys: conf/finetune.yaml. Hardware: 2 CPU cores for base=tiny, a GPU from 8 GB on for base=small.
"""

from __future__ import annotations

import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # as a script, it finds the repository's other scripts
    sys.path.insert(0, str(ROOT))

from musicgen_train.errors import UserError, exit_on_user_error  # noqa: E402
from recipes.finetuning.command_line import as_overrides, check_keys  # noqa: E402
from recipes.finetuning.run_folder import RunFolder, claimed  # noqa: E402
from recipes.finetuning.settings import SAMPLING, Settings, read_settings  # noqa: E402

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from recipes.finetuning.stage import Stage, Work
    from recipes.finetuning.status import Status


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="finetune")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    from omegaconf import OmegaConf

    given: Any = OmegaConf.to_container(cfg, resolve=True)
    finetune(read_settings(given))


def finetune(settings: Settings) -> None:
    """Do the stages that are asked for; UserError says in a line what stops them."""
    from musicgen_train.export import exiting_on_sigterm
    from recipes.finetuning.going import check_stages
    from recipes.finetuning.status import Status

    stages = all_stages()
    check_stages(stages, settings.stage)
    run = RunFolder(settings.name)
    with exiting_on_sigterm(), claimed(run, settings.input_dir):
        status = Status(run.estimate if settings.estimate else run.status, settings.name)
        try:
            work = begin(settings, run, status, stages)
            if not settings.estimate:
                follow(work, stages)
        except UserError as error:
            # The preparation tells an interruption in a line of its own.
            stopped = isinstance(error.__context__, KeyboardInterrupt)
            status.end("stopped" if stopped else "failed", str(error))
            raise
        except (KeyboardInterrupt, SystemExit) as error:
            status.end("stopped")
            print("stopped; the same command goes on", file=sys.stderr)
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else error.code) from None
        except Exception as error:
            status.end("failed", repr(error))
            raise
        status.end("done")


def all_stages() -> list[Stage]:
    """The way from songs to a report."""
    from recipes.finetuning import (
        captioning,
        evaluating,
        exporting,
        preparing,
        prior,
        report,
        sampling,
        tokenizing,
        training,
    )

    parts = (preparing, tokenizing, captioning, prior, training, sampling, evaluating, exporting)
    return [part.STAGE for part in (*parts, report)]


def begin(settings: Settings, run: RunFolder, status: Status, stages: list[Stage]) -> Work:
    """Look at songs, base and device, and tell what will be done and how long it may take."""
    from recipes.finetuning.base import load_base
    from recipes.finetuning.estimate import Amounts, estimate, words
    from recipes.finetuning.plan import choose_preset, facts, make_plan
    from recipes.finetuning.preparing import song_states
    from recipes.finetuning.presets import GB, find_device
    from recipes.finetuning.songs import choose_separator, look_at
    from recipes.finetuning.stage import Work
    from recipes.finetuning.training import check_training

    songs = look_at(settings.input_dir)
    device = find_device(settings.device)
    separator = choose_separator(settings, songs)
    base = load_base(settings.base)
    seconds = choose_preset(settings, base, device)[2]
    n_segments = max(1, round(songs.seconds / seconds))
    plan = make_plan(settings, base, device, n_segments)
    check_training(settings, plan, base)
    workers = worker_count(settings, len(songs.names), separator, device.kind)
    expected = estimate(Amounts(songs.seconds, separator, workers), base, plan, device)
    chosen = settings.stage or tuple(stage.name for stage in stages)
    expected = {name: spent for name, spent in expected.items() if name in chosen}
    named = [(s.name, s.title) for s in stages if s.name in chosen]
    told = facts(songs, separator, base, settings.method, device, plan)
    status.plan(named, expected, told)
    there = "" if device.memory is None else f" of {device.memory / GB:.1f} GB"
    print(
        f"{songs.one_line}, separator={separator}\n"
        f"base={base.name}, {base.n_parameters / 1e6:.1f} M parameters, method={settings.method}, "
        f"on {device.title} (preset {plan.preset})\n"
        f"{plan.steps} steps of {plan.batch_size * plan.accumulate} segments of {seconds:g} s; "
        f"about {plan.memory / GB:.1f} GB{there}; {words(expected)}, if all is to be done\n"
        f"everything lies in {run.path}",
        flush=True,
    )
    work = Work(settings, run, base, device, songs, separator, workers, plan, status)
    status.songs(song_states(work))
    return work


def worker_count(settings: Settings, n_songs: int, separator: str, kind: str) -> int:
    """Processes that prepare songs; none for so few that starting them would take longer."""
    if settings.num_workers is not None:
        return settings.num_workers
    if separator == "demucs":  # which takes 2 GB in each
        return 1 if kind == "cuda" else min(os.cpu_count() or 1, 4, n_songs)
    return min(os.cpu_count() or 1, 8) if n_songs >= 8 else 0


def follow(work: Work, stages: list[Stage]) -> None:
    """Go from stage to stage, and say at the end what there is."""
    from recipes.finetuning.going import go
    from recipes.finetuning.usage import commands

    go(stages, work.settings.stage, work)
    if "report" not in work.results or "export" not in work.results:
        return
    print(f"\nreport: {work.run / 'report/index.html'} (open it in a browser)")
    for title, command in commands(work):
        print(f"{title}:\n  {command}")


@exit_on_user_error
def check_arguments(arguments: list[str]) -> list[str]:
    """The arguments as Hydra takes them."""
    names = [field.name for field in fields(Settings)]
    check_keys(arguments, [*names, *(f"sampling.{name}" for name in SAMPLING)])
    return as_overrides(arguments)


if __name__ == "__main__":
    sys.argv[1:] = check_arguments(sys.argv[1:])
    main()
