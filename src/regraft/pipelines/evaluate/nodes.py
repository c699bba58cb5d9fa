"""Nodes of the step `evaluate`: probe and fine-tuned model on images neither has seen.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.evaluate import EvaluateOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions


def predict_images(
    backbone: Any,
    head: Any,
    classifier: Any,
    pixels: Any,
    manifest: pd.DataFrame,
    targets: list[dict[str, Any]],
    options: EvaluateOptions,
    compute: ComputeOptions,
) -> pd.DataFrame:
    """What both models say of every image of val and test."""
    from regraft.classifier import assemble
    from regraft.evaluation.predict import predict_images
    from regraft.training.reproducibility import reproducible

    probe = assemble(backbone, head, classifier.preprocessing, views=classifier.views)
    resolved = compute.resolve()
    with reproducible(resolved):
        return predict_images(
            {"probe": probe, "fine_tuned": classifier},
            pixels,
            manifest,
            batch_size=resolved.images_a_pass(options.batch_size, size=classifier.preprocessing.size),
            compute=resolved,
            targets=targets,
        )


def measure_models(
    predictions: pd.DataFrame,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    options: EvaluateOptions,
) -> dict[str, Any]:
    """Every metric with its interval, beside what is reached without a pixel."""
    from regraft.evaluation.intervals import Bootstrap
    from regraft.evaluation.measure import measure
    from regraft.evaluation.several.measure import measure_several

    (names,) = label_names.values()
    if targets:
        bootstrap = Bootstrap(options.num_resamples, options.confidence, options.seed)
        return measure_several(predictions, manifest, targets, names, bootstrap=bootstrap)
    return measure(
        predictions,
        manifest,
        names,
        num_resamples=options.num_resamples,
        confidence=options.confidence,
        seed=options.seed,
    )


def compare_split_kinds(
    features: Any,
    backbone: dict[str, Any],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    options: EvaluateOptions,
) -> dict[str, Any]:
    """What a probe on the means at the cut scores if images are split at random, and if groups are held out.

    On the means alone, which stand first whatever else is pooled: two splits of five folds must stay cheap.
    """
    import numpy as np

    from regraft.evaluation.intervals import Bootstrap
    from regraft.evaluation.split_kinds import compare_split_kinds, nothing_compared
    from regraft.training.feature_columns import stage_columns

    if targets:
        return nothing_compared("it is measured for one label only")
    (names,) = label_names.values()
    start = stage_columns(backbone["feature_dims"])[backbone["cut"]].start
    num_means = backbone["num_channels"][backbone["cut"]]
    return compare_split_kinds(
        np.asarray(features[:, start : start + num_means]),
        manifest,
        names,
        bootstrap=Bootstrap(options.num_resamples, options.confidence, options.seed),
    )


def list_scores(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores alone, a table a model and split, for `dvc metrics`."""
    from regraft.evaluation.measure import plain_scores

    return plain_scores(metrics)


def draw_report(
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    split_kinds: dict[str, Any],
    head_history: dict[str, Any],
    fine_tune_history: dict[str, Any],
    balance: dict[str, Any],
    pixels: Any,
    manifest: pd.DataFrame,
    data_card: dict[str, Any],
    ingest_report: dict[str, Any],
    ingest: IngestOptions,
    normalize: NormalizeOptions,
    build_backbone: BuildBackboneOptions,
    train_head: TrainHeadOptions,
    fine_tune: FineTuneOptions,
) -> tuple[Any, Any, Any, Any, Any, Any, str]:
    """The figures one by one, and the page that holds them all."""
    from regraft.evaluation.contact_sheet import contact_sheet
    from regraft.evaluation.figures import make_figures
    from regraft.evaluation.report import render_report

    figures = make_figures(
        predictions,
        metrics,
        head_history=head_history["rows"],
        fine_tune_history=fine_tune_history["rows"],
        pixels=pixels,
    )
    options = {
        "ingest": ingest,
        "normalize": normalize,
        "build_backbone": build_backbone,
        "train_head": train_head,
        "fine_tune": fine_tune,
    }
    report = render_report(
        metrics,
        figures,
        title=build_backbone.name,
        split_kinds=split_kinds,
        balance=balance,
        fine_tune_history=fine_tune_history,
        data_card=data_card,
        contact_sheet=contact_sheet(manifest, metrics["label_names"], pixels),
        ingest_report=ingest_report,
        settings={name: value.model_dump(mode="json") for name, value in options.items()},
    )
    scores, confusion_matrix, classes, calibration, training, mistakes = figures.values()
    return scores, confusion_matrix, classes, calibration, training, mistakes, report
