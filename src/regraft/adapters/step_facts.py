"""What there is to say about an artefact in a few words, once it is safely there.

Knows the artefacts by their catalog names; prints nothing, decides nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any


def _splits(manifest: Any) -> str:
    counts = manifest["split"].value_counts()
    return ", ".join(f"{split} {counts.get(split, 0):,}" for split in ("train", "val", "test"))


def _head(history: Mapping[str, Any]) -> str:
    summary = history["summary"]
    if "targets" in summary:
        return "penalty " + ", ".join(
            f"{found['penalty']:g} for {name}" for name, found in summary["targets"].items()
        )
    if "penalty" in summary:
        return (
            f"penalty {summary['penalty']:g}, gradient {summary['gradient_norm']:.0e} after "
            f"{summary['iterations']} iterations"
        )
    return f"converged, best epoch {summary['best_epoch']}"


def _measured(metrics: Mapping[str, Any]) -> str:
    test = metrics["test"]
    if metrics.get("targets"):
        from regraft.evaluation.estimate_texts import number_text
        from regraft.training.target_answers import headline_metric

        names = [headline_metric(target) for target in metrics["targets"]]
        return "test, probe -> fine-tuned: " + ", ".join(
            f"{name.partition('.')[0]} "
            + " -> ".join(number_text(test[model][name]["value"], name) for model in ("probe", "fine_tuned"))
            for name in names
        )
    return "test accuracy " + ", ".join(
        f"{model.replace('_', '-')} {test[model]['accuracy']['value']:.3f}"
        for model in ("probe", "fine_tuned")
    )


def _fine_tuning(history: Mapping[str, Any]) -> str:
    rows, found = history["rows"], history["val"]
    counting = sorted((row for row in history["search"] if row["weight"]), key=lambda row: -row["weight"])
    if len(counting) > 1:
        model = "mean of " + ", ".join(f"{row['candidate']} ({row['weight']:.0%})" for row in counting[:2])
        model += f" and {len(counting) - 2} more" if counting[2:] else ""
    else:
        model = "".join(f"{row['candidate']} chosen; " for row in counting)
        model += f"best epoch {history['best_epoch']} of {len(rows) - 1}"
    told = f"{model}; val log-loss {rows[0]['val_log_loss']:.3f} -> {found['val_log_loss']:.3f}"
    if "val_accuracy" in found:
        return f"{told}, accuracy {rows[0]['val_accuracy']:.3f} -> {found['val_accuracy']:.3f}"
    of_targets = [key for key in found if key.startswith("val_") and "." in key]
    changes = (
        f"{key.removeprefix('val_').partition('.')[0]} {rows[0][key]:.3g} -> {found[key]:.3g}"
        for key in of_targets
    )
    return ", ".join([told, *changes])


def _swept(found: Mapping[str, Any]) -> str:
    best, key = next(row for row in found["trials"] if row["is_best"]), f"val_{found['objective']}"
    return (
        f"{len(found['trials'])} settings tried; best: {key.replace('_', ' ')} {best[key]:.4f} with learning rate "
        f"{best['learning_rate']:.2g}"
    )


FACTS: dict[str, Callable[[Any], str]] = {
    "image_index": lambda index: f"{len(index):,} images",
    "ingest_report": lambda report: (
        f"{report['num_unreadable']:,} more could not be read" if report["num_unreadable"] else ""
    ),
    "manifest": _splits,
    "data_card": lambda card: f"{len(card['notes'])} notes on the data",
    "preprocessing": lambda contract: (
        f"{contract['size']} px, {contract['fit']}, {contract['interpolation']}"
    ),
    "backbone": lambda backbone: (
        f"{backbone.spec.name}, {sum(p.numel() for p in backbone.parameters()) / 1e6:.1f} M weights"
    ),
    "features": lambda blocks: f"{blocks.shape[1]:,} features of every stage",
    "depth_scores": lambda scores: (
        f"best by {scores['metric'].replace('_', '-')}: {scores['choice']['last']['stage']} alone, "
        f"{scores['choice']['concat']['stage']} with all before it"
    ),
    "head_stages": lambda chosen: f"cut after {chosen['stages'][-1]}" if chosen["reason"] else "",
    "prediction_run": lambda run: (
        f"{run['num_predicted']:,} files predicted, {run['num_refused']:,} refused; see file_predictions.csv"
        + (" and refused_files.csv" if run["num_refused"] else "")
    ),
    "head_history": _head,
    "balance": lambda choice: "" if choice["chosen"] == "none" else f"balance {choice['chosen']}",
    "fine_tune_history": _fine_tuning,
    "metrics": _measured,
    "compared_probes": lambda probes: f"{len(probes)} backbones probed",
    "compared_fine_tuned": lambda tuned: f"{len(tuned)} fine-tuned",
    "comparison": lambda comparison: f"{comparison['chosen']['model']} chosen on val",
    "label_audit": lambda audit: (
        f"{audit['num_issues']:,} of {audit['num_images']:,} labels may be wrong; see label_audit.html"
    ),
    "sweep_trials": _swept,
    "registration": lambda registration: f"{registration['model'].replace('_', '-')} chosen",
}
