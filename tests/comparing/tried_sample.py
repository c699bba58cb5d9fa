"""What is known of a model that was tried, beside what it says of images."""

from typing import Any

FACTS: dict[str, Any] = {
    "backbone": "efficientnet_lite0",
    "weights": "packaged",
    "cut": "conv_head",
    "parameters": {
        "name": "efficientnet_lite0",
        "weights": {"kind": "pretrained", "name": None},
        "cut": None,
    },
    "size": 224,
    "num_parameters": 3_400_000,
    "num_bytes": 13_600_000,
    "images_per_second": 100.0,
    "seconds": 30.0,
    "cpu_seconds": 60.0,
}
