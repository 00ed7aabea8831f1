"""PyAV, which reads and writes films with FFmpeg's libraries."""

try:
    import av as av
except ImportError:
    raise ValueError('video needs PyAV: pip install "wct_jax[video]"') from None
