"""Kedro's settings of this project.

Knows hooks and the config loader, nothing else.
"""

import os

# Nothing is ever posted: set before the libraries that would are imported.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("KEDRO_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# PyTorch's large blocks of memory come in pages of 2 MB, where Linux has them: a pass that writes 20 MB otherwise waits
# for 5,000 page faults. PyTorch reads it once, before its first tensor.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

from regraft.adapters.parameters import ParametersHook
from regraft.adapters.receipts import ReceiptHook
from regraft.adapters.run_guard import RunGuardHook
from regraft.adapters.terminal import TERMINAL
from regraft.adapters.tracking import TrackingHook

HOOKS = (ParametersHook(), RunGuardHook(), TrackingHook(), ReceiptHook(), TERMINAL)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "tracking": "soft"},
    "config_patterns": {"tracking": ["tracking*", "tracking*/**"]},
}
