"""A blind listening test: `python -m musicgen_train.evaluation.listening_test --help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from musicgen_train.evaluation.listening_test.trials import ListeningTest, Prompt

KEYS = ("overall", "relevance", "melody")
MOST_NAMED = 5  # of the names that are left out for one reason
UNEVEN = 0.1  # seconds between clips of one prompt that are worth a word


def parser() -> argparse.ArgumentParser:
    """The options, in the order in which one meets them."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.evaluation.listening_test",
        description="Let people rate the clips of systems, blind, in the browser; or report what "
        "they said. Clips are matched by their names, to one loudness, and shuffled.",
    )
    add = p.add_argument
    add("systems", nargs="*", type=Path, metavar="DIR",
        help="one folder of audio files per system; the same names in each")  # fmt: skip
    add("--texts", type=Path,
        help="what was asked for: .json {name: text}, or .jsonl or .csv with name and text",
    )  # fmt: skip
    add("--melodies", type=Path, help="folder of melodies to follow, by the same names")
    add("--questions",
        help="of overall, relevance (needs --texts), melody (needs --melodies), with commas "
        "between (default: all that can be asked)")  # fmt: skip
    add("--ratings", type=Path, default=Path("listening_test.jsonl"),
        help="file that the ratings are added to (default: %(default)s)")  # fmt: skip
    add("--n-trials", type=int, help="use only so many prompts, drawn by the seed (default: all)")
    add("--repeats", type=int, default=0,
        help="so many prompts come a second time, to see how steady listeners are")  # fmt: skip
    add("--seed", type=int, default=0, help="of the order, which is another for each listener")
    add("--port", type=int, default=7861, help="of 127.0.0.1; 0: a free one (default: 7861)")
    add("--report", action="store_true",
        help="start no server: print the results and write them beside the ratings")  # fmt: skip
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Serve the test until Ctrl-C, or report."""
    args = parser().parse_args(argv)
    check(args)
    try:
        report(args) if args.report else run(args)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is loaded."""
    if not args.systems and not args.report:
        raise UserError("name at least one folder of audio files, or add --report")
    if args.report and not args.ratings.is_file():
        raise UserError(f"--ratings {args.ratings}: no such file; name the file of a test")
    for name, lowest, highest in (
        ("n_trials", 1, 10**6),
        ("repeats", 0, 10**6),
        ("port", 0, 65535),
    ):
        value = getattr(args, name)
        if value is not None and not lowest <= value <= highest:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option} {value}: give a number from {lowest} to {highest}")
    questions_of(args)


def questions_of(args: argparse.Namespace) -> tuple[str, ...]:
    """The questions that are asked, in the order of the page."""
    without = {
        "relevance": "--texts" if args.texts is None else None,
        "melody": "--melodies" if args.melodies is None else None,
    }
    if args.questions is None:
        return tuple(key for key in KEYS if without.get(key) is None)
    asked = [word.strip() for word in args.questions.split(",")]
    for key in asked:
        if key not in KEYS:
            raise UserError(f"--questions {key!r}: use some of {', '.join(KEYS)}")
        if without.get(key) and not args.report:
            raise UserError(f"--questions {key} needs {without[key]}: add it")
    return tuple(key for key in KEYS if key in asked)


def report(args: argparse.Namespace) -> None:
    """Print the results of the ratings there are, and write them."""
    from musicgen_train.evaluation.listening_test.ratings import RatingsFile
    from musicgen_train.evaluation.listening_test.results import (
        print_results,
        results,
        write_results,
    )
    from musicgen_train.evaluation.listening_test.trials import system_names

    systems = system_names(args.systems) if args.systems else []
    found = results(RatingsFile(args.ratings), systems)
    if not found["n_ratings"]:
        of = f" of {', '.join(systems)}" if systems else ""
        raise UserError(f"{args.ratings} holds no ratings{of}: take the test first")
    print_results(found)
    path = args.ratings.with_suffix(".report.json")
    write_results(found, path)
    print(path)


