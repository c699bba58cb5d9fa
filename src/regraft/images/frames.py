"""Frames: how many pictures a file holds, of which the first is read.

Decodes none of them.
"""

from typing import Any, Final

MAX_FRAMES: Final = 1000  # counted one by one: a hostile file can hold millions of a few bytes each
_MAX_GIF_BYTES: Final = 2**24  # Pillow counts a GIF's frames to the last, 300,000 a second


def count_frames(image: Any, num_bytes: int) -> str | None:
    """`of 12`, `of more than 1000`, `of several`; None for a single picture.

    Args:
        image: An open file of Pillow's whose pixels are no longer needed: seeking loses them.
        num_bytes: Size of the file.
    """
    if not getattr(image, "is_animated", False):
        return None
    try:
        if image.format == "TIFF":
            return _count_pages(image)
        if image.format == "GIF" and num_bytes > _MAX_GIF_BYTES:
            return "of several"
        num_frames = image.n_frames
    except Exception:  # later frames may be damaged in any way; the first is not
        return "of several"
    return f"of more than {MAX_FRAMES}" if num_frames > MAX_FRAMES else f"of {num_frames}"


def _count_pages(image: Any) -> str:
    """Page after page, because Pillow's own count has no limit and its time grows with the square."""
    for page in range(1, MAX_FRAMES + 1):
        try:
            image.seek(page)
        except EOFError:
            return f"of {page}"
    return f"of more than {MAX_FRAMES}"
