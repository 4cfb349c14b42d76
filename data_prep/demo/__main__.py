"""Write the demo corpus: `python -m data_prep.demo output_dir=runs/demo/corpus n_tracks=160`."""

import time
from pathlib import Path

import hydra
from omegaconf import DictConfig, ListConfig

from musicgen_train.errors import UserError, exit_on_user_error

CONF = str(Path(__file__).parents[2] / "conf")


def check(cfg: DictConfig) -> None:
    """Refuse settings that make no corpus, before anything is written."""
    durations = cfg.track_duration
    if (
        not isinstance(durations, ListConfig)
        or len(durations) != 2
        or not 6 <= durations[0] <= durations[1]
    ):
        raise UserError(
            f"track_duration={durations}: give two increasing numbers, 6 s or more, as [20,30]"
        )
    for name in ("n_tracks", "n_workers"):
        if not isinstance(cfg[name], int) or cfg[name] < 1:
            raise UserError(f"{name}={cfg[name]}: give a whole number of at least 1")


def styles_of(cfg: DictConfig) -> tuple[str, ...]:
    """The styles to compose in: those asked for, or the usual ones."""
    from data_prep.demo.styles import ALL_STYLES, STYLES

    if cfg.styles is None:
        return tuple(STYLES)
    asked = list(cfg.styles) if isinstance(cfg.styles, ListConfig) else [cfg.styles]
    if not asked or len(set(map(str, asked))) < len(asked) or not set(asked) <= set(ALL_STYLES):
        raise UserError(f"styles={cfg.styles}: give some of [{','.join(ALL_STYLES)}], each once")
    return tuple(asked)


@hydra.main(version_base="1.3", config_path=CONF, config_name="demo_corpus")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    """Check the settings, write the corpus, say what was written."""
    from data_prep.demo.corpus import Settings, write_corpus

    check(cfg)
    shortest, longest = cfg.track_duration
    settings = Settings(cfg.seed, float(shortest), float(longest), styles=styles_of(cfg))
    output_dir = Path(cfg.output_dir)
    began = time.monotonic()
    seconds = write_corpus(output_dir, settings, cfg.n_tracks, cfg.n_workers)
    wall = time.monotonic() - began
    print(f"{cfg.n_tracks} tracks in {output_dir}", end="")
    print(f" ({seconds / 60:.1f} minutes of music written in {wall:.0f} s)")


if __name__ == "__main__":
    main()
