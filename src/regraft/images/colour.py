"""Colour: from a loaded image of any mode to 8-bit sRGB over white, every mode on purpose.

Knows no file and no orientation. Pillow's own `convert` clips 16-bit grey, shows what lies under transparency,
and applies no colour profile.
"""

import io
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from PIL import Image, ImageCms

from regraft.images import ways
from regraft.images.faults import UnreadableImageError
from regraft.images.ways import Way

_MIN_GREYS: Final = 16  # of 256: a 12-bit range in a 16-bit file ends at 16, and is black to the eye
_MAX_PROFILE_BYTES: Final = 2**23  # the largest profiles, of presses, have 3 MB
_SAME_COLOUR: Final = 2  # of 255: a profile that moves no colour by more is sRGB
_PIXELS_AT_ONCE: Final = 2**22  # so that a large image is not held several times as wide numbers
_USUAL_GAMMA: Final = 1 / 2.2
_SPACE_OF_MODE: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 258, 262, 277, 339  # tags of TIFF


Conversion = Callable[[Image.Image], Image.Image]


class _ProfileError(ValueError):
    """A colour profile that cannot be applied."""


def is_deep(image: Image.Image) -> bool:
    """Whether a file that is not yet loaded has 16 bits a channel, of which loading will keep 8."""
    return image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") and any(
        ";16" in str(tile[3]) or (tile[0] == "ppm" and tile[3][-1] > 255)
        for tile in getattr(image, "tile", ())
    )


def stays_grey(mode: str, read_as: str) -> bool:
    """Whether an image stays in one band where grey is kept, by what the index says of it.

    Args:
        mode: Of its file.
        read_as: What was decided while it was read, in words.
    """
    is_grey = mode in ("1", "L", "LA", "La", "I", "F") or mode.startswith("I;16")
    return is_grey and not any(way in read_as for way in (ways.OVER_WHITE, ways.PROFILE_APPLIED, ways.GAMMA))


def convert_to_rgb(
    image: Image.Image, *, was_deep: bool, keep_grey: bool = False
) -> tuple[Image.Image, list[Way]]:
    """Convert a loaded image to sRGB over white.

    Args:
        image: Of any mode; `info` as Pillow filled it.
        was_deep: What `is_deep` said before loading.
        keep_grey: Leave grey that would become three equal bands in its one.

    Returns:
        Mode RGB, or L where that is left; and what was decided.

    Raises:
        UnreadableImageError: If its mode or range has no defined scale to 8 bits, the scale would make it
            black, or it is wholly transparent.
    """
    taken: list[Way] = []
    tags = getattr(image, "tag_v2", {})
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        base, alpha = _scale_grey(image, tags, taken)
    elif image.mode == "L" and tags.get(_SAMPLE_FORMAT) == (2,):
        raise UnreadableImageError("signed integers have no defined scale to grey")
    else:
        base, alpha = _split_alpha(image, was_deep=was_deep)
        if was_deep:
            taken.append(Way(ways.SCALED, "from 16 bits"))
            _refuse_black(base)
    num_bands = len(image.getbands())
    if isinstance(num_stored := tags.get(_SAMPLES), int) and num_stored > num_bands:
        taken.append(Way(ways.EXTRA_BANDS, f"({num_stored} in the file)"))
    rgb = _to_srgb(base, image.info, taken)
    if rgb is base and not (keep_grey and alpha is None):
        rgb = base.convert("RGB")
    if alpha is None:
        return rgb, taken
    white = Image.new("RGB", rgb.size, (255, 255, 255))
    white.paste(rgb, mask=alpha)
    return white, [*taken, Way(ways.OVER_WHITE)]


def _split_alpha(image: Image.Image, *, was_deep: bool) -> tuple[Image.Image, Image.Image | None]:
    """The image in L, RGB, CMYK or LAB, as a colour profile of it expects, and its alpha where that matters."""
    mode = image.mode
    if mode in ("CMYK", "LAB"):
        return image, None
    if mode in ("La", "RGBa"):
        image = image.convert(mode.upper())
    elif mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "YCbCr", "HSV"):
        raise UnreadableImageError(f"mode {mode} has no defined way to 8-bit RGB")
    colours = "L" if mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(colours), None
    key = image.info.get("transparency")
    if was_deep and isinstance(key, tuple):  # a colour of 16 bits, for pixels of which 8 were kept
        image = image.copy()
        image.info["transparency"] = tuple(value >> 8 for value in key)
    rgba = image.convert("RGBA")
    base = rgba.getchannel("R") if colours == "L" else rgba.convert("RGB")
    return base, _useful_alpha(rgba.getchannel("A"))


def _useful_alpha(alpha: Image.Image) -> Image.Image | None:
    """None where all is opaque."""
    low, high = _extrema(alpha)
    if high == 0:
        raise UnreadableImageError("wholly transparent: there is nothing to see")
    return None if low == 255 else alpha


