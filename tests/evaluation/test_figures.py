import subprocess
import sys
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from regraft.evaluation.figure_style import png_bytes
from regraft.evaluation.figures import make_figures
from regraft.evaluation.measure import measure
from regraft.evaluation.mistakes import most_confident_mistakes
from regraft.evaluation.training_figure import training_figure

SETTINGS = {"num_resamples": 100, "confidence": 0.95, "seed": 0}
PENALTIES = [{"penalty": 10.0**-k, "cv_log_loss": 0.3 + 0.01 * k, "cv_accuracy": 0.9} for k in range(4)]
EPOCHS = [
    {"epoch": 0, "val_log_loss": 0.4, "val_accuracy": 0.85},
    {"epoch": 1, "train_loss": 0.5, "val_log_loss": 0.3, "val_accuracy": 0.9, "learning_rate": 3e-4},
    {"epoch": 2, "train_loss": 0.4, "val_log_loss": 0.35, "val_accuracy": 0.88, "learning_rate": 1e-4},
]


def draw(tables: Any, pixels: NDArray[np.uint8] | None = None) -> dict[str, Figure]:
    metrics = measure(*tables, **SETTINGS)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (len(tables.manifest), 24, 24, 3), dtype=np.uint8)
    return make_figures(
        tables.predictions, metrics, head_history=PENALTIES, fine_tune_history=EPOCHS, pixels=pixels
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(mpl.text.Text)]


@pytest.mark.filterwarnings("error")
def test_two_classes_get_a_roc_and_more_get_recalls(build_tables: Callable) -> None:
    two = draw(build_tables())
    assert list(two) == ["scores", "confusion_matrix", "roc", "calibration", "training", "mistakes"]
    three = draw(build_tables(label_names=("ant", "bee", "costs $5 to $7")))
    assert list(three) == ["scores", "confusion_matrix", "recall", "calibration", "training", "mistakes"]
    assert "costs $5 to $7" in texts(three["confusion_matrix"])
    for figure in [*two.values(), three["confusion_matrix"], three["recall"]]:
        assert png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
def test_fifty_classes_and_no_mistakes_can_be_drawn(build_tables: Callable) -> None:
    names = tuple(f"a rather long name of species number {number}" for number in range(50))
    many = draw(build_tables(num_images=2000, label_names=names))
    assert any("the lowest 30 of" in text for text in texts(many["recall"]))
    perfect = draw(build_tables(num_images=80, num_groups=None, skill=(40.0, 40.0)))
    assert "No mistakes on test" in texts(perfect["mistakes"])
    for figure in (many["confusion_matrix"], perfect["scores"], perfect["mistakes"]):
        png_bytes(figure)


def test_pngs_are_the_same_bytes_each_time_and_name_no_software(build_tables: Callable) -> None:
    names = ("scores", "calibration", "mistakes")
    first, second = (
        [png_bytes(f[name]) for name in names] for f in (draw(build_tables()), draw(build_tables()))
    )
    assert first == second
    assert not any(b"Software" in png or b"matplotlib" in png for png in first)


def test_mistakes_among_grey_images_are_shown_in_grey(tables: Any) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (len(tables.manifest), 24, 24, 1), dtype=np.uint8)
    one, three = (png_bytes(draw(tables, each)["mistakes"]) for each in (grey, np.repeat(grey, 3, axis=3)))
    assert one == three


def test_drawing_leaves_the_settings_of_others_alone_and_heeds_none_of_theirs(build_tables: Callable) -> None:
    expected = png_bytes(draw(build_tables())["scores"])
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert png_bytes(draw(build_tables())["scores"]) == expected
        assert dict(mpl.rcParams) == before


def test_pyplot_is_not_imported() -> None:
    modules = "regraft.evaluation.figures, regraft.evaluation.report"
    program = f"import sys, {modules}; print('matplotlib.pyplot' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_mistakes_are_the_surest_wrong_answers_on_test(tables: Any) -> None:
    mistakes = most_confident_mistakes(tables.predictions, tables.label_names, model="probe", limit=5)
    assert len(mistakes) == 5
    assert (mistakes["predicted"] != mistakes["label"]).all()
    assert set(mistakes["split"]) == {"test"}
    assert set(mistakes["model"]) == {"probe"}
    assert mistakes["confidence"].is_monotonic_decreasing
    everyone = most_confident_mistakes(tables.predictions, tables.label_names, model="probe", limit=10_000)
    assert everyone["confidence"].max() == mistakes["confidence"][0]


def test_the_sheet_shows_the_pixels_of_the_mistakes(tables: Any) -> None:
    numbers = np.zeros((len(tables.manifest), 4, 4, 3), dtype=np.uint8)
    numbers[:] = (np.arange(len(numbers)) % 256)[:, None, None, None]
    metrics = measure(*tables, **SETTINGS)
    figure = make_figures(
        tables.predictions, metrics, head_history=[], fine_tune_history=EPOCHS, pixels=numbers
    )["mistakes"]
    shown = [axes.images[0].get_array()[0, 0, 0] for axes in figure.axes if axes.images]
    expected = most_confident_mistakes(
        tables.predictions, tables.label_names, model="fine_tuned", limit=len(shown)
    )
    assert shown == expected["id"].tolist()


@pytest.mark.parametrize(
    "head_history",
    [[], [{"penalty": 0.1}], PENALTIES, [{"epoch": 1, "train_loss": 0.5, "val_log_loss": 0.6}]],
)
def test_training_is_drawn_from_whatever_history_there_is(head_history: list[dict[str, float]]) -> None:
    png_bytes(training_figure(head_history, EPOCHS))
    png_bytes(training_figure(head_history, EPOCHS[:1]))
