"""Charts as SVG, drawn by hand, and the style sheet: no library, script or foreign address."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

_COLOURS = ("--one", "--two", "--three", "--four", "--five")
_LEFT, _BOTTOM, _TOP, _RIGHT = 52, 40, 12, 12  # pixels around the axes
_WIDTH = 420  # pixels of a picture
_ROW = 17  # pixels of a line of a legend
# For light and dark screens.
STYLE = """
:root { --paper: #fff; --ink: #1c2430; --quiet: #68717f; --rule: #e1e5ea; --one: #2563b0;
  --two: #d98324; --three: #2b8a5f; --four: #a23b8f; --five: #8a6d1f; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181e; --ink: #e4e8ee; --quiet: #98a2b0;
  --rule: #2c333d; --one: #6aa5f0; --two: #f0a552; --three: #5fc596; --four: #d77fc6;
  --five: #cdb05c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .3rem; }
p { max-width: 46rem; margin: .3rem 0 .9rem; } .quiet, figcaption { color: var(--quiet); }
table { border-collapse: collapse; margin: .6rem 0 1rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); }
th { color: var(--quiet); font-weight: 500; } th:first-child, td:first-child { text-align: left; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem 2.4rem; margin: 1.4rem 0; }
.tiles b { display: block; font-size: 1.5rem; font-weight: 600; }
.tiles span { color: var(--quiet); }
.side { display: flex; flex-wrap: wrap; gap: 1rem 2rem; align-items: flex-start; }
.wide { overflow-x: auto; }
svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .grid { stroke: var(--rule); }
svg .bar { fill: var(--one); } svg .gap { fill: var(--two); }
svg text.light { fill: var(--paper); }
.side > svg { flex: 1 1 20rem; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); gap: .9rem; }
.images figure { margin: 0; } .images img { width: 100%; image-rendering: pixelated; }
.images figcaption { font-size: .8rem; line-height: 1.3; overflow-wrap: anywhere; }
"""


class Axes:
    """A rectangle with ticks, in which shapes are drawn in the units of the data.

    Args:
        x_range: lowest and highest value of the horizontal axis.
        y_range: of the vertical axis.
        x_label: what the horizontal axis shows.
        y_label: what the vertical axis shows.
        height: of the picture, in pixels.
    """

    def __init__(
        self,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        x_label: str,
        y_label: str,
        height: int = 300,
    ) -> None:
        self._x_range, self._y_range, self._height = x_range, y_range, height
        self._shapes: list[str] = []
        bottom, left = height - _BOTTOM, _LEFT
        for value in ticks(*x_range):
            x = self._x(value)
            self._shapes.append(
                f'<line class="grid" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}"/>'
                f'<text x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">{value:g}</text>'
            )
        for value in ticks(*y_range):
            y = self._y(value)
            self._shapes.append(
                f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>'
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
            )
        middle = (_TOP + bottom) / 2
        self._shapes.append(
            f'<text x="{(left + _WIDTH) / 2}" y="{height - 6}" text-anchor="middle">'
            f"{escape(x_label)}</text>"
            f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">'
            f"{escape(y_label)}</text>"
        )

    def _x(self, value: float) -> float:
        low, high = self._x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        low, high = self._y_range
        bottom = self._height - _BOTTOM
        return bottom - (value - low) / (high - low) * (bottom - _TOP)

    def bar(self, x: tuple[float, float], y: tuple[float, float], style: str, title: str) -> None:
        """Draw a rectangle between two values of each axis."""
        top = self._y(max(y))
        self._shapes.append(
            f'<rect class="{style}" x="{self._x(x[0]) + 0.5:.1f}" y="{top:.1f}" '
            f'width="{self._x(x[1]) - self._x(x[0]) - 1:.1f}" '
            f'height="{self._y(min(y)) - top:.1f}"><title>{escape(title)}</title></rect>'
        )

    def line(
        self, x: Iterable[float], y: Iterable[float], colour: str, *, dashed: bool = False
    ) -> None:
        """Draw a line through points; `colour` is a variable of the style sheet."""
        points = " ".join(f"{self._x(a):.1f},{self._y(b):.1f}" for a, b in zip(x, y, strict=True))
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._shapes.append(
            f'<polyline points="{points}" fill="none" stroke="var({colour})" '
            f'stroke-width="2"{dash}/>'
        )

    def legend(self, names: Mapping[str, str]) -> None:
        """Name colours, in the upper left corner."""
        for row, (name, colour) in enumerate(names.items()):
            y = _TOP + 14 + _ROW * row
            self._shapes.append(
                f'<rect x="{_LEFT + 10}" y="{y - 9}" width="12" height="10" fill="var({colour})"/>'
                f'<text x="{_LEFT + 28}" y="{y}">{escape(name)}</text>'
            )

    def svg(self, title: str) -> str:
        """The picture, with a title for who cannot see it."""
        return svg(_WIDTH, self._height, "".join(self._shapes), title)


def svg(width: float, height: float, shapes: str, title: str) -> str:
    """Put shapes into a picture of a size in pixels, which shrinks with the page."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}px" role="img" '
        f'aria-label="{escape(title)}">{shapes}</svg>'
    )


