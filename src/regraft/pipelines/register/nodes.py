"""Nodes of the step `register`: choose, decide, describe, hand over.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from dataclasses import asdict
from typing import Any

import pandas as pd

from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.register import RegisterOptions
from regraft.options.train_head import TrainHeadOptions

_LOADING = """\
from pathlib import Path

from regraft.classifier import load_classifier

classifier = load_classifier(Path("classifier.safetensors"))
print(classifier.label_names, classifier.predict_images([Path("image.png")]))
"""
_LOADING_SEVERAL = """\
from pathlib import Path

from regraft.classifier import load_classifier
from regraft.classifier.said import said_of

classifier = load_classifier(Path("classifier.safetensors"))
for answers in classifier.predict_images([Path("image.png")]):
    print(said_of(classifier.target, answers))
"""


def decide_promotion(
    predictions: pd.DataFrame, metrics: dict[str, Any], champion_predictions: Any, options: RegisterOptions
) -> dict[str, Any]:
    """Which of the two models is registered, and what it may be called."""
    from regraft.registry.promotion import decide_promotion
    from regraft.registry.several import decide_several

    decide = decide_several if metrics.get("targets") else decide_promotion
    return decide(predictions, metrics, champion_predictions, **options.model_dump())


def describe_model(
    metrics: dict[str, Any],
    registration: dict[str, Any],
    ingest_report: dict[str, Any],
    classifier: Any,
    ingest: IngestOptions,
    train_head: TrainHeadOptions,
    fine_tune: FineTuneOptions,
) -> str:
    """The model card."""
    from regraft.registry.model_card import ModelFacts, model_card
    from regraft.registry.several_card import task_of_several

    receipt = classifier.backbone.receipt
    names, task, loading = list(classifier.label_names), "", _LOADING
    if targets := metrics.get("targets"):
        names, task, loading = (
            [target["name"] for target in targets],
            task_of_several(targets),
            _LOADING_SEVERAL,
        )
    facts = ModelFacts(
        title=f"{classifier.backbone.spec.name}: {', '.join(names)}",
        task=task or f"Tells {' from '.join(names)} in an image, one label an image.",
        backbone={
            "architecture": classifier.backbone.spec.name,
            "cut": classifier.backbone.cut,
            "weights": receipt.name,
            "source": receipt.source,
            "licence": receipt.licence,
            "sha256": receipt.sha256,
        },
        preprocessing=classifier.preprocessing.model_dump(mode="json"),
        settings={
            "train_head": train_head.model_dump(mode="json"),
            "fine_tune": fine_tune.model_dump(mode="json"),
        },
        loading=loading,
        data_notes=ingest.source.notes(),
    )
    return model_card(metrics, registration, ingest_report, facts)


def register_model(
    registration: dict[str, Any],
    model_card: str,
    predictions: pd.DataFrame,
    metrics: dict[str, Any],
    manifest: pd.DataFrame,
    backbone: Any,
    head: Any,
    classifier: Any,
) -> Any:
    """All that the registry is given: the chosen model in one file, and what it predicted."""
    from regraft.classifier import assemble, classifier_bytes
    from regraft.images.decoding import read_image_bytes
    from regraft.registry.promotion import registered_predictions
    from regraft.registry.receipt import list_images
    from regraft.registry.request import RegistrationRequest

    name = registration["model"]
    probe = assemble(backbone, head, classifier.preprocessing, views=classifier.views)
    example = manifest.loc[manifest["split"] == "test", "path"].iloc[0]
    return RegistrationRequest(
        registration=registration,
        classifier_bytes=classifier_bytes({"probe": probe, "fine_tuned": classifier}[name]),
        predictions=registered_predictions(predictions, registration),
        model_card=model_card,
        input_example=read_image_bytes(example),
        metrics={split: metrics[split][name] for split in ("val", "test")},
        images=list_images(manifest),
        weights=asdict(backbone.receipt),
        targets=metrics.get("targets", ()),
    )
