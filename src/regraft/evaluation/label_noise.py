"""What uncertain labels do to a score: the ceiling they set, and certain and uncertain images apart.

Knows probabilities and labels as arrays: no split, no page.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from regraft.evaluation.figure_style import percent
from regraft.evaluation.intervals import Bootstrap, bootstrap_intervals
from regraft.evaluation.metrics import FloatArray, IntArray, predicted_labels
from regraft.evaluation.predictions import MODEL_TITLES
from regraft.images.soft_labels import find_certain


def measure_label_noise(
    soft_labels: FloatArray,
    labels: IntArray,
    probabilities: Mapping[str, FloatArray],
    groups: tuple[str | None, ...] | None,
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Take the uncertainty of the labels of some images at its word.

    Args:
        soft_labels: `(N, K)` how probable each class is, as the source says.
        labels: `(N,)` the labels that scores are held against.
        probabilities: `(N, K)` of each model.
        groups: What is resampled as a whole; None for images.
        bootstrap: Of the intervals.

    Returns:
        JSON-serialisable. `ceiling`: the accuracy, in expectation, of who knows these probabilities and always names
        the likeliest class, on labels drawn anew from them. `expected` by model: the model's accuracy on labels so
        drawn, to be held against the ceiling. `certain` and `uncertain`: `num_images`, and by model the accuracy
        against the labels, with interval (`value` None where there are no such images).
    """
    is_certain = find_certain(soft_labels)
    return {
        "ceiling": float(soft_labels.max(axis=1).mean()),
        "expected": {
            model: float(soft_labels[np.arange(len(labels)), predicted_labels(of_model)].mean())
            for model, of_model in probabilities.items()
        },
        **{
            name: {
                "num_images": int(among.sum()),
                **{
                    model: _accuracy(of_model, labels, groups, among, bootstrap)
                    for model, of_model in probabilities.items()
                },
            }
            for name, among in (("certain", is_certain), ("uncertain", ~is_certain))
        },
    }


def describe_ceiling(noise: Mapping[str, Any]) -> str:
    """The ceiling in two sentences, with what it assumes."""
    models = ", the ".join(
        f"{MODEL_TITLES[model]} {percent(value)}" for model, value in noise["expected"].items()
    )
    return (
        f"{noise['uncertain']['num_images']:,} of the test labels are uncertain by what the source says of them. Were "
        f"each label drawn anew with the probability given, even who knows these probabilities would agree with "
        f"{percent(noise['ceiling'])} of them (the {models}). That takes the probabilities at their word, each label "
        "for an independent draw. The scores above are against the labels as they are."
    )


def _accuracy(
    probabilities: FloatArray,
    labels: IntArray,
    groups: tuple[str | None, ...] | None,
    among: np.ndarray[Any, np.dtype[np.bool_]],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    rows = np.flatnonzero(among)
    if not len(rows):
        return {"value": None, "low": None, "high": None, "reason": "there are no such images"}
    estimates = bootstrap_intervals(
        probabilities[rows],
        labels[rows],
        bootstrap=bootstrap,
        groups=None if groups is None else tuple(groups[row] for row in rows),
        metrics=("accuracy",),
    )
    found: dict[str, Any] = estimates["accuracy"].as_dict()
    return found
