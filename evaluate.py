"""Measure a model, a codec or a folder of audio, and write metrics.json and a report.

python evaluate.py ckpt=runs/demo/lm/model dataset=runs/demo/shards output_dir=runs/demo/eval
python evaluate.py ckpt=MODEL texts=FILE reference=DIR output_dir=DIR
python evaluate.py generated=DIR reference=DIR texts=FILE output_dir=DIR
python evaluate.py ckpt=CODEC dataset=DATASET output_dir=DIR
python evaluate.py ckpt=CODEC reference=DIR output_dir=DIR
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from musicgen_train.errors import UserError, exit_on_user_error
from musicgen_train.evaluation.report.training_runs import read_timings, run_logs

if TYPE_CHECKING:
    import torch
    from omegaconf import DictConfig

    from musicgen_train.evaluation.listeners import Listeners
    from musicgen_train.evaluation.long_pieces import LongForm
    from musicgen_train.evaluation.measurement import Measurement
    from musicgen_train.evaluation.measuring import Evaluation
    from musicgen_train.evaluation.protocol import Protocol
    from musicgen_train.evaluation.ranks import Ranks
    from musicgen_train.evaluation.sampling import Parts
    from musicgen_train.evaluation.stages import Stages

REQUESTS = (
    {"ckpt", "dataset"},
    {"ckpt", "reference"},
    {"ckpt", "texts", "reference"},
    {"ckpt", "texts", "melodies", "reference"},
    {"generated", "reference"},
    {"generated", "reference", "texts"},
)
PATHS = (
    "ckpt", "dataset", "generated", "reference", "texts", "melodies", "output_dir", "cache_dir",
    "timings",
)  # fmt: skip
# Where and how fast it is computed does not change a number, and is no part of the record.
NOT_RECORDED = (
    "accelerator", "devices", "num_nodes", "num_threads", "cache_dir", "output_dir", "report",
    "title", "curves", "timings", "hint",
)  # fmt: skip
OF_GENERATING = (
    "sampling", "duration", "n_clips", "splits", "long_duration", "long_clips", "adapters",
)  # fmt: skip


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    check_request(cfg)
    import torch
    from omegaconf import OmegaConf

    from musicgen_train.evaluation.metrics_file import read_metrics
    from musicgen_train.evaluation.report.terminal import (
        print_codec_tables,
        print_faults,
        print_measurements,
    )
    from musicgen_train.evaluation.stages import Stages
    from musicgen_train.whole_files import writing

    if cfg.num_threads:
        torch.set_num_threads(cfg.num_threads)
    settings: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    settings = {name: value for name, value in settings.items() if name not in NOT_RECORDED}
    ranks, device = launch(cfg)
    stages, output_dir = Stages(shown=ranks.first), Path(str(cfg.output_dir))
    measured = evaluator(cfg)(cfg, settings, stages, ranks, device)
    if not ranks.first:
        return
    print_measurements(measured)
    results = read_metrics(output_dir)
    for name, why in results["settings"].get("not_measured", {}).items():
        print(f"not measured: {name} ({why})")
    if "rate_distortion" in results:
        print_codec_tables(results)
    print_faults(results)
    print(f"metrics: {output_dir / 'metrics.json'}")
    if cfg.report:
        with writing(output_dir / "report"):
            print(f"report: {write_page(cfg, output_dir, stages)}")


def evaluator(cfg: DictConfig) -> Any:
    """Which of the evaluations below was asked for."""
    from musicgen_train.formats.checkpoint_kind import is_codec

    if cfg.generated:
        return measure_folders
    if cfg.texts:
        return measure_texts
    return measure_codec if cfg.reference or is_codec(cfg.ckpt) else measure_model


def launch(cfg: DictConfig) -> tuple[Ranks, torch.device]:
    """One process a device, by Lightning; each continues from here with its own rank."""
    import torch

    from musicgen_train.evaluation.ranks import Ranks

    on_gpu = cfg.accelerator != "cpu" and torch.cuda.is_available()
    if cfg.accelerator in ("gpu", "cuda") and not on_gpu:
        raise UserError(f"accelerator={cfg.accelerator}: there is no GPU here; use accelerator=cpu")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started not in (1, cfg.devices * cfg.num_nodes):
        raise UserError(
            f"{started} processes were started for devices={cfg.devices} "
            f"num_nodes={cfg.num_nodes}: give devices for each of the num_nodes machines"
        )
    if cfg.devices == 1 and cfg.num_nodes == 1:
        return Ranks(), torch.device("cuda" if on_gpu else "cpu")
    if cfg.devices == -1 and not on_gpu:
        raise UserError("devices=-1 means every GPU, and there is none here; give a number")
    there = torch.cuda.device_count() if on_gpu else os.cpu_count() or 1
    if cfg.devices > there:
        what = "GPUs" if on_gpu else "cores"
        raise UserError(f"devices={cfg.devices}: this machine has {there} {what}; take no more")
    import lightning

    fabric = lightning.Fabric(
        accelerator="cuda" if on_gpu else "cpu",
        devices=cfg.devices,
        num_nodes=cfg.num_nodes,
        strategy="ddp",
    )
    fabric.launch()
    return Ranks(fabric.global_rank, fabric.world_size, fabric.barrier), fabric.device


def write_page(cfg: DictConfig, output_dir: Path, stages: Stages) -> Path:
    """The HTML report, with the loss curves and times of the runs that led here."""
    from musicgen_train.evaluation.report.page import write_report

    return write_report(
        output_dir,
        output_dir / "report",
        title=cfg.title or f"Evaluation of {cfg.ckpt or cfg.generated}",
        curves=[(title.replace("_", " "), path) for title, path in cfg.curves.items()],
        timings={**(read_timings(cfg.timings) if cfg.timings else {}), **stages.seconds},
        hint=cfg.hint or "",
        n_cards=cfg.n_cards,
    )


def check_request(cfg: DictConfig) -> None:
    """Refuse what cannot be meant, before anything heavy is loaded."""
    from omegaconf import OmegaConf

    from musicgen_train.evaluation.settings import check_settings

    if cfg.get("output_dir", None) is None:
        raise UserError("output_dir is missing; give output_dir=…")
    for name in PATHS:  # a folder may be called 5
        if cfg[name] is not None:
            cfg[name] = str(cfg[name])
    inputs = ("ckpt", "dataset", "generated", "reference", "texts", "melodies")
    if {name for name in inputs if cfg[name]} not in REQUESTS:
        raise UserError(
            "give either ckpt=MODEL dataset=DATASET, or ckpt=MODEL texts=FILE reference=FOLDER "
            "[melodies=FOLDER], or generated=FOLDER reference=FOLDER [texts=FILE], "
            "or ckpt=CODEC reference=FOLDER"
        )
    for name in ("dataset", "generated", "reference", "melodies"):
        if cfg[name] and not Path(cfg[name]).is_dir():
            raise UserError(f"no such folder: {name}={cfg[name]}; check the path")
    for name in ("reference", "generated", "melodies"):
        if cfg[name] and Path(str(cfg.output_dir)).resolve().is_relative_to(
            Path(cfg[name]).resolve()
        ):
            raise UserError(
                f"output_dir={cfg.output_dir} lies in {name}={cfg[name]}: its clips would count "
                "as music the next time; take another folder"
            )
    if cfg.long_duration is not None and not (cfg.ckpt and cfg.dataset):
        raise UserError(
            "long_duration needs ckpt=MODEL dataset=DATASET, whose texts it takes; leave it out"
        )
    check_settings(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
    if cfg.adapters:
        check_adapters(cfg)
    for path in cfg.curves.values():
        run_logs(path)
    if cfg.timings:
        read_timings(cfg.timings)


def check_adapters(cfg: DictConfig) -> None:
    """Refuse paths that hold no adapter, and adapters without a model."""
    from musicgen_train.adapters.adapter_file import read_adapter

    if not hasattr(cfg.adapters, "items"):
        raise UserError(f"adapters={cfg.adapters}: give {{PATH: WEIGHT, …}}")
    if not cfg.ckpt:
        raise UserError("adapters are of a model: give ckpt=MODEL, or leave them out")
    for path in cfg.adapters:
        read_adapter(str(path))


def preparation(
    cfg: DictConfig, impossible: Mapping[str, str], parts: Parts | None, device: torch.device
) -> Listeners:
    """Everybody who listens; weights that are missing are named before anything is generated."""
    from musicgen_train.evaluation.listeners import load_listeners, possible_metrics

    protocol = read_protocol(cfg)
    metrics, left_out = possible_metrics(protocol, impossible, asked=cfg.metrics is not None)
    models = (parts.codec, parts.chroma) if parts else (None, None)
    return load_listeners(
        protocol, metrics, left_out, cfg.weights, cfg.check_weights, *models, device,
        long_form=cfg.long_duration is not None,
    )  # fmt: skip


def read_protocol(cfg: DictConfig) -> Protocol:
    """The preset with the metrics and embedders that were asked for."""
    from omegaconf import OmegaConf

    from musicgen_train.evaluation.protocol import make_protocol

    plain: Any = OmegaConf.to_container(cfg)
    return make_protocol(plain["protocol"], plain["metrics"], plain["embedders"])


def evaluation_of(
    cfg: DictConfig, listeners: Listeners, settings: dict, stages: Stages, ranks: Ranks
) -> Evaluation:
    """What every evaluation by listening needs."""
    from musicgen_train.evaluation.embedders.weights import weights_folder
    from musicgen_train.evaluation.heard_cache import HeardCache
    from musicgen_train.evaluation.measuring import Evaluation
    from musicgen_train.whole_files import writing

    cache = HeardCache(Path(str(cfg.cache_dir or weights_folder().parent / "heard")))
    output_dir = Path(str(cfg.output_dir))
    for folder in (output_dir, cache.folder):
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
    return Evaluation(output_dir, listeners, cache, settings, stages, ranks, cfg.n_cards)


def read_model(cfg: DictConfig, device: torch.device) -> tuple[Parts, float]:
    """The parts of a model on its device, ready to generate clips of the duration asked for.

    And the seconds of its window.
    """
    from musicgen_train.evaluation.sampling import Parts
    from musicgen_train.formats import load_musicgen
    from musicgen_train.generation_params import frames_in

    model = load_musicgen(cfg.ckpt)
    for path, weight in (cfg.adapters or {}).items():
        model.load_adapter(str(path), weight, name=str(path))
    if cfg.duration > model.max_duration:
        raise UserError(
            f"duration={cfg.duration} is more than the {model.max_duration:g} s that {cfg.ckpt} "
            "was trained on; evaluate clips of that length at most"
        )
    frames_in(cfg.duration, model.frame_rate)
    parts = Parts(model.codec, model.lm, model.text_encoder, model.chroma)
    return parts.to(device).prepare(), model.max_duration


def measure_model(
    cfg: DictConfig, settings: dict, stages: Stages, ranks: Ranks, device: torch.device
) -> list[Measurement]:
    """Generate for held-out prompts and measure."""
    from musicgen_train.evaluation.embedders.judge import judge_training_record
    from musicgen_train.evaluation.held_out import read_held_out
    from musicgen_train.evaluation.model_evaluation import (
        check_fit,
        evaluate_model,
        follows_melody,
    )
    from musicgen_train.evaluation.sampling import Sampling

    held_out = read_held_out(cfg.dataset, cfg.n_clips, cfg.duration, cfg.splits)
    parts, window = read_model(cfg, device)
    long_form = read_long_form(cfg, window)
    check_fit(parts, held_out, cfg.dataset)
    impossible = {}
    if not follows_melody(parts, held_out.prompts):
        impossible["chroma"] = "the model follows no melody, or the dataset holds none"
    if not any(segment.description for segment in held_out.prompts):
        impossible["clap"] = "the dataset has no descriptions"
    listeners = preparation(cfg, impossible, parts, device)
    if listeners.judge is not None or listeners.long_judge is not None:
        settings = {**settings, "judge_training": judge_training_record(cfg.weights.judge)}
    evaluation = evaluation_of(cfg, listeners, settings, stages, ranks)
    sampling = Sampling(**settings["sampling"])
    return evaluate_model(parts, held_out, cfg.duration, sampling, evaluation, long_form)


def read_long_form(cfg: DictConfig, window: float) -> LongForm | None:
    """The pieces beyond the model's window that were asked for, if any."""
    from musicgen_train.evaluation.long_pieces import LongForm

    if cfg.long_duration is None:
        return None
    if cfg.long_duration <= window:
        raise UserError(
            f"long_duration={cfg.long_duration} is no more than the {window:g} s that {cfg.ckpt} "
            "makes at once; give more, or leave it out"
        )
    return LongForm(float(cfg.long_duration), min(cfg.long_clips, cfg.n_clips), window)


