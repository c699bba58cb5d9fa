"""Transfer learning for images, measured honestly."""

__version__ = "0.1.0"
