"""Candidates probed and fine-tuned within a budget, on small real networks and pictures."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from regraft.backbones.spec import InputContract
from regraft.backbones.stage_choice import LastStages
from regraft.backbones.weights import RandomWeights
from regraft.comparing import tuning
from regraft.comparing.bench import Bench, Cost, OnBench
from regraft.comparing.candidates import label_candidates
from regraft.comparing.finalists import Standing
from regraft.comparing.probing import probe_candidates, probe_key, rebuild_probe
from regraft.comparing.tried import Tried, pack, total_seconds
from regraft.comparing.tuning import Budget, Recipe, estimate_seconds, fine_tune_finalists
from regraft.images.blocks import ArrayBlocks
from regraft.images.preprocessing import Preprocessing
from regraft.messages import METRICS_LOGGER
from regraft.options.fine_tune import FineTuneOptions
from regraft.save_points import NoSavePoints
from regraft.training.linear_probe import SolverSettings
from regraft.training.reproducibility import Compute

RANDOM = RandomWeights(kind="random", seed=0)
CANDIDATES = label_candidates([("efficientnet_lite0", RANDOM, cut) for cut in ("stem", "blocks.0")])
SHALLOW, DEEPER = (candidate.label for candidate in CANDIDATES)
SOLVER = SolverSettings(penalties=(1.0,), num_folds=3, tolerance=1e-4, max_iterations=500, seed=0)
SMALL = Preprocessing(
    size=32, resize_size=32, fit="stretch", interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
)


class Arrays:
    """Keeps arrays in memory, and counts those it had to compute."""

    def __init__(self) -> None:
        self.kept: dict[str, NDArray[Any]] = {}

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> NDArray[Any]:
        if key not in self.kept:
            self.kept[key] = np.concatenate(list(blocks))
        return self.kept[key]


class Results:
    """Keeps results in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def write(self, key: str, data: bytes) -> None:
        self.kept[key] = data


def small_contract(_: InputContract) -> Preprocessing:
    return SMALL


@pytest.fixture
def bench(tmp_path: Path, draw_shapes: Any) -> Bench:
    pixels, labels = draw_shapes(36, size=32, num_classes=2)
    rows = []
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = tmp_path / f"{number:02d}.png"
        Image.fromarray(image).save(path)
        rows.append(
            {
                "id": number,
                "path": str(path),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "mode": "RGB",
                "read_as": "",
                "split": "train" if number < 20 else "val" if number < 28 else "test",
                "label": label,
                "label_name": ("disc", "square")[label],
                "group": None,
            }
        )
    return Bench(
        manifest=pd.DataFrame(rows),
        label_names={"label": ["disc", "square"]},
        preprocessing_for=small_contract,
        batch_size=4,
        num_workers=1,
        compute=Compute(torch.device("cpu"), torch.float32, num_streams=1, deterministic=True),
        arrays=Arrays(),
        results=Results(),
    )


@pytest.fixture
def recipe(shipped_fine_tune: dict[str, Any]) -> Recipe:
    changes = {
        "unfreeze": {"last": 1},
        "max_epochs": 1,
        "batch_size": 8,
        "micro_batch_size": 4,
        "views": "mirror",
    }
    settings = FineTuneOptions.model_validate(shipped_fine_tune | changes).settings()
    return Recipe(SOLVER, settings, Arrays(), NoSavePoints())


@pytest.fixture(scope="module")
def shipped_fine_tune() -> dict[str, Any]:
    from kedro.config import OmegaConfigLoader

    root = Path(__file__).parents[2]
    loader = OmegaConfigLoader(str(root / "conf"), base_env="base", default_run_env="base")
    found: dict[str, Any] = loader["parameters"]["fine_tune"]
    return found


def standings(*labels: str, can_win: bool = True) -> list[Standing]:
    return [Standing(label, 0.9, 0.0, -0.1, 0.1, can_win) for label in labels]


