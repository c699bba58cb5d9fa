"""The picture of a sweep: what each setting has to do with the objective.

Knows the rows of `sweep`: no model, no file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from regraft.evaluation.figure_style import BASELINE_COLOUR, MODEL_COLOURS, house_style, new_figure
from regraft.evaluation.metrics import METRICS

_RANGES = {"learning_rate": "learning rate", "weight_decay": "weight decay"}
_CHOICES = {"head": "head", "views": "views in training"}


def sweep_figure(found: Mapping[str, Any]) -> Figure:
    """A panel a setting: each trial a dot; the present setting a hollow square, the best a star."""
    metric, trials = found["objective"], found["trials"]
    with house_style():
        figure = new_figure(10.4, 3.6)
        panels = figure.subplots(1, 4, sharey=True, width_ratios=[1.3, 1.3, 0.8, 1])
        for axes, (name, title) in zip(panels, {**_RANGES, **_CHOICES}.items(), strict=True):
            if name in _RANGES:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
                places: Sequence[float] = [row[name] for row in trials]
            else:
                kinds = sorted({row[name] for row in trials})
                places = [float(kinds.index(row[name])) for row in trials]
                axes.set_xticks(range(len(kinds)), kinds)
                axes.set_xlim(-0.6, len(kinds) - 0.4)
            _draw(axes, places, trials, f"val_{metric}")
            axes.set_xlabel(title)
        panels[0].set_ylabel(f"{METRICS[metric].title} on val")
        panels[0].set_title(
            f"{len(trials)} settings tried, {'higher' if METRICS[metric].higher_is_better else 'lower'} is better"
        )
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def _draw(axes: Axes, places: Sequence[float], trials: Sequence[Mapping[str, Any]], key: str) -> None:
    rows = list(zip(places, trials, strict=True))
    plain = [(place, row[key]) for place, row in rows if not row["is_best"] and not row["is_present"]]
    styles: dict[str, dict[str, Any]] = {
        "is_present": {
            "marker": "s",
            "color": BASELINE_COLOUR,
            "markerfacecolor": "white",
            "label": "as set now",
        },
        "is_best": {"marker": "*", "color": MODEL_COLOURS["fine_tuned"], "markersize": 12, "label": "best"},
    }
    if plain:
        axes.plot(*zip(*plain, strict=True), "o", color=MODEL_COLOURS["probe"], alpha=0.75, label="trial")
    for role, style in styles.items():
        for place, row in rows:
            if row[role]:
                axes.plot(place, row[key], linestyle="none", **style)
