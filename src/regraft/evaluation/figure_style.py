"""How every figure looks: colours, fonts, sizes, number formats, and the bytes of its PNG.

Knows matplotlib's figures without pyplot and without changing its settings for others: no metric, no
prediction.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe & Ito's palette, told apart with every kind of colour vision; the marker says the same without colour.
MODEL_COLOURS = {"probe": "#0072B2", "fine_tuned": "#D55E00"}
MODEL_MARKERS = {"probe": "o", "fine_tuned": "D"}
BASELINE_COLOUR = "#5f6670"
GUIDE_COLOUR = "#a9afb8"
TEXT_COLOUR = "#23272e"

_SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same letters on every machine
    "font.size": 9.5,
    "text.parse_math": False,  # a label name may hold a dollar sign
    "text.color": TEXT_COLOUR,
    "axes.labelcolor": TEXT_COLOUR,
    "axes.edgecolor": "#8b929c",
    "axes.linewidth": 0.8,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e7eb",
    "grid.linewidth": 0.8,
    "xtick.color": TEXT_COLOUR,
    "ytick.color": TEXT_COLOUR,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.dpi": 150.0,
    "savefig.dpi": "figure",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Within it new figures get the house's look, whatever the machine's own; then all is as before."""
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that lays itself out; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG: the same bytes for the same figure, for no version or time is written into it."""
    buffer = BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def clip_name(name: str, length: int) -> str:
    """The name, or its beginning and an ellipsis."""
    return name if len(name) <= length else name[: length - 1] + "…"


def percent(value: float, digits: int = 1) -> str:
    """A fraction as people write it: 0.873 is 87.3 %."""
    return f"{100 * value:.{digits}f} %"


def short_number(value: float) -> str:
    """A number in four digits, or in as many as it has before the point: 34.59, 12,346."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def show_percent(axes: Axes, *, x: bool, y: bool) -> None:
    """Let axes of fractions read as percent."""
    for axis in [axes.xaxis] * x + [axes.yaxis] * y:
        axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
