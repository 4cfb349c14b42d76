"""Stage after stage: what is done and unchanged is skipped, the rest is done or gone on with."""

import json
import time
from collections.abc import Sequence
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.whole_files import write_json
from recipes.finetuning.run_folder import read_json, remove
from recipes.finetuning.stage import Stage, Work


def go(stages: Sequence[Stage], asked: Sequence[str], work: Work) -> None:
    """Do the stages that are asked for, in their order; UserError if one needs another first."""
    chosen = asked or [stage.name for stage in stages]
    for number, stage in enumerate(stages, 1):
        label = f"[{number}/{len(stages)}] {stage.title}"
        missing = [name for name in stage.needs if name not in work.results]
        if stage.name not in chosen:
            _take_result(stage, missing, work)
            continue
        if missing:
            lacking = [s.name for s in stages[: number - 1] if s.name not in work.results]
            raise UserError(
                f"stage={stage.name} needs what {missing[0]} makes, which is not there or was made "
                f"with other settings: run stage=[{','.join([*lacking, stage.name])}]"
            )
        _do(stage, label, work)


def check_stages(stages: Sequence[Stage], asked: Sequence[str]) -> None:
    """Refuse unknown names."""
    known = [stage.name for stage in stages]
    for name in asked:
        if name not in known:
            raise UserError(f"stage={name}: use one or some of {', '.join(known)}")


def _take_result(stage: Stage, missing: list[str], work: Work) -> None:
    """What a stage that is not asked for told when it was done, if that still holds."""
    if missing:
        return
    record = read_json(work.run.record(stage.name))
    if _holds(stage, record, _inputs(stage, work), work):
        work.results[stage.name] = record["result"]


def _holds(stage: Stage, record: dict[str, Any], inputs: dict[str, Any], work: Work) -> bool:
    there = all(place.exists() for place in stage.places(work.run))
    return bool(record.get("finished")) and record.get("inputs") == inputs and there


def _do(stage: Stage, label: str, work: Work) -> None:
    place = work.run.record(stage.name)
    record, inputs = read_json(place), _inputs(stage, work)
    if _holds(stage, record, inputs, work):
        print(f"{label}: done already", flush=True)
        work.results[stage.name] = record["result"]
        work.status.stage(stage.name, "done", record.get("seconds"))
        return
    print(f"{label}{_why(stage, record, inputs, work)}", flush=True)
    if record.get("inputs") != inputs or record.get("finished"):
        # The record goes first: until all is removed, nothing may be taken for the new settings'.
        remove(place)
        for name in stage.leftovers:
            remove(work.run / name)
    # Also what was finished by a run that was killed before it could say so.
    for name in stage.makes:
        remove(work.run / name)
    write_json(place, {"inputs": inputs, "finished": False})
    work.status.stage(stage.name, "running")
    began = time.monotonic()
    result = _plain(stage.run(work))
    seconds = round(time.monotonic() - began, 1)
    write_json(place, {"inputs": inputs, "finished": True, "seconds": seconds, "result": result})
    work.results[stage.name] = result
    work.status.stage(stage.name, "done", seconds)


def _inputs(stage: Stage, work: Work) -> dict[str, Any]:
    needed = {name: work.results[name] for name in stage.needs}
    return _plain({"settings": stage.settings(work), "needs": needed})


def _plain(content: Any) -> Any:
    """As it comes back from JSON, so that it compares."""
    return json.loads(json.dumps(content))


def _why(stage: Stage, record: dict[str, Any], inputs: dict[str, Any], work: Work) -> str:
    """Why a stage is done that has been begun or done before; "" if it has not."""
    if not record:
        return ""
    if record.get("inputs") == inputs:
        return ": its result is gone" if record.get("finished") else ": going on"
    changes = _changes(record.get("inputs") or {}, inputs)
    return f": again, for {', '.join(changes[:4])}{' …' if len(changes) > 4 else ''}"


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    old, new = before.get("settings", {}), now["settings"]
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    found = [f"{name} changed{_shortly(old.get(name), new.get(name))}" for name in names]
    needs = before.get("needs", {})
    return found + [
        f"{name} gave another result"
        for name in now["needs"]
        if needs.get(name) != now["needs"][name]
    ]


def _shortly(old: Any, new: Any) -> str:
    told = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
    return f" from {told[0]} to {told[1]}" if max(map(len, told)) <= 40 else ""
