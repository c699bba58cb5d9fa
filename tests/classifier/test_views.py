import pytest
import torch

from regraft.classifier.views import apply_view, num_views

BY_HAND = {
    0: [[1, 2], [3, 4]],
    1: [[2, 1], [4, 3]],  # mirrored left-right
    2: [[3, 4], [1, 2]],  # upside down
    3: [[4, 3], [2, 1]],  # both: half a turn
    4: [[1, 3], [2, 4]],  # transposed
    5: [[3, 1], [4, 2]],  # a quarter turn clockwise
    6: [[2, 4], [1, 3]],  # a quarter turn back
    7: [[4, 2], [3, 1]],  # transposed over the other diagonal
}


@pytest.mark.parametrize(("view", "expected"), BY_HAND.items())
def test_views_by_hand(view: int, expected: list[list[int]]) -> None:
    images = torch.tensor([[1, 2], [3, 4]])[None, None]
    assert apply_view(images, view)[0, 0].tolist() == expected


def test_views_of_a_set_are_all_different() -> None:
    image = torch.arange(9).reshape(1, 1, 3, 3)
    for views, count in (("identity", 1), ("mirror", 2), ("flips", 4), ("dihedral", 8)):
        assert num_views(views) == count
        assert len({tuple(apply_view(image, view).flatten().tolist()) for view in range(count)}) == count


def test_channels_and_images_stay_apart() -> None:
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    for view in range(8):
        turned = apply_view(images, view)
        for image in range(2):
            for channel in range(3):
                alone = apply_view(images[image : image + 1, channel : channel + 1], view)
                assert torch.equal(turned[image, channel], alone[0, 0])


def test_the_given_images_are_not_changed() -> None:
    images = torch.arange(16).reshape(1, 1, 4, 4)
    before = images.clone()
    for view in range(8):
        apply_view(images, view)
    assert torch.equal(images, before)


def test_oblong_images_can_be_flipped_but_not_turned() -> None:
    images = torch.arange(6).reshape(1, 1, 2, 3)
    assert apply_view(images, 3).flatten().tolist() == [5, 4, 3, 2, 1, 0]
    with pytest.raises(ValueError, match=r"\(2, 3\).*not square"):
        apply_view(images, 4)


@pytest.mark.parametrize("view", [-1, 8])
def test_views_outside_the_eight_are_refused(view: int) -> None:
    with pytest.raises(ValueError, match=r"outside \[0, 8\)"):
        apply_view(torch.zeros(1, 1, 2, 2), view)
