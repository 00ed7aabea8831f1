"""How a film is stored: the container by suffix, the codec, its quality, and the size and clock of the frames."""

import os
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import NamedTuple, Self

from wct_jax.checks.arguments import as_integer, check_choice
from wct_jax.pictures.output import OUTPUT_SUFFIXES
from wct_jax.system.processor import processor
from wct_jax.video.files.frames import Film


class Codec(NamedTuple):
    """An encoder of FFmpeg's.

    Attributes:
        encoder: Its name.
        formats: Its pixel formats without and with alpha; None where it has no alpha.
        crf: The `crf` at quality 100 and at quality 0, or None for an encoder without.
        options: Other options of the encoder.
        tag: Its name in MP4 and QuickTime, where FFmpeg would choose another.
    """

    encoder: str
    formats: tuple[str, str | None]
    crf: tuple[int, int] | None = None
    options: Mapping[str, str] = MappingProxyType({})
    tag: str = ""


_X265 = "bframes=0:open-gop=0:log-level=none"
# No B-frames: packets come in the order of their times, and segments join without a seam.
CODECS = {
    "h264": Codec("libx264", ("yuv420p", None), (10, 51), {"bf": "0", "profile": "high"}),
    "hevc": Codec("libx265", ("yuv420p", None), (12, 51), {"x265-params": _X265}, "hvc1"),
    "vp9": Codec(
        "libvpx-vp9",
        ("yuv420p", "yuva420p"),
        (12, 63),
        # The encoder refuses alternate references together with alpha.
        {"b": "0", "row-mt": "1", "cpu-used": "3", "deadline": "good", "auto-alt-ref": "0"},
    ),
    "prores": Codec("prores_ks", ("yuv444p10le", "yuva444p10le"), None, {"profile": "4444", "vendor": "apl0"}, "ap4h"),
    "ffv1": Codec("ffv1", ("bgr0", "bgra"), None, {"level": "3", "g": "1"}),
}
# The first is the default. Pictures are encoded from lossless segments when these are joined.
CONTAINERS = {
    ".mp4": ("h264", "hevc"),
    ".m4v": ("h264", "hevc"),
    ".mov": ("prores", "h264", "hevc"),
    ".mkv": ("h264", "hevc", "vp9", "ffv1"),
    ".webm": ("vp9",),
    **dict.fromkeys((".gif", ".webp", *OUTPUT_SUFFIXES), ("ffv1",)),
}
ANIMATED = (".gif", ".webp")
# GIF and WebP cannot have other pixels, and PyAV cannot tell Matroska's muxer of them.
_SQUARE = (".webm", *ANIMATED)
# Of 100; H.264 gets crf 18.
_QUALITY = 80


