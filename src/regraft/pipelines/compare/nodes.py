"""Nodes of the pipeline `compare`: probes of all, fine-tuning of the few that can still win, the choice, the page.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from typing import Any

import pandas as pd

from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compare import CompareOptions
from regraft.options.compute import ComputeOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.train_head import TrainHeadOptions
from regraft.pipelines.compare.bench import make_bench


def probe_models(
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    compared_arrays: Any,
    compared_results: Any,
    options: CompareOptions,
    normalize: NormalizeOptions,
    build_backbone: BuildBackboneOptions,
    train_head: TrainHeadOptions,
    compute: ComputeOptions,
) -> list[Any]:
    """A solved probe of every candidate."""
    from regraft.comparing.probing import probe_candidates
    from regraft.training.reproducibility import reproducible

    bench = make_bench(
        manifest, label_names, targets, compared_arrays, compared_results, normalize, build_backbone, compute
    )
    with reproducible(bench.compute):
        return probe_candidates(options.candidates(), bench, train_head.solver_settings())


def rank_probes(
    compared_probes: list[Any],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    options: CompareOptions,
) -> dict[str, Any]:
    """The probes by their held-out scores, and who can still win."""
    from regraft.comparing.finalists import rank_probes
    from regraft.comparing.task import task_for

    task = task_for(label_names, targets)
    standings = rank_probes(
        compared_probes, manifest, task, slack=options.slack, bootstrap=options.bootstrap()
    )
    return {"standings": [standing.as_dict() for standing in standings]}


def fine_tune_finalists(
    compared_probes: list[Any],
    compared_standings: dict[str, Any],
    activations: Any,
    compared_save_points: Any,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    compared_arrays: Any,
    compared_results: Any,
    options: CompareOptions,
    normalize: NormalizeOptions,
    build_backbone: BuildBackboneOptions,
    train_head: TrainHeadOptions,
    compute: ComputeOptions,
    fine_tune: FineTuneOptions,
) -> tuple[list[Any], dict[str, str]]:
    """Those that can still win and fit into the budget, fine-tuned; and how far each candidate was tried."""
    from regraft.comparing.finalists import standing_of
    from regraft.comparing.tuning import Budget, Recipe, fine_tune_finalists
    from regraft.training.reproducibility import reproducible

    bench = make_bench(
        manifest, label_names, targets, compared_arrays, compared_results, normalize, build_backbone, compute
    )
    with reproducible(bench.compute):
        return fine_tune_finalists(
            options.candidates(),
            compared_probes,
            [standing_of(standing) for standing in compared_standings["standings"]],
            bench,
            recipe=Recipe(
                train_head.solver_settings(), fine_tune.settings(), activations, compared_save_points
            ),
            budget=Budget(options.max_fine_tuned, 60 * options.max_minutes),
        )


def choose_model(
    compared_probes: list[Any],
    compared_fine_tuned: list[Any],
    compared_outcomes: dict[str, str],
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    targets: list[dict[str, Any]],
    options: CompareOptions,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The choice on val, everything measured on test, and the same as a plain table."""
    from regraft.comparing.comparison import compare_models, plain_table, report_models
    from regraft.comparing.task import task_for

    comparison = compare_models(
        [*compared_probes, *compared_fine_tuned],
        manifest,
        task_for(label_names, targets),
        outcomes=compared_outcomes,
        selection_metric=options.selection_metric,
        bootstrap=options.bootstrap(),
    )
    report_models(comparison)
    return comparison, plain_table(comparison)


def draw_comparison(
    comparison: dict[str, Any],
    ingest: IngestOptions,
    normalize: NormalizeOptions,
    train_head: TrainHeadOptions,
    fine_tune: FineTuneOptions,
    options: CompareOptions,
) -> tuple[Any, str]:
    """What each model scores against what it costs, and the page that holds it."""
    from regraft.comparing.figures import comparison_figure
    from regraft.comparing.page import render_comparison

    figure = comparison_figure(comparison)
    several = {
        "ingest": ingest,
        "normalize": normalize,
        "train_head": train_head,
        "fine_tune": fine_tune,
        "compare": options,
    }
    settings = {name: value.model_dump(mode="json") for name, value in several.items()}
    return figure, render_comparison(comparison, figure, settings=settings)
