"""Several things to be learnt of an image, as columns of a CSV."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from regraft.images.faults import ManifestError, SourceError
from regraft.images.manifest import add_targets, build_manifest
from regraft.images.sources import CsvSource, list_images
from regraft.images.splits import SplitOptions
from regraft.images.target_columns import describe_targets, label_array, split_by_classes

SEX_AND_AGE = {"sex": {"kind": "classes", "column": "sex"}, "age": {"kind": "number", "column": "years"}}
FACE = {"face": {"kind": "points", "first_column": "x0", "last_column": "y1"}}


@pytest.fixture(autouse=True)
def _in_project(project: Path) -> None:
    """`data` holds `0.png` to `19.png`; the CSV lies beside them."""
    Path("data").mkdir()
    for number in range(20):
        Path(f"data/{number}.png").touch()


def source(text: str, targets: dict[str, Any], **more: Any) -> CsvSource:
    Path("data/list.csv").write_text(text)
    return CsvSource(path=Path("data/list.csv"), targets=targets, **more)


def message(text: str, targets: dict[str, Any]) -> str:
    with pytest.raises(SourceError) as caught:
        list_images(source(text, targets))
    return str(caught.value)


def test_classes_stay_text_and_numbers_become_numbers() -> None:
    listing = list_images(source("path,sex,years\n0.png,01,7.5\n1.png,1,80\n", SEX_AND_AGE))
    assert listing["target_sex"].tolist() == ["01", "1"]
    assert listing["target_age"].tolist() == [7.5, 80.0]
    assert listing["label"].tolist() == ["01", "1"], "split by the first classes"


def test_points_are_all_columns_from_one_to_another() -> None:
    text = "path,x0,y0,x1,y1,more\n0.png,1,2,3,4,5\n1.png,5,6,9,8,9\n"
    listing = list_images(source(text, FACE))
    columns = [column for column in listing.columns if column.startswith("target_")]
    assert columns == ["target_face.x0", "target_face.y0", "target_face.x1", "target_face.y1"]
    assert listing[columns].to_numpy().tolist() == [[1, 2, 3, 4], [5, 6, 9, 8]]
    described = describe_targets(source(text, FACE).target_columns(), listing)
    assert described == [{"name": "face", "kind": "points", "num_points": 2, "partners": None}]


def test_a_mirror_exchanges_the_points_that_are_named() -> None:
    text = "path,x0,y0,x1,y1,x2,y2\n0.png,1,2,3,4,5,6\n1.png,5,6,9,8,9,1\n"
    target = {**FACE["face"], "last_column": "y2"}
    for mirrored, partners in (([[2, 0]], [2, 1, 0]), ([], [0, 1, 2]), (None, None)):
        given = source(text, {"face": {**target, "mirrored": mirrored}})
        assert describe_targets(given.target_columns(), list_images(given))[0]["partners"] == partners
    assert "mirrored names point 3; there are 3" in message(text, {"face": {**target, "mirrored": [[0, 3]]}})
    with pytest.raises(ValidationError, match="points 1 stand in more than one place"):
        source(text, {"face": {**target, "mirrored": [[0, 1], [1, 2]]}})


def test_images_are_split_by_the_quarters_of_a_number() -> None:
    rows = "".join(f"{number}.png,{number}\n" for number in range(20))
    listing = list_images(source(f"path,years\n{rows}", {"age": SEX_AND_AGE["age"]}))
    counts = listing["label"].value_counts()
    assert counts.to_dict() == {
        "age 1 of 4, below 5": 5,
        "age 2 of 4, below 10": 5,
        "age 3 of 4, below 15": 5,
        "age 4 of 4": 5,
    }
    of_label = listing.groupby("label")["target_age"].max()
    assert of_label["age 1 of 4, below 5"] == 4


def test_a_number_of_few_values_has_fewer_parts() -> None:
    rows = "".join(f"{number}.png,{number % 2}\n" for number in range(20))
    listing = list_images(source(f"path,years\n{rows}", {"age": SEX_AND_AGE["age"]}))
    assert sorted(set(listing["label"])) == ["age 1 of 2, below 1", "age 2 of 2"]


def test_what_is_wrong_with_targets_is_all_told() -> None:
    said = message("path,sex,years\n0.png,f,old\n1.png,,nan\n2.png,f,3\n", SEX_AND_AGE)
    assert "target 'sex': 1 rows have no class: data/1.png" in said
    assert "target 'age': 2 rows have no number: data/0.png ('old'), data/1.png ('nan')" in said
    assert "data/1.png (empty)" in said
    assert "no column 'year'" not in said


@pytest.mark.parametrize("text", ["1_000", "inf", "1e40", "3,5", "0x10"])
def test_what_is_no_plain_number_is_told(text: str) -> None:
    said = message(f'path,years\n0.png,"{text}"\n1.png,3\n', {"age": SEX_AND_AGE["age"]})
    assert f"1 rows have no number: data/0.png ('{text}')" in said


def test_the_coordinate_at_fault_is_told_and_fractions_are_no_pixels() -> None:
    assert "data/0.png ('oops')" in message("path,x0,y0,x1,y1\n0.png,1,2,3,oops\n1.png,5,6,9,8\n", FACE)
    said = message("path,x0,y0,x1,y1\n0.png,0.1,0.2,0.3,0.4\n1.png,0.5,0.6,0.9,0.8\n", FACE)
    assert "to be given in pixels, not as fractions" in said
    turned = {"face": {"kind": "points", "first_column": "y1", "last_column": "x0"}}
    assert "its first column 'y1' stands behind the last, 'x0'" in message(
        "path,x0,y0,x1,y1\n0.png,1,2,3,4\n", turned
    )


def test_a_column_that_is_not_there_is_named_with_its_option() -> None:
    said = message("path,sexes,years\n0.png,f,3\n", SEX_AND_AGE)
    assert "no column 'sex' (ingest.source.targets). Did you mean 'sexes'?" in said


def test_points_come_in_pairs_and_one_value_is_nothing_to_learn() -> None:
    odd = {"face": {"kind": "points", "first_column": "x0", "last_column": "x1"}}
    assert "its 3 columns from 'x0' to 'x1' are no pairs" in message(
        "path,x0,y0,x1\n0.png,1,2,3\n1.png,2,2,3\n", odd
    )
    assert "one value in all rows" in message("path,sex,years\n0.png,f,3\n1.png,m,3\n", SEX_AND_AGE)


@pytest.mark.parametrize(
    "more", [{"label_column": "sex"}, {"probability_columns": {"f": "p"}}], ids=lambda one: next(iter(one))
)
def test_targets_and_a_label_are_told_in_one_place(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(more))):
        source("path\n", SEX_AND_AGE, **more)


@pytest.mark.parametrize("name", ["a.b", "1st", "with blank", ""])
def test_a_name_is_one_word(name: str) -> None:
    with pytest.raises(ValidationError):
        source("path\n", {name: SEX_AND_AGE["age"]})


@pytest.mark.parametrize(
    ("name", "beside"),
    [("path", {}), ("model_dump", {}), ("sex_probability", {"sex": SEX_AND_AGE["sex"]}), ("face_y12", FACE)],
)
def test_a_name_that_another_column_has_is_refused(name: str, beside: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=f"targets cannot be called {name}"):
        source("path\n", {name: SEX_AND_AGE["age"], **beside})
    source("path\n", {f"my_{name}": SEX_AND_AGE["age"], **beside})


def manifest_of(
    text: str, targets: dict[str, Any], min_images_per_class: int = 3, **facts: Any
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    given = source(text, targets)
    listing = list_images(given)
    index = listing.assign(
        id=range(len(listing)), pixel_sha256=[f"{row:064x}" for row in range(len(listing))], **facts
    )
    options = SplitOptions(kind="random", val_fraction=0.2, test_fraction=0.2, seed=0)
    limit = {"min_images_per_class": min_images_per_class}
    manifest, _ = build_manifest(
        index, options, are_classes=split_by_classes(given.target_columns()), **limit
    )
    return add_targets(manifest, given.target_columns(), **limit)


def test_classes_are_numbered_and_points_put_on_the_scale_of_their_image() -> None:
    lines = "".join(
        f"{row}.png,{'mf'[row % 2]},{row},{row},{43 + row},{2 * row},{93 + row}\n" for row in range(20)
    )
    targets = {**SEX_AND_AGE, **FACE}
    manifest, described = manifest_of(f"path,sex,years,x0,y0,x1,y1\n{lines}", targets, width=200, height=100)
    assert [one["kind"] for one in described] == ["classes", "number", "points"]
    assert described[0]["label_names"] == ["f", "m"]
    row = manifest.set_index("path").loc["data/7.png"]
    assert (row["target_sex"], row["target_sex.name"], row["target_age"]) == (0, "f", 7.0)
    labels = label_array(manifest, described)[manifest["path"] == "data/7.png"]
    assert labels.tolist() == [[0, 7, 7.5 / 200, 0.505, 14.5 / 200, 1.005]], "pixel 0 has its middle at 0.5"


def test_a_number_that_is_the_same_in_all_of_train_stops_the_run() -> None:
    lines = "".join(f"{row}.png,{'mf'[row % 2]},{row},50,{2 * row},{row}\n" for row in range(20))
    with pytest.raises(ManifestError, match=r"face\.y0 have one value in all training images"):
        manifest_of(
            f"path,sex,x0,y0,x1,y1\n{lines}", {"sex": SEX_AND_AGE["sex"], **FACE}, width=200, height=100
        )


@pytest.mark.parametrize("numbers", [[0] * 16 + [1, 2, 3, 4], [3, 3, *[5] * 18], [1.5, *range(19)]])
def test_images_are_split_by_parts_of_a_number_however_few_lie_in_one(numbers: list[float]) -> None:
    lines = "".join(f"{row}.png,{number}\n" for row, number in enumerate(numbers))
    manifest, _ = manifest_of(f"path,years\n{lines}", {"age": SEX_AND_AGE["age"]}, min_images_per_class=10)
    assert set(manifest["split"]) == {"train", "val", "test"}


def test_points_far_outside_their_images_stop_the_run() -> None:
    lines = "".join(f"{row}.png,{row},50,{2 * row},{700 if row == 3 else 9}\n" for row in range(20))
    with pytest.raises(ManifestError, match=r"points of 1 images lie far outside them: .*3\.png"):
        manifest_of(f"path,x0,y0,x1,y1\n{lines}", FACE, width=200, height=100)


def test_a_thin_class_of_any_target_is_told_with_its_target() -> None:
    lines = "".join(f"{row}.png,{'mf'[row % 2]},{'x' if row == 3 else 'y'}\n" for row in range(20))
    targets = {"sex": SEX_AND_AGE["sex"], "beard": {"kind": "classes", "column": "beard"}}
    with pytest.raises(ManifestError, match="target 'beard': 1 classes have fewer than 3"):
        manifest_of(f"path,sex,beard\n{lines}", targets)
