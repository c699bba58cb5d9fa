import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regraft.backbones.backbone import Backbone, tensor_digest
from regraft.classifier.classifier import normalize_pixels
from regraft.classifier.views import ViewSet, apply_view
from regraft.images.preprocessing import Preprocessing
from regraft.training.border import BorderInputs, border_inputs, draw_views
from regraft.training.reproducibility import Compute

BORDER = "blocks.1"


@dataclasses.dataclass(frozen=True)
class Case:
    """What border inputs are computed from."""

    backbone: Backbone
    border: str | None
    pixels: np.ndarray
    preprocessing: Preprocessing
    compute: Compute
    views: ViewSet = "identity"
    batch_size: int = 4
    views_per_image: int | None = None

    def inputs(self, store: Any) -> BorderInputs:
        return border_inputs(
            self.backbone,
            self.border,
            self.pixels,
            self.preprocessing,
            views=self.views,
            views_per_image=self.views_per_image,
            batch_size=self.batch_size,
            compute=self.compute,
            store=store,
        )

    def uncached(self, row: int, view: int) -> Tensor:
        with torch.inference_mode():
            image = normalize_pixels(torch.from_numpy(self.pixels[row : row + 1]), self.preprocessing)
            image = apply_view(image, view)
            return image if self.border is None else self.backbone.forward_range(image, None, self.border)


@pytest.fixture
def case(
    make_backbone: Callable[..., Backbone],
    draw_shapes: Callable,
    preprocessing: Preprocessing,
    compute: Compute,
) -> Case:
    return Case(make_backbone(), BORDER, draw_shapes(7)[0], preprocessing, compute)


@pytest.mark.parametrize("border", [None, "stem", BORDER, "blocks.2"])
def test_kept_activations_are_those_of_a_forward_pass(case: Case, store: Any, border: str | None) -> None:
    case = dataclasses.replace(case, border=border, views="dihedral")
    rows, views = np.array([6, 0, 3, 3, 5, 1, 2, 4]), np.array([0, 1, 2, 3, 4, 5, 6, 7])
    batch = case.inputs(store).batch(rows, views)
    expected = torch.cat([case.uncached(row, view) for row, view in zip(rows, views, strict=True)])
    # 1e-5: convolutions of float32 over batches of another size
    torch.testing.assert_close(batch, expected, rtol=0, atol=1e-5)
    assert batch.dtype is torch.float32
    assert store.num_computed == (0 if border is None else 8)


@pytest.mark.parametrize("border", [None, BORDER])
def test_fewer_views_of_each_image_are_kept(case: Case, store: Any, border: str | None) -> None:
    case = dataclasses.replace(case, border=border, views="dihedral", views_per_image=3)
    inputs = case.inputs(store)
    assert inputs.num_views == (8 if border is None else 3)  # where nothing is kept, none is left out
    assert store.num_computed == (0 if border is None else 3)
    shown = draw_views(7, "dihedral", None if border is None else 3, seed=0)
    rows = np.arange(7)
    for place in range(inputs.num_views):
        batch = inputs.batch(rows, np.full(7, place))
        expected = torch.cat([case.uncached(row, shown[row, place]) for row in rows])
        torch.testing.assert_close(batch, expected, rtol=0, atol=1e-5)
        assert np.array_equal(inputs.shown(rows, np.full(7, place)), shown[:, place])
    if border is not None:
        dataclasses.replace(case, views="identity").inputs(store)
        assert store.num_computed == 3  # the images as they are were among them


def test_views_are_drawn_for_each_image() -> None:
    shown = draw_views(200, "dihedral", 3, seed=0)
    assert shown.shape == (200, 3)
    assert (shown[:, 0] == 0).all()
    assert all(len(set(views)) == 3 for views in shown.tolist())
    assert set(shown[:, 1:].ravel().tolist()) == set(range(1, 8))
    assert np.array_equal(shown, draw_views(200, "dihedral", 3, seed=0))
    assert not np.array_equal(shown, draw_views(200, "dihedral", 3, seed=1))
    for per_image in (None, 8, 9):
        assert draw_views(2, "dihedral", per_image, seed=0).tolist() == [list(range(8))] * 2
    assert draw_views(2, "identity", 2, seed=0).tolist() == [[0], [0]]


def test_a_full_pass_goes_through_the_border(case: Case, store: Any) -> None:
    rows = np.arange(4)
    with torch.inference_mode():
        images = normalize_pixels(torch.from_numpy(case.pixels[:4]), case.preprocessing)
        whole = case.backbone(images)
        from_border = case.backbone.forward_range(case.inputs(store).batch(rows, 0 * rows), "blocks.2", None)
    # 1e-4 of its spread: the frozen part runs with its norms folded in
    torch.testing.assert_close(from_border, whole, rtol=0, atol=1e-4 * float(whole.std()))


