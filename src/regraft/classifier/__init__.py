"""Backbone, head, labels and preprocessing as one: what is measured, registered and served."""

from regraft.classifier.classifier import Classifier
from regraft.classifier.files import (
    Head,
    assemble,
    classifier_bytes,
    load_backbone,
    load_classifier,
    load_head,
    save_backbone,
    save_classifier,
    save_head,
)

__all__ = [
    "Classifier",
    "Head",
    "assemble",
    "classifier_bytes",
    "load_backbone",
    "load_classifier",
    "load_head",
    "save_backbone",
    "save_classifier",
    "save_head",
]
