"""Figures as files, written whole or not at all.

A module of its own: importing pyplot takes as long as importing pandas, and one step of seven draws.
"""

# mypy: disallow-subclassing-any=False
# (kedro-datasets says nothing of its types)

from kedro_datasets.matplotlib import MatplotlibDataset

from regraft.adapters.datasets import WrittenWhole


class WholeFigure(WrittenWhole, MatplotlibDataset):
    """A matplotlib figure as PNG."""
