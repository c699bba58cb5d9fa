"""Pretrained networks without their classifiers: which there are, how they are cut, where their weights come from.

Knows nothing of images on disk, heads, training or configuration files.
"""
