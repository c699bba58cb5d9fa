from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader

from regraft.adapters.configuration_faults import explain_fault

SHIPPED = "train_head:\n  features: last\n  head: {kind: linear, penalties: [1, 2]}\n"


def explain(
    tmp_path: Path, local: str, given: dict[str, Any] | None = None, *, file: str = "parameters_a.yml"
) -> str:
    """What is said of the error that Kedro's own loader raises; paths from the folder of both environments on."""
    for name, text in (("base/parameters_train_head.yml", SHIPPED), (f"local/{file}", local)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    loader = OmegaConfigLoader(
        str(tmp_path),
        base_env="base",
        default_run_env="local",
        merge_strategy={"parameters": "soft"},
        runtime_params=given or {},
    )
    with pytest.raises(Exception) as raised:  # noqa: PT011  (any: what is said of it is the point)
        loader["catalog" if file == "catalog.yml" else "parameters"]
    told = explain_fault(raised.value, [tmp_path / "base", tmp_path / "local"], given or {})
    assert told is not None
    assert "\n" not in told
    return told.replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train_head: [1", "local/parameters_a.yml, line 1: expected ',' or ']', but got '<stream end>'"),
        (
            "train_head:\n\tfeatures: last\n",
            "local/parameters_a.yml, line 2: found character '\\t' that cannot start",
        ),
        ("a:\n  b: 1\n  b: 2\n", "local/parameters_a.yml, line 3: found duplicate key b"),
        ("a: 1: 2\n", "local/parameters_a.yml, line 1: mapping values are not allowed here"),
    ],
)
def test_what_is_no_yaml_is_named_by_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    assert explain(tmp_path, text).startswith(told)


def test_files_of_other_kinds_are_looked_into_too(tmp_path: Path) -> None:
    assert explain(tmp_path, "a: [\n", file="catalog.yml").startswith("local/catalog.yml, line 2: ")


def test_a_list_over_keys_is_told_with_both_places(tmp_path: Path) -> None:
    assert explain(tmp_path, "train_head: [1]\n") == (
        "train_head: keys and values in base/parameters_train_head.yml, a list in local/parameters_a.yml; "
        "it can be one of them"
    )
    assert explain(tmp_path, "{}", {"train_head": {"head": {"penalties": {"a": 1}}}}) == (
        "train_head.head.penalties: a list in base/parameters_train_head.yml, keys and values in --params; "
        "it can be one of them"
    )


def test_a_reference_to_nothing_is_told_by_its_key(tmp_path: Path) -> None:
    assert explain(tmp_path, "a:\n  b: ${nope}\n") == "a.b: Interpolation key 'nope' not found"


def test_errors_of_other_kinds_are_not_the_configuration_s(tmp_path: Path) -> None:
    assert explain_fault(ValueError("boo"), [tmp_path], {}) is None
