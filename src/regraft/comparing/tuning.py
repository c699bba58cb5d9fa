"""Fine-tuning of the candidates that can still win, within a budget of time.

Knows probes and the budget; how a network is fine-tuned is `training`'s business.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.stage_choice import check_unfreeze
from regraft.backbones.zoo import get_spec
from regraft.comparing.bench import Bench, Stopwatch
from regraft.comparing.candidates import Candidate
from regraft.comparing.finalists import Standing
from regraft.comparing.probing import Probed, probe_key, rebuild_probe
from regraft.comparing.tried import Tried, pack, total_seconds, unpack
from regraft.evaluation.predict import predict_images
from regraft.images.blocks import ArrayBlocks
from regraft.images.soft_labels import WEIGHT
from regraft.messages import about_model, muted, report_metrics
from regraft.save_points import NoSavePoints, SavePoints
from regraft.training.border import ArrayStore
from regraft.training.fine_tune import FineTuneSettings, Labelled, fine_tune
from regraft.training.linear_probe import SolverSettings

_TRIAL_IMAGES, _TRIAL_VAL_IMAGES = 32, 8
# The first training warms up: what a first update of its kind costs is no update's price
_TRIAL_EPOCHS = (1, 1, 5)
# What a search takes, in trainings of all stages: seven candidates, most of them cheaper
_SEARCHED = 4.5


@dataclass(frozen=True)
class Recipe:
    """How candidates are fine-tuned, and from which probe.

    Attributes:
        solver: Of the probe.
        fine_tune: See there.
        activations: Keeps border activations.
        save_points: Where a killed fine-tuning goes on.
    """

    solver: SolverSettings
    fine_tune: FineTuneSettings
    activations: ArrayStore
    save_points: SavePoints


@dataclass(frozen=True)
class Budget:
    """What a comparison may cost.

    Attributes:
        max_fine_tuned: Candidates fine-tuned at most.
        max_seconds: Of probing and fine-tuning together. What an earlier comparison paid for counts too: the choice
            does not depend on what happens to be kept.
    """

    max_fine_tuned: int
    max_seconds: float


def fine_tune_finalists(
    candidates: Sequence[Candidate],
    probes: Sequence[Tried],
    standings: Sequence[Standing],
    bench: Bench,
    *,
    recipe: Recipe,
    budget: Budget,
) -> tuple[list[Tried], dict[str, str]]:
    """Fine-tune the candidates that can still win, the best probe first, as long as the budget holds.

    What each would cost is measured on a few images before it is begun; what does not fit is left out, and said.

    Args:
        candidates: All.
        probes: One a candidate.
        standings: The best probe first.
        bench: See there.
        recipe: How.
        budget: How much.

    Returns:
        The fine-tuned models, and a sentence a candidate on how far it was tried.
    """
    of_label = {candidate.label: candidate for candidate in candidates}
    spent_s = total_seconds(probes, "seconds")
    tuned: list[Tried] = []
    outcomes: dict[str, str] = {}
    for standing in standings:
        label = standing.label
        if not standing.can_win:
            outcomes[label] = (
                f"Probe only: {bench.task.say_shortfall(standing.difference, standing.low, standing.high)}; "
                "fine-tuning would not make it the best."
            )
            continue
        if len(tuned) >= budget.max_fine_tuned:
            outcomes[label] = (
                f"Probe only: it could still win, but {budget.max_fine_tuned} candidates with better probes come "
                "first (compare.max_fine_tuned)."
            )
            continue
        candidate = of_label[label]
        stages = get_spec(candidate.name).stages_up_to(candidate.cut)
        if faults := check_unfreeze(recipe.fine_tune.unfreeze, stages, network=candidate.name):
            outcomes[label] = f"Probe only: fine_tune.unfreeze does not fit it: {'; '.join(faults)}."
            continue
        probed = rebuild_probe(candidate, bench, recipe.solver)
        key = _key(probed, bench, recipe)
        kept = bench.results.read(key)
        found = replace(unpack(kept)[0], label=label) if kept else None
        expected_s = found.facts["expected_seconds"] if found else estimate_seconds(probed, bench, recipe)
        if spent_s + expected_s > budget.max_seconds:
            outcomes[label] = (
                f"Probe only: it could still win, but fine-tuning was expected to take {expected_s / 60:.1f} minutes, "
                f"and of {budget.max_seconds / 60:.3g} only {max(0.0, budget.max_seconds - spent_s) / 60:.1f} were "
                "left (compare.max_minutes)."
            )
            continue
        with about_model(label, parameters={"build_backbone": candidate.parameters()}):
            if found is None:
                found = _fine_tune(probed, bench, recipe, expected_s)
                bench.results.write(key, pack([found]))
            report_metrics({"minutes/fine_tune": found.facts["seconds"] / 60}, step=0)
        spent_s += found.facts["seconds"]
        tuned.append(found)
        best = found.facts["best_epoch"]
        outcomes[label] = (
            f"Fine-tuned in {found.facts['seconds'] / 60:.1f} minutes ({found.facts['expected_seconds'] / 60:.1f} "
            f"expected), {f'best epoch {best}' if best else 'but no epoch was better than the probe'}."
        )
    return tuned, outcomes


def estimate_seconds(probed: Probed, bench: Bench, recipe: Recipe) -> float:
    """How long fine-tuning will take if no epoch is saved by patience, measured on a few images.

    A frozen pass costs at most what the pass for the features did; an update is the difference between a short training
    and one of a few epochs more. On a CPU that difference is taken in CPU seconds, which hardly change with what else
    the machine does, and the pass says how many seconds go by in one of them.
    """
    settings = recipe.fine_tune
    is_searched = settings.unfreeze == "auto"
    if is_searched:
        settings = replace(settings, unfreeze="all")  # the dearest that the search tries
    train = _first_images(probed, bench, "train", _TRIAL_IMAGES)
    val = _first_images(probed, bench, "val", _TRIAL_VAL_IMAGES)
    costs = []
    for max_epochs in _TRIAL_EPOCHS:
        watch = Stopwatch()
        short = replace(settings, max_epochs=max_epochs, patience=max(_TRIAL_EPOCHS), views="identity")
        with watch, muted():
            fine_tune(
                probed.classifier,
                train,
                val,
                settings=short,
                compute=bench.compute,
                store=_InMemory(),
                save_points=NoSavePoints(),
            )
        costs.append(watch.cost)
    passes = probed.on_bench.passes_cost()
    if bench.compute.device.type == "cpu":
        updates_s = (costs[-1].cpu_seconds - costs[-2].cpu_seconds) * passes.seconds / passes.cpu_seconds
    else:
        updates_s = costs[-1].seconds - costs[-2].seconds
    step_s = max(0.0, updates_s) / ((_TRIAL_EPOCHS[-1] - _TRIAL_EPOCHS[-2]) * len(train.labels))
    num_train, num_val = len(bench.rows("train")), len(bench.rows("val"))
    frozen = passes.seconds / len(bench.manifest) * (settings.num_kept_views * num_train + num_val)
    training = settings.max_epochs * step_s * (num_train + num_val / 3)
    return frozen + training * (_SEARCHED if is_searched else 1)


class _InMemory:
    """Keeps nothing beyond its use."""

    def get_or_compute(self, key: str, blocks: ArrayBlocks) -> NDArray[np.generic]:
        """See `training.border.ArrayStore`."""
        array: NDArray[np.generic] = np.concatenate(list(blocks))
        return array


def _first_images(probed: Probed, bench: Bench, split: str, limit: int) -> Labelled:
    rows, pixels = bench.rows(split)[:limit], probed.on_bench.pixels()
    images = bench.manifest.iloc[rows].drop(columns=WEIGHT, errors="ignore")  # all of a few may weigh nothing
    return bench.task.labelled(np.ascontiguousarray(pixels[rows]), images, split, probed.classifier.target)


def _fine_tune(probed: Probed, bench: Bench, recipe: Recipe, expected_s: float) -> Tried:
    pixels = probed.on_bench.pixels()
    watch = Stopwatch()
    with watch:
        result = fine_tune(
            probed.classifier,
            bench.task.labelled(pixels, bench.manifest, "train", probed.classifier.target),
            bench.task.labelled(pixels, bench.manifest, "val", probed.classifier.target),
            settings=recipe.fine_tune,
            compute=bench.compute,
            store=recipe.activations,
            save_points=recipe.save_points,
        )
    predictions = predict_images(
        {"fine_tuned": result.classifier},
        pixels,
        bench.manifest,
        batch_size=probed.on_bench.batch_size,
        compute=bench.compute,
        targets=bench.task.targets,
    )
    columns = bench.task.answer_columns
    return Tried(
        probed.on_bench.candidate.label,
        "fine_tuned",
        {
            split: predictions.loc[predictions["split"] == split, columns].to_numpy(np.float64)
            for split in ("val", "test")
        },
        {
            "seconds": watch.cost.seconds,
            "cpu_seconds": watch.cost.cpu_seconds,
            "expected_seconds": expected_s,
            "best_epoch": result.best_epoch,
            "history": result.history,
        },
    )


def _key(probed: Probed, bench: Bench, recipe: Recipe) -> str:
    text = f"{probe_key(probed.on_bench, bench, recipe.solver)} {recipe.fine_tune}"
    return f"fine_tuned-{hashlib.sha256(text.encode()).hexdigest()[:32]}"