def run(args: argparse.Namespace) -> None:
    """Serve the test."""
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train.evaluation.listening_test.audio_store import AudioStore
    from musicgen_train.evaluation.listening_test.ratings import RatingsFile
    from musicgen_train.evaluation.listening_test.server import HOST, bind, create_app, serve
    from musicgen_train.evaluation.listening_test.sessions import Sessions

    with bind(args.port) as listening:
        test = listening_test(args)
        ratings = RatingsFile(args.ratings)
        ratings.prepare()
        for fault in ratings.read().faults:
            tell(fault)
        listening.listen()  # a browser that comes at once waits, and is not turned away
        announce(test, args.ratings, f"http://{HOST}:{listening.getsockname()[1]}")
        with tempfile.TemporaryDirectory(prefix="listening_test_") as folder:
            serve(create_app(Sessions(test, AudioStore(Path(folder)), ratings)), listening)


def announce(test: ListeningTest, ratings: Path, address: str) -> None:
    """Where the test is, what it asks, and where the answers go."""
    from musicgen_train.evaluation.listening_test.results import plural

    prompts, systems = plural(len(test.prompts), "prompt"), plural(len(test.systems), "system")
    print(f"{prompts}, {systems}: {', '.join(test.systems)}")
    print(f"questions:      {', '.join(test.questions)}")
    print(f"ratings go to:  {ratings.absolute()}")
    print(f"listening test: {address}")
    print(f"results:        {address}/results (names the systems: look when all are done)")
    print("Ctrl-C ends it; whoever is in the middle can go on another time.", flush=True)


def listening_test(args: argparse.Namespace) -> ListeningTest:
    """The test that is asked for, after telling what had to be left out."""
    from musicgen_train.evaluation.listening_test.trials import (
        LETTERS,
        ListeningTest,
        draw_prompts,
        match_prompts,
        system_names,
    )
    from musicgen_train.evaluation.texts import read_texts

    questions = questions_of(args)
    names = system_names(args.systems)
    if len(names) > len(LETTERS):
        raise UserError(f"{len(names)} systems at once: compare at most {len(LETTERS)}")
    texts = read_texts(args.texts) if "relevance" in questions else None
    melodies = args.melodies if "melody" in questions else None
    matched = match_prompts(dict(zip(names, args.systems, strict=True)), texts, melodies)
    for lack, left_out in matched.left_out.items():
        tell(f"left out {len(left_out)}, {lack}: {some(left_out)}")
    prompts = readable(draw_prompts(matched.prompts, args.n_trials, args.seed))
    if not prompts:
        raise UserError(
            "no clip is left to rate: give the folders the same file names, and each a text "
            "and a melody if there are any"
        )
    return ListeningTest(prompts, tuple(names), questions, args.seed, args.repeats)


def readable(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """The prompts whose files can be opened; tells of the others, and of uneven lengths."""
    from musicgen_train.data.audio_file import AudioError, AudioFile
    from musicgen_train.progress import reporting

    kept, uneven = [], []
    with reporting(None, sys.stderr.isatty(), "checking clips") as progress:
        for done, prompt in enumerate(prompts, 1):
            progress(done, len(prompts))
            try:
                files = [AudioFile(path) for path in prompt.clips.values()]
                if prompt.melody is not None:
                    AudioFile(prompt.melody)
            except AudioError as error:
                tell(f"left out {prompt.name}: {error}")
                continue
            kept.append(prompt)
            durations = [f.n_samples / f.sample_rate for f in files if f.n_samples is not None]
            if durations and max(durations) - min(durations) > UNEVEN:
                uneven.append(prompt.name)
    if uneven:
        tell(f"cut to their shortest clip, lest the length tell: {len(uneven)}: {some(uneven)}")
    return tuple(kept)


def some(names: Sequence[str]) -> str:
    """The first names, and that there are more."""
    more = f", … ({len(names)} in all)" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def tell(line: str) -> None:
    """One line for whoever runs the test."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
