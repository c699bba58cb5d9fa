"""From files to sets of copies, and what is told of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from regraft.images.index import index_images
from regraft.images.manifest import ManifestError
from regraft.images.related import relate_images, report_leaks
from regraft.images.sources import FolderSource, list_images
from regraft.images.splits import SplitOptions, assign_splits

Draw = Callable[..., Image.Image]


@pytest.fixture
def folder(project: Path, draw_picture: Draw) -> Path:
    """30 pictures; of a/0 a flipped copy among b's, of a/1 a smaller JPEG and its exact copy."""
    for label in "ab":
        (project / "x" / label).mkdir(parents=True)
        for number in range(15):
            draw_picture(100 * "ab".index(label) + number).save(f"x/{label}/{number}.png")
    flipped = draw_picture(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT).crop((4, 0, 160, 116))
    flipped.save("x/b/flipped.png")
    small = draw_picture(1).resize((80, 60))
    small.save("x/a/small.jpg", quality=80)
    with Image.open("x/a/small.jpg") as image:
        image.save("x/a/small-again.png")
    return Path("x")


def relate(folder: Path, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    index, _, thumbnails = index_images(
        list_images(FolderSource(path=folder)),
        max_unreadable_fraction=0,
        exclude=(),
        on_progress=lambda *_: None,
    )
    return relate_images(index, thumbnails, **{"near_copies": "keep_together", "groups": "skip", **changes})


def test_copies_are_named_with_what_was_done_to_them(folder: Path) -> None:
    related, found = relate(folder)
    pairs = {tuple(pair["paths"]): pair for pair in found["near_copy_pairs"]}
    assert set(pairs) == {("x/a/0.png", "x/b/flipped.png"), ("x/a/1.png", "x/a/small-again.png")}
    assert pairs["x/a/0.png", "x/b/flipped.png"]["changes"] == ["flipped left to right", "cropped"]
    assert pairs["x/a/1.png", "x/a/small-again.png"]["changes"] == ["resized"]
    (conflict,) = found["near_copies_with_two_labels"]
    assert conflict["labels"] == ["a", "b"]
    sets = related.dropna(subset="copy_group").groupby("copy_group")["path"].apply(sorted).tolist()
    assert sets == [["x/a/0.png", "x/b/flipped.png"], ["x/a/1.png", "x/a/small-again.png", "x/a/small.jpg"]]
    assert found["near_copies"]["num_sets"] == 2
    json.dumps(found)


def test_policies_report_without_keeping_together_or_do_not_look(folder: Path) -> None:
    related, found = relate(folder, near_copies="report")
    assert related["copy_group"].isna().all()
    assert len(found["near_copy_pairs"]) == 2
    related, found = relate(folder, near_copies="skip")
    assert related["copy_group"].isna().all()
    assert "near_copies" not in found


def test_no_split_parts_near_copies(folder: Path) -> None:
    related, _ = relate(folder)
    for seed in range(20):
        options = SplitOptions(kind="random", val_fraction=0.3, test_fraction=0.3, seed=seed)
        splits = assign_splits(related, options)
        assert splits.groupby(related["copy_group"]).nunique().max() == 1


def test_a_given_split_that_leaks_stops_the_run_or_is_told_first(folder: Path) -> None:
    related, _ = relate(folder)
    related["split"] = ["test" if "/b/" in path else "train" for path in related["path"]]
    given = {"kind": "given", "val_fraction": 0.3, "test_fraction": 0.3, "seed": 0}
    torn = (
        r"near copies of one image on two sides \(1 times\): x/b/flipped.png \(test\) = x/a/0.png \(train\)"
    )
    with pytest.raises(ManifestError, match=torn):
        assign_splits(related, SplitOptions(**given))
    splits = assign_splits(related, SplitOptions(**given, on_leak="report"))
    assert splits.tolist() == related["split"].tolist()
    report = report_leaks(related)
    assert next(iter(report)) == "warnings"
    assert report["warnings"][0].startswith(
        "Leak: the given splits put near copies of one image on two sides"
    )
    assert report["leaks"] == [
        {"related_as": "near copies of one image", "images": "x/b/flipped.png (test) = x/a/0.png (train)"}
    ]


def test_inferred_groups_are_used_only_if_asked_for_and_where_there_are_none(
    project: Path, draw_picture: Draw
) -> None:
    for scene in range(12):
        for shot in range(3):
            path = project / "x" / "ab"[scene % 2] / f"s{scene:02d}_{shot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_picture(scene).crop((6 * shot, 0, 130 + 6 * shot, 100)).save(path)
    suggested, found = relate(Path("x"), groups="suggest", near_copies="skip")
    assert suggested["group"].isna().all()
    assert any(one["is_supported"] and one["num_groups"] == 12 for one in found["suggested_groups"])
    used, found = relate(Path("x"), groups="use", near_copies="skip")
    assert used["group"].nunique() == 12
    assert found["num_images_in_inferred_groups"] == 36
    scenes = used["path"].str.extract(r"(s\d\d)")[0]
    assert used.groupby(scenes)["group"].nunique().max() == 1
