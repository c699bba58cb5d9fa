"""What the person at the terminal reads at the end: tables, the choice, and where everything is.

Knows metrics, registrations, comparisons and sweeps as plain data; decides nothing.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

_LINE_WIDTH = 110
_MAX_TARGETS = 3  # of a comparison of models


def closing_table(
    metrics: Mapping[str, Any], registration: Mapping[str, Any], *, minutes: float, tracking: list[str]
) -> list[str]:
    """Probe against fine-tuned on test, with intervals, and where everything is."""
    lines = ["", *(_several_scores(metrics) if metrics.get("targets") else _label_scores(metrics))]
    chosen = registration["model"].replace("_", "-")
    lines += ["", f"chosen by val: {chosen}"]
    for reason in registration["reasons"]:
        lines += textwrap.wrap(reason, _LINE_WIDTH, initial_indent="  ", subsequent_indent="    ")
    lines += [
        *tracking,
        "report: data/08_reporting/report.html (figures beside it)",
        f"{minutes:.1f} minutes",
    ]
    return lines


def _label_scores(metrics: Mapping[str, Any]) -> list[str]:
    """A line a metric of one label, and one a baseline."""
    test = metrics["test"]
    lines = [f"{'on test':<20} {'probe':>26} {'fine-tuned':>26}"]
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc", "log_loss"):
        cells = [_interval(test[model][name]) for model in ("probe", "fine_tuned")]
        lines.append(f"{name.replace('_', ' '):<20} {cells[0]:>26} {cells[1]:>26}")
    for name, baseline in metrics["baselines"].items():
        lines.append(f"without a pixel, {name.replace('_', ' ')}: {_interval(baseline['accuracy'])}")
    return lines


def _several_scores(metrics: Mapping[str, Any]) -> list[str]:
    """A line a target by its headline metric, one for all targets together, and one a baseline."""
    from regraft.evaluation.estimate_texts import interval_text, number_text
    from regraft.evaluation.several.scores import JOINT_LOSS
    from regraft.training.target_answers import headline_metric

    names = [headline_metric(target) for target in metrics["targets"]]
    titles = {name: name.replace(".", " ").replace("_", " ") for name in (*names, JOINT_LOSS)}
    width = max(20, *map(len, titles.values()))
    lines = [f"{'on test':<{width}} {'probe':>26} {'fine-tuned':>26}"]
    for name, title in titles.items():
        cells = [interval_text(metrics["test"][model][name], name) for model in ("probe", "fine_tuned")]
        lines.append(f"{title:<{width}} {cells[0]:>26} {cells[1]:>26}")
    for baseline, estimates in metrics["baselines"].items():
        reached = [
            f"{titles[name]} {number_text(estimates[name]['value'], name)}"
            for name in names
            if estimates[name]["value"] is not None
        ]
        told = ", ".join(reached) or str(estimates[names[0]]["reason"])
        lines += textwrap.wrap(f"without a pixel, {baseline}: {told}", _LINE_WIDTH, subsequent_indent="    ")
    return lines


def comparison_lines(comparison: Mapping[str, Any], *, minutes: float, tracking: Sequence[str]) -> list[str]:
    """A line a model, the chosen one first; the sentences; the files."""
    from regraft.comparing.page import finetune_command, verdict
    from regraft.comparing.shown import compared_by, metric_words
    from regraft.evaluation.several.scores import facts_of

    metric, score = comparison["selection_metric"], compared_by(comparison)
    scale, digits, unit = (100.0, 1, "points") if facts_of(score).is_fraction else (1.0, 3, "nats")
    titles = (
        f"{metric.replace('_', '-')}, val",
        f"{metric_words(score)}, test",
        f"difference, {unit}",
        "p",
    )
    widths = (*((14, 24, 24) if unit == "points" else (17, 24, 26)), 7, 8, 8, 6, 9)
    heads = (*titles, "minutes", "weights", "MB", "images/s")
    lines = [
        "",
        f"{'model':<26}" + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)),
    ]
    for row in comparison["models"]:
        estimate, difference = row["test"][row["variant"]][score], row["difference"]
        cells = (
            f"{row['val'][row['variant']][metric]['value']:.3f}",
            _scaled(estimate, 1.0, 3),
            "chosen" if difference is None else _scaled(difference, scale, digits),
            "" if difference is None else f"{difference['adjusted_p_value']:.3f}",
            f"{row['minutes']:.1f}",
            f"{row['num_parameters'] / 1e6:.1f} M",
            f"{row['megabytes']:.0f}",
            f"{row['images_per_second']:.0f}",
        )
        lines.append(
            f"{_starred(row):<26}"
            + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        )
    lines += [
        *_target_lines(comparison),
        "(* fine-tuned, the others are probes; differences are to the chosen model, corrected for their number)",
        "",
    ]
    for row in comparison["models"]:
        lines += _wrapped(f"{row['model']}: {row['outcome']}")
    return [
        *lines,
        *_wrapped(verdict(comparison)),
        "",
        f"to make the chosen model: {finetune_command(comparison)}",
        *tracking,
        "page: data/08_reporting/comparison/comparison.html (table beside it)",
        f"{minutes:.1f} minutes",
    ]


def _target_lines(comparison: Mapping[str, Any]) -> list[str]:
    """A line a model with the headline metrics of the first targets; nothing of one label."""
    from regraft.comparing.shown import metric_words, target_metrics
    from regraft.evaluation.estimate_texts import interval_text

    metrics = target_metrics(comparison)
    shown = metrics[:_MAX_TARGETS]
    if not shown:
        return []
    widths = {metric: max(28, len(metric) + 3) for metric in shown}
    lines = [
        "",
        f"{'on test':<26}" + "".join(f"{metric_words(metric):>{width}}" for metric, width in widths.items()),
    ]
    for row in comparison["models"]:
        test = row["test"][row["variant"]]
        cells = [f"{interval_text(test[metric], metric):>{width}}" for metric, width in widths.items()]
        lines.append(f"{_starred(row):<26}" + "".join(cells))
    if len(metrics) > len(shown):
        lines.append(f"(the first {len(shown)} of {len(metrics)} targets; all are in comparison.csv)")
    return lines


def _starred(row: Mapping[str, Any]) -> str:
    return str(row["model"]) + (" *" if row["variant"] == "fine_tuned" else "")


def sweep_lines(found: Mapping[str, Any], *, tracking: Sequence[str]) -> list[str]:
    """Why the sweep ended, where the best settings are, and how to use them."""
    return [
        found["stopped"],
        "best settings: data/08_reporting/sweep/best_parameters.yml (trials beside it)",
        "to use them: cp data/08_reporting/sweep/best_parameters.yml conf/local/parameters_sweep_best.yml",
        *tracking,
    ]


def _interval(estimate: Mapping[str, Any]) -> str:
    if estimate.get("value") is None:
        return str(estimate.get("reason", "n/a"))
    if estimate.get("low") is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"


def _scaled(estimate: Mapping[str, Any], scale: float, digits: int) -> str:
    value = f"{scale * estimate['value']:.{digits}f}"
    if estimate.get("low") is None:
        return value
    return f"{value} ({scale * estimate['low']:.{digits}f} to {scale * estimate['high']:.{digits}f})"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _LINE_WIDTH, initial_indent="  ", subsequent_indent="    ")
