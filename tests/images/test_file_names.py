"""What names say by themselves."""

from pathlib import Path

import pytest

from regraft.images.file_names import contradicts_suffix, find_alike, find_links_out


@pytest.mark.parametrize(
    ("path", "format", "suffix"),
    [
        ("a/1.JPG", "JPEG", None),
        ("a/1.jpeg", "MPO", None),
        ("a/1.png", "JPEG", ".png"),
        ("a/1", "JPEG", None),
        ("a/1.dat", "JPEG", None),
        ("a.png/1", "JPEG", None),
    ],
)
def test_a_suffix_of_another_format_is_told(path: str, format: str, suffix: str | None) -> None:
    assert contradicts_suffix(path, format) == suffix


def test_names_that_one_file_system_takes_for_one_are_found() -> None:
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    names = ["b.png", "A.jpg", "a.JPG", "a.jpg", composed, decomposed, "STRASSE.png", "stra\u00dfe.png"]
    assert find_alike(names) == [
        ["A.jpg", "a.JPG", "a.jpg"],
        ["STRASSE.png", "stra\u00dfe.png"],
        [decomposed, composed],
    ]


def test_links_out_of_the_common_folder_are_found_and_those_within_are_not(project: Path) -> None:
    for path in ("x/a/1.png", "x/b/2.png", "out/3.png", "xx/4.png"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()
    Path("x/a/in.png").symlink_to("../b/2.png")
    Path("x/a/out.png").symlink_to("../../xx/4.png")
    Path("x/c").symlink_to("../out")
    paths = ["x/a/1.png", "x/a/in.png", "x/a/out.png", "x/b/2.png", "x/c/3.png"]
    assert find_links_out(paths) == ["x/a/out.png", "x/c/3.png"]
    Path("y").symlink_to("x")
    assert find_links_out([path.replace("x/", "y/", 1) for path in paths]) == ["y/a/out.png", "y/c/3.png"]
    absolute = [Path(paths[0]).absolute().as_posix(), *paths[1:]]
    assert find_links_out(absolute) == ["x/a/out.png", "x/c/3.png"]
    assert find_links_out(paths[:1]) == []
