"""What a model took over from another one, as a table and as a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

TAKEN, RESIZED, ANEW, LEFT_OUT = "taken", "resized", "started anew", "left out"


class Part(NamedTuple):
    """A part of a model, and what became of it."""

    name: str
    outcome: str  # TAKEN, RESIZED, ANEW or LEFT_OUT
    size: int  # values of the part in the new model; of what is left out, in the source
    n_taken: int  # those of them that come from the source
    how: str = ""


class Report(NamedTuple):
    """The parts of a model, and why it does not start where the source stopped."""

    parts: list[Part]
    differences: list[str]  # empty: the same inputs give the same outputs at first
    remarks: list[str]  # what else is different around the model

    @property
    def size(self) -> int:
        """Values of the new model."""
        return sum(part.size for part in self.parts if part.outcome != LEFT_OUT)

    @property
    def share(self) -> float:
        """How much of the new model comes from the source, 0 to 1."""
        return sum(part.n_taken for part in self.parts) / max(1, self.size)

    def line(self) -> str:
        """All of it but the numbers of each part."""
        told = [f"{100 * self.share:.1f} % of {count(self.size)} weights taken"]
        for outcome in (RESIZED, ANEW, LEFT_OUT):
            names = [part.name for part in self.parts if part.outcome == outcome]
            if names:
                told.append(f"{outcome}: {', '.join(names)}")
        start = "starts as the source" if not self.differences else "does not start as the source"
        told.append(f"{start}{': ' if self.differences else ''}{', '.join(self.differences)}")
        return "; ".join([*told, *self.remarks])

    def table(self) -> Table:
        """A row for each part."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        table.add_column("part", no_wrap=True)
        table.add_column("weights", justify="right", no_wrap=True)
        table.add_column("taken", justify="right", no_wrap=True)
        table.add_column("what became of it")
        for part in self.parts:
            left = part.outcome == LEFT_OUT
            share = "" if left else f"{100 * part.n_taken / max(1, part.size):.0f} %"
            told = f"{part.outcome}: {part.how}" if part.how else part.outcome
            style = {TAKEN: "green", RESIZED: "yellow", ANEW: "red", LEFT_OUT: "dim"}[part.outcome]
            table.add_row(part.name, count(part.size), share, told, style=style)
        return table

    def show(self, source: str, console: Console | None = None) -> None:
        """Print the table and the line."""
        from rich.console import Console

        console = console or Console()
        console.print(self.table())
        # One line, whatever the width: it is what a log is searched for.
        console.print(f"init_from {source}: {self.line()}", soft_wrap=True, highlight=False,
                      markup=False)  # fmt: skip


def count(n: int) -> str:
    """A number of weights: 812, 3.1 k, 420 M, 3.3 B."""
    value = float(n)
    for unit in ("", " k", " M"):
        if value < 999.5:
            return f"{value:.0f}" if not unit else f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g} B"
