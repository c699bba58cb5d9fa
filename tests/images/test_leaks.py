"""What a given split tears apart."""

import pandas as pd

from regraft.images.leaks import describe_leaks, find_leaks


def make_index(splits: list[str], **columns: list[str | None]) -> pd.DataFrame:
    table: dict[str, object] = {"path": [f"{number}.png" for number in range(len(splits))], "split": splits}
    table |= {name: pd.Series(values, dtype="str") for name, values in columns.items()}
    return pd.DataFrame(table)


def test_each_torn_set_is_named_with_its_members() -> None:
    index = make_index(
        ["train", "test", "train", "val", "train", "train"],
        pixel_sha256=["a", "a", "b", "c", "d", "e"],
        copy_group=[None, None, "copies-2", "copies-2", None, None],
        group=["g", "g", None, None, "h", "h"],
    )
    leaks = find_leaks(index)
    assert [(leak.kin, str(leak)) for leak in leaks] == [
        ("copies of one image", "1.png (test) = 0.png (train)"),
        ("near copies of one image", "2.png (train) = 3.png (val)"),
    ]  # the group of 0 and 1 is the same leak, and is not told twice
    sentence = (
        "the given splits put near copies of one image on two sides (1 times): 2.png (train) = 3.png (val)"
    )
    assert sentence in describe_leaks(leaks)


def test_a_sound_split_has_no_leak() -> None:
    index = make_index(["train", "train", "test"], pixel_sha256=["a", "a", "b"], group=["g", None, "h"])
    assert find_leaks(index) == []
    assert describe_leaks([]) == []
