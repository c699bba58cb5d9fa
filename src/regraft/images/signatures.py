"""Signatures: what a file is by its first bytes, to say why it is refused.

Decodes nothing, and decides nothing about files that can be read.
"""

from typing import Final

# Offset, bytes, what it is. Earlier rows win. Upper-case names without a space are Pillow's formats.
_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (8, b"CR\x02", "a camera raw file (develop it to JPEG or PNG)"),
    (0, b"IIU\x00", "a camera raw file (develop it to JPEG or PNG)"),
    (0, b"IIRO", "a camera raw file (develop it to JPEG or PNG)"),
    (0, b"FUJIFILMCCD-RAW", "a camera raw file (develop it to JPEG or PNG)"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8", "JPEG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    (4, b"ftyphe", "a HEIC file (convert it to JPEG or PNG)"),
    (4, b"ftypmif1", "a HEIF file (convert it to JPEG or PNG)"),
    (4, b"ftypmsf1", "a HEIF file (convert it to JPEG or PNG)"),
    (4, b"ftypcrx", "a camera raw file (develop it to JPEG or PNG)"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"\xff\x0a", "a JPEG XL file (convert it to JPEG or PNG)"),
    (4, b"JXL ", "a JPEG XL file (convert it to JPEG or PNG)"),
    (128, b"DICM", "a DICOM file (convert it to PNG)"),
    (0, b"8BPS", "a Photoshop file (convert it to PNG)"),
    (0, b"\x00\x00\x01\x00", "an icon (convert it to PNG)"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file (git lfs pull)"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF", "an HDF5 file"),
)
_MARKUP: Final = ((b"<svg", "a drawing (SVG)"), (b"<html", "a web page"), (b"<!doctype html", "a web page"))
_HEAD_BYTES: Final = 1024


def name_signature(data: bytes) -> str | None:
    """What the first bytes say: a format of Pillow's by its name (`TIFF`), else with an article (`a PDF`)."""
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    if data.startswith(b"BM") and len(data) > 26:
        return "BMP"
    if len(data) > 2 and data[:1] == b"P" and data[1:2] in b"123456fF" and data[2:3].isspace():
        return "PPM"
    head = data[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, name in _MARKUP:
        if head.startswith(start) or (head.startswith((b"<?xml", b"<!--")) and start in head):
            return name
    if not data.strip(b"\x00"):
        return "nothing but zero bytes"
    return None
