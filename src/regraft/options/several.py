"""What several targets do not go with: settings that are about the classes of one label.

Knows checked options; reads no files.
"""

from collections.abc import Mapping
from typing import Any, Final

_ONE_LABEL_STEPS: Final = ("audit", "sweep")
_VIEWS: Final = ("identity", "mirror", "flips", "dihedral")  # each holds those before it


def several_misfits(options: Mapping[str, Any]) -> list[str]:
    """Faults of a configuration with `ingest.source.targets`; none where one label is learnt.

    Args:
        options: Options by step, as far as they are valid by themselves.
    """
    targets = _targets(options)
    if not targets:
        return []
    wanted: list[tuple[str, Any, str]] = [
        ("ingest.corrections", None, "labels alone can be corrected"),
        ("train_head.head.kind", "linear", "each target is solved by itself"),
        ("train_head.balance", "none", "it is about the classes of one label"),
        ("train_head.learn_from", "labels", "probabilities belong to one label"),
        ("train_head.views_seen", "each", "their mean is for one label"),
    ]
    points = [target for target in targets.values() if target.kind == "points"]
    if points:
        wanted.append(("normalize.fit", "stretch", "points are told as fractions of the whole image"))
    if any(target.mirrored is None for target in points):
        wanted += [
            (key, "identity", "a mirror exchanges points; `mirrored` of the target says which")
            for key in ("build_backbone.views", "fine_tune.views", "fine_tune.predict_views")
        ]
    faults = [
        f"{key}: {value!r} does not go with ingest.source.targets ({reason}); set it to {_said(allowed)}"
        for key, allowed, reason in wanted
        if (value := _value(options, key, allowed)) != allowed
    ]
    known, asked = (
        _value(options, key, "identity") for key in ("build_backbone.views", "fine_tune.predict_views")
    )
    are_partners_known = all(target.mirrored is not None for target in points)
    if points and are_partners_known and _VIEWS.index(asked) > _VIEWS.index(known):
        faults.append(
            f"fine_tune.predict_views: {asked!r}, but the head has not seen points in these views "
            f"(build_backbone.views: {known!r}), and its answers to them would be averaged in; set both to the same"
        )
    for key, allowed in (
        ("fine_tune.selection_metric", "calibrated_log_loss or log_loss"),
        ("register.selection_metric", "log_loss"),
    ):
        if _value(options, key, "log_loss") == "accuracy":
            faults.append(
                f"{key}: 'accuracy' does not go with ingest.source.targets (several targets have no one accuracy); set "
                f"it to {allowed}"
            )
    return faults


def pipeline_misfits(options: Mapping[str, Any], steps: set[str]) -> list[str]:
    """Steps that are to run and know one label only, where several targets are learnt; as sentences."""
    if not _targets(options):
        return []
    return [
        f"the step {step!r} knows one label; ingest.source.targets names {', '.join(_targets(options))}. Run "
        "`finetune` with them, or name one of them as ingest.source.label_column"
        for step in _ONE_LABEL_STEPS
        if step in steps
    ]


def _targets(options: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = options["ingest"].source.target_columns() if "ingest" in options else {}
    return found


def _value(options: Mapping[str, Any], key: str, otherwise: Any) -> Any:
    """What a dotted key is set to; where its step is at fault by itself, `otherwise`."""
    step, *parts = key.split(".")
    if step not in options:
        return otherwise
    value: Any = options[step]
    for part in parts:
        value = getattr(value, part)
    return value


def _said(value: Any) -> str:
    return "null" if value is None else repr(value)
