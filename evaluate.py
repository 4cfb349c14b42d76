"""Measure a model, a codec or a folder of audio, and write metrics.json and a report.

python evaluate.py ckpt=runs/demo/lm/model dataset=runs/demo/shards output_dir=runs/demo/eval
python evaluate.py ckpt=CODEC dataset=DATASET output_dir=DIR
python evaluate.py ckpt=CODEC reference=DIR output_dir=DIR
python evaluate.py generated=DIR reference=DIR output_dir=DIR
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra

from musicgen_train.errors import UserError, exit_on_user_error
from musicgen_train.evaluation.report.training_runs import read_timings, run_logs

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from musicgen_train.evaluation.measurement import Measurement
    from musicgen_train.evaluation.stages import Stages


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    check_request(cfg)
    import torch
    from omegaconf import OmegaConf

    from musicgen_train.evaluation.report.terminal import print_measurements
    from musicgen_train.evaluation.stages import Stages
    from musicgen_train.formats.checkpoint_kind import is_codec

    if cfg.num_threads:
        torch.set_num_threads(cfg.num_threads)
    settings: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    stages, output_dir = Stages(), Path(cfg.output_dir)
    if not cfg.ckpt:
        measure = measure_folders
    else:
        measure = measure_codec if cfg.reference or is_codec(cfg.ckpt) else measure_model
    print_measurements(measure(cfg, output_dir, settings, stages))
    if measure is measure_codec:
        print_codec(output_dir)
    print(f"metrics: {output_dir / 'metrics.json'}")
    if cfg.report:
        print(f"report: {write_page(cfg, output_dir, stages)}")


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
    if cfg.get("output_dir", None) is None:
        raise UserError("output_dir is missing; give output_dir=…")
    given = {name for name in ("ckpt", "dataset", "generated", "reference") if cfg[name]}
    if given not in ({"ckpt", "dataset"}, {"ckpt", "reference"}, {"generated", "reference"}):
        raise UserError(
            "give either ckpt=MODEL dataset=DATASET, or ckpt=CODEC reference=FOLDER, "
            "or generated=FOLDER reference=FOLDER"
        )
    for name in ("dataset", "generated", "reference"):
        if cfg[name] and not Path(cfg[name]).is_dir():
            raise UserError(f"no such folder: {name}={cfg[name]}; check the path")
    numbers = isinstance(cfg.n_clips, int) and isinstance(cfg.duration, int | float)
    if not numbers or cfg.n_clips < 2 or cfg.duration <= 0:
        raise UserError(
            f"n_clips={cfg.n_clips} duration={cfg.duration}: "
            "use at least 2 clips and a positive duration"
        )
    if cfg.reference and Path(cfg.output_dir).resolve().is_relative_to(
        Path(cfg.reference).resolve()
    ):
        raise UserError(
            f"output_dir={cfg.output_dir} lies in reference={cfg.reference}: its clips would count "
            "as music the next time; take another folder"
        )
    for path in cfg.curves.values():
        run_logs(path)
    if cfg.timings:
        read_timings(cfg.timings)


def measure_model(
    cfg: DictConfig, output_dir: Path, settings: dict[str, Any], stages: Stages
) -> list[Measurement]:
    """Generate for held-out prompts and measure."""
    from musicgen_train.evaluation.embedders.judge import judge_training_record, load_judge
    from musicgen_train.evaluation.held_out import read_held_out
    from musicgen_train.evaluation.model_evaluation import check_fit, evaluate_model
    from musicgen_train.evaluation.sampling import Parts, Sampling
    from musicgen_train.formats import load_musicgen

    judge = load_judge(cfg.judge)
    held_out = read_held_out(cfg.dataset, cfg.n_clips, cfg.duration, cfg.splits)
    model = load_musicgen(cfg.ckpt)
    parts = Parts(model.codec, model.lm, model.text_encoder, model.chroma)
    check_fit(parts, held_out, cfg.dataset)
    return evaluate_model(
        parts,
        judge,
        held_out,
        output_dir,
        cfg.duration,
        Sampling(**settings["sampling"]),
        {**settings, "judge_training": judge_training_record(cfg.judge)},
        stages,
    )


def measure_codec(
    cfg: DictConfig, output_dir: Path, settings: dict[str, Any], stages: Stages
) -> list[Measurement]:
    """Send held-out music, or a folder of it, through a codec and measure what is lost."""
    from musicgen_train.evaluation.codec_evaluation import evaluate_codec
    from musicgen_train.evaluation.codec_inputs import dataset_inputs, folder_inputs
    from musicgen_train.formats import load_encodec

    codec = load_encodec(cfg.ckpt)
    if cfg.reference:
        inputs = folder_inputs(codec, Path(cfg.reference))
    else:
        inputs = dataset_inputs(codec, cfg.dataset, cfg.n_clips, cfg.duration, cfg.splits)
    return evaluate_codec(codec, inputs, output_dir, settings, stages, cfg.n_cards)


def measure_folders(
    cfg: DictConfig, output_dir: Path, settings: dict[str, Any], stages: Stages
) -> list[Measurement]:
    """Measure audio that something else made."""
    from musicgen_train.evaluation.embedders.judge import load_judge
    from musicgen_train.evaluation.folder_evaluation import evaluate_folders

    judge = load_judge(cfg.judge)
    folders = Path(cfg.generated), Path(cfg.reference)
    return evaluate_folders(judge, *folders, output_dir, settings, stages)


def print_codec(output_dir: Path) -> None:
    """What a codec's evaluation has besides: its rate-distortion curve and codebooks."""
    from musicgen_train.evaluation.metrics_file import read_metrics
    from musicgen_train.evaluation.report.terminal import print_codec_tables

    print_codec_tables(read_metrics(output_dir))


if __name__ == "__main__":
    main()
