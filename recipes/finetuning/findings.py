"""What the figures say, in sentences, and how far to trust them."""

from collections.abc import Mapping, Sequence
from typing import Any

KEPT = 0.1  # share of the text control that may go
HEARD = 1.5  # times chance, below which there is no control to speak of


def findings(
    rows: Sequence[Mapping[str, Any]], table: Mapping[str, Any], held_out: Sequence[str]
) -> list[dict[str, str]]:
    """Marked sentences: good, fair, poor or unsure."""
    by_name = {row["name"]: row for row in rows}
    found = [nearer(by_name.get("fad.judge")), kept(by_name.get("text.control"))]
    if not held_out:
        text = "No song was kept out of training, so nobody knows whether it copies the songs."
        found.append({"mark": "unsure", "text": text})
    for side in ("before", "after"):
        faults = [those for name, those in table["faults"].items() if name.startswith(side)]
        silent = sum(len(those["silent"]) for those in faults)
        if silent:
            text = f"{silent} of the clips made {side} the training are silent."
            found.append({"mark": "poor", "text": text})
    return [line for line in found if line]


def nearer(row: Mapping[str, Any] | None) -> dict[str, str]:
    """Whether the style has come nearer."""
    if row is None or row["before"] is None or row["after"] is None:
        return {"mark": "unsure", "text": "There is too little music to measure a distance."}
    share = 1 - row["after"] / row["before"]
    told = f"FAD[judge] {row['before']:.0f} before, {row['after']:.0f} after"
    if row["end"] is not None:
        told += f", {row['end']:.0f} for {row['end_is']}"
    if share > 0.1:
        return {"mark": "good", "text": f"The music came nearer to the songs: {told}."}
    if share > 0:
        return {"mark": "fair", "text": f"The music came little nearer to the songs: {told}."}
    return {"mark": "poor", "text": f"The music did not come nearer to the songs: {told}."}


def kept(row: Mapping[str, Any] | None) -> dict[str, str]:
    """Whether what the base could do is still there."""
    if row is None or row["before"] is None or row["after"] is None:
        return {}
    before, after, chance = row["before"], row["after"], row["end"]
    told = f"general texts are heard as asked in {before:.0%} before and {after:.0%} after"
    if chance is not None and before < HEARD * chance:
        text = f"The base hardly follows general texts, so there is little to forget: {told}."
        return {"mark": "unsure", "text": text}
    if after >= (1 - KEPT) * before:
        return {"mark": "good", "text": f"Little was forgotten: {told}."}
    return {"mark": "poor", "text": f"Something was forgotten: {told}; raise prior_share."}
