"""All that a comparison of models finds, in one JSON-serialisable dict: what table, page and tracker read.

Knows tried models and the manifest: no network, no file, no figure. The choice is made on val; test is read once, here,
after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from regraft.comparing.tried import Tried, total_seconds
from regraft.evaluation.intervals import Bootstrap, bootstrap_models
from regraft.evaluation.metrics import METRICS
from regraft.messages import about_model, report_metrics, report_tags
from regraft.registry.paired import compare_paired

_SPLITS = ("val", "test")
_COSTS: Final[dict[str, Literal["seconds", "cpu_seconds"]]] = {
    "minutes": "seconds",
    "cpu_minutes": "cpu_seconds",
}
Names = Sequence[str | None]


def compare_models(
    tried: Sequence[Tried],
    manifest: pd.DataFrame,
    column: str,
    *,
    outcomes: Mapping[str, str],
    selection_metric: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Choose on val, then measure everything on test.

    Args:
        tried: A probe a candidate, and its fine-tuned model where there is one.
        manifest: The images.
        column: Of label numbers.
        outcomes: A sentence a candidate: fine-tuned, or why not.
        selection_metric: `log_loss` or `accuracy`, on val: of each candidate the better variant stands for it, and
            the best of these is chosen; of equals the probe, then the faster.
        bootstrap: Of intervals and tests.

    Returns:
        JSON-serialisable: `chosen` (model and variant), `models` (a row a candidate, the chosen first, the others by
        their val score), `selection_metric`, `confidence`, `num_comparisons`, `minutes` and
            `cpu_minutes` of all together, `num_images`, `resampling`.
    """
    splits = {split: manifest[manifest["split"] == split] for split in _SPLITS}
    groups = {split: held_out_groups(manifest, split) for split in _SPLITS}
    measured = {split: _measure(tried, splits[split], column, groups[split], bootstrap) for split in _SPLITS}
    sign = 1 if METRICS[selection_metric].higher_is_better else -1

    def val_score(one: Tried) -> tuple[float, bool, float]:
        value = measured["val"][one.label, one.variant][selection_metric]["value"]
        return -sign * value, one.variant == "fine_tuned", -_facts_of(tried, one.label)["images_per_second"]

    labels = list(dict.fromkeys(one.label for one in tried))
    worthy = [
        one for one in tried if one.facts.get("best_epoch") != 0
    ]  # epoch 0 is the probe, but for rounding
    best_of = {label: min((one for one in worthy if one.label == label), key=val_score) for label in labels}
    ordered = sorted(best_of.values(), key=val_score)
    chosen = ordered[0]
    num_comparisons = len(ordered) - 1
    differences = _differences(ordered, splits["test"], column, groups["test"], bootstrap)
    return {
        "chosen": {"model": chosen.label, "variant": chosen.variant},
        "selection_metric": selection_metric,
        "confidence": bootstrap.confidence,
        "num_comparisons": num_comparisons,
        **{key: total_seconds(tried, clock) / 60 for key, clock in _COSTS.items()},
        "num_images": {split: len(rows) for split, rows in splits.items()},
        "resampling": {split: "image" if groups[split] is None else "group" for split in _SPLITS},
        "models": [
            _row(one, tried, measured, outcomes[one.label], differences.get(one.label)) for one in ordered
        ],
    }


def plain_table(comparison: Mapping[str, Any]) -> pd.DataFrame:
    """A row a candidate, a column a value: for a spreadsheet."""
    metric = comparison["selection_metric"]
    return pd.DataFrame(
        [
            {
                "model": row["model"],
                "variant": row["variant"],
                f"val_{metric}": row["val"][row["variant"]][metric]["value"],
                **{
                    f"test_{name}{suffix}": row["test"][row["variant"]][name][key]
                    for name in ("accuracy", "log_loss")
                    for suffix, key in (("", "value"), ("_low", "low"), ("_high", "high"))
                },
                **{
                    f"difference_{key}": None if row["difference"] is None else row["difference"][key]
                    for key in ("value", "low", "high", "p_value", "adjusted_p_value", "is_clear")
                },
                **{
                    key: row[key]
                    for key in ("minutes", "cpu_minutes", "num_parameters", "megabytes", "images_per_second")
                },
                "backbone": row["backbone"],
                "weights": row["weights"],
                "cut": row["cut"],
                "size": row["size"],
                "outcome": row["outcome"],
            }
            for row in comparison["models"]
        ]
    )


def flat_metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """One candidate's numbers by the names that the main job's runs have (`test/accuracy`, `val/probe/log_loss/low`),
    and what it costs."""
    found: dict[str, float] = {}
    for split in _SPLITS:
        for variant, metrics in row[split].items():
            for metric, estimate in metrics.items():
                numbers = {
                    f"{split}/{variant}/{metric}{suffix}": estimate[key]
                    for suffix, key in (("", "value"), ("/low", "low"), ("/high", "high"))
                }
                found |= {name: value for name, value in numbers.items() if value is not None}
                if variant == row["variant"] and estimate["value"] is not None:
                    found[f"{split}/{metric}"] = estimate["value"]
    costs = ("minutes", "cpu_minutes", "num_parameters", "megabytes", "images_per_second")
    return found | {name: float(row[name]) for name in costs}


