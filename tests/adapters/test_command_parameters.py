from typing import Any

import pytest

from regraft.adapters.command_parameters import parse_parameters, split_pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        (
            "fine_tune.max_epochs=20,compute.device=cuda",
            {"fine_tune": {"max_epochs": 20}, "compute": {"device": "cuda"}},
        ),
        ("a.penalties=[1, 10,3.5],b=2", {"a": {"penalties": [1, 10, 3.5]}, "b": 2}),
        ("a={kind: folder, path: x/y},b=1e-3", {"a": {"kind": "folder", "path": "x/y"}, "b": 0.001}),
        ("a=['*.txt', \"b,c\", [d, e]]", {"a": ["*.txt", "b,c", ["d", "e"]]}),
        ("a='x,y',b=null", {"a": "x,y", "b": None}),
        ("path=it's [here],b=1", {"path": "it's [here]", "b": 1}),
        (" a = 1 , b=two words", {"a": 1, "b": "two words"}),
        ("a=x=y", {"a": "x=y"}),
    ],
)
def test_pairs_with_lists_mappings_and_quotes(text: str, expected: dict[str, Any]) -> None:
    assert parse_parameters(text) == expected


def test_without_brackets_and_quotes_it_is_what_kedro_reads() -> None:
    assert split_pairs("a=1,b.c=x y,,d=C:/x") == ["a=1", "b.c=x y", "d=C:/x"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=1,b", "got 'b'; each item must be key=value"),
        ("=1", "got '=1'; each item must be key=value"),
        ("a=*.txt", r"a: cannot read '\*\.txt'; .*quotes, as in '\*\.txt'"),
        ("a=[1,2", r"a: cannot read '\[1,2'; close brackets"),
    ],
)
def test_a_mistake_is_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        parse_parameters(text)
    assert "\n" not in str(caught.value)
