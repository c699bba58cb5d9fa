"""What README and docs say exists: keys, values, pipelines, commands, links; and their Python compiles."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from pydantic import BaseModel

from regraft.adapters.command_parameters import parse_parameters
from regraft.adapters.tracking_server import TrackingOptions
from regraft.backbones.zoo import BACKBONES
from regraft.options.checking import SCHEMAS, check_parameters
from regraft.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix()
)
CONFIGURATION = ROOT / "docs" / "configuration.md"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_ROW = re.compile(r"^\| `([a-z_.0-9]+)` \| (.+?) \| .+ \| .+ \|$", re.MULTILINE)
_MISSING = object()

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def blocks(page: Path, *languages: str) -> list[str]:
    return [body for language, body in _FENCE.findall(page.read_text("utf-8")) if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every shell command of a page, without prompt, environment and the bootstrap in front."""
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.lstrip().startswith(("#", "echo", "|")):
                words = shlex.split(line, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words = words[1:]
                if words[:2] == ["python3", "src/bootstrap.py"]:
                    words = words[2:]
                if words:
                    yield words


def base_configuration(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """As Kedro merges it: not everything may take the place of everything."""
    told = dict(changes or {})
    tracking = told.pop("tracking", {})
    loader = OmegaConfigLoader(str(ROOT / "conf"), env="base", runtime_params=told, **CONFIG_LOADER_ARGS)
    return dict(loader["parameters"]) | OmegaConf.to_container(
        OmegaConf.merge(loader["tracking"], {"tracking": tracking})
    )


def check(changes: dict[str, Any]) -> None:
    parameters = base_configuration(changes)
    TrackingOptions.model_validate(parameters.pop("tracking"))
    check_parameters(parameters)


@pages
def test_parameters_on_command_lines_exist_and_are_in_range(page: Path) -> None:
    for words in commands(page):
        if "--params" in words:
            check(parse_parameters(words[words.index("--params") + 1]))


@pages
def test_yaml_of_the_docs_is_a_valid_configuration(page: Path) -> None:
    for block in blocks(page, "yaml"):
        content = yaml.safe_load(block)
        if set(content) & {*SCHEMAS, "tracking"}:
            check(content)


@pages
def test_python_of_the_docs_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")


@pages
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = _FENCE.sub("", page.read_text("utf-8"))
    dead = []
    for match in _LINK.finditer(text):
        target = match.group(1) or match.group(2)
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            dead.append(target)
    assert not dead


def anchors(page: Path) -> set[str]:
    """Headings as a forge turns them into anchors."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def kedro() -> Any:
    from kedro.framework.cli.cli import KedroCLI

    return KedroCLI(ROOT)


@pages
def test_kedro_commands_exist_with_their_options(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    monkeypatch.chdir(ROOT)
    names = {path.name for path in (ROOT / "src/regraft/pipelines").iterdir() if path.is_dir()}
    for words in commands(page):
        if words[0] != "kedro" or words[1] in {"viz", "ipython"}:  # an extra; and it passes any option on
            continue
        command, arguments = kedro(), words[1:]
        with click.Context(command) as context:
            while hasattr(command, "resolve_command"):
                name, command, arguments = command.resolve_command(context, arguments)
            parsed = command.make_context(name, list(arguments))
        for wanted in (parsed.params.get("pipeline"), parsed.params.get("pipelines")):
            assert {wanted} <= names | {None} if isinstance(wanted, str | None) else set(wanted) <= names, (
                words
            )


def leaves(schema: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys that a schema takes, each with its default."""
    for name, field in schema.model_fields.items():
        inner = list(models_in(field.annotation))
        for model in inner:
            yield from leaves(model, f"{prefix}.{name}")
        if not inner:
            yield f"{prefix}.{name}", _MISSING if field.is_required() else field.default


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def all_leaves() -> list[tuple[str, Any]]:
    schemas = {**SCHEMAS, "tracking": TrackingOptions}
    return [leaf for name, schema in schemas.items() for leaf in leaves(schema, name)]


def test_every_key_is_described_and_every_described_key_exists() -> None:
    described = {key for key, _ in _ROW.findall(CONFIGURATION.read_text("utf-8"))}
    assert described == {key for key, _ in all_leaves()}


def test_shipped_values_of_the_tables_are_those_of_conf_base() -> None:
    base = base_configuration()
    wrong = []
    for key, cell in _ROW.findall(CONFIGURATION.read_text("utf-8")):
        known = [default for name, default in all_leaves() if name == key]
        try:
            value: Any = base
            for part in key.split("."):
                value = value[part]
            known = [value]
        except (KeyError, TypeError):
            pass
        told = _MISSING if cell == "—" else value_of(cell)
        if not any(told is one or plain(told) == plain(one) for one in known):
            wrong.append(f"{key}: the page says {cell}, conf/base or the code {known}")
    assert not wrong


def value_of(cell: str) -> Any:
    text = cell.strip("`")
    return float(text) if re.fullmatch(r"\d+e-?\d+", text) else yaml.safe_load(text)  # YAML 1.1 wants 1.0e-4


def plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value.as_posix() if isinstance(value, Path) else value


def test_the_list_of_backbones_is_that_of_the_zoo() -> None:
    text = CONFIGURATION.read_text("utf-8").partition("Backbones by name:")[2].partition("; and `timm:")[0]
    assert re.findall(r"`(\w+)`", text) == list(BACKBONES)


def test_a_wrong_key_in_the_docs_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nkedro run --params fine_tune.epochs=3\n```\n")
    with pytest.raises(ValueError, match="unknown key 'epochs'"):
        test_parameters_on_command_lines_exist_and_are_in_range(page)


def test_the_flow_names_the_whole_catalog() -> None:
    flow = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## The rooms")[0]
    rows = [line.split("|")[1] for line in flow.splitlines() if line.startswith("| `")]
    catalog = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text("utf-8"))
    named = {name for name in catalog if not name.startswith(("_", "{"))}
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == named


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert [page.name for page in (ROOT / "docs" / "adr").glob("*.md") if page.name not in listed] == []
