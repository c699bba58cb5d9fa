"""All that a comparison of models finds, in one JSON-serialisable dict: what table, page and tracker read.

Knows tried models and the manifest: no network, no file, no figure. The choice is made on val; test is read once, here,
after it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import pandas as pd

from regraft.comparing.differences import differences_to_first
from regraft.comparing.shown import table_metrics
from regraft.comparing.task import Judge, Task
from regraft.comparing.tried import Tried, total_seconds
from regraft.evaluation.intervals import Bootstrap, bootstrap_measured
from regraft.evaluation.several.scores import facts_of
from regraft.messages import about_model, report_metrics, report_tags

_SPLITS = ("val", "test")
_COSTS: Final[dict[str, Literal["seconds", "cpu_seconds"]]] = {
    "minutes": "seconds",
    "cpu_minutes": "cpu_seconds",
}
Names = Sequence[str | None]


def compare_models(
    tried: Sequence[Tried],
    manifest: pd.DataFrame,
    task: Task,
    *,
    outcomes: Mapping[str, str],
    selection_metric: str,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Choose on val, then measure everything on test.

    Args:
        tried: A probe a candidate, and its fine-tuned model where there is one.
        manifest: The images.
        task: What is learnt; its judge measures and tells apart.
        outcomes: A sentence a candidate: fine-tuned, or why not.
        selection_metric: `log_loss` or `accuracy`, on val: of each candidate the better variant stands for it, and
            the best of these is chosen; of equals the probe, then the faster. Several targets go by `joint_loss`
            whatever it says.
        bootstrap: Of intervals and tests.

    Returns:
        JSON-serialisable: `chosen` (model and variant), `models` (a row a candidate, the chosen first, the others by
        their val score), `selection_metric`, `confidence`, `num_comparisons`, `minutes` and
            `cpu_minutes` of all together, `num_images`, `resampling`. Of several targets also `targets` and
            `loss_units`, by target of numbers or points the squared error that costs half a nat, of all models.
    """
    judge = task.judge([one for one in tried if one.variant == "probe"], manifest)
    metric = judge.selection_metric(selection_metric)
    splits = {split: manifest[manifest["split"] == split] for split in _SPLITS}
    groups = {split: held_out_groups(manifest, split) for split in _SPLITS}
    measured = {split: _measure(tried, splits[split], judge, groups[split], bootstrap) for split in _SPLITS}
    sign = 1 if facts_of(metric).higher_is_better else -1

    def val_score(one: Tried) -> tuple[float, bool, float]:
        value = measured["val"][one.label, one.variant][metric]["value"]
        return -sign * value, one.variant == "fine_tuned", -_facts_of(tried, one.label)["images_per_second"]

    labels = list(dict.fromkeys(one.label for one in tried))
    worthy = [
        one for one in tried if one.facts.get("best_epoch") != 0
    ]  # epoch 0 is the probe, but for rounding
    best_of = {label: min((one for one in worthy if one.label == label), key=val_score) for label in labels}
    ordered = sorted(best_of.values(), key=val_score)
    chosen = ordered[0]
    num_comparisons = len(ordered) - 1
    differences = differences_to_first(ordered, splits["test"], judge, groups["test"], bootstrap)
    return {
        "chosen": {"model": chosen.label, "variant": chosen.variant},
        "selection_metric": metric,
        **judge.facts(),
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
                    for name in table_metrics(comparison)
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
    judge: Judge,
    groups: Names | None,
    bootstrap: Bootstrap,
) -> dict[tuple[str, str], dict[str, Any]]:
    """Estimates of every metric by label and variant, all on the same resamples."""
    split = images["split"].iloc[0]
    models = {f"{index}": judge.measured(one.probabilities[split], images) for index, one in enumerate(tried)}
    estimates, _ = bootstrap_measured(models, len(images), bootstrap=bootstrap, groups=groups)
    return {
        (one.label, one.variant): {name: found.as_dict() for name, found in estimates[f"{index}"].items()}
        for index, one in enumerate(tried)
    }


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
