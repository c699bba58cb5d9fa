from typing import Any

import pytest
import torch
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline, node

from regraft.adapters.parameters import ParametersHook
from regraft.options.checking import OptionsError


class Context:
    """As much of Kedro's context as the hook reads."""

    def __init__(self, **changes: Any) -> None:
        self.config_loader = OmegaConfigLoader(
            "conf", base_env="base", default_run_env="base", merge_strategy={"parameters": "soft"}
        )
        parameters = self.config_loader["parameters"]
        for step, values in changes.items():
            parameters[step] = parameters.get(step, {}) | values
        self.config_loader["parameters"] = parameters


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    from pathlib import Path

    monkeypatch.chdir(Path(__file__).parents[2])


def test_shipped_configuration_passes() -> None:
    ParametersHook().after_context_created(Context(compute={"device": "cpu"}))


def test_the_files_are_read_once() -> None:
    context = Context()
    del context.config_loader["parameters"]  # and the next who asks has them read
    ParametersHook().after_context_created(context)
    assert context.config_loader["parameters"] is context.config_loader["parameters"]


def test_a_typo_in_any_step_stops_the_run_whatever_is_run() -> None:
    with pytest.raises(OptionsError, match="register: unknown key 'requir'; did you mean 'require'"):
        ParametersHook().after_context_created(Context(register={"requir": "better"}))


def test_a_device_that_is_not_there_stops_the_run_before_it_starts() -> None:
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(ValueError, match=rf"compute.device is '{missing}', which this machine does not have"):
        ParametersHook().after_context_created(Context(compute={"device": missing}))


def test_a_step_that_knows_one_label_does_not_run_with_several_targets() -> None:
    source = {
        "kind": "csv",
        "path": "list.csv",
        "targets": {"age": {"kind": "number", "column": "age"}},
    }
    audit = Pipeline([node(len, "features", "label_audit", name="audit", tags="audit")])
    hook = ParametersHook()
    hook.after_context_created(Context(ingest={"source": source}))
    with pytest.raises(
        OptionsError, match=r"the step 'audit' knows one label; ingest\.source\.targets names age"
    ):
        hook.before_pipeline_run(audit)
    hook.before_pipeline_run(Pipeline([node(len, "features", "head", name="fit", tags="train_head")]))
    hook.after_context_created(Context())
    hook.before_pipeline_run(audit)
