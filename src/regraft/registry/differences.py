"""What differs between two receipts, or two tables, in sentences: `was this, is that`.

Knows receipts and tables as plain data: not where they come from, nor which difference matters.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from regraft.images.target_columns import PREFIX
from regraft.registry.receipt import Receipt, dotted
from regraft.registry.recorded_answers import recorded_targets
from regraft.training.target_answers import Target, said_columns

_NUM_SHOWN = 5
_MISSING = object()


def code_differences(was: Receipt, now: Receipt) -> list[str]:
    """Files of the package and of the catalog, by name."""
    told = _set_differences("file", was.code.files, now.code.files)
    if told and was.code.changed:
        told.append(
            f"The commit is not all that ran: {_first(was.code.changed)} had changes that were not committed."
        )
    return told


def lock_differences(was: Receipt, now: Receipt) -> list[str]:
    """Whether the two environments are of the same lock file."""
    if was.lock_sha256 == now.lock_sha256:
        return []
    return [
        f"The environment is that of another requirements.lock: {_was(was.lock_sha256, now.lock_sha256)}."
    ]


def parameter_differences(was: Receipt, now: Receipt) -> list[str]:
    """Parameters by their dotted names."""
    return key_differences(dict(dotted(was.parameters)), dict(dotted(now.parameters)))


def image_differences(was: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """By path: images gone and new, other bytes, another label, target, group or split."""
    was, now = was.set_index("path"), now.set_index("path")
    gone, new = was.index.difference(now.index), now.index.difference(was.index)
    common = was.index.intersection(now.index)
    was, now = was.loc[common].fillna(""), now.loc[common].fillna("")
    targets = [name for name in was.columns if name.startswith(PREFIX) and name in now.columns]
    named = {
        "missing": gone,
        "new": new,
        "with other bytes": common[was["sha256"] != now["sha256"]],
        "with another label": common[was["label"] != now["label"]],
        "with another target": common[(was[targets] != now[targets]).any(axis=1)],
        "of another group": common[was["group"] != now["group"]],
        "in another split": common[was["split"] != now["split"]],
    }
    return [f"{len(paths):,} {what}: {_first(list(paths))}." for what, paths in named.items() if len(paths)]


def machine_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Facts by name; of a list what is lost and gained."""
    told = []
    for name in dict.fromkeys([*was, *now]):
        before, after = was.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list):
            lost, gained = sorted({*before} - {*after}), sorted({*after} - {*before})
            parts = [
                f"{verb} {', '.join(some)}" for verb, some in (("lacks", lost), ("also has", gained)) if some
            ]
            told.append(f"{name}: this machine {' and '.join(parts)}.")
        else:
            told.append(f"{name} {_was(before, after)}.")
    return told


def file_differences(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Artefacts come in the order of making: what differs first is where to look."""
    differing = [path for path, digest in was.items() if now.get(path) != digest]
    if not differing:
        return []
    num_before = list(was).index(differing[0])
    return [
        f"{len(differing)} of {len(was)} differ, the first being {differing[0]}; the {num_before} made before it "
        "are the same."
    ]


def model_differences(was: Receipt, now: Receipt) -> list[str]:
    """Which of probe and fine-tuned model it is, and its file."""
    told = []
    if was.result.model != now.result.model:
        told.append(f"The better one on val {_was(was.result.model, now.result.model)}.")
    return told + hash_difference(was.result.classifier_sha256, now.result.classifier_sha256)


def prediction_differences(was: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """Of images predicted both times: how many get another label, or other answers to several targets, and how far
    probabilities and numbers moved."""
    several = recorded_targets(was)
    was, now = (table.drop_duplicates("sha256").set_index("sha256") for table in (was, now))
    common = was.index.intersection(now.index)
    before, after = was.loc[common], now.loc[common]
    told = [_target_differences(before, after, several) if several else _label_differences(before, after)]
    if len(common) < max(len(was), len(now)):
        told.append(
            f"There were {len(was):,} images predicted and are {len(now):,}, {len(common):,} of them the same."
        )
    return told


def _label_differences(before: pd.DataFrame, after: pd.DataFrame) -> str:
    num_other = int((before["predicted_name"] != after["predicted_name"]).sum())
    columns = [name for name in before.columns if name.startswith("p_") and name in after.columns]
    return (
        f"Of {len(before):,} images predicted both times {num_other:,} get another label; probabilities differ "
        f"by up to {_gap(before, after, columns):.2g}."
    )


def _target_differences(before: pd.DataFrame, after: pd.DataFrame, targets: Sequence[Target]) -> str:
    """One sentence, target by target; a number or a point that is not the same to the last bit is another one."""
    parts = []
    for target in targets:
        name, columns = target["name"], said_columns(target)
        if not set(columns) <= set(after.columns):
            parts.append(f"{name} is not told again")
        elif target["kind"] == "classes":
            is_other = before[f"{name}.predicted_name"] != after[f"{name}.predicted_name"]
            parts.append(
                f"{int(is_other.sum()):,} get another {name} (probabilities differ by up to "
                f"{_gap(before, after, columns):.2g})"
            )
        else:
            is_other = (before[columns] != after[columns]).any(axis=1)
            parts.append(
                f"{int(is_other.sum()):,} get another {name} (by up to {_gap(before, after, columns):.2g})"
            )
    return f"Of {len(before):,} images predicted both times {'; '.join(parts)}."


def _gap(before: pd.DataFrame, after: pd.DataFrame, columns: Sequence[str]) -> float:
    gaps = np.abs(before[list(columns)].to_numpy(float) - after[list(columns)].to_numpy(float))
    return float(gaps.max(initial=0.0))


def metric_differences(was: Mapping[str, float], now: Mapping[str, float]) -> list[str]:
    """Numbers by name, those of test first, ends of intervals last."""
    names = sorted(
        {*was, *now}, key=lambda name: (name.endswith(("/low", "/high")), not name.startswith("test/"))
    )
    return key_differences({name: was.get(name) for name in names}, {name: now.get(name) for name in names})


def key_differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names whose value changed, in one sentence."""
    told = [
        f"{name} {_was(was.get(name, _MISSING), now.get(name, _MISSING))}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name, _MISSING) != now.get(name, _MISSING)
    ]
    return [f"{_first(told, '; ')}."] if told else []


def _set_differences(kind: str, was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    named = {
        "with other content": [name for name in was if name in now and was[name] != now[name]],
        "missing": [name for name in was if name not in now],
        "new": [name for name in now if name not in was],
    }
    return [
        f"{len(names)} {kind}{'s' if len(names) > 1 else ''} {what}: {_first(names)}."
        for what, names in named.items()
        if names
    ]


def hash_difference(was: str, now: str) -> list[str]:
    """Two hashes of one file."""
    return [] if was == now else [f"The file {_was(was, now)}."]


def _was(before: Any, after: Any) -> str:
    texts = _value(before), _value(after)
    was, now = texts if texts[0] != texts[1] else (repr(before), repr(after))
    return f"was {was}, is {now}"


def _value(value: Any) -> str:
    if value is _MISSING or value is None:
        return "none"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    is_hash = len(text) == 64 and set(text) <= set("0123456789abcdef")
    return short_hash(text) if is_hash else text


def short_hash(digest: str | None) -> str:
    """The first digits."""
    return f"sha256 {digest[:12]}" if digest else "none"


def _first(items: Sequence[str], between: str = ", ") -> str:
    more = len(items) - _NUM_SHOWN
    return between.join(items[:_NUM_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
