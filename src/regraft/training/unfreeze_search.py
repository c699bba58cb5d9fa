"""How much to unfreeze, from evidence: candidates are trained side by side, and `val` says what each should count.

Knows candidates and what each says of `val`; how one is trained, and how several become one model, it is not told.
"""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from regraft.backbones.stage_choice import Unfreeze, parse_unfreeze, said_in_words
from regraft.save_points import SavePoints

Floats = NDArray[np.float64]
_SAVE_POINT = "unfreeze_search"
_WIDTH_95 = 1.96  # standard errors on either side
_LEAST_WEIGHT = 0.02
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchSettings:
    """How long and how strictly.

    Attributes:
        rounds: Rounds, each with half the candidates of the one before, which go on to twice as many epochs; in the
            last one to all.
        min_updates: Updates in the first round at least, where there are as many: after a few, all candidates look
            alike.
        take: The `mean` of the candidates' weights, each counting what `val` says of it, or `one` of them.
        noise: Where one is taken, a candidate that is cheaper to train is preferred to the best one if it is worse by
            less than so many standard errors of their difference on `val`. 0 takes the best.
    """

    rounds: int
    min_updates: int
    take: Literal["mean", "one"]
    noise: float


@dataclass(frozen=True)
class Trial:
    """One candidate, trained up to some epoch.

    Attributes:
        unfreeze: As a configuration says it.
        stages: What it stands for.
        epochs: Trained; 0: the probe.
        best_epoch: The one of these that is measured.
        val_log_loss: Of it.
        val_calibrated_log_loss: Of it.
        val_accuracy: Of it; None where several targets have no one accuracy.
        costs: `(N,)`, what each image of `val` costs by the metric that chooses.
    """

    unfreeze: Any
    stages: tuple[str, ...]
    epochs: int
    best_epoch: int
    val_log_loss: float
    val_calibrated_log_loss: float
    val_accuracy: float | None
    costs: tuple[float, ...]


class Candidates(Protocol):
    """Trains candidates."""

    def train(self, unfreeze: Unfreeze, until: int) -> Trial:
        """Go on with one from where it stopped, to the end of an epoch; 0: measure the probe."""
        ...

    def drop(self, unfreeze: Unfreeze) -> None:
        """It will not go on."""
        ...


@dataclass(frozen=True)
class Found:
    """What a search has found.

    Attributes:
        unfreeze: The one to take, if one is taken.
        weights: What each candidate counts in the mean, the cheapest to train first; those that count nothing are left
            out. Where one is taken, it alone.
        highest_cost: What an image of `val` costs in the mean with the worst of these.
        rows: A row a trial: what was tried, what `val` said, how sure the difference to the best is, and its weight.
    """

    unfreeze: Unfreeze
    weights: list[tuple[Unfreeze, float]]
    highest_cost: float
    rows: list[dict[str, Any]]


