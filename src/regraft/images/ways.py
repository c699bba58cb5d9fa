"""Ways: what was decided while an image was read, in the few words that the ingest report counts by.

Knows no image: only the vocabulary, which the page on reading images explains.
"""

from typing import Final, NamedTuple

FIRST_FRAME: Final = "first frame"
TURNED: Final = "turned upright"
BROKEN_EXIF: Final = "broken EXIF ignored"
SCALED: Final = "scaled to 8 bits"
LOW_CONTRAST: Final = "low contrast"
OVER_WHITE: Final = "alpha over white"
EXTRA_BANDS: Final = "extra bands ignored"
CMYK: Final = "CMYK converted"
LAB: Final = "LAB converted"
PROFILE_APPLIED: Final = "colour profile applied"
PROFILE_IGNORED: Final = "colour profile ignored"
GAMMA: Final = "PNG gamma applied"
BYTES_IGNORED: Final = "bytes after the end ignored"
COARSE: Final = "last scans missing"
ONE_COLOUR: Final = "one colour"
WRONG_SUFFIX: Final = "wrong extension"


class Way(NamedTuple):
    """One decision: its kind, by which images are counted, and what was particular to this image."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        """`first frame of 12`, `alpha over white`."""
        return f"{self.kind} {self.detail}" if self.detail else self.kind
