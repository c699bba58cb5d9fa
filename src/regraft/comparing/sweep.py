"""A sweep: settings of head and fine-tuning tried one after another on cached features and border activations.

Knows Optuna, which proposes settings, and a folder for its journal; what a trial is worth it is told by a function.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from regraft.classifier.views import ViewSet
from regraft.messages import about_model, report_metrics
from regraft.training.reproducibility import seed_for

Objective = Literal["log_loss", "accuracy"]
_STARTUP_TRIALS = 8  # drawn at random before their results are learnt from
_SIGN = {"log_loss": 1, "accuracy": -1}


@dataclass(frozen=True)
class Setting:
    """What one trial is told."""

    learning_rate: float
    weight_decay: float
    head: str
    views: ViewSet

    def parameters(self) -> dict[str, Any]:
        """As the configuration has them."""
        return {
            "train_head": {"head": {"kind": self.head}},
            "fine_tune": {
                "learning_rate": self.learning_rate,
                "weight_decay": self.weight_decay,
                "views": self.views,
            },
        }


@dataclass(frozen=True)
class Space:
    """The settings that may be tried: two ranges on a logarithmic scale, two lists."""

    learning_rate: tuple[float, float]
    weight_decay: tuple[float, float]
    heads: tuple[str, ...]
    views: tuple[ViewSet, ...]

    def distributions(self) -> dict[str, BaseDistribution]:
        """For Optuna."""
        return {
            "learning_rate": FloatDistribution(*self.learning_rate, log=True),
            "weight_decay": FloatDistribution(*self.weight_decay, log=True),
            "head": CategoricalDistribution(self.heads),
            "views": CategoricalDistribution(self.views),
        }

    def holds(self, setting: Setting) -> bool:
        """Whether a setting is one of them."""
        return (
            self.learning_rate[0] <= setting.learning_rate <= self.learning_rate[1]
            and self.weight_decay[0] <= setting.weight_decay <= self.weight_decay[1]
            and setting.head in self.heads
            and setting.views in self.views
        )


@dataclass(frozen=True)
class Outcome:
    """What a trial gave: at its best epoch, on val; and what it cost."""

    val_log_loss: float
    val_accuracy: float
    best_epoch: int
    seconds: float

    def value(self, objective: Objective) -> float:
        """What is to be small."""
        return _SIGN[objective] * (self.val_log_loss if objective == "log_loss" else self.val_accuracy)


def sweep(
    try_setting: Callable[[Setting], Outcome],
    space: Space,
    present: Setting,
    *,
    identity: str,
    folder: Path,
    objective: Objective,
    max_trials: int,
    max_seconds: float,
    seed: int,
) -> dict[str, Any]:
    """Try settings until the budget is used up; what an earlier sweep of the same has tried is taken from its journal.

    The present setting comes first, where the space holds it: what the sweep is worth is its gain over that. The
    proposal of trial n follows from the seed, n and the results before it alone, so a sweep that was killed makes the
    same trials as one that was not.

    Args:
        try_setting: Gives the outcome of a setting.
        space: What may be tried.
        present: The setting of the configuration.
        identity: All that an outcome follows from beside its setting; another one, another journal.
        folder: Of the journals.
        objective: What is best.
        max_trials: In all, those of earlier sweeps included.
        max_seconds: In all; no trial is begun that would not fit if it took as long as the longest so far.
        seed: See above.

    Returns:
        JSON-serialisable: `trials`, a row each in order (the setting, its outcome, `is_present`, `is_best`), the
        `objective`, and `stopped`, a sentence.

    Source:
        Tree-structured Parzen estimator: Bergstra et al. 2011, Algorithms for Hyper-Parameter Optimization.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    text = f"{identity} {space} {present} {objective} {seed}"
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.journal"
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))), study_name="sweep", load_if_exists=True
    )
    for unfinished in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(unfinished.number, state=TrialState.FAIL)  # of a process that was killed
    stopped = f"All {max_trials} trials were made."
    for index in range(max_trials):
        done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if index < len(done):
            _report(index, _setting_of(done[index]), _outcome_of(done[index]))
            continue
        seconds = [_outcome_of(trial).seconds for trial in done]
        if seconds and sum(seconds) + max(seconds) > max_seconds:
            stopped = (
                f"Stopped after {len(done)} trials and {sum(seconds) / 60:.1f} minutes: another one might have taken "
                f"{max(seconds) / 60:.1f}, more than is left of {max_seconds / 60:g}."
            )
            break
        _make_trial(study, index, try_setting, space, present, objective=objective, seed=seed)
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[:max_trials]
    return {"objective": objective, "stopped": stopped, "trials": _rows(trials, present, objective)}


