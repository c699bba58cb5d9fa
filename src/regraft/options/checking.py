"""Check a whole configuration against the schemas, before anything runs, and name every fault at once.

Knows which key belongs to which schema; reads no files.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from regraft.backbones.stage_choice import check_head_stages, check_unfreeze
from regraft.options.audit import AuditOptions
from regraft.options.build_backbone import BuildBackboneOptions
from regraft.options.compare import CompareOptions
from regraft.options.compute import ComputeOptions
from regraft.options.evaluate import EvaluateOptions
from regraft.options.fine_tune import FineTuneOptions
from regraft.options.ingest import IngestOptions
from regraft.options.normalize import NormalizeOptions
from regraft.options.predict import PredictOptions
from regraft.options.probe import ProbeOptions
from regraft.options.register import RegisterOptions
from regraft.options.schema import Options
from regraft.options.several import pipeline_misfits, several_misfits
from regraft.options.sweep import SweepOptions
from regraft.options.train_head import TrainHeadOptions

SCHEMAS: dict[str, type[Options]] = {
    "ingest": IngestOptions,
    "normalize": NormalizeOptions,
    "build_backbone": BuildBackboneOptions,
    "probe": ProbeOptions,
    "train_head": TrainHeadOptions,
    "fine_tune": FineTuneOptions,
    "evaluate": EvaluateOptions,
    "register": RegisterOptions,
    "predict": PredictOptions,
    "compare": CompareOptions,
    "audit": AuditOptions,
    "sweep": SweepOptions,
    "compute": ComputeOptions,
}

# As pydantic calls what a union allows beside words.
_OTHER_THAN_WORDS = {
    "int": "a whole number",
    "constrained-int": "a whole number",
    "float": "a number",
    "constrained-float": "a number",
    "tuple[str, ...]": "a list of names",
}


class OptionsError(ValueError):
    """A configuration that the schemas refuse."""


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse a configuration with an unknown key, a missing one, or a value out of range.

    Args:
        parameters: What `conf/` and `--params` say together, a key a step.

    Raises:
        OptionsError: Naming every fault in one message, with near names for what is unknown.
    """
    faults = [f"unknown key {key!r}{_near(key, SCHEMAS)}" for key in parameters if key not in SCHEMAS]
    valid: dict[str, Any] = {}
    for key, schema in SCHEMAS.items():
        if key not in parameters:
            faults.append(f"{key}: missing; restore conf/base/parameters_{key}.yml")
            continue
        try:
            valid[key] = schema.model_validate(parameters[key])
        except ValidationError as error:
            faults += [_describe(key, schema, fault) for fault in _one_a_value(error.errors())]
    if "build_backbone" in valid:
        faults += _misfits(
            valid["build_backbone"], valid.get("train_head"), valid.get("fine_tune"), valid.get("normalize")
        )
    _refuse(faults + several_misfits(valid))


def check_steps(parameters: Mapping[str, Any], steps: set[str]) -> None:
    """Refuse steps that the configuration does not allow.

    Args:
        parameters: As `check_parameters` has accepted them.
        steps: Those that are to run.

    Raises:
        OptionsError: Naming all of them.
    """
    _refuse(pipeline_misfits({"ingest": IngestOptions.model_validate(parameters["ingest"])}, steps))


def _refuse(faults: Sequence[str]) -> None:
    if len(faults) == 1:
        raise OptionsError(f"1 fault in the configuration: {faults[0]}")
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise OptionsError(f"{len(faults)} faults in the configuration:\n{listed}")


def _misfits(
    backbone: BuildBackboneOptions,
    train_head: TrainHeadOptions | None,
    fine_tune: FineTuneOptions | None,
    normalize: NormalizeOptions | None,
) -> list[str]:
    """What each step allows and the backbone does not."""
    faults, stages = [], backbone.kept_stages()
    if train_head is not None:
        found = check_head_stages(train_head.features, stages, network=backbone.name, cut=backbone.cut)
        faults += [f"train_head.features: {fault}" for fault in found]
    if fine_tune is not None:
        found = check_unfreeze(fine_tune.unfreeze, stages, network=backbone.name)
        faults += [f"fine_tune.unfreeze: {fault}" for fault in found]
    sees_means = train_head is not None and train_head.views_seen == "mean"
    if sees_means and fine_tune is not None and fine_tune.predict_views != backbone.views:
        faults.append(
            f"fine_tune.predict_views: {fine_tune.predict_views!r}, but the head sees the mean of other views "
            f"(train_head.views_seen), those of build_backbone.views: {backbone.views!r}; set both to the same"
        )
    if normalize is not None and normalize.size is not None:
        try:
            backbone.spec.check_size(normalize.size, normalize.size)
        except ValueError as error:
            faults.append(f"normalize.size: {error}")
    return faults