def tuned(
    bench: Bench, recipe: Recipe, probes: list[Tried], *, max_fine_tuned: int = 9, max_seconds: float = 1e6
) -> tuple[list[Tried], dict[str, str]]:
    return fine_tune_finalists(
        CANDIDATES,
        probes,
        standings(DEEPER, SHALLOW),
        bench,
        recipe=recipe,
        budget=Budget(max_fine_tuned, max_seconds),
    )


def test_a_probe_found_before_is_taken_without_looking_at_an_image(bench: Bench) -> None:
    first = probe_candidates(CANDIDATES, bench, SOLVER)
    assert {one.probabilities["held_out"].shape for one in first} == {(28, 2)}
    assert all(np.allclose(one.probabilities["test"].sum(axis=1), 1) for one in first)
    blind = replace(bench, arrays=Arrays())
    assert pack(probe_candidates(CANDIDATES, blind, SOLVER)) == pack(first)
    assert blind.arrays.kept == {}  # type: ignore[attr-defined]


def with_targets(bench: Bench) -> Bench:
    """The shape as a class, and how light the picture is."""
    light = [float(np.asarray(Image.open(path)).mean()) for path in bench.manifest["path"]]
    manifest = bench.manifest.assign(target_shape=bench.manifest["label"], target_light=light)
    shape = {"name": "shape", "kind": "classes", "label_names": ["disc", "square"]}
    return replace(bench, manifest=manifest, targets=[shape, {"name": "light", "kind": "number"}])


def test_several_targets_are_probed_fine_tuned_and_kept(bench: Bench, recipe: Recipe) -> None:
    several = with_targets(bench)
    probes = probe_candidates(CANDIDATES, several, SOLVER)
    assert {one.probabilities["held_out"].shape for one in probes} == {(28, 3)}
    assert set(probes[0].facts["penalties"]) == {"shape", "light"}
    (found,), outcomes = tuned(several, recipe, probes, max_fine_tuned=1)
    assert found.probabilities["test"].shape == (8, 3)
    assert np.allclose(found.probabilities["test"][:, :2].sum(axis=1), 1)
    assert found.facts["expected_seconds"] > 0
    assert outcomes[DEEPER].startswith("Fine-tuned in")
    blind = replace(several, arrays=Arrays())
    assert pack(probe_candidates(CANDIDATES, blind, SOLVER)) == pack(probes)
    assert blind.arrays.kept == {}  # type: ignore[attr-defined]
    (again,), _ = tuned(several, recipe, probes, max_fine_tuned=1)
    assert pack([again]) == pack([found])


def test_other_targets_or_values_of_them_are_another_probe(bench: Bench) -> None:
    several = with_targets(bench)
    darker = several.manifest.assign(target_light=several.manifest["target_light"] - 1.0)
    benches = [
        bench,
        replace(bench, manifest=bench.manifest.assign(weight=1.0)),
        replace(bench, manifest=bench.manifest.assign(copy_group="one")),
        several,
        replace(several, targets=several.targets[:1]),
        replace(
            several, targets=[several.targets[0] | {"label_names": ["round", "square"]}, several.targets[1]]
        ),
        replace(several, manifest=darker),
        replace(several, manifest=several.manifest.assign(weight=1.0)),
    ]
    keys = {probe_key(OnBench(CANDIDATES[0], one), one, SOLVER) for one in (*benches, with_targets(bench))}
    assert len(keys) == len(benches)


def test_what_is_kept_of_an_activation_names_the_features(bench: Bench) -> None:
    grid = OnBench(CANDIDATES[0], replace(bench, pooling="mean_and_grid"))
    mean = OnBench(CANDIDATES[0], bench)
    assert grid.features_key != mean.features_key
    assert grid.features().shape[1] == 50 * mean.features().shape[1]


def test_two_candidates_of_one_contract_share_their_pixels(bench: Bench) -> None:
    probe_candidates(CANDIDATES, bench, SOLVER)
    kept: dict[str, Any] = bench.arrays.kept  # type: ignore[attr-defined]
    assert sorted(key.partition("-")[0] for key in kept) == ["features", "features", "pixels"]


