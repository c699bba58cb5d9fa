"""Wording of faults."""

from regraft.images.faults import join_faults, show_first, suggest_near


def test_long_lists_are_cut_and_counted() -> None:
    assert show_first(["a", "b"]) == "a, b"
    assert show_first([str(number) for number in range(8)]) == "0, 1, 2, 3, 4 and 3 more"


def test_near_names_are_offered_and_far_ones_not() -> None:
    assert suggest_near("trian", ["train", "val"]) == " Did you mean 'train'?"
    assert suggest_near("xyz", ["train", "val"]) == ""


def test_several_faults_stand_under_each_other() -> None:
    assert join_faults(["one"]) == "one"
    assert join_faults(["one", "two"]) == "2 faults:\n- one\n- two"