def _one_a_value(faults: Iterable[Any]) -> list[dict[str, Any]]:
    """Where a word or something else is allowed pydantic says what is wrong with either, the kind at the end of the
    location: one of both is kept, that of the kind which was given, and the other named as allowed."""
    kept: dict[Any, dict[str, Any]] = {}
    for number, fault in enumerate(faults):
        *location, kind = fault["loc"] or ("",)
        is_word = str(kind).startswith("literal[")
        if not is_word and kind not in _OTHER_THAN_WORDS:
            kept[number] = fault
            continue
        path = tuple(location)
        allowed = fault["ctx"]["expected"] if is_word else _OTHER_THAN_WORDS[kind]
        if path not in kept:
            kept[path] = {**fault, "loc": path, "allowed": allowed}
        elif is_word == isinstance(fault["input"], str):
            kept[path] = {**fault, "loc": path, "or": kept[path]["allowed"]}
        else:
            kept[path]["or"] = allowed
    return list(kept.values())


def _describe(key: str, schema: type[BaseModel], fault: Any) -> str:
    location = [part for part in fault["loc"] if not _is_union_tag(part, fault)]
    path = ".".join([key, *map(str, location)])
    if fault["type"] == "extra_forbidden":
        parent, name = ".".join([key, *map(str, location[:-1])]), str(location[-1])
        return f"{parent}: unknown key {name!r}{_near(name, _known_keys(schema, fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{path}: missing"
    if fault["type"] == "union_tag_not_found":
        tags = [tag for model in _models_at(schema, fault["loc"]) if (tag := _tag_of(model))]
        return f"{path}.kind: missing; known: {', '.join(tags)}"
    if fault["type"] == "union_tag_invalid":
        return f"{path}.kind: {_unknown_choice(fault['ctx']['tag'], fault['ctx']['expected_tags'])}"
    if fault["type"] == "literal_error" and isinstance(fault["input"], str):
        return f"{path}: {_unknown_choice(fault['input'], fault['ctx']['expected'], fault.get('or'))}"
    got = "" if fault["type"] == "value_error" else f" (got {fault['input']!r})"
    text = fault["msg"].removeprefix("Value error, ")
    otherwise = f", or {fault['or']}" if "or" in fault else ""
    return f"{path}: {text[:1].lower() + text[1:]}{otherwise}{got}"


def _unknown_choice(got: str, expected: str, otherwise: str | None = None) -> str:
    """`expected` as pydantic words it: `'crop', 'stretch' or 'pad'`; what else is allowed, if anything."""
    allowed = re.findall("'([^']*)'", expected)
    near = difflib.get_close_matches(got, allowed, n=1, cutoff=0.6)
    suggestion = f"; did you mean {near[0]!r}?" if near else ""
    also = f", or {otherwise}" if otherwise else ""
    return f"unknown {got!r}; known: {', '.join(allowed)}{also}{suggestion}"


def _is_union_tag(part: Any, fault: Any) -> bool:
    # pydantic puts the tag of a discriminated union into the location: source.folder.path for source.path
    index = fault["loc"].index(part)
    return (
        isinstance(part, str)
        and 0 < index < len(fault["loc"]) - (fault["type"] != "model_type")
        and part in _TAGS
    )


def _models_at(schema: type[BaseModel], location: tuple[Any, ...]) -> list[type[BaseModel]]:
    models = [schema]
    for part in location:
        models = [model for parent in models for model in _models_below(parent, part)] or models
    return models


def _known_keys(schema: type[BaseModel], location: tuple[Any, ...]) -> Iterable[str]:
    models = _models_at(schema, location)
    tags = {part for part in location if part in _TAGS}
    named = [model for model in models if _tag_of(model) in tags] or models
    return sorted({name for model in named for name in model.model_fields})


def _models_below(model: type[BaseModel], field: Any) -> list[type[BaseModel]]:
    info = model.model_fields.get(str(field))
    return _models_in(info.annotation) if info else []


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


def _tag_of(model: type[BaseModel]) -> str | None:
    info = model.model_fields.get("kind")
    tags = getattr(info.annotation, "__args__", ()) if info else ()
    return tags[0] if tags else None


def _all_tags(models: Iterable[type[BaseModel]]) -> set[str]:
    found: set[str] = set()
    for model in models:
        if tag := _tag_of(model):
            found.add(tag)
        found |= _all_tags(below for name in model.model_fields for below in _models_below(model, name))
    return found


_TAGS = _all_tags(SCHEMAS.values())


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; known: {', '.join(names)}"