@dataclass(frozen=True)
class Form:
    """How painted frames are stored. Equal forms make segments that can be joined.

    Attributes:
        suffix: The suffix of the target, in lower case; of its pictures if it is a sequence.
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        frame_rate: Frames per second, on average.
        time_base: The unit that times are rounded to, in seconds.
        sequence: Whether the target is a file for each frame.
        sample_aspect: Width over height of a pixel.
        alpha: Whether the frames' alpha is stored; without, transparent frames are shown on white.
        codec: The codec, a name in `CODECS`; "" for the container's first.
        quality: From 0 to 100, the best; lossless codecs and ProRes have one quality only.
    """

    suffix: str
    width: int
    height: int
    frame_rate: Fraction
    time_base: Fraction
    _: KW_ONLY
    sequence: bool = False
    sample_aspect: Fraction = Fraction(1)
    alpha: bool = False
    codec: str = ""
    quality: int = _QUALITY

    def __post_init__(self) -> None:
        if self.suffix not in CONTAINERS or (self.suffix in OUTPUT_SUFFIXES and not self._pictured):
            known = ", ".join(suffix for suffix in CONTAINERS if suffix in ANIMATED or suffix not in OUTPUT_SUFFIXES)
            raise ValueError(
                f"a film's suffix must be one of {known}, or the name a pattern such as %06d.png, got {self.suffix!r}"
            )
        as_integer("width", self.width, 1)
        as_integer("height", self.height, 1)
        as_integer("quality", self.quality, 0, 100)
        if not self.codec:
            object.__setattr__(self, "codec", CONTAINERS[self.suffix][0])
        check_choice(f"the codec of a {self.suffix} film", self.codec, CONTAINERS[self.suffix])
        if self.segment_format == "matroska" or self.suffix in (".mkv", ".webm"):  # All that its muxer writes.
            object.__setattr__(self, "time_base", Fraction(1, 1000))

    @classmethod
    def of(
        cls,
        film: Film,
        target: str | os.PathLike[str],
        *,
        codec: str | None = None,
        quality: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Self:
        """Choose the form of a film repainted.

        Args:
            film: The source.
            target: The file to write; or, for a file for each frame, a pattern such as `out/%06d.png`, or a folder
                that exists or whose name ends with a slash.
            codec: The codec, or None for the default of the suffix.
            quality: From 0 to 100, or None for the default, 80.
            size: Width and height of the painted frames, or None for the film's.

        Raises:
            ValueError: The suffix, the codec or the quality is none that we know.
        """
        pattern = sequence_pattern(target)
        suffix = os.path.splitext(pattern or os.fspath(target))[1].lower()
        name = codec or CONTAINERS.get(suffix, ("",))[0]
        return cls(
            suffix,
            *(size or (film.width, film.height)),
            film.frame_rate,
            film.time_base,
            sequence=pattern is not None,
            sample_aspect=film.sample_aspect,
            alpha=film.has_alpha and (name not in CODECS or CODECS[name].formats[1] is not None),
            codec=name,
            quality=_QUALITY if quality is None else quality,
        )

    @property
    def squared(self) -> tuple[int, int]:
        """Width and height to scale the frames to: their own, or of square pixels where the file can have no others."""
        if self.suffix not in _SQUARE or self.sequence or self.sample_aspect == 1:
            return self.width, self.height
        if self.sample_aspect > 1:
            return round(self.width * self.sample_aspect), self.height
        return self.width, round(self.height / self.sample_aspect)

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height in the file: as `squared`, but even if the codec's are."""
        width, height = self.squared
        return (width + width % 2, height + height % 2) if self.codec in ("h264", "hevc") else (width, height)

    @property
    def stored_aspect(self) -> Fraction:
        """Width over height of a pixel in the file."""
        return self.sample_aspect if self.squared == (self.width, self.height) else Fraction(1)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to show to a person on how the result differs from the frames."""
        (width, height), (wide, high) = self.squared, self.stored
        notes = []
        if (width, height) != (self.width, self.height):
            notes.append(f"The frames were scaled to {width} x {height}: pixels of {self.suffix} files are square.")
        if (wide, high) != (width, height):
            notes.append(
                f"The last row or column was repeated, which makes {wide} x {high} of {width} x {height}: "
                f"{self.codec} has even sides only."
            )
        return tuple(notes)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name of the pixel format that is encoded."""
        opaque, transparent = CODECS[self.codec].formats
        return transparent if self.alpha and transparent else opaque

    @property
    def options(self) -> dict[str, str]:
        """The options of the encoder."""
        codec = CODECS[self.codec]
        options = dict(codec.options)
        if codec.crf:
            best, worst = codec.crf
            options["crf"] = str(round(worst + (best - worst) * self.quality / 100))
        if self.codec == "h264" and "avx512" in processor():
            # Its code for AVX-512 encodes the same frames in another way now and then, and never as its plain C does.
            options["x264-params"] = "asm=avx2"
        return options

    @property
    def segment_format(self) -> str:
        """FFmpeg's name of the container of segments: QuickTime, whose clock is exact, where it holds the codec."""
        return "matroska" if self.codec in ("vp9", "ffv1") else "mov"

    @property
    def _pictured(self) -> bool:
        return self.sequence or self.suffix in ANIMATED


def sequence_pattern(target: str | os.PathLike[str]) -> str | None:
    """The pattern of a file for each frame, if the target is one or a folder."""
    name = os.fspath(target)
    if os.path.isdir(name) or name.endswith(("/", os.sep)):
        return os.path.join(name, "%06d.png")
    return name if re.search(r"%(0\d+)?d", os.path.basename(name)) else None
