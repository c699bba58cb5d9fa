"""The project's own configuration."""

import copy
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def _base() -> dict[str, Any]:
    return dict(load("base"))


@pytest.fixture
def shipped(_base: dict[str, Any]) -> dict[str, Any]:
    """All parameters of conf/base; a copy, that a test may change."""
    return copy.deepcopy(_base)


def load(environment: str) -> dict[str, Any]:
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"),
        env=environment,
        base_env="base",
        default_run_env="base",
        merge_strategy={"parameters": "soft"},
    )
    parameters: dict[str, Any] = loader["parameters"]
    return parameters


@pytest.fixture(scope="session")
def shipped_for_tests() -> dict[str, Any]:
    """All parameters as `--env test` has them."""
    return dict(load("test"))