def report_models(comparison: Mapping[str, Any]) -> None:
    """Tell each candidate's numbers as those of a model of its own, and the chosen one's as the run's."""
    for row in comparison["models"]:
        with about_model(row["model"]):
            report_tags({"variant": row["variant"], "outcome": row["outcome"]})
            report_metrics(flat_metrics(row), step=0)
    chosen = comparison["models"][0]
    report_tags({"chosen": chosen["model"], "variant": chosen["variant"]})
    report_metrics(flat_metrics(chosen), step=0)


def held_out_groups(manifest: pd.DataFrame, split: str) -> Names | None:
    """Group names of a split's images if there are two or more and no other split has any of them, else None."""
    is_in = manifest["split"] == split
    inside = [_name(value) for value in manifest.loc[is_in, "group"]]
    named = set(inside) - {None}
    elsewhere = {_name(value) for value in manifest.loc[~is_in, "group"]}
    return inside if len(named) > 1 and not named & elsewhere else None


def _name(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _measure(
    tried: Sequence[Tried],
    images: pd.DataFrame,
    column: str,
    groups: Names | None,
    bootstrap: Bootstrap,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Estimates of every metric by label and variant, all on the same resamples."""
    labels, split = images[column].to_numpy(np.int64), images["split"].iloc[0]
    models = {f"{index}": one.probabilities[split] for index, one in enumerate(tried)}
    estimates, _ = bootstrap_models(models, labels, bootstrap=bootstrap, groups=groups)
    return {
        (one.label, one.variant): {name: found.as_dict() for name, found in estimates[f"{index}"].items()}
        for index, one in enumerate(tried)
    }


def _differences(
    ordered: Sequence[Tried], images: pd.DataFrame, column: str, groups: Names | None, bootstrap: Bootstrap
) -> dict[str, dict[str, Any]]:
    """Each other model's test accuracy less that of the chosen one, corrected for the number of comparisons.

    Intervals are at confidence 1 − (1 − c) / m, m comparisons (Bonferroni); p-values of the sign-flip test are
    adjusted by Holm's method. A difference is clear where both say so.

    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6.
    """
    chosen, *others = ordered
    labels = images[column].to_numpy(np.int64)
    is_right = {one.label: one.probabilities["test"].argmax(axis=1) == labels for one in ordered}
    found = {
        one.label: compare_paired(
            is_right[one.label],
            is_right[chosen.label],
            groups=groups,
            num_resamples=bootstrap.num_resamples,
            confidence=1 - (1 - bootstrap.confidence) / len(others),
            seed=bootstrap.seed,
        )
        for one in others
    }
    adjusted = holm({label: result.p_value for label, result in found.items()})
    return {
        label: {
            "value": result.difference,
            "low": result.low,
            "high": result.high,
            "p_value": result.p_value,
            "adjusted_p_value": adjusted[label],
            "is_clear": bool(
                (result.low > 0 or result.high < 0) and adjusted[label] < 1 - bootstrap.confidence
            ),
            "num_only_right": result.num_candidate_only_right,
            "num_only_chosen_right": result.num_champion_only_right,
        }
        for label, result in found.items()
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values: the smallest times their number, the next times one less, never falling, at most 1."""
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, value) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, value * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def _facts_of(tried: Sequence[Tried], label: str) -> Mapping[str, Any]:
    """Those of the candidate's probe, which every candidate has."""
    return next(one.facts for one in tried if one.label == label and one.variant == "probe")


def _row(
    best: Tried,
    tried: Sequence[Tried],
    measured: Mapping[str, Mapping[tuple[str, str], dict[str, Any]]],
    outcome: str,
    difference: dict[str, Any] | None,
) -> dict[str, Any]:
    facts = _facts_of(tried, best.label)
    variants = [one for one in tried if one.label == best.label]
    return {
        "model": best.label,
        "variant": best.variant,
        **{key: facts[key] for key in ("backbone", "weights", "cut", "parameters", "size")},
        **{
            split: {one.variant: measured[split][one.label, one.variant] for one in variants}
            for split in _SPLITS
        },
        "difference": difference,
        "costs": {
            one.variant: {key: one.facts[fact] / 60 for key, fact in _COSTS.items()} for one in variants
        },
        "minutes": sum(one.facts["seconds"] for one in variants) / 60,
        "cpu_minutes": sum(one.facts["cpu_seconds"] for one in variants) / 60,
        "num_parameters": facts["num_parameters"],
        "megabytes": facts["num_bytes"] / 1e6,
        "images_per_second": facts["images_per_second"],
        "outcome": outcome,
    }