def ticks(low: float, high: float) -> list[float]:
    """Four to ten round values of an axis.

    Example:
        >>> ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / 5
    size = 10 ** np.floor(np.log10(raw))
    step = size * min((1, 2, 5, 10), key=lambda factor: abs(factor * size - raw))
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    return [float(f"{(first + number) * step:.10g}") for number in range(count)]


def reliability_diagram(bars: Sequence[Mapping[str, float]]) -> str:
    """Draw accuracy against confidence; `bars` have "n", "confidence" and "accuracy"."""
    axes = Axes((0, 1), (0, 1), "confidence", "accuracy")
    for number, bar in enumerate(bars):
        if not bar["n"]:
            continue
        edges = number / len(bars), (number + 1) / len(bars)
        text = f"{bar['n']:,} images: {bar['confidence']:.1%} sure, {bar['accuracy']:.1%} right"
        low, high = sorted((bar["accuracy"], bar["confidence"]))
        axes.bar(edges, (0, low), "bar", text)
        axes.bar(edges, (low, high), "gap", text)
        axes.line(edges, [bar["accuracy"]] * 2, "--ink")
    axes.line([0, 1], [0, 1], "--quiet", dashed=True)
    axes.legend({"accuracy": "--ink", "gap to confidence": "--two"})
    return axes.svg("Reliability diagram")


def risk_coverage_curve(coverage: Sequence[float], risk: Sequence[float]) -> str:
    """Draw the error of the images kept against their share, both in percent."""
    top = max(1e-3, *(100 * value for value in risk)) * 1.05
    axes = Axes((0, 100), (0, top), "coverage: images kept, most confident first, %", "error, %")
    axes.line([100 * value for value in coverage], [100 * value for value in risk], "--one")
    return axes.svg("Risk-coverage curve")


def histograms(scores: Mapping[str, np.ndarray], x_label: str, bins: int = 40) -> str:
    """Draw the distributions of a score, one line for each name.

    The axis spans 98 % of each distribution; what is further out counts in the last bin.
    """
    low = min(float(np.quantile(values, 0.01)) for values in scores.values())
    high = max(float(np.quantile(values, 0.99)) for values in scores.values())
    high = high if high > low else low + 1
    edges = np.linspace(low, high, bins + 1)
    shares = {
        name: np.histogram(np.clip(values, low, high), edges)[0] / len(values)
        for name, values in scores.items()
    }
    top = max(share.max() for share in shares.values())
    # The legend stands above the highest bin.
    top /= 1 - (len(scores) * _ROW + 8) / (260 - _TOP - _BOTTOM)
    axes = Axes((low, high), (0, 100 * top), x_label, "images, %", height=260)
    colours = dict(zip(scores, _COLOURS * len(scores), strict=False))
    for name, share in shares.items():
        axes.line(np.repeat(edges, 2)[1:-1], np.repeat(100 * share, 2), colours[name])
    axes.legend(colours)
    return axes.svg(f"Histograms of {x_label}")


def heat_map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    strength: np.ndarray,
    form: str,
    title: str,
) -> str:
    """Draw a matrix of coloured cells.

    Args:
        values: (rows, columns), written into the cells where there are 24 rows at most.
        rows: their names.
        columns: their names.
        strength: of the colour of each cell, 0 to 1; cells of 0 stay empty.
        form: how a value is written, such as "{:.1f}".
        title: for who cannot see the picture.
    """
    many = max(values.shape) > 24
    cell = 7 if many else 44
    height = 7 if many else 26
    left = 0 if many else 8 + 7 * max(len(name) for name in rows)
    head = 0 if many else 8 + (16 if cell > 6 * max(map(len, columns)) else 60)
    shapes = []
    for row, column in np.argwhere(strength > 0):
        text = form.format(values[row, column])
        x, y = left + cell * column, head + height * row
        label = escape(f"{rows[row]}, {columns[column]}: {text}")
        shapes.append(
            f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{height - 1}" fill="var(--one)" '
            f'fill-opacity="{strength[row, column]:.2f}"><title>{label}</title></rect>'
        )
        if not many:
            kind = "light" if strength[row, column] > 0.55 else "dark"
            shapes.append(
                f'<text class="{kind}" x="{x + cell / 2}" y="{y + height / 2 + 4}" '
                f'text-anchor="middle">{text}</text>'
            )
    if not many:
        for row, name in enumerate(rows):
            y = head + height * (row + 0.5) + 4
            shapes.append(f'<text x="{left - 6}" y="{y}" text-anchor="end">{escape(name)}</text>')
        for column, name in enumerate(columns):
            x = left + cell * (column + 0.5)
            turn = f' transform="rotate(-40 {x} {head - 6})"' if head > 40 else ""
            anchor = "start" if turn else "middle"
            shapes.append(
                f'<text x="{x}" y="{head - 6}" text-anchor="{anchor}"{turn}>{escape(name)}</text>'
            )
    width = left + cell * len(columns) + (0 if many else 40)
    return svg(width, head + height * len(rows), "".join(shapes), title)
