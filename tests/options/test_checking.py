import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from regraft.options.checking import SCHEMAS, OptionsError, check_parameters, check_steps

PROJECT = Path(__file__).parents[2]
MISSING = object()


def with_change(parameters: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(parameters)
    *parents, last = path.split(".")
    below = changed
    for key in parents:
        below = below[key]
    if value is MISSING:
        del below[last]
    else:
        below[last] = value
    return changed


def fault_of(parameters: dict[str, Any]) -> str:
    with pytest.raises(OptionsError) as caught:
        check_parameters(parameters)
    return str(caught.value)


def test_shipped_configurations_are_sound(shipped: dict[str, Any], shipped_for_tests: dict[str, Any]) -> None:
    check_parameters(shipped)
    check_parameters(shipped_for_tests)


def test_there_is_one_file_a_step_with_the_steps_name() -> None:
    files = {
        path.stem.removeprefix("parameters_") for path in (PROJECT / "conf/base").glob("parameters_*.yml")
    }
    assert files == set(SCHEMAS)


def test_every_step_is_checked() -> None:
    steps = {path.parent.name for path in (PROJECT / "src/regraft/pipelines").glob("*/nodes.py")}
    assert set(SCHEMAS) == steps | {"compute"}


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        # a key that is not there
        # a word or something else: one fault, not one a kind
        (
            "evaluate.batch_size",
            "aut",
            "batch_size: unknown 'aut'; known: auto, or a whole number; did you mean",
        ),
        (
            "evaluate.batch_size",
            0,
            "1 fault in the configuration: evaluate.batch_size: input should be greater than or equal to 1, "
            "or 'auto' (got 0)",
        ),
        ("fine_tune.interpolate", 2, "less than or equal to 1, or 'none' or 'auto' (got 2)"),
        (
            "train_head.features",
            "foo",
            "1 fault in the configuration: train_head.features: unknown 'foo'; known: last, concat, or a list of names",
        ),
        # stages of the head
        (
            "train_head.features",
            ["stem", "blocks.9"],
            "train_head.features: unknown stage of efficientnet_lite0",
        ),
        ("train_head.features", ["stem", "stem"], "train_head.features: stages named twice: stem"),
        ("build_backbone.cut", "blocks.9", "conv_head; or auto. Did you mean"),
        ("fine_tun", {}, "unknown key 'fine_tun'; did you mean 'fine_tune'?"),
        ("nonsense", {}, "unknown key 'nonsense'; known: ingest, normalize, build_backbone"),
        ("fine_tune.learning_rte", 1, "fine_tune: unknown key 'learning_rte'; did you mean 'learning_rate'?"),
        ("ingest.split.sed", 1, "ingest.split: unknown key 'sed'; did you mean 'seed'?"),
        ("compute.devise", "cpu", "compute: unknown key 'devise'; did you mean 'device'?"),
        ("train_head.head.penalty", 3, "train_head.head: unknown key 'penalty'; did you mean 'penalties'?"),
        (
            "ingest.source",
            {"kind": "csv", "path": "x", "lable_column": "y"},
            "ingest.source: unknown key 'lable_column'; did you mean 'label_column'",
        ),
        (
            "train_head.head",
            {"kind": "mlp", "hiden_sizes": [3]},
            "train_head.head: unknown key 'hiden_sizes'; did you mean 'hidden_sizes'?",
        ),
        # a choice that is not there
        (
            "ingest.source",
            {"kind": "foldr", "path": "x"},
            "ingest.source.kind: unknown 'foldr'; known: folder, csv, elpv; did you mean 'folder'?",
        ),
        ("ingest.source", {"path": "x"}, "ingest.source.kind: missing; known: folder, csv, elpv"),
        (
            "ingest.split.kind",
            "group",
            "ingest.split.kind: unknown 'group'; known: random, grouped, given; did",
        ),
        (
            "train_head.head.kind",
            "linaer",
            "train_head.head.kind: unknown 'linaer'; known: linear, mlp, kernel; did you",
        ),
        ("compute.device", "gpu", "compute.device: unknown 'gpu'; known: auto, cpu, cuda, mps"),
        (
            "compute.precision",
            "bf16",
            "compute.precision: unknown 'bf16'; known: auto, float32, bfloat16; did",
        ),
        (
            "fine_tune.views",
            "flip",
            "fine_tune.views: unknown 'flip'; known: identity, mirror, flips, dihedral; did",
        ),
        ("register.require", "beter", "known: significantly_better, better; did you mean 'better'?"),
        (
            "normalize.fit",
            "croop",
            "normalize.fit: unknown 'croop'; known: crop, stretch, pad; did you mean 'crop'?",
        ),
        (
            "build_backbone.weights.kind",
            "pretraind",
            "build_backbone.weights.kind: unknown 'pretraind'; known: pretrained, file, random; did you",
        ),
        # a name that is not there
        ("build_backbone.name", "resnet81", "build_backbone: unknown backbone 'resnet81'; known: eff"),
        ("build_backbone.name", "resnet81", "Did you mean 'resnet18'"),
        ("build_backbone.name", "timm:resnet81", "Did you mean 'resnet18'"),
        ("build_backbone.weights.name", "pakaged", "known: packaged, in1k. Did you mean 'packaged'?"),
        ("build_backbone.cut", "blocks_5", "Did you mean 'blocks.5'"),
        # a value out of range, or of another kind
        ("fine_tune.learning_rate", -1, "fine_tune.learning_rate: input should be greater than 0 (got -1)"),
        ("fine_tune.max_epochs", "many", "fine_tune.max_epochs: input should be a valid integer"),
        ("fine_tune.max_epochs", 1.5, "got a number with a fractional part (got 1.5)"),
        (
            "train_head.head.penalties",
            [1, -1],
            "train_head.head.penalties.1: input should be greater than 0 (got -1)",
        ),
        (
            "ingest.split.val_fraction",
            0.9,
            "ingest.split: val_fraction 0.9 and test_fraction 0.25 leave nothing",
        ),
        ("ingest.exclude", "abc", "ingest.exclude: input should be a valid tuple (got 'abc')"),
        ("ingest", None, "ingest: input should be a valid dictionary"),
        # something left out
        ("fine_tune.seed", MISSING, "fine_tune.seed: missing"),
        ("ingest.source", {"kind": "folder"}, "ingest.source.path: missing"),
        ("fine_tune", MISSING, "fine_tune: missing; restore conf/base/parameters_fine_tune.yml"),
        # what the backbone does not allow
        (
            "fine_tune.unfreeze",
            {"last": 10},
            "fine_tune.unfreeze: last 10 is more than the 9 stages of efficientnet_lite0 (stem, blocks.0,",
        ),
        (
            "fine_tune.unfreeze",
            ["blocks.6", "block.5"],
            "fine_tune.unfreeze: unknown stage of efficientnet_lite0 up to its cut 'block.5'; known: stem, blocks.0,",
        ),
        ("fine_tune.unfreeze", ["block.5"], "Did you mean 'blocks.5'"),
        (
            "fine_tune.unfreeze",
            "al",
            "fine_tune.unfreeze: unknown choice of stages 'al'; known: none, first, all, auto, last 3 or a list",
        ),
        (
            "fine_tune.unfreeze",
            {"lst": 3},
            "fine_tune.unfreeze: as a mapping it is {last: a number of 0 or more}",
        ),
        (
            "fine_tune.unfreeze",
            3,
            "fine_tune.unfreeze: got 3; known: none, first, all, auto, last 3 or a list",
        ),
        (
            "fine_tune.batch_norm",
            "frosen",
            "fine_tune.batch_norm: unknown 'frosen'; known: frozen, adapt; did you",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_was_meant(
    shipped: dict[str, Any], path: str, value: Any, fault: str
) -> None:
    message = fault_of(with_change(shipped, path, value))
    assert fault in message
    assert message.startswith("1 fault in the configuration: ")
    assert "\n" not in message


def test_all_faults_are_named_at_once(shipped: dict[str, Any]) -> None:
    parameters = shipped
    for path, value in {
        "fine_tun": {},
        "fine_tune.learning_rte": 1,
        "build_backbone.cut": "blocks_5",
        "evaluate.seed": MISSING,
        "compute.device": "gpu",
        "ingest.source": {"kind": "folder", "pth": "x"},
        "normalize.size": 7,
    }.items():
        parameters = with_change(parameters, path, value)
    heading, *faults = fault_of(parameters).splitlines()
    assert heading == "8 faults in the configuration:"
    assert len(faults) == 8
    for one in (
        "unknown key 'fine_tun'",
        "build_backbone: unknown stage",
        "ingest.source.path: missing",
        "ingest.source: unknown key 'pth'",
        "normalize.size: input should be greater than or equal to 32 (got 7)",
        "fine_tune: unknown key 'learning_rte'",
        "evaluate.seed: missing",
        "compute.device: unknown 'gpu'",
    ):
        assert sum(one in fault for fault in faults) == 1, one


def test_what_the_backbone_does_not_allow_is_told_beside_other_faults(shipped: dict[str, Any]) -> None:
    parameters = with_change(shipped, "fine_tune.unfreeze", {"last": 10})
    message = fault_of(with_change(parameters, "evaluate.sed", 1))
    assert "fine_tune.unfreeze: last 10 is more" in message
    assert "evaluate: unknown key 'sed'" in message


def test_stages_are_counted_up_to_the_cut(shipped: dict[str, Any]) -> None:
    cut = with_change(shipped, "build_backbone.cut", "blocks.1")
    check_parameters(with_change(cut, "fine_tune.unfreeze", {"last": 3}))
    assert "4 is more than the 3 stages of efficientnet_lite0 (stem, blocks.0, blocks.1)" in fault_of(
        with_change(cut, "fine_tune.unfreeze", {"last": 4})
    )


def test_a_head_on_the_mean_of_views_predicts_with_those(shipped: dict[str, Any]) -> None:
    shipped["train_head"]["views_seen"] = "mean"
    with pytest.raises(OptionsError, match=r"fine_tune\.predict_views: 'flips', but .*: 'identity'"):
        check_parameters(shipped)
    shipped["build_backbone"]["views"] = "flips"
    check_parameters(shipped)


def test_a_size_that_the_backbone_cannot_take_is_refused(shipped: dict[str, Any]) -> None:
    parameters = with_change(shipped, "build_backbone.name", "vit_b_16")
    check_parameters(parameters)
    assert "normalize.size: vit_b_16 takes images of 224×224 px only" in fault_of(
        with_change(parameters, "normalize.size", 160)
    )


def test_another_kind_needs_no_key_of_the_shipped_one_taken_back(shipped: dict[str, Any]) -> None:
    """Environments and `--params` merge into conf/base: a key that the new kind lacks would be a fault."""
    for path, chosen in {
        "ingest.source": {"kind": "folder", "path": "x"},
        "build_backbone.weights": {"kind": "random", "seed": 0},
        "train_head.head": {"kind": "mlp"},
    }.items():
        step, key = path.split(".")
        check_parameters(with_change(shipped, path, shipped[step][key] | chosen))


def test_parameters_are_not_changed(shipped: dict[str, Any]) -> None:
    before = copy.deepcopy(shipped)
    check_parameters(shipped)
    assert shipped == before


def test_checking_imports_nothing_heavy() -> None:
    heavy = ["torch", "pandas", "timm", "torchvision", "sklearn", "mlflow", "kedro", "matplotlib", "scipy"]
    script = (
        f"import sys, regraft.options.checking; print(*(name for name in {heavy} if name in sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert loaded.stdout.split() == []
    planted = subprocess.run(
        [sys.executable, "-c", f"import pandas; {script}"], capture_output=True, check=True, text=True
    )
    assert "pandas" in planted.stdout.split()


def test_named_stages_and_an_automatic_cut_exclude_each_other(shipped: dict[str, Any]) -> None:
    parameters = with_change(shipped, "build_backbone.cut", "auto")
    check_parameters(parameters)
    fault = fault_of(with_change(parameters, "train_head.features", ["stem"]))
    assert "train_head.features: stages are named, and build_backbone.cut: auto would choose them" in fault


@pytest.mark.parametrize("said", ["none", "last 2", {"last": 2}, ["blocks.4", "blocks.5"]])
@pytest.mark.parametrize("env", ["base", "test"])
def test_stages_may_be_said_on_the_command_line_in_every_way(env: str, said: Any) -> None:
    from kedro.config import OmegaConfigLoader

    from regraft.settings import CONFIG_LOADER_ARGS

    told = {"fine_tune": {"unfreeze": said}}
    loader = OmegaConfigLoader(str(PROJECT / "conf"), env=env, runtime_params=told, **CONFIG_LOADER_ARGS)
    assert loader["parameters"]["fine_tune"]["unfreeze"] == said
    check_parameters(loader["parameters"])


TARGETS = {
    "kind": "csv",
    "path": "list.csv",
    "targets": {"age": {"kind": "number", "column": "age"}, "sex": {"kind": "classes", "column": "sex"}},
}
POINTS = {"face": {"kind": "points", "first_column": "x0", "last_column": "y67"}}


def test_several_targets_go_with_the_shipped_settings(shipped: dict[str, Any]) -> None:
    check_parameters(with_change(shipped, "ingest.source", TARGETS))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("ingest.corrections", "mine.csv", "set it to null"),
        ("train_head.head", {"kind": "kernel"}, "train_head.head.kind: 'kernel' does not go with"),
        ("train_head.balance", "auto", "set it to 'none'"),
        ("train_head.learn_from", "both", "set it to 'labels'"),
        ("train_head.views_seen", "mean", "set it to 'each'"),
        ("fine_tune.selection_metric", "accuracy", "set it to calibrated_log_loss or log_loss"),
        ("register.selection_metric", "accuracy", "set it to log_loss"),
    ],
)
def test_what_is_about_the_classes_of_one_label_does_not_go_with_several_targets(
    shipped: dict[str, Any], path: str, value: Any, fault: str
) -> None:
    changed = with_change(shipped, path, value)
    if path == "train_head.views_seen":
        changed = with_change(changed, "fine_tune.predict_views", shipped["build_backbone"]["views"])
    check_parameters(changed)
    said = fault_of(with_change(changed, "ingest.source", TARGETS))
    assert "1 fault" in said
    assert path in said
    assert fault in said


def test_views_that_move_points_are_refused_with_every_key_that_asks_for_them(
    shipped: dict[str, Any],
) -> None:
    changed = with_change(shipped, "ingest.source", {**TARGETS, "targets": POINTS})
    changed = with_change(changed, "normalize.fit", "crop")
    said = fault_of(changed)
    assert "3 faults" in said
    for key in ("normalize.fit", "fine_tune.views", "fine_tune.predict_views"):
        assert key in said


@pytest.mark.parametrize("step", ["audit", "sweep"])
def test_steps_that_know_one_label_are_refused_before_they_run(shipped: dict[str, Any], step: str) -> None:
    several = with_change(shipped, "ingest.source", TARGETS)
    with pytest.raises(OptionsError, match=f"the step '{step}' knows one label"):
        check_steps(several, {"ingest", step})
    check_steps(shipped, {"ingest", step})
    check_steps(several, {"ingest", "train_head"})
    check_steps(several, {"ingest", "compare"})


def test_points_whose_partners_are_known_go_with_views_that_the_head_has_seen(
    shipped: dict[str, Any],
) -> None:
    known = {"face": {**POINTS["face"], "mirrored": [[0, 16]]}}
    changed = with_change(shipped, "ingest.source", {**TARGETS, "targets": known})
    said = fault_of(changed)
    assert "fine_tune.predict_views: 'flips'" in said
    assert "build_backbone.views: 'identity'" in said
    changed = with_change(changed, "build_backbone.views", "flips")
    for views in ("identity", "mirror", "flips"):
        check_parameters(with_change(changed, "fine_tune.predict_views", views))
    assert "normalize.fit" in fault_of(with_change(changed, "normalize.fit", "crop"))
