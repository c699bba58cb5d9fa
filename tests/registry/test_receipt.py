import json
from collections.abc import Callable

import pandas as pd
import pytest

from regraft.registry.receipt import Receipt, ReceiptError, find_seeds, hash_table, list_images

MakeReceipt = Callable[..., Receipt]


def test_a_receipt_survives_its_file(make_receipt: MakeReceipt) -> None:
    receipt = make_receipt(parameters={"ingest": {"path": "Bücher/größe", "seed": 3}})
    assert Receipt.from_json(receipt.to_json()) == receipt
    assert "größe" in receipt.to_json()


def test_files_keep_their_order_in_the_file(make_receipt: MakeReceipt) -> None:
    files = {"z.json": "1" * 64, "a.json": "2" * 64}
    assert list(Receipt.from_json(make_receipt(files=files).to_json()).files) == ["z.json", "a.json"]


@pytest.mark.parametrize(
    ("change", "told"), [({"format": 2}, "format: "), ({"wings": 2}, "wings: "), ({"files": 3}, "files: ")]
)
def test_what_is_no_receipt_is_refused(
    make_receipt: MakeReceipt, change: dict[str, object], told: str
) -> None:
    content = json.loads(make_receipt().to_json()) | change
    with pytest.raises(ReceiptError, match=rf"not a receipt .* \(format 1\): {told}"):
        Receipt.from_json(json.dumps(content))


def test_seeds_are_found_at_any_depth() -> None:
    parameters = {"a": {"seed": 1, "b": {"seed": 2, "seedling": 3}}, "seed": 4, "c": {}}
    assert find_seeds(parameters) == {"a.seed": 1, "a.b.seed": 2, "seed": 4}


def test_images_are_listed_by_label_name_as_text() -> None:
    manifest = pd.DataFrame(
        {
            "path": ["a.png", "b.png"],
            "sha256": ["1", "2"],
            "label": [1, 0],
            "label_name": ["on", "off"],
            "group": [None, "007"],
            "split": ["train", "test"],
            "width": [3, 4],
        }
    )
    images = list_images(manifest)
    assert images.drop(columns="group").to_dict("records") == [
        {"path": "a.png", "sha256": "1", "label": "on", "split": "train"},
        {"path": "b.png", "sha256": "2", "label": "off", "split": "test"},
    ]
    assert images["group"].isna().tolist() == [True, False]
    assert images["group"][1] == "007"
    several = list_images(manifest.assign(**{"target_age": 31.5, "target_sex.name": "f"}))
    assert several["target_age"].tolist() == ["31.5"] * len(manifest)
    assert several["target_sex.name"].tolist() == ["f"] * len(manifest)
    assert list_images(manifest.assign(group=None))["group"].isna().all()


def test_a_table_has_the_same_hash_from_csv_and_from_parquet(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("tables")
    table = pd.DataFrame({"id": [1, 2], "group": [None, "b"], "p": [0.1, 1 / 3]})
    table.to_csv(folder / "table.csv", index=False)
    table.to_parquet(folder / "table.parquet", index=False)
    from_csv = pd.read_csv(folder / "table.csv", dtype={"group": "str"})
    assert hash_table(from_csv) == hash_table(pd.read_parquet(folder / "table.parquet")) == hash_table(table)


@pytest.mark.parametrize(
    "other",
    [
        {"p": [0.1, 0.2 + 1e-16 * 2], "q": ["a", "b"]},
        {"p": [0.2, 0.1], "q": ["a", "b"]},
        {"p": [0.1, 0.2], "q": ["a", "c"]},
        {"p": [0.1, 0.2], "r": ["a", "b"]},
        {"q": ["a", "b"], "p": [0.1, 0.2]},
        {"p": [0.1], "q": ["a"]},
    ],
)
def test_any_other_value_name_or_order_is_another_hash(other: dict[str, list[object]]) -> None:
    assert hash_table(pd.DataFrame(other)) != hash_table(pd.DataFrame({"p": [0.1, 0.2], "q": ["a", "b"]}))
