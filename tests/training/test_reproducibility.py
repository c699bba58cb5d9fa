import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from regraft.training.reproducibility import (
    Compute,
    choose_device,
    choose_fast_dtype,
    generator_for,
    map_streams,
    numpy_generator,
    reproducible,
    seed_for,
)


def global_state() -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.backends.cudnn.benchmark,
        torch.get_rng_state().tolist(),
    )


def with_streams(num_streams: int, *, deterministic: bool = True) -> Compute:
    return Compute(torch.device("cpu"), torch.float32, num_streams, deterministic)


@pytest.mark.parametrize("deterministic", [True, False])
def test_global_state_is_put_back(deterministic: bool) -> None:
    torch.set_num_threads(2)
    before = global_state()
    with reproducible(with_streams(1, deterministic=deterministic)):
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.benchmark == (not deterministic)
        torch.rand(3)
    assert global_state() == before


def test_global_state_is_put_back_after_an_error() -> None:
    torch.set_num_threads(2)
    before = global_state()
    with pytest.raises(ZeroDivisionError), reproducible(with_streams(1)):
        torch.rand(1 // 0)
    assert global_state() == before


def test_what_was_drawn_before_does_not_reach_inside() -> None:
    drawn = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with reproducible(with_streams(1)):
            drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]


def test_deterministic_refuses_what_has_no_deterministic_form() -> None:
    images = torch.rand(1, 1, 4, 4, 4, requires_grad=True)
    pooled = torch.nn.functional.max_unpool3d
    indices = torch.zeros(1, 1, 4, 4, 4, dtype=torch.int64)
    with reproducible(with_streams(1)), pytest.raises(RuntimeError, match="deterministic"):
        pooled(images, indices, 1)


@pytest.mark.parametrize("num_streams", [1, 2, 5])
def test_results_come_in_order_for_any_number_of_streams(num_streams: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    results = map_streams(slow_first, range(7), compute=with_streams(num_streams))
    assert list(results) == [0, 1, 4, 9, 16, 25, 36]


@pytest.mark.parametrize("num_streams", [1, 2])
def test_each_stream_computes_with_one_thread(num_streams: int) -> None:
    torch.set_num_threads(2)
    seen = list(map_streams(lambda _: torch.get_num_threads(), range(6), compute=with_streams(num_streams)))
    assert seen == [1] * 6
    assert torch.get_num_threads() == 2


def test_two_streams_are_under_way_at_once() -> None:
    meeting = threading.Barrier(2, timeout=60)
    assert sorted(map_streams(lambda _: meeting.wait(), range(2), compute=with_streams(2))) == [0, 1]


@pytest.mark.parametrize("num_streams", [1, 2])
def test_an_error_in_a_stream_is_raised_and_threads_put_back(num_streams: int) -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        list(map_streams(lambda item: 1 // item, range(3), compute=with_streams(num_streams)))
    assert torch.get_num_threads() == 2


def test_no_items_give_no_results() -> None:
    assert list(map_streams(abs, [], compute=with_streams(2))) == []


def test_generators_depend_on_seed_and_keys_alone() -> None:
    def draws(seed: int, *keys: int | str) -> tuple[float, float]:
        return (
            torch.rand(1, generator=generator_for(seed, *keys)).item(),
            numpy_generator(seed, *keys).random(),
        )

    before = torch.get_rng_state()
    first = draws(0, "fine_tune", 3)
    torch.manual_seed(5)
    np.random.seed(5)
    assert draws(0, "fine_tune", 3) == first
    others = [draws(1, "fine_tune", 3), draws(0, "fine_tune", 4), draws(0, "head", 3), draws(0)]
    assert len({first, *others}) == 5
    torch.set_rng_state(before)


def test_keys_do_not_run_together() -> None:
    assert seed_for(0, 1, 23) != seed_for(0, 12, 3)
    assert seed_for(0, "1") != seed_for(0, 1)
    assert all(0 <= seed_for(seed) < 2**63 for seed in range(100))


def test_a_device_that_is_not_there_is_refused() -> None:
    missing = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(ValueError, match=rf"compute.device is '{missing}'.*it has: .*cpu.*auto"):
        choose_device(missing)


def test_auto_takes_a_device_that_is_there() -> None:
    assert torch.zeros(1, device=choose_device("auto")).item() == 0
    assert choose_device("cpu") == torch.device("cpu")


def test_precision_asked_for_is_taken() -> None:
    cpu = torch.device("cpu")
    assert choose_fast_dtype("float32", cpu) is torch.float32
    assert choose_fast_dtype("bfloat16", cpu) is torch.bfloat16
    assert choose_fast_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    assert choose_fast_dtype("auto", torch.device("mps")) is torch.float32


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "amx_bf16": False, "avx512_bf16": False}, torch.float32),
        ({"avx2": True}, torch.float32),
    ],
)
def test_auto_takes_bfloat16_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert choose_fast_dtype("auto", torch.device("cpu")) is dtype


@pytest.mark.parametrize(
    ("device", "wanted", "size", "images"),
    [
        ("cpu", "auto", 224, 8),
        ("cpu", "auto", 128, 24),  # not a pixel more than 8 of 224
        ("cpu", "auto", 299, 4),
        ("cpu", "auto", 32, 64),
        ("cpu", "auto", 4096, 1),
        ("cuda", "auto", 224, 128),
        ("cuda", "auto", 64, 1024),
        ("cpu", 5, 224, 5),
    ],
)
def test_a_pass_takes_as_many_images_as_told_or_as_have_so_many_pixels(
    device: str, wanted: Any, size: int, images: int
) -> None:
    compute = Compute(torch.device(device), torch.float32, num_streams=1, deterministic=True)
    assert compute.images_a_pass(wanted, size=size) == images
