"""Nodes of the step `audit`: the labels held against probes that have not seen them.

Imports inside the functions, so that a configuration error is told before anything heavy is loaded.
"""

from functools import partial
from typing import Any

import pandas as pd

from regraft.messages import report_progress
from regraft.options.audit import AuditOptions


def audit_labels(
    features: Any,
    pixels: Any,
    manifest: pd.DataFrame,
    label_names: dict[str, list[str]],
    ingest_report: dict[str, Any],
    options: AuditOptions,
) -> tuple[pd.DataFrame, str, dict[str, Any]]:
    """Suggestions to edit and give back, a page to look at, and counts."""
    import numpy as np

    from regraft.evaluation.audit_page import render_audit
    from regraft.evaluation.label_audit import suggest_labels, summarise_audit, with_left_out
    from regraft.images.splits import number_units
    from regraft.training.out_of_fold import predict_out_of_fold

    (names,) = label_names.values()
    units = np.array(number_units(manifest, "grouped" if options.hold_out == "groups" else "random"))
    held_out = predict_out_of_fold(
        features,
        manifest["label"].to_numpy("int64"),
        num_classes=len(names),
        groups=units,
        settings=options.settings(),
        kernel=options.head.kernel(),
        on_fold=partial(report_progress, "judging labels"),
    )
    suggestions = suggest_labels(manifest, names, held_out.probabilities)
    summary = summarise_audit(
        manifest,
        suggestions,
        held_out.probabilities,
        units,
        num_resamples=options.num_resamples,
        confidence=options.confidence,
        seed=options.seed,
    )
    summary |= {"hold_out": options.hold_out, "penalties": list(held_out.penalties)}
    suggestions = with_left_out(suggestions, ingest_report.get("corrections", {}))
    page = render_audit(suggestions, summary, names, pixels, limit=options.num_shown)
    return suggestions, page, summary
