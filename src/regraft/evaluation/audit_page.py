"""The page of a label audit: the images whose labels are likeliest wrong, each to be judged by a click.

Knows suggestions as a table and pixels as an array: no model, no file; the page asks nothing of a network.
"""

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from regraft.evaluation.figure_style import percent
from regraft.images.preprocessing import as_rgb

_MAX_SIDE = 224  # pixels of a picture on the page: some 10 kB each


def render_audit(
    suggestions: pd.DataFrame,
    summary: Mapping[str, Any],
    label_names: Sequence[str],
    pixels: NDArray[np.uint8],
    *,
    limit: int,
) -> str:
    """Render the page.

    Args:
        suggestions: As `suggest_labels` gives them, indexed by the row of the image; the first are shown.
        summary: What `summarise_audit` gave.
        label_names: K names, in the order of the classes.
        pixels: `(N, S, S, 3 or 1)` uint8, memory-mapped at will: only the images shown are read.
        limit: Images shown at most; labels that somebody has looked at are not.

    Returns:
        HTML that holds everything it shows, the same bytes for the same input.
    """
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    source = resources.files("regraft.evaluation").joinpath("audit_page.html.j2").read_text(encoding="utf-8")
    shown = suggestions[suggestions["label"].isna()].head(limit)
    decided = suggestions[suggestions["label"].notna()]
    return environment.from_string(source).render(
        headline=_headline(summary),
        ceiling=_ceiling(summary),
        num_shown=len(shown),
        num_reviewed=len(decided),
        splits=[
            {"name": name, **row, "text": _share(row["share"])} for name, row in summary["splits"].items()
        ],
        pairs=summary["pairs"],
        cards=[
            {**row, "picture": _picture(pixels[index]), "name": PurePosixPath(str(row["path"])).name}
            | {"says": percent(row["probability"], 0), "of_given": percent(row["given_probability"], 0)}
            for index, row in zip(shown.index, shown.to_dict("records"), strict=True)
        ],
        label_names=list(label_names),
        decided=[
            {
                key: "" if pd.isna(row[key]) else str(row[key])
                for key in ("path", "given_label", "label", "reason")
            }
            for row in decided.to_dict("records")
        ],
        held_out_accuracy=percent(summary["held_out"]["accuracy"]),
    )


def _headline(summary: Mapping[str, Any]) -> str:
    """How many labels are doubtful."""
    return f"Of {summary['num_images']:,} labels, {summary['num_issues']:,} may be wrong: {_share(summary['share'])}."


def _ceiling(summary: Mapping[str, Any]) -> str:
    """What that would mean for a score on test."""
    share = summary["splits"]["test"]["share"]["value"]
    return (
        f"If all the doubtful labels of test were wrong and chance had a hand in nothing else, a model that is always "
        f"right would be scored {percent(1 - share)}."
    )


def _share(share: Mapping[str, float | None]) -> str:
    """`4.2 % (3.1 to 5.5)`."""
    if share["value"] is None:
        return "–"
    if share["low"] is None or share["high"] is None:
        return percent(share["value"])
    low, high = percent(share["low"]).removesuffix(" %"), percent(share["high"]).removesuffix(" %")
    return f"{percent(share['value'])} ({low} to {high})"


def _picture(pixels: NDArray[np.uint8]) -> str:
    """JPEG in base64."""
    image = Image.fromarray(np.ascontiguousarray(as_rgb(pixels)))
    image.thumbnail((_MAX_SIDE, _MAX_SIDE))
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
