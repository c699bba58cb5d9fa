"""Groups told from names, folders, cameras and sequences, and only where the pixels agree."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.images.groups import join_groups, suggest_groups
from regraft.images.thumbnails import make_thumbnail

Draw = Callable[..., Image.Image]


def make_index(paths: list[str], **columns: list[str | None]) -> pd.DataFrame:
    table: dict[str, object] = {"path": paths, "label": [path.split("/")[0] for path in paths]}
    for name in ("camera", "taken_at"):
        table[name] = pd.Series(columns.get(name, [None] * len(paths)), dtype="str")
    return pd.DataFrame(table)


def frames_of(draw: Draw, scenes: list[int]) -> np.ndarray:
    """A frame for each number of a scene: the scene with a little noise, seen from a slightly other place."""
    generator = np.random.default_rng(0)
    squares = []
    for scene in scenes:
        left, top = generator.integers(0, 12, 2)
        image = draw(scene).crop((left, top, left + 140, top + 105))
        squares.append(make_thumbnail(image))
    return np.stack(squares)


CLIPS = [(person, clip, frame) for person in range(12) for clip in range(2) for frame in range(3)]


@pytest.mark.parametrize("name", ["p{:02d}_{:d}_frame{:03d}", "p{:02d}-{:d}{:d}", "p{:02d} {:d} ({:d})"])
def test_clips_are_told_from_file_names(name: str, draw_picture: Draw) -> None:
    paths = [
        f"{'ab'[person % 2]}/{name.format(person, clip, frame).rstrip(')')}.jpg"
        for person, clip, frame in CLIPS
    ]
    thumbnails = frames_of(draw_picture, [2 * person + clip for person, clip, _ in CLIPS])
    clips = [(person, clip) for person, clip, _ in CLIPS]
    for suggestion in suggest_groups(make_index(paths), thumbnails):
        told = pd.factorize(pd.Series(suggestion.groups))[0]
        if (told == pd.factorize(pd.Series(clips))[0]).all():
            assert suggestion.kind == "name"
            assert suggestion.is_supported
            assert suggestion.similarity is not None
            assert suggestion.similarity > 0.9
            assert suggestion.as_dict()["num_groups"] == 24
            return
    pytest.fail("no suggestion is the clips")


def test_names_that_the_pixels_do_not_bear_out_are_not_supported(draw_picture: Draw) -> None:
    paths = [f"a/p{person:02d}_{number}.jpg" for person in range(20) for number in range(5)]
    thumbnails = frames_of(draw_picture, list(range(100)))
    suggestions = suggest_groups(make_index(paths), thumbnails)
    assert suggestions
    assert not any(suggestion.is_supported for suggestion in suggestions)
    assert set(join_groups(suggestions, 100)) == {None}


@pytest.mark.parametrize("pattern", ["img_{:04d}", "DSC{:05d}", "{:d}", "cell{:04d}"])
def test_a_running_number_is_no_group(pattern: str, draw_picture: Draw) -> None:
    paths = [f"a/{pattern.format(number)}.jpg" for number in range(200)]
    assert suggest_groups(make_index(paths), frames_of(draw_picture, list(range(200)))) == []


def test_folders_below_the_class_are_groups_across_classes(draw_picture: Draw) -> None:
    rows = [(label, farm, number) for label in "ab" for farm in range(5) for number in range(4)]
    paths = [f"{label}/farm{farm}/{label}{'xyzw'[number]}.jpg" for label, farm, number in rows]
    thumbnails = frames_of(draw_picture, [farm for _, farm, _ in rows])
    suggestions = suggest_groups(make_index(paths), thumbnails)
    (suggestion,) = [one for one in suggestions if one.kind == "folder"]
    assert suggestion.is_supported
    assert list(suggestion.groups) == [f"farm{farm}" for _, farm, _ in rows]


def test_shots_of_one_camera_within_seconds_are_a_burst(draw_picture: Draw) -> None:
    paths = [f"a/{letter}{other}.jpg" for letter in "abcdef" for other in "xyz"]
    times = [f"2024-05-31T12:{minute:02d}:{second:02d}" for minute in range(6) for second in (0, 8, 16)]
    index = make_index(paths, camera=["Foo"] * 18, taken_at=times)
    (suggestion,) = [one for one in suggest_groups(index, frames_of(draw_picture, [n // 3 for n in range(18)]))
                     if one.kind == "capture"]  # fmt: skip
    assert suggestion.is_supported
    assert pd.factorize(pd.Series(suggestion.groups))[0].tolist() == [number // 3 for number in range(18)]
    others = index.assign(camera=["Foo", "Bar", "Baz"] * 6)
    assert not [one for one in suggest_groups(others, frames_of(draw_picture, list(range(18))))
                if one.kind == "capture"]  # fmt: skip


def test_groups_that_overlap_are_joined(draw_picture: Draw) -> None:
    paths = [f"{'ab'[person % 2]}/p{person:02d}_{clip}_{frame}.jpg" for person, clip, frame in CLIPS]
    thumbnails = frames_of(draw_picture, [person for person, _, _ in CLIPS])
    joined = join_groups(suggest_groups(make_index(paths), thumbnails), len(paths))
    assert pd.factorize(pd.Series(joined))[0].tolist() == [person for person, _, _ in CLIPS]
