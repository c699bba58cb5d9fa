"""What a classifier of several targets says of one image, by target: for people and for JSON.

Knows the targets and a row of answers; no image, no file.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regraft.heads.numbers import NumbersTarget
from regraft.heads.several import SeveralTargets


def said_of(target: SeveralTargets, answers: NDArray[np.float64]) -> dict[str, Any]:
    """The answers of one image by the names of the targets, JSON-serialisable.

    Args:
        target: What the answers are to.
        answers: `(A,)` float64, a row of what `Classifier.predict_images` gives.

    Returns:
        Of classes the likeliest `label` and the `probabilities` by label; of a number a float; of points a list of
        `[x, y]`, fractions of the image's width and height.
    """
    said: dict[str, Any] = {}
    for member, _, _, of_answers in target.parts():
        values = answers[of_answers].tolist()
        if not isinstance(member, NumbersTarget):
            best = int(answers[of_answers].argmax())
            said[member.column] = {
                "label": member.label_names[best],
                "probabilities": dict(zip(member.label_names, values, strict=True)),
            }
        elif member.kind == "number":
            said[member.column] = values[0]
        else:
            said[member.column] = [list(point) for point in zip(values[::2], values[1::2], strict=True)]
    return said