def _scale_grey(image: Image.Image, tags: Any, taken: list[Way]) -> tuple[Image.Image, Image.Image | None]:
    """Grey of more than 8 bits by the whole range of its type, whatever one image holds; and its alpha."""
    highest, origin = 65535.0, "from 16 bits"  # mode I too: it is how Pillow hands out 16-bit PGM
    if image.mode == "F":
        highest, origin = 1.0, "from floats"
    elif tags.get(_BITS) == (12,):
        highest, origin = 4095.0, "from 12 bits"
    wide = np.asarray(image)
    if not (wide.min() >= 0 and wide.max() <= highest):  # in this form NaN, which is in no range, fails too
        numbers = "floats" if image.mode == "F" else "integers"
        raise UnreadableImageError(f"{numbers} outside [0, {highest:g}] have no defined scale to 8 bits")
    is_inverted = tags.get(_PHOTOMETRIC) == 0  # white is zero, which Pillow heeds up to 8 bits only
    grey = np.empty(wide.shape, np.uint8)
    num_rows = max(1, _PIXELS_AT_ONCE // wide.shape[1])
    for row in range(0, len(wide), num_rows):
        fraction = wide[row : row + num_rows] / np.float64(highest)
        grey[row : row + num_rows] = np.rint((1.0 - fraction if is_inverted else fraction) * 255.0)
    taken.append(Way(ways.SCALED, origin))
    brightest = highest - float(wide.min()) if is_inverted else float(wide.max())
    if brightest > 0 and grey.max() <= _MIN_GREYS:
        raise UnreadableImageError(
            f"nearly black: its brightest value is {brightest:.6g} on a scale to {highest:g}; scale it up"
        )
    num_greys = int(grey.max()) - int(grey.min()) + 1
    if wide.min() < wide.max() and num_greys <= _MIN_GREYS:
        taken.append(Way(ways.LOW_CONTRAST, f"({num_greys} of 256 greys)"))
    if not isinstance(key := image.info.get("transparency"), int):
        return Image.fromarray(grey), None
    alpha = Image.fromarray(np.where(wide == key, 0, 255).astype(np.uint8))
    return Image.fromarray(grey), _useful_alpha(alpha)


def _refuse_black(image: Image.Image) -> None:
    """16-bit colours of which loading has kept next to nothing, though the file may hold a picture."""
    brightest = max(_extrema(band)[1] for band in image.split())
    if image.mode in ("L", "RGB") and brightest <= _MIN_GREYS:
        raise UnreadableImageError(
            f"nearly black: its brightest value is below {256 * (brightest + 1)} on a scale to 65535; scale it up"
        )


def _to_srgb(base: Image.Image, info: dict[Any, Any], taken: list[Way]) -> Image.Image:
    """Mode L, RGB, CMYK or LAB to RGB, by the file's colour profile (else its gamma) where it has one that fits; grey
    without one as it is."""
    if base.mode == "LAB":
        taken.append(Way(ways.LAB))
        return _conversion_of_lab()(base)
    if base.mode == "CMYK":
        taken.append(Way(ways.CMYK))
    profile, gamma = info.get("icc_profile"), info.get("gamma")
    if isinstance(profile, bytes) and profile:
        try:
            convert = _conversion_by(profile, base.mode)
        except _ProfileError as error:
            taken.append(Way(ways.PROFILE_IGNORED, f"({error})"))
        else:
            if convert is not None:
                taken.append(Way(ways.PROFILE_APPLIED))
                return convert(base)
    elif isinstance(gamma, float) and "srgb" not in info and _is_odd_gamma(gamma):
        taken.append(Way(ways.GAMMA, f"{gamma:g}"))
        return base.convert("RGB").point(
            [round(255 * (v / 255) ** (_USUAL_GAMMA / gamma)) for v in range(256)] * 3
        )
    return base if base.mode == "L" else base.convert("RGB")


def _is_odd_gamma(gamma: float) -> bool:
    """Neither the usual one nor nonsense."""
    return 0.1 <= gamma <= 10 and not math.isclose(gamma, _USUAL_GAMMA, rel_tol=0.02)


@lru_cache(maxsize=16)  # a camera writes the same profile into every file
def _conversion_by(profile: bytes, mode: str) -> Conversion | None:
    """From a profile's colours to sRGB's; None where they are the same."""
    if len(profile) > _MAX_PROFILE_BYTES:
        raise _ProfileError("too large")
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space != _SPACE_OF_MODE[mode]:
            raise _ProfileError(f"for {space}" if space.isalnum() else "damaged")
        convert = _conversion_of_grey(opened) if mode == "L" else _conversion_from(opened, mode)
        if mode == "CMYK":
            return convert
        samples = _sample_colours(mode)
        moved = np.asarray(convert(samples)).astype(int) - np.asarray(samples.convert("RGB"))
        return None if np.abs(moved).max() <= _SAME_COLOUR else convert
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise error if isinstance(error, _ProfileError) else _ProfileError("damaged") from error


@lru_cache(maxsize=1)
def _conversion_of_lab() -> Conversion:
    """From CIE L*a*b* (white point D50)."""
    return _conversion_from(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")), "LAB")


def _conversion_from(
    profile: ImageCms.ImageCmsProfile, mode: str, flags: ImageCms.Flags = ImageCms.Flags.NONE
) -> Conversion:
    """To sRGB by the perceptual intent, as viewers show pictures."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsTransform(
        profile, srgb, mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags=flags
    ).apply


def _conversion_of_grey(profile: ImageCms.ImageCmsProfile) -> Conversion:
    """By a table of all greys: the quick way of littlecms is off by up to 9 of 255 in the dark."""
    exact = _conversion_from(profile, "L", ImageCms.Flags.NOOPTIMIZE)
    table = np.asarray(exact(_sample_colours("L")))[0].T.ravel().tolist()
    return lambda grey: grey.convert("RGB").point(table)


def _sample_colours(mode: str) -> Image.Image:
    """All greys, or a lattice of 9 steps a channel."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3))


def _extrema(band: Image.Image) -> tuple[int, int]:
    """Lowest and highest value of an 8-bit band."""
    low, high = band.getextrema()
    return int(low), int(high)  # type: ignore[arg-type]  # of more bands they were pairs
