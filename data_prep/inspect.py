"""Look at a dataset: python -m data_prep.inspect DATASET"""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

CONF = str(Path(__file__).resolve().parents[1] / "conf")


def inspect(
    dataset: str | Path,
    output: str | Path | None = None,
    *,
    n_players: int = 12,
    n_samples: int | None = None,
    n_checked: int = 100,
    seed: int = 0,
) -> Path:
    """Print what is in a dataset (a folder or a URL), write it as a page, return the page's path.

    output: the page; None puts it beside the dataset, or into the working directory for a URL.
    n_samples: segments whose metadata is read; None reads all of a folder, 1000 of a URL.
    """
    for name, value in (("n_players", n_players), ("n_checked", n_checked), ("seed", seed)):
        if not isinstance(value, int) or value < 0:
            raise UserError(f"{name}={value}: give a whole number, 0 or more")
    if n_samples is not None and (not isinstance(n_samples, int) or n_samples < 1):
        raise UserError(f"n_samples={n_samples}: give a whole number above 0, or null for all")
    from musicgen_train.data.index import load_index

    page = Path(output) if output is not None else page_beside(dataset)
    check_place(page)
    index = load_index(dataset)
    if len(index) == 0:
        raise UserError(f"{dataset}: holds no segments; prepare it again")

    from rich.console import Console  # only now: what is refused is refused at once

    from data_prep.inspection.page import write_page
    from data_prep.inspection.survey import survey
    from data_prep.inspection.terminal import print_survey
    from musicgen_train.whole_files import writing

    found = survey(index, n_players, n_samples, n_checked, seed)
    print_survey(found, Console())
    with writing(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        write_page(found, page)
    return page


def check_place(page: Path) -> None:
    """Refuse a page that cannot be written, before the dataset is read for it."""
    if page.is_dir():
        raise UserError(f"{page}: is a folder; name a file, such as output={page}/index.html")
    folder = next(parent for parent in page.absolute().parents if parent.exists())
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UserError(f"{page}: cannot be written; name another place, such as output=page.html")


def page_beside(dataset: str | Path) -> Path:
    """my/dataset -> my/dataset.html; of a URL only the last part."""
    if "://" in str(dataset):
        return Path(str(dataset).rstrip("/").rsplit("/", 1)[-1] + ".html")
    folder = Path(dataset).resolve()
    return folder.parent / f"{folder.name or 'dataset'}.html"


@hydra.main(version_base="1.3", config_path=CONF, config_name="inspect")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    arguments: Any = OmegaConf.to_container(cfg, resolve=True)
    if arguments["dataset"] is None:
        raise UserError("no dataset is named; use python -m data_prep.inspect DATASET")
    page = inspect(**arguments)
    print(f"page with players -> {page}")


def named(arguments: list[str]) -> list[str]:
    """Command-line arguments with `dataset=` before the one that stands without a name."""
    nameless = [a for a in arguments if not a.startswith("-") and "=" not in a.split("/")[0]]
    if len(nameless) > 1:
        raise UserError(f"{len(nameless)} datasets are named ({', '.join(nameless)}); give one")
    return [
        argument
        if argument.startswith("-") or "=" in argument.split("/")[0]
        else "dataset='{}'".format(argument.replace("'", r"\'"))  # quoted, for Hydra's grammar
        for argument in arguments
    ]


if __name__ == "__main__":
    sys.argv[1:] = exit_on_user_error(named)(sys.argv[1:])
    main()
