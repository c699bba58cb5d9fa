"""The six figures of several targets, and what they show."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import png_bytes
from regraft.evaluation.figures import make_figures
from regraft.evaluation.several.answers import take_apart
from regraft.evaluation.training_figure import training_figure
from regraft.training.target_losses import image_losses

PENALTIES = [
    {"target": name, "penalty": 10.0**-step, key: lowest * (1 + abs(step - best))}
    for name, key, lowest, best in (("gender", "cv_log_loss", 0.3, 1), ("age", "cv_error", 6.0, 2))
    for step in range(4)
]
EPOCHS = [
    {
        "epoch": epoch,
        "val_log_loss": 2.0 - 0.2 * epoch,
        "val_calibrated_log_loss": 1.9 - 0.2 * epoch,
        "val_gender.accuracy": 0.6 + 0.1 * epoch,
        "val_age.mean_absolute_error": 8.0 - epoch,
        "val_face.mean_distance": 0.04,
        **({"train_loss": 2.1 - 0.3 * epoch, "learning_rate": 1e-3} if epoch else {}),
    }
    for epoch in range(3)
]


def draw(several: Any, pixels: NDArray[np.uint8]) -> dict[str, Figure]:
    return make_figures(
        several.predictions,
        several.measure(),
        head_history=PENALTIES,
        fine_tune_history=EPOCHS,
        pixels=pixels,
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


@pytest.mark.filterwarnings("error")
def test_each_target_has_its_panels(several: Any, pixels: NDArray[np.uint8]) -> None:
    figures = draw(several, pixels)
    assert list(figures) == ["scores", "answers", "parts", "sureness", "training", "mistakes"]
    assert [len(figure.axes) for figure in figures.values()][:4] == [8, 6, 3, 4]
    assert "age: mean absolute error, lower is better" in texts(figures["scores"])
    assert "gender, fine-tuned" in texts(figures["answers"])
    assert "face: mean distance by point" in texts(figures["parts"])
    for figure in figures.values():
        assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("place", range(3))
def test_one_target_alone_and_perfect_answers_can_be_drawn(build_several: Callable, place: int) -> None:
    targets = build_several().targets[place : place + 1]
    several = build_several(40, targets, errors=(0.0, 0.0), num_groups=None)
    for figure in draw(several, np.zeros((40, 8, 8, 1), np.uint8)).values():
        png_bytes(figure)


@pytest.mark.filterwarnings("error")
def test_of_many_targets_the_first_eight_are_drawn(build_several: Callable, several: Any) -> None:
    names = [f"mark_{place}" for place in range(12)]
    targets = [{"name": name, "kind": "number"} for name in names]
    columns = ("true", "predicted")
    many = several._replace(
        targets=targets,
        manifest=several.manifest.assign(**{f"target_{n}": several.manifest["target_age"] for n in names}),
        predictions=several.predictions.assign(
            **{f"{n}.{column}": several.predictions[f"age.{column}"] for n in names for column in columns}
        ),
    )
    figures = draw(many, np.zeros((240, 8, 8, 3), np.uint8))
    assert len(figures["answers"].axes) == 16
    assert any("the first 8 of 12 targets" in text for text in texts(figures["scores"]))
    png_bytes(figures["training"])


def test_mistakes_are_the_images_that_cost_most(several: Any) -> None:
    numbers = np.zeros((len(several.manifest), 4, 4, 3), np.uint8)
    numbers[:] = np.arange(len(numbers))[:, None, None, None]
    figure = draw(several, numbers)["mistakes"]
    shown = [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure.axes if axes.images]
    test = take_apart(several.predictions, "test", several.targets)
    units = several.measure()["loss_units"]
    losses = sum(image_losses(test.true, test.said["fine_tuned"], several.targets, units).values())
    assert shown == test.ids[np.argsort(-losses)][: len(shown)].tolist()
    row = several.predictions.query("model == 'fine_tuned' and id == @shown[0]").iloc[0]
    told = f"age: {row['age.true']:g} → {row['age.predicted']:.4g}"
    assert any(told in text for text in texts(figure))


def test_points_are_drawn_where_they_are_in_the_picture(several: Any, pixels: NDArray[np.uint8]) -> None:
    axes = draw(several, pixels)["mistakes"].axes[0]
    rings = next(line for line in axes.lines if line.get_markerfacecolor() == "none")
    image = np.asarray(axes.images[0].get_array())
    for x, y in zip(*rings.get_data(), strict=True):
        assert image[round(y), round(x), 0] == 230  # the bright spot at each true point


def test_each_head_is_drawn_over_its_own_best() -> None:
    head = training_figure(PENALTIES, EPOCHS).axes[0]
    assert [line.get_label() for line in head.lines] == ["gender", "age"]
    np.testing.assert_allclose(head.lines[0].get_ydata(), [2, 1, 2, 3])
    np.testing.assert_allclose(head.lines[1].get_ydata(), [3, 2, 1, 2])


def test_errors_of_each_epoch_are_drawn_over_those_of_the_probe() -> None:
    errors = training_figure(PENALTIES, EPOCHS).axes[2]
    of_target = {line.get_label(): line.get_ydata() for line in errors.lines}
    np.testing.assert_allclose(of_target["gender"], [1, 0.75, 0.5])
    np.testing.assert_allclose(of_target["age"], [1, 7 / 8, 6 / 8])
    np.testing.assert_allclose(of_target["face"], [1, 1, 1])


def test_penalties_of_less_than_a_decade_are_not_written_as_formulas() -> None:
    figure = training_figure([{**row, "penalty": place + 3.0} for place, row in enumerate(PENALTIES)], EPOCHS)
    png_bytes(figure)
    assert not any("mathdefault" in text for text in texts(figure))


@pytest.mark.parametrize("epochs", [EPOCHS[:1], [{**EPOCHS[0], "val_gender.accuracy": 1.0}]])
def test_training_is_drawn_from_whatever_history_there_is(epochs: list[dict[str, float]]) -> None:
    png_bytes(training_figure(PENALTIES[:1], epochs))
    png_bytes(training_figure([{**row, "cv_error": 0.0} for row in PENALTIES[4:]], epochs))
