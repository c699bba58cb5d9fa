"""Fine-tuning with several targets: what holds for one label, and what is particular."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tuning_sample import SETTINGS as ONE_LABEL

from regraft.backbones.backbone import Backbone
from regraft.classifier import Classifier, assemble, classifier_bytes
from regraft.heads.several import SeveralTargets
from regraft.save_points import NoSavePoints
from regraft.training.features import extract_features
from regraft.training.fine_tune import (
    FineTuned,
    Labelled,
    fine_tune,
    labelled,
    labelled_several,
)
from regraft.training.linear_probe import SolverSettings
from regraft.training.reproducibility import Compute
from regraft.training.several_head import fit_several_head
from regraft.training.unfreeze_search import SearchSettings

SEARCH = SearchSettings(rounds=1, min_updates=1, take="one", noise=0.0)
SETTINGS = dataclasses.replace(ONE_LABEL, selection_metric="calibrated_log_loss", search=SEARCH)
SHAPE = {"name": "shape", "kind": "classes", "label_names": ["disc", "square", "cross"]}
LIGHT = {"name": "light", "kind": "number"}
PLACE = {"name": "place", "kind": "points", "num_points": 1, "partners": [0]}
Run = Callable[..., FineTuned]


@pytest.fixture(scope="module")
def pictures(draw_shapes: Callable) -> tuple[np.ndarray, pd.DataFrame]:
    """45 pictures of shapes; how light they are, and where their brightest row and column is."""
    pixels, labels = draw_shapes(45, seed=1)
    light = pixels.astype(float).mean(axis=(1, 2, 3))
    rows, columns = (pixels.astype(float).sum(axis=(axis, 3)).argmax(axis=1) for axis in (2, 1))
    manifest = pd.DataFrame(
        {
            "split": np.where(np.arange(45) % 3 == 2, "val", "train"),
            "label": labels,
            "group": None,
            "target_shape": labels,
            "target_light": light,
            "target_place.x0": columns / 32,
            "target_place.y0": rows / 32,
        }
    )
    manifest.loc[:, "split"] = np.where(np.arange(45) % 5 < 2, "val", "train")
    return pixels, manifest


@pytest.fixture
def probe_of(
    pictures: tuple[np.ndarray, pd.DataFrame],
    make_backbone: Callable[..., Backbone],
    preprocessing: Any,
    compute: Compute,
) -> Callable[..., Classifier]:
    """A probe fitted to some targets."""

    def make(*targets: dict[str, Any]) -> Classifier:
        pixels, manifest = pictures
        backbone = make_backbone()
        features = extract_features(backbone, pixels, preprocessing, batch_size=10, compute=compute).compute(
            0, 45
        )
        settings = SolverSettings((3.0, 0.3), num_folds=2, tolerance=1e-4, max_iterations=500, seed=0)
        head, _, _ = fit_several_head(features, backbone.feature_dims, manifest, targets, settings=settings)
        return assemble(backbone, head, preprocessing, views="identity")

    return make


@pytest.fixture
def tune(pictures: tuple[np.ndarray, pd.DataFrame], compute: Compute, store: Any) -> Run:
    def run(
        probe: Classifier,
        *targets: dict[str, Any],
        train: Labelled | None = None,
        val: Labelled | None = None,
        num_streams: int = 1,
        **changes: Any,
    ) -> FineTuned:
        return fine_tune(
            probe,
            train or labelled_several(*pictures, "train", targets, probe.target),
            val or labelled_several(*pictures, "val", targets, probe.target),
            settings=dataclasses.replace(SETTINGS, **changes),
            compute=dataclasses.replace(compute, num_streams=num_streams),
            store=store,
            save_points=NoSavePoints(),
        )

    return run


def answers(
    classifier: Classifier, pictures: tuple[np.ndarray, pd.DataFrame], split: str
) -> dict[str, np.ndarray]:
    pixels, manifest = pictures
    said = classifier.predict_pixels(pixels[(manifest["split"] == split).to_numpy()])
    return dict(zip(classifier.label_names, said.T, strict=True))


def test_epoch_0_is_the_probe_and_training_lowers_the_loss_of_all(
    probe_of: Callable[..., Classifier], tune: Run, pictures: tuple[np.ndarray, pd.DataFrame]
) -> None:
    probe = probe_of(SHAPE, LIGHT, PLACE)
    tuned = tune(probe, SHAPE, LIGHT, PLACE, max_epochs=4)
    first, *_, last = tuned.history
    truth = pictures[1][pictures[1]["split"] == "val"]
    said = answers(probe, pictures, "val")
    assert first["val_light.mean_absolute_error"] == pytest.approx(
        np.abs(said["light"] - truth["target_light"]).mean(), rel=1e-4
    )
    assert set(first) == {
        "epoch",
        "val_log_loss",
        "val_calibrated_log_loss",
        "val_shape.accuracy",
        "val_light.mean_absolute_error",
        "val_place.mean_distance",
    }
    assert last["train_loss"] < tuned.history[1]["train_loss"]
    assert tuned.val["val_calibrated_log_loss"] <= first["val_calibrated_log_loss"]
    assert tuned.receipt[-1]["has_moved"]


def test_one_target_of_classes_is_trained_to_the_bit_as_a_label(
    probe_of: Callable[..., Classifier], tune: Run, pictures: tuple[np.ndarray, pd.DataFrame]
) -> None:
    several = probe_of(SHAPE)
    (member,) = several.target.members
    alone = copy.deepcopy(several)
    alone.target = member
    as_label = tune(
        alone, train=labelled(*pictures, "train", "label"), val=labelled(*pictures, "val", "label")
    )
    as_target = tune(several, SHAPE)
    for name, tensor in as_label.classifier.state_dict().items():
        assert torch.equal(as_target.classifier.state_dict()[name], tensor), name
    assert as_target.history[-1]["val_log_loss"] == as_label.history[-1]["val_log_loss"]


def test_what_is_learnt_of_a_view_is_where_it_shows_the_points(
    probe_of: Callable[..., Classifier],
    tune: Run,
    pictures: tuple[np.ndarray, pd.DataFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe, learnt, plain = probe_of(LIGHT, PLACE), list[np.ndarray](), SeveralTargets.loss

    def loss(self: SeveralTargets, logits: Any, labels: torch.Tensor, **more: Any) -> torch.Tensor:
        learnt.extend(labels.numpy())
        return plain(self, logits, labels, **more)

    monkeypatch.setattr(SeveralTargets, "loss", loss)
    tune(probe, LIGHT, PLACE, views="flips", views_per_image=2, max_epochs=3)
    train = pictures[1][pictures[1]["split"] == "train"]
    lights = probe.target.learnt(train[["target_light", "target_place.x0", "target_place.y0"]].to_numpy())[
        :, 0
    ]
    of_light = {light: row for light, (_, row) in zip(lights, train.iterrows(), strict=True)}
    moves = set()
    for light, x, y in learnt:
        row = of_light[light]
        way = [
            (mirror, turn)
            for mirror in (False, True)
            for turn in (False, True)
            if np.allclose(
                [x, y], [abs(mirror - row["target_place.x0"]), abs(turn - row["target_place.y0"])], atol=1e-6
            )
        ]
        assert way, "a point lies where no view of its image shows it"
        moves |= set(way)
    assert len(moves) == 4
    assert len(learnt) == 3 * len(train)


def test_the_cores_do_not_change_the_result(probe_of: Callable[..., Classifier], tune: Run) -> None:
    probe = probe_of(SHAPE, LIGHT)
    one, two = (tune(probe, SHAPE, LIGHT, num_streams=streams) for streams in (1, 2))
    assert classifier_bytes(one.classifier) == classifier_bytes(two.classifier)


def test_calibration_softens_classes_and_leaves_numbers_as_they_are(
    probe_of: Callable[..., Classifier], tune: Run, pictures: tuple[np.ndarray, pd.DataFrame]
) -> None:
    probe = probe_of(SHAPE, LIGHT)
    with torch.no_grad():
        probe.head[0].weight[:3] *= 3  # far too sure
        probe.head[0].bias[:3] *= 3
    # One step down the gradient of all pictures, some with a wrong label, judged by the same: better for sure.
    small = dataclasses.replace(SETTINGS.optimiser, learning_rate=1e-6)
    changes: dict[str, Any] = {"max_epochs": 1, "selection_metric": "log_loss", "batch_size": 45}
    images = labelled_several(*pictures, "train", [SHAPE, LIGHT], probe.target)
    labels = images.labels.copy()
    labels[:6, 0] = (labels[:6, 0] + 1) % 3
    images = dataclasses.replace(images, labels=labels, targets=probe.target.learnt(labels))
    changes |= {"optimiser": small, "train": images, "val": images}
    plain, calibrated = (tune(probe, SHAPE, LIGHT, calibrate=asked, **changes) for asked in (False, True))
    assert plain.best_epoch == 1, "else nothing is calibrated"
    assert set(calibrated.temperatures) == {"shape"}
    assert calibrated.temperature > 1
    before, after = (answers(one.classifier, pictures, "val") for one in (plain, calibrated))
    np.testing.assert_array_equal(before["light"], after["light"])
    assert after["shape=disc"].max() < before["shape=disc"].max()
    assert plain.temperatures == {}


@pytest.mark.parametrize("changes", [{"unfreeze": "auto"}, {"interpolate": "auto"}], ids=["search", "line"])
def test_searches_judge_several_targets_by_their_summed_loss(
    probe_of: Callable[..., Classifier], tune: Run, changes: dict[str, Any]
) -> None:
    tuned = tune(probe_of(SHAPE, LIGHT), SHAPE, LIGHT, **changes)
    rows = tuned.search or tuned.interpolation
    assert min(row["val_calibrated_log_loss"] for row in rows) == pytest.approx(
        tuned.val["val_calibrated_log_loss"]
    )
    assert len(rows) > 3


def test_a_classifier_of_several_targets_comes_back_from_its_file(
    probe_of: Callable[..., Classifier], pictures: tuple[np.ndarray, pd.DataFrame], tmp_path: Any
) -> None:
    from regraft.classifier import load_classifier

    probe = probe_of(SHAPE, LIGHT, PLACE)
    (tmp_path / "classifier").write_bytes(classifier_bytes(probe))
    again = load_classifier(tmp_path / "classifier")
    assert isinstance(again.target, SeveralTargets)
    assert again.target == probe.target
    np.testing.assert_array_equal(
        again.predict_pixels(pictures[0][:5]), probe.predict_pixels(pictures[0][:5])
    )
