"""How many cores there are to compute on."""

import os


def count_cores() -> int:
    """Cores that this process may use; macOS only tells how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
