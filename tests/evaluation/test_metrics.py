import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from regraft.evaluation import metrics


def random_scores(num_images: int, num_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), generator.integers(0, num_classes, num_images)])
    logits = generator.normal(size=(len(labels), num_classes))
    logits[np.arange(len(labels)), labels] += 1
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.round(probabilities, 2) / np.round(probabilities, 2).sum(axis=1, keepdims=True), labels


def reference(name: str, probabilities: np.ndarray, labels: np.ndarray) -> float:
    predicted = probabilities.argmax(axis=1)
    num_classes = probabilities.shape[1]
    match name:
        case "accuracy":
            return sklearn_metrics.accuracy_score(labels, predicted)
        case "balanced_accuracy":
            return sklearn_metrics.balanced_accuracy_score(labels, predicted)
        case "macro_f1":
            return sklearn_metrics.f1_score(labels, predicted, average="macro")
        case "roc_auc" if num_classes == 2:
            return sklearn_metrics.roc_auc_score(labels, probabilities[:, 1])
        case "roc_auc":
            return sklearn_metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        case "log_loss":
            return sklearn_metrics.log_loss(labels, probabilities, labels=range(num_classes))
        case "brier" if num_classes == 2:
            return sklearn_metrics.brier_score_loss(labels, probabilities[:, 1])
        case "brier":
            return ((probabilities - np.eye(num_classes)[labels]) ** 2).sum(axis=1).mean()
    raise AssertionError(name)


@pytest.mark.parametrize("num_classes", [2, 3, 7])
@pytest.mark.parametrize("name", sorted(set(metrics.METRICS) - {"expected_calibration_error"}))
def test_every_metric_equals_scikit_learn(name: str, num_classes: int) -> None:
    for seed in range(5):
        probabilities, labels = random_scores(80, num_classes, seed)
        value = metrics.METRICS[name].function(probabilities, labels)
        assert value == pytest.approx(reference(name, probabilities, labels), abs=1e-12)


@pytest.mark.parametrize("num_classes", [2, 5])
def test_calibration_error_equals_torchmetrics(num_classes: int) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    generator = np.random.default_rng(4)
    probabilities = generator.dirichlet(np.ones(num_classes), 300)
    labels = generator.integers(0, num_classes, 300)
    expected = functional.multiclass_calibration_error(
        torch.tensor(probabilities), torch.tensor(labels), num_classes=num_classes, n_bins=15, norm="l1"
    )
    value = metrics.expected_calibration_error(probabilities, labels, num_bins=15)
    assert value == pytest.approx(float(expected), abs=1e-6)  # theirs is float32


def test_calibration_error_of_hand_computed_bins() -> None:
    # Bin [0.6, 0.8): two images at 0.7, one right: gap 0.2. Bin [0.8, 1]: one at 1.0, right: gap 0.
    probabilities = np.array([[0.7, 0.3], [0.3, 0.7], [1.0, 0.0]])
    assert metrics.expected_calibration_error(
        probabilities, np.array([0, 0, 0]), num_bins=5
    ) == pytest.approx(2 / 3 * 0.2)


def test_roc_auc_is_nan_when_a_class_has_no_image() -> None:
    probabilities, _ = random_scores(10, 3, 0)
    assert np.isnan(metrics.roc_auc(probabilities, np.zeros(len(probabilities), dtype=np.int64)))


def test_log_loss_of_a_certain_mistake_is_finite() -> None:
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01)


def test_equal_probabilities_predict_the_first_class() -> None:
    assert metrics.accuracy(np.array([[0.5, 0.5]]), np.array([0])) == 1


def test_per_class_table_equals_scikit_learn_and_has_none_where_nothing_is_defined() -> None:
    probabilities, labels = random_scores(60, 4, 1)
    with_unseen = np.column_stack([probabilities, np.zeros(len(labels))])
    table = metrics.per_class_table(with_unseen, labels, ["a", "b", "c", "d", "never"])
    columns = sklearn_metrics.precision_recall_fscore_support(labels, probabilities.argmax(axis=1))
    for key, expected in zip(("precision", "recall", "f1", "support"), columns, strict=True):
        assert [row[key] for row in table[:4]] == pytest.approx(expected.tolist())
    assert table[4] == {"label_name": "never", "precision": None, "recall": None, "f1": None, "support": 0}


def test_confusion_matrix_has_a_row_for_a_class_without_images() -> None:
    matrix = metrics.confusion_matrix(np.array([[0.1, 0.9, 0.0], [0.8, 0.2, 0.0]]), np.array([0, 0]))
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", sorted(metrics.METRICS))
def test_every_metric_refuses_what_is_no_probability(name: str) -> None:
    function = metrics.METRICS[name].function
    with pytest.raises(ValueError, match=r"1 rows are no probabilities .*; 1 labels are outside \[0, 2\)"):
        function(np.array([[0.5, 0.6], [0.5, 0.5]]), np.array([0, 2]))
    with pytest.raises(ValueError, match="no images"):
        function(np.zeros((0, 2)), np.zeros(0, dtype=np.int64))
    with pytest.raises(ValueError, match="no probabilities"):
        function(np.array([[np.nan, 0.5]]), np.array([0]))
    with pytest.raises(ValueError, match="expected"):
        function(np.array([0.5, 0.5]), np.array([0, 1]))
