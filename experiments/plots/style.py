"""What all pictures share: colours, sizes, and how they become files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from twin.files import write_bytes

__all__ = ["COLOURS", "MUTED", "colours", "figure_png", "figure_svg", "label", "new_figure", "save_figure", "scaled"]

#: Okabe & Ito (2008): distinguishable with every common form of colour blindness.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
#: For what is only there to compare with.
MUTED = "#767676"
_DOTS_PER_INCH = 110


def colours() -> Iterator[str]:
    """The colours in their order, again and again."""
    return itertools.cycle(COLOURS)


def new_figure(width: float, height: float) -> Figure:
    """A figure of so many inches that belongs to nobody: no window, no global state."""
    return Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained")


def figure_png(figure: Figure) -> bytes:
    """A figure as PNG."""
    buffer = BytesIO()
    _settle(figure)
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def figure_svg(figure: Figure, name: str) -> bytes:
    """A figure as SVG, the same bytes every time; ``name`` keeps the identifiers of two pictures apart."""
    buffer = BytesIO()
    _settle(figure)
    with rc_context({"svg.hashsalt": name}):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Lay out once and for all: drawing again, for another file, would move things by a hair."""
    if figure.get_layout_engine() is not None:
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``<name>.png`` and ``<name>.svg``, each whole or not at all."""
    files = {folder / f"{name}.png": figure_png(figure), folder / f"{name}.svg": figure_svg(figure, name)}
    for path, data in files.items():
        write_bytes(path, data)
    return list(files)


def label(name: str) -> str:
    """A name for people."""
    return name.replace("_", " ")


def scaled(most: float) -> tuple[float, str]:
    """A factor and its name, so that an axis up to ``most`` has short numbers."""
    for size, word in ((1e9, "billion "), (1e6, "million "), (1e4, "thousand ")):
        if abs(most) >= size:
            return (1e-3 if size == 1e4 else 1.0 / size), word
    return 1.0, ""


def tidy(axis: Any) -> None:
    """A light grid, and no frame where it says nothing."""
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
