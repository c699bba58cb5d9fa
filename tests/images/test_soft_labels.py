from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from regraft.images.faults import SourceError
from regraft.images.soft_labels import find_certain, soft_labels
from regraft.images.sources import CsvSource, list_images


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        for number in range(4):
            Image.new("L", (4, 4), number).save(tmp_path / f"{number}.png")
        path = tmp_path / "listing.csv"
        path.write_text(text)
        return path

    return write


def test_of_two_labels_one_probability_is_enough_and_an_empty_one_is_certain(write) -> None:
    path = write(
        "path,label,cracked?\n0.png,cracked,0.667\n1.png,intact,0.333\n2.png,intact,\n3.png,cracked,1\n"
    )
    source = CsvSource(path=path, probability_columns={"cracked": "cracked?"})
    listing = list_images(source)
    found = soft_labels(listing, ("cracked", "intact"))
    np.testing.assert_allclose(found, [[0.667, 0.333], [0.333, 0.667], [0, 1], [1, 0]])
    assert find_certain(found).tolist() == [False, False, True, True]
    assert soft_labels(list_images(CsvSource(path=path)), ("cracked", "intact")) is None


def test_several_labels_and_weights(write) -> None:
    path = write(
        "path,label,a,b,c,w\n0.png,ant,0.5,0.3,0.2,2\n1.png,bee,0,1,0,\n2.png,cat,0.333,0.333,0.333,0\n3.png,bee,,,,1\n"
    )
    source = CsvSource(path=path, probability_columns={"ant": "a", "bee": "b", "cat": "c"}, weight_column="w")
    listing = list_images(source)
    found = soft_labels(listing, ("ant", "bee", "cat"))
    np.testing.assert_allclose(found, [[0.5, 0.3, 0.2], [0, 1, 0], [1 / 3] * 3, [0, 1, 0]], atol=1e-12)
    assert listing["weight"].tolist() == [2, 1, 0, 1]


def test_every_fault_is_told_at_once(write) -> None:
    path = write(
        "path,label,a,w\n0.png,ant,much,1\n1.png,bee,1.5,-1\n2.png,bee,0.5,x\n3.png,nope.png,0.1,1\n"
    )
    with pytest.raises(SourceError) as raised:
        list_images(CsvSource(path=path, probability_columns={"ant": "a", "wasp": "a"}, weight_column="w"))
    assert "names labels that no row has: wasp" in str(raised.value)
    assert "2 rows have a weight that is no number from 0 on" in str(raised.value)
    two = write("path,label,a,b\n0.png,ant,much,0\n1.png,bee,1.5,0\n2.png,bee,0.5,0.1\n3.png,ant,nan,1\n")
    with pytest.raises(SourceError) as raised:
        list_images(CsvSource(path=two, probability_columns={"ant": "a", "bee": "b"}))
    text = str(raised.value)
    assert "3 rows have a probability that is no number from 0 to 1" in text
    assert "1 rows have probabilities that do not sum to 1" in text
    assert "2.png (0.6)" in text
    with pytest.raises(SourceError, match=r"no column 'zz' \(ingest\.source\.probability_columns\)"):
        list_images(CsvSource(path=two, probability_columns={"ant": "zz"}))
    three = write("path,label,a\n0.png,ant,1\n1.png,bee,0\n2.png,cat,0\n")
    with pytest.raises(SourceError, match="names no column for bee, cat"):
        list_images(CsvSource(path=three, probability_columns={"ant": "a"}))


def test_probabilities_are_in_the_order_of_the_classes() -> None:
    table = pd.DataFrame({"soft_a": [0.2, 1.0], "soft_b": [0.8, 0.0]})
    np.testing.assert_allclose(soft_labels(table, ("b", "a")), [[0.8, 0.2], [0, 1]])
    assert soft_labels(table, ("b", "a", "c")) is None
