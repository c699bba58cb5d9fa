import json
from collections.abc import Callable

import numpy as np
from several_sample import several_classifier

from regraft.classifier.said import said_of
from regraft.images.preprocessing import Preprocessing


def test_each_target_is_told_by_its_kind_under_its_name(
    make_backbone: Callable, preprocessing: Preprocessing
) -> None:
    target = several_classifier(make_backbone(), preprocessing).target
    answers = np.array([0.25, 0.75, 41.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.2, 0.5, 0.3])
    said = said_of(target, answers)  # type: ignore[arg-type]
    assert said == {
        "gender": {"label": "male", "probabilities": {"female": 0.25, "male": 0.75}},
        "age": 41.5,
        "face": [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]],
        "hair": {"label": "brown", "probabilities": {"black": 0.2, "brown": 0.5, "none": 0.3}},
    }
    assert list(said) == ["gender", "age", "face", "hair"]
    assert json.loads(json.dumps(said)) == said
