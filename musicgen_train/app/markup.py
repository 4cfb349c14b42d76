"""Pieces of HTML in which any text is safe: it is shown as it is."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote


def text(value: object) -> str:
    """A text as HTML, in its own direction."""
    return f'<span dir="auto">{html.escape(str(value))}</span>'


def paragraph(value: object, kind: str = "") -> str:
    """A text as a paragraph; kind: a class of style.css."""
    return f'<p class="{kind}" dir="auto">{html.escape(str(value))}</p>'


def preformatted(value: object) -> str:
    """Lines as they are, which scroll."""
    return f"<pre>{html.escape(str(value))}</pre>"


def player(path: Path, label: str) -> str:
    """A player of a file that the page may serve."""
    address = html.escape("gradio_api/file=" + quote(str(path)))
    name = html.escape(label)
    return f'<audio controls preload="none" src="{address}" aria-label="{name}"></audio>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table that scrolls sideways where it is too wide; columns are text, cells are HTML."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll {kind}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def duration(seconds: float) -> str:
    """About so long, as one says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
