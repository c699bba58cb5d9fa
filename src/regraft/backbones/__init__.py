"""Pretrained networks without their classifiers: which there are, how they are cut, whence their weights.

Knows nothing of images on disk, heads, training or configuration files.
"""