def best_trial(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row of the best trial."""
    row: Mapping[str, Any] = next(row for row in found["trials"] if row["is_best"])
    return row


def best_parameters(found: Mapping[str, Any]) -> str:
    """The best trial's settings as a file of parameters, ready for `conf/local`."""
    best, metric = best_trial(found), found["objective"]
    present = next((row for row in found["trials"] if row["is_present"]), None)
    against = f"; {present[f'val_{metric}']:.4f} with what was set before" if present else ""
    return (
        f"# The best of {len(found['trials'])} settings tried by `kedro run --pipeline sweep`.\n"
        f"# On val its {metric.replace('_', '-')} is {best[f'val_{metric}']:.4f}{against}: the best of many is partly "
        "lucky.\n"
        "# To use it: copy this file to conf/local/parameters_sweep_best.yml\n"
        "fine_tune:\n"
        f"  learning_rate: {best['learning_rate']:.6g}\n"
        f"  weight_decay: {best['weight_decay']:.6g}\n"
        f"  views: {best['views']}\n"
        "train_head:\n"
        f"  head: {{kind: {best['head']}}}\n"
    )


def _make_trial(
    study: optuna.Study,
    index: int,
    try_setting: Callable[[Setting], Outcome],
    space: Space,
    present: Setting,
    *,
    objective: Objective,
    seed: int,
) -> None:
    distributions = space.distributions()
    if index == 0 and space.holds(present):
        outcome = _tried(index, present, try_setting)
        study.add_trial(
            optuna.trial.create_trial(
                params=asdict(present),
                distributions=distributions,
                value=outcome.value(objective),
                user_attrs=asdict(outcome),
            )
        )
        return
    study.sampler = optuna.samplers.TPESampler(
        n_startup_trials=_STARTUP_TRIALS, seed=seed_for(seed, "sweep", index) % 2**32, constant_liar=False
    )
    trial = study.ask(distributions)
    outcome = _tried(index, Setting(**trial.params), try_setting)
    for name, value in asdict(outcome).items():
        trial.set_user_attr(name, value)
    study.tell(trial, outcome.value(objective))


def _tried(index: int, setting: Setting, try_setting: Callable[[Setting], Outcome]) -> Outcome:
    with about_model(_name(index), parameters=setting.parameters()):
        outcome = try_setting(setting)
        report_metrics(_metrics(outcome), step=0)
    return outcome


def _report(index: int, setting: Setting, outcome: Outcome) -> None:
    """A trial of an earlier sweep, told again: the run of now has a row for it."""
    with about_model(_name(index), parameters=setting.parameters()):
        report_metrics(_metrics(outcome), step=0)


def _name(index: int) -> str:
    return f"trial {index + 1:03d}"


def _metrics(outcome: Outcome) -> dict[str, float]:
    return {
        "val/fine_tuned/log_loss": outcome.val_log_loss,
        "val/fine_tuned/accuracy": outcome.val_accuracy,
        "val/log_loss": outcome.val_log_loss,
        "val/accuracy": outcome.val_accuracy,
        "minutes": outcome.seconds / 60,
    }


def _setting_of(trial: FrozenTrial) -> Setting:
    return Setting(**trial.params)


def _outcome_of(trial: FrozenTrial) -> Outcome:
    return Outcome(**trial.user_attrs)


def _rows(trials: Sequence[FrozenTrial], present: Setting, objective: Objective) -> list[dict[str, Any]]:
    values = [_outcome_of(trial).value(objective) for trial in trials]
    best = values.index(min(values))
    return [
        {
            "trial": index + 1,
            **asdict(_setting_of(trial)),
            **{key: value for key, value in asdict(_outcome_of(trial)).items() if key != "seconds"},
            "minutes": _outcome_of(trial).seconds / 60,
            "is_present": _setting_of(trial) == present,
            "is_best": index == best,
        }
        for index, trial in enumerate(trials)
    ]
