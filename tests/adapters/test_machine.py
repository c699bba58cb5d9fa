from importlib.metadata import version

import pytest

from regraft.adapters.machine import describe_machine, installed_versions
from regraft.options.compute import ComputeOptions


def options(precision: str) -> ComputeOptions:
    return ComputeOptions.model_validate(
        {"device": "cpu", "precision": precision, "num_workers": None, "deterministic": True}
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_device_and_precision_are_what_compute_means_here(precision: str) -> None:
    machine = describe_machine(options(precision))
    assert (machine["device"], machine["precision"]) == ("cpu", precision)
    assert machine["gpu"] is None
    assert machine["num_cores"] >= 1


def test_a_variable_that_changes_sums_is_noted_where_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert "ONEDNN_MAX_CPU_ISA" not in describe_machine(options("float32"))
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert describe_machine(options("float32"))["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_versions_are_those_installed_and_begin_with_what_computes() -> None:
    versions = installed_versions()
    assert versions["torch"] == version("torch")
    assert versions["kedro-datasets"] == version("kedro-datasets")
    names = list(versions)
    assert names.index("torchvision") < names.index("click")
    assert "regraft" not in versions