def search_unfreeze(
    choices: Sequence[Unfreeze],
    candidates: Candidates,
    *,
    max_epochs: int,
    updates_an_epoch: int,
    settings: SearchSettings,
    save_points: SavePoints,
    key: str,
) -> Found:
    """Try candidates, by successive halving if there are several rounds; those that count are trained to the end.

    What is spent follows from epochs and updates alone, never from time: the choice is the same on any machine.

    Args:
        choices: The cheapest to train first.
        candidates: Trains them.
        max_epochs: Of a whole training.
        updates_an_epoch: Of it.
        settings: See there.
        save_points: Keep the trials done.
        key: What they were done with; others are not believed.

    Source:
        Successive halving: Jamieson and Talwalkar 2016, arXiv:1502.07943. The cheaper of what cannot be told apart:
        the one-standard-error rule, Breiman et al. 1984, section 3.4.3, here on paired differences.
    """
    trials = _restored(save_points, key)
    seconds: dict[tuple[str, int], float] = {}

    def tried(unfreeze: Unfreeze, epochs: int) -> Trial:
        name = said_in_words(unfreeze)
        if (name, epochs) not in trials:
            started_s = time.monotonic()
            trials[name, epochs] = candidates.train(unfreeze, epochs)
            seconds[name, epochs] = time.monotonic() - started_s
            kept = {"key": key, "trials": [asdict(trial) for trial in trials.values()]}
            save_points.write(_SAVE_POINT, json.dumps(kept).encode())
        return trials[name, epochs]

    probe = tried("none", 0) if "none" in choices else None
    contenders: list[Unfreeze] = [choice for choice in choices if choice != "none"]
    measured: list[Trial] = []
    for round_ in range(settings.rounds):
        if round_:
            better = sorted(measured, key=_mean_cost)[: max(1, -(-len(measured) // 2))]
            for choice, trial in zip(contenders, measured, strict=True):
                if trial not in better:
                    candidates.drop(choice)
            contenders = [parse_unfreeze(trial.unfreeze) for trial in measured if trial in better]
        epochs = _epochs(round_, max_epochs, updates_an_epoch, settings)
        measured = [tried(choice, epochs) for choice in contenders]
    last = [*([probe] if probe else []), *measured]
    chosen = cheapest_within_noise(last, noise=settings.noise)
    weights = evidence_weights(last) if settings.take == "mean" else [float(one is chosen) for one in last]
    best = min(last, key=_mean_cost)
    rows = [
        _row(trial, best, is_final=trial in last, weight=weights[last.index(trial)] if trial in last else 0.0)
        for trial in trials.values()
    ]
    _log(rows, seconds)
    counting = [(one, weight) for one, weight in zip(last, weights, strict=True) if weight]
    return Found(
        parse_unfreeze(chosen.unfreeze),
        [(parse_unfreeze(one.unfreeze), weight) for one, weight in counting],
        max(_mean_cost(one) for one, _ in counting),
        rows,
    )


def evidence_weights(trials: Sequence[Trial]) -> list[float]:
    """What each should count in a mean of them all: in proportion to how probable it makes the labels of `val`.

    A candidate whose log-loss summed over `val` is higher by 1 counts 1/e of the other: where there are few images, or
    little difference, all count alike; where there are many, the best alone does. Less than a fiftieth is nothing.

    Args:
        trials: Of the same images.

    Returns:
        Weights that sum to 1, in the order of the trials.

    Source:
        Pseudo-BMA weights: Geisser and Eddy 1979; Yao et al. 2018, arXiv:1704.02030, section 3.
    """
    totals = np.array([np.sum(trial.costs) for trial in trials])
    weights = np.exp(totals.min() - totals)
    weights /= weights.sum()
    weights[weights < _LEAST_WEIGHT] = 0
    return [float(weight) for weight in weights / weights.sum()]


def cheapest_within_noise(trials: Sequence[Trial], *, noise: float) -> Trial:
    """The first trial that is worse than the best by at most `noise` standard errors of the paired difference.

    Args:
        trials: The cheapest first; of the same images.
        noise: 0 gives the best, of equals the cheapest.
    """
    best = min(trials, key=_mean_cost)
    for trial in trials:
        difference, error = paired_difference(np.array(trial.costs), np.array(best.costs))
        if difference <= noise * error:
            return trial
    return best


def paired_difference(costs: Floats, others: Floats) -> tuple[float, float]:
    """Mean of `costs - others` `(N,)` and its standard error; the error of a single image is 0."""
    differences = costs - others
    error = differences.std(ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean()), float(error)


def _epochs(round_: int, max_epochs: int, updates_an_epoch: int, settings: SearchSettings) -> int:
    halved: int = -(-max_epochs // 2 ** (settings.rounds - 1 - round_))
    return min(max_epochs, max(halved, -(-settings.min_updates // updates_an_epoch)))


def _mean_cost(trial: Trial) -> float:
    return float(np.mean(trial.costs))


def _row(trial: Trial, best: Trial, *, is_final: bool, weight: float) -> dict[str, Any]:
    difference, error = paired_difference(np.array(trial.costs), np.array(best.costs))
    return {
        "candidate": said_in_words(parse_unfreeze(trial.unfreeze)),
        "stages": list(trial.stages),
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
        "val_log_loss": trial.val_log_loss,
        "val_calibrated_log_loss": trial.val_calibrated_log_loss,
        "val_accuracy": trial.val_accuracy,
        "worse_than_best": difference,
        "worse_than_best_low": difference - _WIDTH_95 * error,
        "worse_than_best_high": difference + _WIDTH_95 * error,
        "standard_error": error,
        "is_final": is_final,
        "weight": weight,
    }


def _log(rows: Sequence[dict[str, Any]], seconds: dict[tuple[str, int], float]) -> None:
    lines = [
        "unfreeze: auto",
        "candidate        epochs  val log-loss, calibrated  accuracy  worse than the best      seconds  weight",
    ]
    for row in rows:
        time_s = seconds.get((row["candidate"], row["epochs"]))
        lines.append(
            f"{row['candidate']:<16s} {row['epochs']:6d}  {row['val_log_loss']:12.4f}  "
            f"{row['val_calibrated_log_loss']:10.4f}  {_accuracy(row['val_accuracy']):>8s}  "
            f"{row['worse_than_best']:+.4f} ± {_WIDTH_95 * row['standard_error']:.4f}      "
            f"{'kept' if time_s is None else f'{time_s:.1f}':>7s}  {row['weight']:6.2f}"
        )
    _logger.info("\n".join(lines))


def _accuracy(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _restored(save_points: SavePoints, key: str) -> dict[tuple[str, int], Trial]:
    data = save_points.read(_SAVE_POINT)
    kept: dict[str, Any] = {} if data is None else json.loads(data)
    if kept.get("key") != key:
        return {}
    trials = [
        Trial(**{**one, "stages": tuple(one["stages"]), "costs": tuple(one["costs"])})
        for one in kept["trials"]
    ]
    return {(said_in_words(parse_unfreeze(trial.unfreeze)), trial.epochs): trial for trial in trials}