def test_what_is_kept_is_not_computed_again(case: Case, store: Any) -> None:
    first = case.inputs(store).batch(np.arange(7), np.zeros(7, dtype=int))
    again = case.inputs(store).batch(np.arange(7), np.zeros(7, dtype=int))
    assert torch.equal(first, again)
    assert store.num_computed == 1
    dataclasses.replace(case, views="flips").inputs(store)
    assert store.num_computed == 4  # three views more


def test_kept_arrays_may_be_read_only(case: Case, store: Any) -> None:
    case.inputs(store)
    for array in store.arrays.values():
        array.flags.writeable = False
    batch = case.inputs(store).batch(np.array([0]), np.array([0]))
    batch.zero_()
    assert all(array.any() for array in store.arrays.values())


def with_a_bit_changed(backbone: Backbone, stage: str, name: str) -> Backbone:
    import copy

    changed = copy.deepcopy(backbone)
    tensors = dict(changed.stages[stage].named_parameters()) | dict(changed.stages[stage].named_buffers())
    (found,) = [tensor for key, tensor in tensors.items() if key == name]
    with torch.no_grad():
        found.view(-1)[0] = torch.nextafter(found.view(-1)[0], torch.tensor(10.0))
    return changed


def test_another_key_for_whatever_changes_the_result(case: Case, store: Any) -> None:
    pixels = case.pixels.copy()
    pixels[3, 5, 5, 1] ^= 1
    mean = (*case.preprocessing.mean[:2], 0.3001)
    std = (0.2501, *case.preprocessing.std[1:])
    names = dict(case.backbone.stages["blocks.0"].named_buffers())
    changes: dict[str, dict[str, Any]] = {
        "a weight": {"backbone": with_a_bit_changed(case.backbone, "blocks.0", "0.conv_dw.weight")},
        "a buffer": {
            "backbone": with_a_bit_changed(
                case.backbone, "blocks.0", next(name for name in names if name.endswith("running_mean"))
            )
        },
        "a pixel": {"pixels": pixels},
        "fewer images": {"pixels": case.pixels[:6]},
        "their order": {"pixels": case.pixels[::-1].copy()},
        "mean": {"preprocessing": case.preprocessing.model_copy(update={"mean": mean})},
        "std": {"preprocessing": case.preprocessing.model_copy(update={"std": std})},
        "border": {"border": "blocks.0"},
        "precision": {"compute": dataclasses.replace(case.compute, fast_dtype=torch.bfloat16)},
        "batch size, which changes the last bits": {"batch_size": 3},
    }
    case.inputs(store)
    for number, (what, change) in enumerate(changes.items(), start=2):
        dataclasses.replace(case, **change).inputs(store)
        assert store.num_computed == number, f"stale: {what} has changed"


def test_what_does_not_change_the_result_keeps_the_key(case: Case, store: Any) -> None:
    case.inputs(store)
    trained = with_a_bit_changed(case.backbone, "blocks.2", "0.conv_dw.weight")
    for change in (
        {"backbone": trained},
        {"compute": dataclasses.replace(case.compute, num_streams=2, deterministic=False)},
        {"pixels": np.asfortranarray(case.pixels)},
    ):
        dataclasses.replace(case, **change).inputs(store)
    assert store.num_computed == 1


def test_streams_do_not_change_a_bit(case: Case, store: Any) -> None:
    case.inputs(store)
    (first,) = store.arrays.values()
    store.arrays.clear()
    dataclasses.replace(case, compute=dataclasses.replace(case.compute, num_streams=2)).inputs(store)
    (again,) = store.arrays.values()
    assert np.array_equal(first, again)


def test_bfloat16_is_kept_as_its_bits(case: Case, store: Any) -> None:
    half = dataclasses.replace(case, compute=dataclasses.replace(case.compute, fast_dtype=torch.bfloat16))
    rows = np.arange(4)
    batch = half.inputs(store).batch(rows, 0 * rows)
    (kept,) = store.arrays.values()
    assert kept.dtype == np.int16
    assert batch.dtype is torch.float32
    assert torch.equal(batch, batch.bfloat16().float())
    exact = case.inputs(store).batch(rows, 0 * rows)
    # bfloat16 has 8 bits: within a few per cent of the spread, yet not the same
    assert 0 < (batch - exact).abs().max() < 0.1 * exact.std()


def test_the_given_backbone_is_not_changed(case: Case, store: Any) -> None:
    before = tensor_digest(case.backbone)
    dataclasses.replace(case, compute=dataclasses.replace(case.compute, fast_dtype=torch.bfloat16)).inputs(
        store
    )
    assert tensor_digest(case.backbone) == before
