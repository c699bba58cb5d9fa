"""Images: where they are, whether they open, which split they belong to, and how they become arrays.

A leaf of the package: knows no backbone, no head, no Kedro, and never imports torch.
"""
