"""The page and the pictures of measured growth, from growth.json alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.growth_fit import TOLERANCE, Curve, curve_of, larger_half
from benchmarks.tables import markdown
from musicgen_train.whole_files import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUPS = {
    "training": "Training",
    "generation": "Generation",
    "codec": "Codec",
    "data": "Data",
    "evaluation": "Evaluation",
}
INTRO = """# How cost grows

Time and memory against whatever can become large, and the exponent that they grow with: 1 is in proportion, 0 not at all.
"must" is what the algorithm cannot avoid; a curve that grows faster than that (by more than {tolerance}) fails
`python -m benchmarks.growth`. Exponents are slopes of the larger half of the sizes, on logarithmic axes, where fixed costs hide
them least. Memory is what the work adds to its process at its peak; each point has a process of its own. Time on CPUs is that of the
processor, so that others on the machine matter little.

Measured on {machine} with torch {torch}{threads}{quick}. `python -m benchmarks.growth --page docs/growth.md` measures
again and writes this page.
"""  # noqa: E501


def write_page(results: dict[str, Any], page: Path) -> None:
    """Write the page, and its pictures into a folder of its name beside it."""
    curves = [curve_of(record) for record in results["curves"]]
    folder = page.with_suffix("")
    write_pictures(curves, folder)
    lines = [intro(results)]
    for group, title in GROUPS.items():
        own = [curve for curve in curves if curve.group == group]
        if own:
            lines += [f"## {title}\n", table(own), f"\n![{title}]({folder.name}/{group}.png)\n"]
    write_text(page, "\n".join(lines))


def intro(results: dict[str, Any]) -> str:
    """What stands above the tables."""
    return INTRO.format(
        tolerance=TOLERANCE,
        machine=results["machine"],
        torch=results["torch"],
        threads="" if results["device"] == "cuda" else ", one thread",
        quick=", in few and small sizes (`--quick`)" if results["quick"] else "",
    )


def table(curves: list[Curve]) -> str:
    """One row a curve, in Markdown."""
    rows = []
    for curve in curves:
        first, last = min(curve.points), max(curve.points)
        rows.append([
            f"{curve.title}: {curve.y}", f"{amount(first[1])} {curve.unit} ({first[0]:,.0f})",
            f"{amount(last[1])} {curve.unit} ({last[0]:,.0f})", f"{curve.exponent + 0.0:.2f}",
            must(curve), "" if curve.fine else "**grows too fast**",
        ])  # fmt: skip
    return markdown(["", "from", "to", "exponent", "must", ""], rows)


def must(curve: Curve) -> str:
    """The exponents that it may have: "1", or "0 to 1"."""
    low, high = curve.must
    return f"{high:g}" if low == high else f"{low:g} to {high:g}"


def amount(value: float) -> str:
    """Three digits, whatever the size."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def write_pictures(curves: list[Curve], folder: Path) -> None:
    """A picture a group, a panel a curve."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from musicgen_train.whole_files import replacing

    folder.mkdir(parents=True, exist_ok=True)
    for group in GROUPS:
        own = [curve for curve in curves if curve.group == group]
        if not own:
            continue
        n_rows = -(-len(own) // 2)
        figure = Figure(figsize=(9, 2.9 * n_rows), dpi=110)
        FigureCanvasAgg(figure)
        panels = figure.subplots(n_rows, 2, squeeze=False).flat
        for axes, curve in zip(panels, own, strict=False):
            draw(axes, curve)
        for axes in figure.axes[len(own) :]:
            axes.set_axis_off()
        figure.tight_layout()
        with replacing(folder / f"{group}.png") as partial:
            figure.savefig(partial, format="png")


def draw(axes: "Axes", curve: Curve) -> None:
    """The points, and the fastest growth allowed, through the first point that is fitted."""
    xs, ys = zip(*sorted(curve.points), strict=True)
    axes.loglog(xs, ys, "o-", color="#3b82f6", label=f"measured: exponent {curve.exponent:.2f}")
    fitted = larger_half(curve.points)
    (x0, y0), high = fitted[0], curve.must[1]
    allowed = [max(y0, 1e-9) * (x / x0) ** high for x, _ in fitted]
    axes.loglog([x for x, _ in fitted], allowed, "--", color="#8b929c", label=f"allowed: {high:g}")
    axes.set_title(curve.title, fontsize=9)
    axes.set_xlabel(curve.x, fontsize=8)
    axes.set_ylabel(f"{curve.y} [{curve.unit}]", fontsize=8)
    if max(ys) < 3 * max(min(ys), 1e-9):  # nearly flat: ticks need room, and noise is no slope
        axes.set_ylim(min(ys) / 3, max(ys) * 3)
    axes.tick_params(labelsize=7, which="both")
    axes.grid(alpha=0.3, which="major")
    axes.legend(fontsize=7, frameon=False)
