"""A throwaway Kedro project of three nodes with a catalog on disk, run with the tracking hook.

Also a script: `python tracking_sample.py ROOT` runs it in a process of its own.
"""

import json
import socket
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.config import OmegaConfigLoader
from kedro.framework import project
from kedro.framework.context import KedroContext
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.pipeline import Pipeline, node
from kedro.runner import SequentialRunner
from kedro.runner.task import Task

from regraft.adapters.receipts import ReceiptHook
from regraft.adapters.tracking import TrackingHook
from regraft.messages import report_metrics
from regraft.registry.request import RegistrationRequest

TRACKING: dict[str, Any] = {
    "uri": None,
    "experiment": "sample",
    "artifacts": "mlartifacts",
    "registered_model_name": "sample-classifier",
    "tags": {"backbone": "train.backbone"},
    "system_metrics_interval_s": 30,
    "send_interval_s": 0.05,
    "connect_timeout_s": 2,
}
PARAMETERS: dict[str, Any] = {
    "prepare": {"seed": 1},
    "train": {"backbone": "tiny_net", "rates": [0.1, 0.2]},
}
COMPUTE: dict[str, Any] = {"device": "cpu", "precision": "float32", "num_workers": 1, "deterministic": True}
IMAGES = pd.DataFrame(
    {
        "path": ["x/1.png", "y/2.png"],
        "sha256": ["a", "b"],
        "label": ["x", "y"],
        "group": [None, "mono-01"],
        "split": ["val", "test"],
    }
)
WEIGHTS = {"name": "none", "source": "drawn", "sha256": "0" * 64, "licence": "none needed"}
_JSON = "kedro_datasets.json.JSONDataset"
CATALOG: dict[str, Any] = {
    "table": {
        "type": "kedro_datasets.pandas.CSVDataset",
        "filepath": "data/table.csv",
        "metadata": {"mlflow": {"kind": "tags", "tags": {"data_sha256": "sha256, label"}}},
    },
    "report": {"type": _JSON, "filepath": "data/report.json", "metadata": {"mlflow": "artifact"}},
    "history": {
        "type": _JSON,
        "filepath": "data/history.json",
        "metadata": {
            "mlflow": [{"kind": "history", "prefix": "train"}, {"kind": "artifact", "folder": "histories"}]
        },
    },
    "metrics": {
        "type": _JSON,
        "filepath": "data/metrics.json",
        "metadata": {"mlflow": {"kind": "metrics", "tags": {"weights": "weights.name"}}},
    },
}

_REGISTRY = {"type": "regraft.adapters.model_registry.RegisteredModelDataset"}
CATALOG |= {"registered_model": _REGISTRY, "champion_predictions": _REGISTRY}


class Stage:
    """What a test does while the node `train` runs."""

    during_training: Callable[[], None] = staticmethod(lambda: None)


