"""Nodes of the step `predict`: a model's labels, or its answers to several targets, for files without any.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compute import ComputeOptions
from regraft.options.predict import PredictOptions


def predict_files(
    registered_classifiers: Any,
    options: PredictOptions,
    backbone: BuildBackboneOptions,
    compute: ComputeOptions,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The likeliest labels of every file, or answers to several targets; the files refused; how many of both."""
    from pathlib import Path

    from regraft.classifier import load_classifier
    from regraft.classifier.pretrained import load_pretrained
    from regraft.evaluation.predict_files import predict_files, predict_targets_of_files
    from regraft.images.unlabelled import list_unlabelled
    from regraft.training.reproducibility import reproducible

    options.require_external()
    assert options.images is not None, "require_external has refused it"
    resolved = compute.resolve()
    paths = list_unlabelled(options.images, path_column=options.path_column)
    model: Any
    if options.is_pretrained:
        model = load_pretrained(backbone.spec, backbone.weights, device=resolved.device)
    else:
        if options.is_registered:
            classifier = registered_classifiers.fetch(options.model)
        else:
            classifier = load_classifier(Path(options.model))
        model = classifier.for_inference().to(resolved.device)
    is_of_several = not options.is_pretrained and model.target.kind == "several"
    batches = {
        "batch_size": resolved.images_a_pass(options.batch_size, size=model.preprocessing.size),
        "num_workers": compute.worker_count,
    }
    with reproducible(resolved):
        if is_of_several:
            predicted, refused = predict_targets_of_files(model, paths, **batches)
        else:
            predicted, refused = predict_files(model, paths, top=options.top, **batches)
    return predicted, refused, {"num_predicted": len(predicted), "num_refused": len(refused)}
