"""The figure of how training went, for the head and for fine-tuning.

Knows histories as rows of numbers: no model, no metric.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from regraft.evaluation.figure_style import (
    BASELINE_COLOUR,
    GUIDE_COLOUR,
    MODEL_COLOURS,
    new_figure,
    show_percent,
)

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito's

History = Sequence[Mapping[str, Any]]


def training_figure(head_history: History, fine_tune_history: History) -> Figure:
    """Four panels: log-loss of the head; log-loss, accuracy on val and learning rate of fine-tuning.

    Args:
        head_history: A row a penalty (`penalty`, `cv_log_loss`, where it was cross-validated) or an epoch
            (`epoch`, `train_loss`, `val_log_loss`).
        fine_tune_history: A row an epoch: `epoch`, `train_loss`, `val_log_loss`, `val_calibrated_log_loss`,
            `val_accuracy`, `learning_rate`; what epoch 0, the probe, has not is absent or None.

    Of several targets the head's rows also have a `target` and may have `cv_error` instead of `cv_log_loss`; the rows
    of an epoch have `val_<target>.accuracy` or the like instead of `val_accuracy`. Then there is a line a target.
    """
    figure = new_figure(9.6, 6.0)
    (head, loss), (accuracy, rate) = figure.subplots(2, 2)
    _draw_head(head, head_history)
    colour = MODEL_COLOURS["fine_tuned"]
    train_style = {"color": BASELINE_COLOUR, "marker": "s"}
    _draw(loss, fine_tune_history, "epoch", "train_loss", {**train_style, "label": "train"})
    _draw(loss, fine_tune_history, "epoch", "val_log_loss", {"color": colour, "marker": "D", "label": "val"})
    calibrated = {"color": colour, "marker": "d", "linestyle": "--", "label": "val, calibrated"}
    _draw(loss, fine_tune_history, "epoch", "val_calibrated_log_loss", calibrated)
    _mark_lowest(loss, fine_tune_history, "epoch", "val_calibrated_log_loss")
    _draw_success(accuracy, fine_tune_history)
    _draw(rate, fine_tune_history, "epoch", "learning_rate", train_style)
    loss.set_title("Fine-tuning: log loss")
    rate.set_title("Fine-tuning: learning rate")
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch (0: the probe)")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlim(-0.4, max([1, *(row["epoch"] for row in fine_tune_history)]) + 0.4)
    loss.set_ylabel("nats")
    rate.set_ylim(bottom=0)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3), useMathText=False)
    if loss.get_legend_handles_labels()[0]:
        loss.legend()
    return figure


def _draw_head(axes: Axes, history: History) -> None:
    """Log-loss over the penalties that were tried, or over the epochs; a sentence where there is neither."""
    colour = MODEL_COLOURS["probe"]
    if any("target" in row for row in history):
        _draw_head_by_target(axes, history)
    elif any(row.get("cv_log_loss") is not None for row in history):
        _draw(
            axes,
            history,
            "penalty",
            "cv_log_loss",
            {"color": colour, "marker": "o", "label": "cross-validated"},
        )
        _mark_lowest(axes, history, "penalty", "cv_log_loss")
        _show_penalties(axes)
        axes.set(xlabel="L2 penalty", ylabel="nats", title="Head: log loss by penalty")
        axes.legend()
    elif any(row.get("val_log_loss") is not None for row in history):
        _draw(
            axes, history, "epoch", "train_loss", {"color": BASELINE_COLOUR, "marker": "", "label": "train"}
        )
        _draw(axes, history, "epoch", "val_log_loss", {"color": colour, "marker": "", "label": "val"})
        _mark_lowest(axes, history, "epoch", "val_log_loss")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set(xlabel="epoch", ylabel="nats", title="Head: log loss")
        axes.legend()
    else:
        axes.set_title("Head: log loss")
        axes.text(0.5, 0.5, "solved in one go", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()


def _draw_head_by_target(axes: Axes, history: History) -> None:
    """A line a target over the penalties: what it costs, log-loss or error, over the least of its own."""
    for name, style in _styles(list(dict.fromkeys(row["target"] for row in history))):
        rows = [row for row in history if row["target"] == name]
        costs = [row.get("cv_log_loss", row.get("cv_error")) for row in rows]
        least = min((cost for cost in costs if cost is not None), default=0)
        relative = [
            {"penalty": row["penalty"], "cost": cost / least}
            for row, cost in zip(rows, costs, strict=True)
            if cost is not None and least > 0
        ]
        _draw(axes, relative, "penalty", "cost", {**style, "label": name})
    _show_penalties(axes)
    axes.set(
        xlabel="L2 penalty", ylabel="relative to its best", title="Head: cross-validated error by penalty"
    )
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _show_penalties(axes: Axes) -> None:
    """Powers of ten alone: matplotlib would write others as formulas, which the house style does not read."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw_success(axes: Axes, history: History) -> None:
    """Accuracy on val; of several targets a line each, its error over that of epoch 0."""
    names = [key for key in history[0] if key.startswith("val_") and "." in key] if history else []
    if not names:
        style = {"color": MODEL_COLOURS["fine_tuned"], "marker": "D"}
        _draw(axes, history, "epoch", "val_accuracy", style)
        axes.set_title("Fine-tuning: accuracy on val")
        show_percent(axes, x=False, y=True)
        return
    for key, style in _styles(names):
        name, _, metric = key.removeprefix("val_").partition(".")
        rows = [row for row in history if row.get(key) is not None]
        errors = [1 - row[key] if metric == "accuracy" else row[key] for row in rows]
        relative = [
            {"epoch": row["epoch"], "error": error / errors[0]}
            for row, error in zip(rows, errors, strict=True)
            if errors[0] > 0
        ]
        _draw(axes, relative, "epoch", "error", {**style, "label": name})
    axes.axhline(1, color=GUIDE_COLOUR, linewidth=1.2)
    axes.set(title="Fine-tuning: errors on val", ylabel="relative to the probe's")
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def _styles(names: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The first names, each with the look of its line."""
    looks = [{"color": colour, "marker": marker} for colour, marker in zip(_COLOURS, "oDs^v<>", strict=True)]
    return list(zip(names, looks, strict=False))


def _draw(axes: Axes, history: History, x: str, y: str, style: Mapping[str, Any]) -> None:
    """A line through the rows that have both numbers."""
    rows = [row for row in history if row.get(x) is not None and row.get(y) is not None]
    if rows:
        axes.plot([row[x] for row in rows], [row[y] for row in rows], linewidth=1.6, markersize=4.5, **style)


def _mark_lowest(axes: Axes, history: History, x: str, y: str) -> None:
    """A ring around the lowest point, the first of equals."""
    rows = [row for row in history if row.get(x) is not None and row.get(y) is not None]
    if rows:
        best = min(rows, key=lambda row: row[y])
        ring: dict[str, Any] = {"marker": "o", "markersize": 12, "markerfacecolor": "none"}
        axes.plot(
            best[x], best[y], linestyle="none", color="black", markeredgewidth=1.4, label="lowest", **ring
        )
