"""What `conf/` may say: one frozen schema a step, and the check that names every fault at once."""

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.checking import OptionsError, check_parameters
from regraft.options.compute import ComputeOptions
from regraft.options.evaluate import EvaluateOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.register import RegisterOptions
from regraft.options.train_head import TrainHeadOptions

__all__ = [
    "BuildBackboneOptions",
    "ComputeOptions",
    "EvaluateOptions",
    "FineTuneOptions",
    "IngestOptions",
    "NormalizeOptions",
    "OptionsError",
    "RegisterOptions",
    "TrainHeadOptions",
    "check_parameters",
]
