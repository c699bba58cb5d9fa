"""Files without labels, by a classifier of ours and by a pretrained network used directly."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from several_sample import several_classifier

from regraft.backbones.architectures import build_initialised
from regraft.backbones.spec import WeightsError
from regraft.backbones.weights import RandomWeights
from regraft.backbones.whole import build_whole
from regraft.backbones.zoo import get_spec
from regraft.classifier.classifier import normalize_pixels
from regraft.classifier.pretrained import load_pretrained
from regraft.evaluation.predict_files import predict_files, predict_targets_of_files
from regraft.images.preprocessing import Preprocessing


@pytest.fixture
def files(tmp_path: Path, draw_shapes: Callable) -> list[str]:
    """Five pictures, and a file that is none among them."""
    pixels, _ = draw_shapes(5, size=48)
    paths = []
    for number, image in enumerate(pixels):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(image).save(paths[-1])
    (tmp_path / "2b.png").write_text("no picture")
    return [path.as_posix() for path in sorted([*paths, tmp_path / "2b.png"])]


def test_every_file_is_predicted_or_refused_by_name(make_probe: Callable, files: list[str]) -> None:
    classifier = make_probe()
    predicted, refused = predict_files(classifier, files, top=2, batch_size=2, num_workers=2)
    readable = [path for path in files if not path.endswith("2b.png")]
    assert predicted["path"].tolist() == readable
    assert refused["path"].tolist() == [files[3]]
    assert "no image of a known format" in refused["reason"][0]
    probabilities = classifier.predict_images([Path(path) for path in readable])
    order = np.argsort(-probabilities, axis=1)
    for place, suffix in enumerate(("", "_2")):
        names = [classifier.label_names[row[place]] for row in order]
        assert predicted[f"label{suffix}"].tolist() == names
        # float32 in batches of another size
        np.testing.assert_allclose(
            predicted[f"probability{suffix}"], np.sort(probabilities)[:, -1 - place], rtol=1e-5
        )


def test_more_labels_than_there_are_is_all_of_them(make_probe: Callable, files: list[str]) -> None:
    predicted, _ = predict_files(make_probe(), files[:1], top=100, batch_size=8, num_workers=1)
    assert [name for name in predicted.columns if name.startswith("label")] == ["label", "label_2", "label_3"]
    assert predicted.filter(like="probability").to_numpy().sum() == pytest.approx(1)


def test_only_unreadable_files_leave_an_empty_table(make_probe: Callable, tmp_path: Path) -> None:
    predicted, refused = predict_files(
        make_probe(), [str(tmp_path / "none.png")], top=1, batch_size=8, num_workers=1
    )
    assert (predicted.columns.tolist(), len(predicted)) == (["path", "label", "probability"], 0)
    assert refused["reason"].tolist() == ["not there"]


def test_all_targets_of_a_file_stand_in_its_row(
    make_backbone: Callable, preprocessing: Preprocessing, files: list[str]
) -> None:
    classifier = several_classifier(make_backbone(), preprocessing)
    predicted, refused = predict_targets_of_files(classifier, files, batch_size=2, num_workers=2)
    assert predicted.columns.tolist() == [
        "path", "gender", "gender_probability", "age", "face_x0", "face_y0", "face_x1", "face_y1", "face_x2",
        "face_y2", "hair", "hair_probability",
    ]  # fmt: skip
    readable = [path for path in files if not path.endswith("2b.png")]
    assert predicted["path"].tolist() == readable
    assert refused["path"].tolist() == [files[3]]
    answers = classifier.predict_images([Path(path) for path in readable])
    assert predicted["gender"].tolist() == [("female", "male")[row[:2].argmax()] for row in answers]
    assert predicted["hair"].tolist() == [("black", "brown", "none")[row[9:].argmax()] for row in answers]
    # float32 in batches of another size
    np.testing.assert_allclose(predicted["gender_probability"], answers[:, :2].max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(predicted["hair_probability"], answers[:, 9:].max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(predicted.loc[:, "age":"face_y2"], answers[:, 2:9], rtol=1e-4)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "squeezenet1_1"])
def test_a_pretrained_network_is_used_as_its_library_runs_it(name: str, files: list[str]) -> None:
    spec = get_spec(name)
    model = load_pretrained(spec, RandomWeights(kind="random", seed=3), device=torch.device("cpu"))
    assert len(model.label_names) == 1000
    assert model.label_names[310] == "ant"
    assert model.label_names[309] == "bee"
    pixels = np.stack([model.prepare(Path(files[0]))])
    with torch.inference_mode():
        logits = build_initialised(spec, seed=3)(
            normalize_pixels(torch.from_numpy(pixels), model.preprocessing)
        )
    np.testing.assert_allclose(model.predict_pixels(pixels), logits.double().softmax(1), rtol=1e-5)
    assert model.preprocessing.fit == "crop"


def test_weights_without_a_classifier_are_refused() -> None:
    spec = get_spec("efficientnet_lite0")
    state = dict(build_initialised(spec, seed=0).state_dict())
    for key in ("classifier.weight", "classifier.bias"):
        del state[key]
    with pytest.raises(WeightsError, match="bring no classifier of ImageNet's 1000 classes"):
        build_whole(spec, state)
