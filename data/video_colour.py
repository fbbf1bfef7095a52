"""What the numbers of a video mean as colours: which matrix, which range, what is done with HDR.

The integers are those of ITU-T H.273 (ISO/IEC 23091-2), which every format and FFmpeg's frames carry.
"""

from dataclasses import dataclass

RGB, BT709, UNKNOWN, FCC, BT601_625, BT601_525, SMPTE240M, BT2020, BT2020_CONSTANT = 0, 1, 2, 4, 5, 6, 7, 9, 10
FULL = 2  # range; 1 is limited, 16 to 235 of 255
HDR = {16: "PQ", 18: "HLG"}  # transfers
# swscale's own numbers of the matrices that it knows.
SCALER = {BT709: 1, FCC: 4, BT601_625: 5, BT601_525: 5, SMPTE240M: 7, BT2020: 9}
HD_HEIGHT = 576  # px; above, an unmarked video is taken for BT.709, as players do


@dataclass(frozen=True)
class Colour:
    """matrix, primaries, transfer: of H.273. full: the whole range of bytes is used. wide: brighter or more saturated
    than SDR can be (PQ, HLG, the primaries of BT.2020), so that it has to be brought to BT.709."""

    matrix: int
    primaries: int
    transfer: int
    full: bool

    @property
    def wide(self) -> bool:
        return self.transfer in HDR or self.primaries == BT2020


def colour_of(frame: object) -> Colour:
    """What a decoded frame says of itself, its gaps filled by the custom of players.

    Args:
        frame: has colorspace, color_range, color_primaries, color_trc, height and format.name.
    """
    kind, matrix = frame.format.name, frame.colorspace
    is_rgb = matrix == RGB or kind.startswith(("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "pal8"))
    if is_rgb or matrix == UNKNOWN:
        matrix = BT709 if frame.height > HD_HEIGHT else BT601_525
    elif matrix == BT2020_CONSTANT:
        matrix = BT2020
    full = is_rgb or frame.color_range == FULL or kind.startswith("yuvj")
    return Colour(matrix, frame.color_primaries, frame.color_trc, full)


def written(colour: Colour) -> Colour:
    """The colours that a translation is written in: limited range, which everything plays; the matrix, the primaries
    and the transfer of the input; BT.709 for what is wide or unusual."""
    if colour.wide:
        return Colour(BT709, BT709, BT709, full=False)
    usual = colour.matrix in (BT709, BT601_625, BT601_525)
    return Colour(colour.matrix if usual else BT709, colour.primaries, colour.transfer, full=False)


def conversions(colour: Colour, bits: int, alpha: bool) -> list[str]:
    """What is lost on the way, in words."""
    hdr = HDR.get(colour.transfer)
    found = [f"{hdr} (HDR) is brought to BT.709: what is brighter than its white is clipped"] if hdr else []
    found += ["the colours of BT.2020 are brought to BT.709"] if colour.wide and not hdr else []
    found += [f"{bits} bits become 8"] if bits > 8 else []
    found += ["full range becomes limited range (16 to 235)"] if colour.full else []
    return found + (["transparency is left out"] if alpha else [])
