"""regraft as in `with_regraft.py`, but for its frozen part, which OpenVINO runs: `pip install 'regraft[openvino]'`."""

from functools import partial

import openvino  # noqa: F401  (start-up, as there)
from contender import run_contender
from with_regraft import torch, train

if __name__ == "__main__":
    torch.set_num_threads(1)
    run_contender(partial(train, engine="openvino"), "torch", "timm", "kedro", "mlflow", "openvino")
