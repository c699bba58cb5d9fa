"""A receipt of a small imagined model, any part of it replaced."""

from collections.abc import Callable
from typing import Any

import pytest

from regraft.registry.receipt import Code, Receipt, Result, Weights


def digest(digit: str) -> str:
    return digit * 64


@pytest.fixture(scope="session")
def make_receipt() -> Callable[..., Receipt]:
    def make(**changes: Any) -> Receipt:
        parts: dict[str, Any] = {
            "code": Code(
                commit="c0ffee" * 6 + "c0ff",
                changed=(),
                diff_sha256=None,
                files={"regraft/a.py": digest("1"), "regraft/b.py": digest("2")},
            ),
            "lock_sha256": digest("3"),
            "parameters": {"fine_tune": {"rate": 0.1, "seed": 0}, "compute": {"device": "auto"}},
            "seeds": {"fine_tune.seed": 0},
            "data_sha256": digest("4"),
            "num_images": 2,
            "external": {"data/mine": digest("5")},
            "weights": Weights(name="ImageNet", source="a package", sha256=digest("6"), licence="MIT"),
            "machine": {"cpu": "Fast", "cpu_flags": ["amx_bf16", "avx2"], "precision": "bfloat16"},
            "versions": {"torch": "2.14.1", "click": "8.2"},
            "files": {"data/index": digest("7"), "data/pixels": digest("8"), "data/head": digest("9")},
            "unverified": (),
            "result": Result(
                model="probe",
                classifier_sha256=digest("a"),
                predictions_sha256=digest("b"),
                metrics={"test/accuracy": 0.75, "test/accuracy/low": 0.5, "val/accuracy": 1.0},
            ),
        }
        return Receipt(**(parts | changes))

    return make
