"""The page: one HTML file that holds its pictures and its audio."""

import json
from pathlib import Path
from typing import Any

from data_prep.inspection.cards import make_card
from data_prep.inspection.charts import music_charts, sound_charts, text_charts
from data_prep.inspection.findings import find
from data_prep.inspection.overview import (
    codebook_table,
    duplicate_table,
    duration_histogram,
    facts,
    failure_table,
    split_table,
    subtitle,
)
from data_prep.inspection.survey import Survey
from musicgen_train.whole_files import replacing


def write_page(survey: Survey, path: Path) -> None:
    """Write the page of a survey; nothing in the dataset can add markup to it."""
    info = {key: value for key, value in survey.info.items() if key != "shards"}
    statistics = survey.statistics
    cards = [make_card(sample, survey.info["sample_rate"]) for sample in survey.samples]
    page = _template().render(
        title=survey.name,
        subtitle=subtitle(survey),
        facts=facts(survey),
        findings=find(survey),
        cards=cards,
        guesses=any(is_guess for card in cards for _, is_guess in card.tags),
        sections=[
            ("texts", "Descriptions", text_charts(statistics)),
            ("music", "Music", music_charts(statistics)),
            ("sound", "Sound", sound_charts(statistics, duration_histogram(survey))),
        ],
        splits=split_table(survey),
        left_out=failure_table(survey),
        duplicates=duplicate_table(survey),
        codebooks=codebook_table(survey),
        problems=survey.checks.problems,
        info=json.dumps(info, indent=2, ensure_ascii=False),
    )
    with replacing(path) as partial:
        # JSON may hold half of a surrogate pair, which no encoding can write.
        partial.write_text(page, encoding="utf-8", errors="replace")


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("inspect.html.jinja")