def test_another_label_is_another_probe(bench: Bench) -> None:
    probe_candidates(CANDIDATES[:1], bench, SOLVER)
    manifest = bench.manifest.assign(label=bench.manifest["label"].where(bench.manifest["id"] != 3, 0))
    probe_candidates(CANDIDATES[:1], replace(bench, manifest=manifest), SOLVER)
    results: dict[str, bytes] = bench.results.kept  # type: ignore[attr-defined]
    assert len([key for key in results if key.startswith("probe-")]) == 2


def test_the_best_probe_is_fine_tuned_first_and_kept(
    bench: Bench, recipe: Recipe, caplog: pytest.LogCaptureFixture
) -> None:
    probes = probe_candidates(CANDIDATES, bench, SOLVER)
    with caplog.at_level(logging.INFO, METRICS_LOGGER):
        (found,), outcomes = tuned(bench, recipe, probes, max_fine_tuned=1)
    assert found.label == DEEPER
    assert found.probabilities["test"].shape == (8, 2)
    assert outcomes[DEEPER].startswith("Fine-tuned in")
    assert "(compare.max_fine_tuned)" in outcomes[SHALLOW]
    epochs = [
        record.step for record in caplog.records if "fine_tune/val_log_loss" in getattr(record, "metrics", {})
    ]
    assert epochs == [0, 1], "what measures the time tells nothing"
    (again,), _ = tuned(bench, recipe, probes, max_fine_tuned=1)
    assert pack([again]) == pack([found])


def test_what_is_not_expected_to_fit_is_not_begun_and_said(bench: Bench, recipe: Recipe) -> None:
    probes = probe_candidates(CANDIDATES, bench, SOLVER)
    found, outcomes = tuned(bench, recipe, probes, max_seconds=1e-3)
    assert found == []
    assert all("was expected to take" in outcomes[label] for label in (SHALLOW, DEEPER))


def test_what_the_first_update_costs_once_is_not_expected_of_each(
    bench: Bench, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first training takes 9 CPU seconds, the second 1, four epochs more 2 more; a CPU second takes two."""
    probe_candidates(CANDIDATES, bench, SOLVER)
    probed = rebuild_probe(CANDIDATES[0], bench, SOLVER)
    costs = iter([Cost(9.0, 9.0), Cost(50.0, 1.0), Cost(1.5, 3.0)])

    class Watch:
        def __enter__(self) -> "Watch":
            self.cost = next(costs)
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(tuning, "Stopwatch", Watch)
    monkeypatch.setattr(OnBench, "passes_cost", lambda _: Cost(7.2, 3.6))
    # 20 images to learn from in two views and 8 of val pass once, of 36 that took 7.2 s; one epoch, val a third
    passes, image_s = 7.2 / 36 * (2 * 20 + 8), 2 * 2.0 / (4 * 20)
    assert estimate_seconds(probed, bench, recipe) == pytest.approx(passes + image_s * (20 + 8 / 3))


def test_pixels_that_are_shared_are_paid_once(bench: Bench) -> None:
    probes = probe_candidates(CANDIDATES, bench, SOLVER)
    assert len({probe.facts["pixels"] for probe in probes}) == 1
    one_by_one = sum(probe.facts["seconds"] for probe in probes)
    assert 0 < total_seconds(probes, "seconds") < one_by_one


def test_who_cannot_win_or_be_unfrozen_so_stays_a_probe(bench: Bench, recipe: Recipe) -> None:
    probes = probe_candidates(CANDIDATES, bench, SOLVER)
    deep = replace(
        recipe, fine_tune=replace(recipe.fine_tune, unfreeze=LastStages(last=2))
    )  # one has one stage
    found, outcomes = fine_tune_finalists(
        CANDIDATES,
        probes,
        [*standings(SHALLOW), *standings(DEEPER, can_win=False)],
        bench,
        recipe=deep,
        budget=Budget(9, 1e6),
    )
    assert found == []
    assert "fine_tune.unfreeze does not fit it" in outcomes[SHALLOW]
    assert "fine-tuning would not make it the best" in outcomes[DEEPER]
