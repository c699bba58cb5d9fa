import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from regraft.backbones.spec import InputContract
from regraft.backbones.stage_choice import parse_unfreeze
from regraft.heads.layers import LinearLayers, MlpLayers
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.checking import SCHEMAS
from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.training.linear_probe import SolverSettings
from regraft.training.mlp_head import MlpSettings


@pytest.mark.parametrize("step", SCHEMAS)
def test_options_are_frozen_closed_and_survive_json(shipped: dict[str, Any], step: str) -> None:
    options = SCHEMAS[step].model_validate(shipped[step])
    with pytest.raises(ValidationError, match="frozen"):
        options.seed = 1
    with pytest.raises(ValidationError, match="extra_forbidden"):
        SCHEMAS[step].model_validate(shipped[step] | {"one_more": 1})
    assert SCHEMAS[step].model_validate_json(options.model_dump_json()) == options


@pytest.mark.parametrize("step", SCHEMAS)
def test_numbers_are_all_ranged(step: str) -> None:
    """A number without a range would be a value that nobody thought of."""
    for name, field in SCHEMAS[step].model_fields.items():
        if field.annotation in (int, float):
            assert field.metadata, f"{step}.{name} takes any number"


def test_preprocessing_is_the_backbones_in_another_size() -> None:
    contract = InputContract(
        size=224, resize_size=256, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)
    )
    as_pretrained = NormalizeOptions(fit="crop", size=None).preprocessing(contract)
    assert (as_pretrained.size, as_pretrained.resize_size, as_pretrained.fit) == (224, 256, "crop")
    assert (as_pretrained.interpolation, as_pretrained.mean) == ("bicubic", (0.1, 0.2, 0.3))
    assert as_pretrained.std == (0.4, 0.5, 0.6)
    smaller = NormalizeOptions(fit="pad", size=96).preprocessing(contract)
    assert (smaller.size, smaller.resize_size) == (96, 110)  # 96 · 256 / 224 = 109.7


def test_workers_are_the_cores_this_process_may_use() -> None:
    settings = {"device": "cpu", "precision": "float32", "deterministic": True}
    assert ComputeOptions(num_workers=3, **settings).worker_count == 3
    assert ComputeOptions(num_workers=None, **settings).worker_count == len(os.sched_getaffinity(0))


def test_words_are_resolved_to_what_the_machine_has() -> None:
    import torch

    options = ComputeOptions(device="cpu", precision="bfloat16", num_workers=2, deterministic=False)
    compute = options.resolve()
    assert compute.device == torch.device("cpu")
    assert compute.fast_dtype is torch.bfloat16
    assert compute.num_streams == 2
    assert not compute.deterministic


def test_external_paths_are_those_a_result_depends_on(shipped: dict[str, Any]) -> None:
    def paths(**source: Any) -> tuple[Path, ...]:
        return IngestOptions.model_validate(shipped["ingest"] | {"source": source}).external_paths()

    assert paths(kind="folder", path="mine") == (Path("mine"),)
    assert paths(kind="csv", path="lists/a.csv") == (Path("lists/a.csv"), Path("lists"))
    assert paths(kind="csv", path="lists/a.csv", images="files") == (Path("lists/a.csv"), Path("files"))
    assert paths(kind="elpv") == ()  # copied by a node: in the catalog
    corrected = shipped["ingest"] | {"corrections": "seen.csv"}
    assert IngestOptions.model_validate(corrected).external_paths() == (Path("seen.csv"),)


def test_a_file_of_weights_is_an_external_path() -> None:
    def options(**weights: Any) -> BuildBackboneOptions:
        return BuildBackboneOptions(name="resnet18", weights=weights, cut="layer3", batch_size=4)

    assert options(kind="file", path="w.pth").external_paths() == (Path("w.pth"),)
    assert options(kind="pretrained").external_paths() == ()
    assert options(kind="random", seed=0).kept_stages()[-1] == "layer3"


def test_head_options_reach_layers_and_settings() -> None:
    linear = TrainHeadOptions(balance="none", head={"kind": "linear", "penalties": [2, 1], "seed": 3}).head
    assert linear.layers() == LinearLayers()
    settings = linear.settings()
    assert isinstance(settings, SolverSettings)
    assert (settings.penalties, settings.seed, settings.num_folds) == ((2.0, 1.0), 3, 5)
    mlp_head = {"kind": "mlp", "hidden_sizes": [9, 8], "dropout": 0.1, "patience": 4}
    mlp = TrainHeadOptions(balance="none", head=mlp_head).head
    assert mlp.layers() == MlpLayers(kind="mlp", hidden_sizes=(9, 8), dropout=0.1)
    assert isinstance(mlp.settings(), MlpSettings)
    assert mlp.settings().patience == 4


def test_fine_tune_options_reach_the_settings_whole(shipped: dict[str, Any]) -> None:
    options = FineTuneOptions.model_validate(shipped["fine_tune"])
    settings = options.settings()
    given = options.model_dump()
    for name, value in given.items():
        if name in ("predict_views", "scratch"):  # of the classifier, and of another start
            continue
        if name == "search":
            assert asdict(settings.search) == value
            continue
        holder = settings.optimiser if hasattr(settings.optimiser, name) else settings
        assert getattr(holder, name) == (parse_unfreeze(value) if name == "unfreeze" else value)
    assert isinstance(options, BaseModel)


def test_from_scratch_is_one_switch(shipped: dict[str, Any]) -> None:
    given = {**shipped["fine_tune"], "start": "scratch", "interpolate": "auto"}
    settings = FineTuneOptions.model_validate(given).settings()
    assert (settings.unfreeze, settings.batch_norm, settings.depthwise) == ("all", "adapt", "trained")
    assert (settings.interpolate, settings.averaging) == ("none", 0)
    assert settings.optimiser.learning_rate == given["scratch"]["learning_rate"] > given["learning_rate"]
    assert settings.optimiser.layer_decay == 1
    assert settings.max_epochs == given["max_epochs"]
    given["scratch"] = {**given["scratch"], "max_epochs": 30}
    assert FineTuneOptions.model_validate(given).settings().max_epochs == 30


def test_an_engine_that_is_not_installed_is_told_at_once(
    shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = shipped["compute"] | {"engine": "openvino", "device": "cpu"}
    assert ComputeOptions.model_validate(given).resolve().engine == "openvino"
    monkeypatch.setattr("regraft.options.compute.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'regraft\[openvino\]'"):
        ComputeOptions.model_validate(given)


def test_an_engine_for_the_cpu_is_not_given_another_device(
    shipped: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ComputeOptions.model_validate(shipped["compute"] | {"engine": "openvino", "device": "mps"})
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    with pytest.raises(ValueError, match="runs on a CPU, and the device is mps"):
        options.resolve()
