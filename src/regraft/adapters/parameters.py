"""Checks the whole configuration before a pipeline starts, and what of it this machine cannot do.

Knows Kedro's context; the schemas are `options`.
"""

from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl

from regraft.options.checking import check_parameters, check_steps
from regraft.options.compute import ComputeOptions

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.pipeline import Pipeline


class ParametersHook:
    """Stops a run with a typo in its first second."""

    def __init__(self) -> None:
        self._parameters: dict[str, Any] = {}

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: "KedroContext") -> None:
        """Check every parameter, those of steps that will not run too.

        Raises:
            OptionsError: Naming every fault.
        """
        parameters = context.config_loader["parameters"]
        check_parameters(parameters)
        self._parameters = parameters
        context.config_loader["parameters"] = parameters  # a dozen files, else read anew each time one asks
        device = ComputeOptions.model_validate(parameters["compute"]).device
        if device not in ("auto", "cpu"):
            from regraft.training.reproducibility import choose_device

            choose_device(device)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: "Pipeline") -> None:
        """Check that its steps go with the parameters.

        Raises:
            OptionsError: Naming every step that does not.
        """
        check_steps(self._parameters, {tag for node in pipeline.nodes for tag in node.tags})
