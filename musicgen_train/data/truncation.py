"""How long the containers of audio files say that they are: decoders read cut ones in silence."""

from pathlib import Path
from typing import BinaryIO, Literal

_ENDLESS = 0xFFFFFFFF  # what a writer that cannot go back leaves as a size
_LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of one Ogg page


def truncation(path: Path) -> str | None:
    """How much of a WAV, AIFF or Ogg file is missing, in words; None if it is whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
            return _missing(file, size, b"data", "little")
        if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
            return _missing(file, size, b"SSND", "big")
        if head[:4] == b"OggS" and not _ends_ogg(file, size):
            return "its last page is missing"
    return None


def mp3_counts_frames(path: Path) -> bool:
    """Whether an MP3 file says how long it is; without a Xing header decoders can only guess."""
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # a tag of 7 bits in each byte of its length
            length = sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(head[6:]))
            file.seek(10 + length)
            head = b""
        head += file.read(4096)
    at = max(head.find(b"Xing"), head.find(b"Info"))
    return at >= 0 and bool(head[at + 7] & 1)  # the flag that a number of frames follows


def _missing(
    file: BinaryIO, size: int, wanted: bytes, order: Literal["little", "big"]
) -> str | None:
    """Compare the length that the chunk of samples claims with the bytes that are there."""
    start, long_length = 12, None
    while len(header := file.read(8)) == 8:
        name, length = header[:4], int.from_bytes(header[4:], order)
        start += 8
        if name == b"ds64":  # RF64: the length that does not fit into 32 bits
            long_length = int.from_bytes(file.read(16)[8:], order)
        if name == wanted:
            if length == _ENDLESS:
                length = long_length or 0
            there = size - start
            return f"{there} of {length} bytes" if there < length else None
        start += length + length % 2
        file.seek(start)
    return None


def _ends_ogg(file: BinaryIO, size: int) -> bool:
    """Whether a complete page near the end is marked as the last of its stream (RFC 3533)."""
    file.seek(max(0, size - 2 * _LONGEST_PAGE))
    tail = file.read()
    at = tail.rfind(b"OggS")
    while at >= 0:
        page = tail[at:]
        if len(page) > 26 and page[5] & 4:
            lengths = page[27 : 27 + page[26]]
            if len(lengths) == page[26] and len(page) >= 27 + page[26] + sum(lengths):
                return True
        at = tail.rfind(b"OggS", 0, at)
    return False
