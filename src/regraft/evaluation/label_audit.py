"""The label audit: which labels are most likely wrong, and how many there may be.

Knows labels, held-out probabilities and which images are related: no network, no figure, no file.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regraft.evaluation.metrics import FloatArray, IntArray, accuracy, log_loss, predicted_labels

SPLITS: Final = ("train", "val", "test")
SUGGESTION_COLUMNS: Final = (
    "rank", "path", "given_label", "suggested_label", "label", "reason",
    "probability", "given_probability", "is_issue", "split",
)  # fmt: skip
_NUM_PAIRS: Final = 20


def suggest_labels(
    manifest: pd.DataFrame, label_names: Sequence[str], probabilities: FloatArray
) -> pd.DataFrame:
    """All images, the label most likely wrong first.

    Args:
        manifest: Columns `path`, `split`, `label`, and `reviewed_label`, `reason` where corrections were applied; N
            rows.
        label_names: K names, in the order of the classes.
        probabilities: `(N, K)` float64 from probes that were not trained on the image.

    Returns:
        `SUGGESTION_COLUMNS`, a row an image: `rank` from 1, by the probability of the given label; `probability` is
        the suggested label's; `is_issue` says whether confident learning calls the label wrong; `label` and `reason`
        are for whoever looks at it, and hold what was decided before. A label that was looked at is no issue.

    Source:
        Northcutt et al. 2021, arXiv:1911.00068, as in cleanlab: prune by noise rate, ranked by self-confidence.
    """
    from cleanlab.rank import get_label_quality_scores

    labels = manifest["label"].to_numpy(np.int64)
    suggested = predicted_labels(probabilities)
    names = np.array(label_names, dtype=object)
    reviewed = manifest.get("reviewed_label", pd.Series(None, manifest.index, dtype="str"))
    table = pd.DataFrame(
        {
            "path": manifest["path"].to_numpy(),
            "given_label": manifest.get("source_label", manifest["label_name"]).to_numpy(),
            "suggested_label": names[suggested],
            "label": reviewed.to_numpy(),
            "reason": manifest["reason"].to_numpy() if "reason" in manifest else None,
            "probability": probabilities.max(axis=1),
            "given_probability": get_label_quality_scores(labels, probabilities, method="self_confidence"),
            "is_issue": find_issues(labels, probabilities) & reviewed.isna().to_numpy(),
            "split": manifest["split"].to_numpy(),
        },
        index=manifest.index,
    )
    order = np.lexsort((np.arange(len(table)), table["given_probability"], reviewed.notna()))
    table = table.iloc[order]
    table.insert(0, "rank", range(1, len(table) + 1))
    return table[list(SUGGESTION_COLUMNS)]


def with_left_out(suggestions: pd.DataFrame, corrections: Mapping[str, Any]) -> pd.DataFrame:
    """The suggestions, and after them the images that were looked at and left out, so that the table given back as a
    whole says again all that was decided. `corrections` is what ingest reports of them; index -1."""
    left_out = pd.DataFrame(
        corrections.get("left_out", []), columns=["path", "given_label", "label", "reason"]
    )
    left_out.index = pd.Index([-1] * len(left_out), dtype="int64")
    return (
        pd.concat([suggestions, left_out.reindex(columns=suggestions.columns)])
        if len(left_out)
        else suggestions
    )


def find_issues(labels: IntArray, probabilities: FloatArray) -> NDArray[np.bool_]:
    """`(N,)` bool: the labels that confident learning calls wrong."""
    from cleanlab.filter import find_label_issues

    # One process: cleanlab would start one a core for some milliseconds of work.
    issues: NDArray[np.bool_] = find_label_issues(
        labels, probabilities, filter_by="prune_by_noise_rate", n_jobs=1
    )
    return issues


def summarise_audit(
    manifest: pd.DataFrame,
    suggestions: pd.DataFrame,
    probabilities: FloatArray,
    units: IntArray,
    *,
    num_resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Counts, and the share of labels that confident learning calls wrong.

    Args:
        manifest: Columns `label`, `split`; N rows.
        suggestions: As `suggest_labels` gives them for it.
        probabilities: The same.
        units: `(N,)` numbers of what is drawn as a whole: a group, or an image and its copies.
        num_resamples: Bootstrap resamples.
        confidence: Of the intervals.
        seed: Draws the resamples.

    Returns:
        JSON-serialisable: `num_images`, `num_issues`, `num_reviewed`, `share` (`value`, `low`, `high`) over all and by
        split under `splits`; `pairs`, the commonest given and suggested labels of issues; `held_out`, how good the
        probes are whose word this is.
    """
    issues = suggestions["is_issue"].reindex(manifest.index).to_numpy(np.bool_)
    labels = manifest["label"].to_numpy(np.int64)
    drawn = _Resamples(units, num_resamples, confidence, seed)
    wrong = suggestions[suggestions["is_issue"]]
    pairs = Counter(zip(wrong["given_label"], wrong["suggested_label"], strict=True))
    return {
        **_counts(issues, np.ones(len(issues), np.bool_), drawn),
        "num_reviewed": int(suggestions["label"].notna().sum()),
        "splits": {
            split: _counts(issues, (manifest["split"] == split).to_numpy(), drawn) for split in SPLITS
        },
        "pairs": [
            {"given_label": given, "suggested_label": suggested, "num_issues": number}
            for (given, suggested), number in pairs.most_common(_NUM_PAIRS)
        ],
        "held_out": {
            "accuracy": accuracy(probabilities, labels),
            "log_loss": log_loss(probabilities, labels),
        },
    }


class _Resamples:
    """How often each image stands in each resample of whole units: `(R, N)` int64."""

    def __init__(self, units: IntArray, num_resamples: int, confidence: float, seed: int) -> None:
        generator = np.random.default_rng(seed)
        numbers = np.unique(units, return_inverse=True)[1]
        num_units = int(numbers.max()) + 1
        self._units = numbers
        self._times = generator.multinomial(num_units, np.full(num_units, 1 / num_units), num_resamples)
        self._tails = ((1 - confidence) / 2, (1 + confidence) / 2)

    def interval(self, hits: NDArray[np.bool_], among: NDArray[np.bool_]) -> tuple[float, float] | None:
        """Of the share of hits among some images; None where fewer than two units have any."""
        num_units = self._times.shape[1]
        sizes = np.bincount(self._units[among], minlength=num_units)
        if (sizes > 0).sum() < 2:
            return None
        counts = np.bincount(self._units[among & hits], minlength=num_units)
        totals = self._times @ sizes
        shares = (self._times @ counts)[totals > 0] / totals[totals > 0]
        low, high = np.quantile(shares, self._tails)
        return float(low), float(high)


def _counts(issues: NDArray[np.bool_], among: NDArray[np.bool_], drawn: _Resamples) -> dict[str, Any]:
    num_images, num_issues = int(among.sum()), int((issues & among).sum())
    low, high = drawn.interval(issues, among) or (None, None)
    value = num_issues / num_images if num_images else None
    return {
        "num_images": num_images,
        "num_issues": num_issues,
        "share": {"value": value, "low": low, "high": high},
    }
