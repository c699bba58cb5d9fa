"""What `--params` says: `key=value` pairs, where a value may be a list or a mapping, as in YAML.

Knows the text alone; which keys there are the options say.
"""

from typing import Any

import yaml
from omegaconf import OmegaConf

_OPENING, _CLOSING, _QUOTES = "[{", "]}", "'\""


def parse_parameters(text: str) -> dict[str, Any]:
    """Read pairs separated by commas.

    Args:
        text: Such as `train_head.head.penalties=[1, 10],ingest.source={kind: folder, path: mine}`. A comma in brackets
            or in quotes separates no pairs.

    Returns:
        Nested by the dots of the keys.

    Raises:
        ValueError: If a pair has no key or no `=`, or its value is not YAML; one line that names the pair.
    """
    pairs = []
    for pair in split_pairs(text):
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not key:
            raise ValueError(f"got {pair!r}; each item must be key=value")
        try:
            yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(
                f"{key}: cannot read {value!r}; close brackets, and put texts with characters that YAML reads in its "
                f"own way into quotes, as in '*.txt' or ['*.txt']"
            ) from error
        pairs.append(f"{key}={value}")
    return OmegaConf.to_container(OmegaConf.from_dotlist(pairs))  # type: ignore[return-value]


def split_pairs(text: str) -> list[str]:
    """Split at commas, less those in brackets or quotes; brackets and quotes count at the start of a value only."""
    pairs, quote, depth, before = [""], "", 0, ","
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES and before in "=,:" + _OPENING:
            quote = letter
        elif letter in _OPENING and (depth or before == "="):
            depth += 1
        elif letter in _CLOSING and depth:
            depth -= 1
        if letter == "," and not quote and not depth:
            pairs.append("")
        else:
            pairs[-1] += letter
        before = before if letter == " " else letter
    return [pair.strip() for pair in pairs if pair.strip()]