def measure_texts(
    cfg: DictConfig, settings: dict, stages: Stages, ranks: Ranks, device: torch.device
) -> list[Measurement]:
    """Generate for a file of texts and measure against a folder of real music."""
    from musicgen_train.evaluation.folder_evaluation import evaluate_texts, impossible_metrics
    from musicgen_train.evaluation.sampling import Sampling
    from musicgen_train.evaluation.texts import read_asked_texts

    texts, reference = read_asked_texts(cfg.texts), Path(cfg.reference)
    melodies = Path(cfg.melodies) if cfg.melodies else None
    impossible = impossible_metrics(list(texts), reference, texts)
    impossible.pop("chroma", None)
    if melodies is None:
        impossible["chroma"] = "no melody was asked for; give melodies=FOLDER"
    parts, _ = read_model(cfg, device)
    listeners = preparation(cfg, impossible, parts, device)
    evaluation = evaluation_of(cfg, listeners, settings, stages, ranks)
    sampling = Sampling(**settings["sampling"])
    return evaluate_texts(parts, texts, melodies, reference, cfg.duration, sampling, evaluation)


def measure_folders(
    cfg: DictConfig, settings: dict, stages: Stages, ranks: Ranks, device: torch.device
) -> list[Measurement]:
    """Measure audio that something else made."""
    from musicgen_train.evaluation.clip_folder import ClipFolder
    from musicgen_train.evaluation.clips import clip_files
    from musicgen_train.evaluation.comparison import Prompt
    from musicgen_train.evaluation.folder_evaluation import evaluate_folders, impossible_metrics
    from musicgen_train.evaluation.texts import AskedText, read_asked_texts

    texts = read_asked_texts(cfg.texts) if cfg.texts else {}
    ours = clip_files(cfg.generated)
    names: Sequence[str] = [file.name for file in ours]
    impossible = impossible_metrics(names, Path(cfg.reference), texts)
    listeners = preparation(cfg, impossible, None, device)
    settings = {name: value for name, value in settings.items() if name not in OF_GENERATING}
    evaluation = evaluation_of(cfg, listeners, settings, stages, ranks)
    folders = {"generated": cfg.generated, "reference": cfg.reference}
    ClipFolder(evaluation.output_dir).open(folders, ranks)
    asked = {**dict.fromkeys(names, AskedText("", {})), **texts}
    prompts = {name: Prompt(said.text, wanted=said.wanted) for name, said in asked.items()}
    return evaluate_folders(ours, Path(cfg.reference), prompts, evaluation)


def measure_codec(
    cfg: DictConfig, settings: dict, stages: Stages, ranks: Ranks, device: torch.device
) -> list[Measurement]:
    """Send held-out music, or a folder of it, through a codec and measure what is lost."""
    from musicgen_train.evaluation.codec_evaluation import evaluate_codec
    from musicgen_train.evaluation.codec_inputs import dataset_inputs, folder_inputs
    from musicgen_train.formats import load_encodec

    if cfg.adapters:
        raise UserError(f"adapters are of a model, and {cfg.ckpt} is a codec: leave them out")
    if ranks.count > 1:
        raise UserError(f"devices={cfg.devices}: a codec is measured by one process; leave it out")
    codec = load_encodec(cfg.ckpt)
    if cfg.reference:
        inputs = folder_inputs(codec, Path(cfg.reference))
    else:
        inputs = dataset_inputs(codec, cfg.dataset, cfg.n_clips, cfg.duration, cfg.splits)
    return evaluate_codec(codec, inputs, Path(str(cfg.output_dir)), settings, stages, cfg.n_cards)


if __name__ == "__main__":
    main()
