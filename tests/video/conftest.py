"""Films that the tests write themselves."""

from fractions import Fraction

import av
import numpy as np
import pytest


@pytest.fixture
def pictures(rng):
    """Some smooth pictures, uint8 `[H, W, 3]`, of which no two are alike."""

    def pictures(count, width=64, height=48):
        corners = rng.integers(30, 220, (count, 2, 2, 3)).astype(np.float64)
        y, x = np.linspace(0, 1, height)[:, None, None], np.linspace(0, 1, width)[None, :, None]
        return [
            np.rint((a * (1 - x) + b * x) * (1 - y) + (c * (1 - x) + d * x) * y).astype(np.uint8)
            for (a, b), (c, d) in corners
        ]

    return pictures


@pytest.fixture
def film_file(tmp_path, pictures):
    """Write a film losslessly, or nearly, and return its path."""

    def film_file(name, times=range(5), base=Fraction(1, 25), size=(64, 48), planes=None, **given):
        path = tmp_path / name
        codec = given.get("codec", "libx264" if path.suffix == ".mp4" else "ffv1")
        format = given.get("format", "yuv420p")
        with av.open(str(path), "w") as container:
            container.metadata.update(given.get("metadata", {}))
            stream = container.add_stream(codec, rate=given.get("rate", 25), options=given.get("options", {}))
            stream.width, stream.height, stream.pix_fmt = *size, format
            stream.codec_context.time_base = stream.time_base = base
            for key, value in given.get("tags", {}).items():
                setattr(stream.codec_context, key, value)
            if "rotate" in given:
                stream.set_display_rotation(*given["rotate"])
            tracks = [track(container) for track in given.get("tracks", ())]
            if "chapters" in given:
                container.set_chapters(given["chapters"])
            for picture, time in zip(pictures(len(times), *size), times, strict=True):
                if planes is None:
                    frame = av.VideoFrame.from_ndarray(given.get("picture", picture)).reformat(
                        format=format, dst_colorspace=5, dst_color_range=1
                    )
                else:
                    frame = av.VideoFrame(*size, format)
                    for plane, value in zip(frame.planes, planes, strict=True):
                        dtype = np.uint16 if "10" in format else np.uint8
                        plane.update(np.full(plane.buffer_size // dtype().itemsize, value, dtype).tobytes())
                    frame.colorspace = given.get("tags", {}).get("colorspace", 2)
                frame.pts, frame.time_base = time, base
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
            for packets in tracks:
                container.mux(packets)
        return path

    return film_file


@pytest.fixture
def sound():
    """Tone for a film: a second of AAC, or of another codec."""

    def sound(codec="aac", start=0):
        def track(container):
            stream = container.add_stream(codec, rate=48000)
            stream.metadata["language"] = "deu"
            packets = []
            for index in range(50):
                samples = np.sin(np.arange(index * 960, index * 960 + 960) / 17).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), "fltp", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, index * 960 + start, Fraction(1, 48000)
                packets += stream.encode(frame)
            return packets + stream.encode(None)

        return track

    return sound


@pytest.fixture
def subtitles():
    """Two lines of text."""

    def subtitles(codec="mov_text"):
        def track(container):
            stream = container.add_mux_stream(codec, time_base=Fraction(1, 1000))
            stream.metadata["language"] = "fra"
            packets = []
            for pts, text in ((0, b"one"), (120, b"two")):
                packet = av.Packet(len(text).to_bytes(2, "big") + text if codec == "mov_text" else text)
                packet.pts = packet.dts = pts
                packet.duration, packet.time_base, packet.stream = 60, Fraction(1, 1000), stream
                packets.append(packet)
            return packets

        return track

    return subtitles