def prepare(parameters: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    seed = parameters["seed"]
    table = pd.DataFrame({"sha256": [f"{seed}{number}" for number in range(3)], "label": ["a", "b", "a"]})
    return table, {"num_images": len(table)}


def train(table: pd.DataFrame, parameters: dict[str, Any]) -> list[dict[str, float]]:
    history = [{"epoch": epoch, "loss": 1 / (epoch + 1)} for epoch in range(3)]
    for row in history:
        report_metrics({"train/loss": row["loss"]}, step=int(row["epoch"]))
    Stage.during_training()
    return history


def evaluate(history: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "test": {"accuracy": {"value": 0.9, "low": 0.8}, "class (a/b)": {"recall": 1}},
        "weights": {"name": "ImageNet", "is_pretrained": True},
        "confusion": [[1, 2], [3, 4]],
    }


WHOLE = Pipeline(
    [
        node(prepare, "params:prepare", ["table", "report"], name="prepare"),
        node(train, ["table", "params:train"], "history", name="train"),
        node(evaluate, "history", "metrics", name="evaluate"),
    ]
)


class Decision:
    """What the node `register` is to register, and what it saw as the champion's predictions."""

    request: RegistrationRequest
    champion: pd.DataFrame | None


def register(history: list[dict[str, float]], champion: pd.DataFrame | None) -> RegistrationRequest:
    Decision.champion = champion
    return Decision.request


REGISTERING = WHOLE + Pipeline(
    [node(register, ["history", "champion_predictions"], "registered_model", name="register")]
)


class SkippingRunner(SequentialRunner):
    """Leaves out nodes whose result is there, as the project's own runner does."""

    def __init__(self, skip: Collection[str]) -> None:
        super().__init__()
        self._skip = skip

    def _run(
        self, pipeline: Pipeline, catalog: Any, hook_manager: Any = None, run_id: str | None = None
    ) -> None:
        for one in pipeline.nodes:
            if one.name not in self._skip:
                Task(
                    node=one, catalog=catalog, is_async=False, hook_manager=hook_manager, run_id=run_id
                ).execute()


def write_project(root: Path) -> None:
    """Configuration files of a Kedro project."""
    files = {"catalog": CATALOG, "parameters": PARAMETERS, "tracking": {"tracking": TRACKING}}
    (root / "conf" / "base").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (root / "conf" / "base" / f"{name}.yml").write_text(json.dumps(content))
    (root / "conf" / "logging.yml").write_text("version: 1")


def run(
    root: Path,
    *node_names: str,
    skip: Collection[str] = (),
    tracking: dict[str, Any] | None = None,
    catalog: dict[str, Any] | None = None,
    whole: Pipeline = WHOLE,
    **parameters: Any,
) -> None:
    """What `KedroSession.run` does, with a hook of its own, as if in a new process.

    Args:
        root: The project's.
        node_names: Only these nodes; all where none is named.
        skip: Nodes that are up to date.
        tracking: Keys of `tracking` to replace.
        catalog: Entries to add.
        whole: The project's default pipeline.
        parameters: Keys of `params:train` to replace.
    """
    manager = _create_hook_manager()
    manager.register(TrackingHook())
    manager.register(ReceiptHook())
    loader = OmegaConfigLoader(
        str(root / "conf"),
        base_env="base",
        default_run_env="base",
        config_patterns={"tracking": ["tracking*"]},
    )
    loader["tracking"] = {"tracking": TRACKING | (tracking or {})}
    loader["parameters"] = PARAMETERS | {"train": PARAMETERS["train"] | parameters}
    if whole is REGISTERING:  # the receipt says where it was computed
        loader["parameters"]["compute"] = COMPUTE
    loader["catalog"] = {name: dict(entry) for name, entry in (CATALOG | (catalog or {})).items()}
    context = KedroContext(
        package_name="sample", project_path=root, config_loader=loader, env=None, hook_manager=manager
    )
    project.pipelines.configure(None)
    project.pipelines["__default__"] = whole
    manager.hook.after_context_created(context=context)
    part = whole.only_nodes(*node_names) if node_names else whole
    run_params: dict[str, Any] = {}
    data = context.catalog
    manager.hook.before_pipeline_run(run_params=run_params, pipeline=part, catalog=data)
    try:
        result = SkippingRunner(skip).run(part, data, hook_manager=manager, run_id="now")
    except Exception as error:
        manager.hook.on_pipeline_error(error=error, run_params=run_params, pipeline=part, catalog=data)
        raise
    manager.hook.after_pipeline_run(run_params=run_params, run_result=result, pipeline=part, catalog=data)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


if __name__ == "__main__":
    if "--skip" in sys.argv:
        run(Path(sys.argv[1]), skip=["prepare", "train", "evaluate"])
        print(sorted({"mlflow", "torch"} & set(sys.modules)))
    else:
        Stage.during_training = staticmethod(lambda: (print("training", flush=True), time.sleep(60)))
        run(Path(sys.argv[1]))
