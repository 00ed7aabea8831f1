"""What a command compiles, kept for its next run."""

import os
import warnings

# Measured: 2 to 3 MB for a size of canvas with the packaged model. The least recently used go first.
_MOST_KEPT = 2**28


def keep_compilations(*, ahead: bool) -> None:
    """Keep what is compiled, unless JAX was told where to, or it cannot be.

    Args:
        ahead: Whether all that takes long is compiled by `wct_jax.pipeline.prepare`: on a CPU it is kept as
            executables then, which spares tracing, and otherwise by JAX.
    """
    import jax

    from wct_jax.compilation import keep
    from wct_jax.executables import Executables
    from wct_jax.weights import cache_folder

    executables = ahead and jax.default_backend() == "cpu" and jax.local_device_count() == 1
    folder = cache_folder() / ("executables" if executables else "compiled")
    if jax.config.values["jax_compilation_cache_dir"]:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if not os.access(folder, os.W_OK):
        return
    if executables:
        keep(Executables(folder, _MOST_KEPT))
        return
    # By default what takes less than a second to compile is not kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_compilation_cache_max_size", _MOST_KEPT)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A full disk is no reason to tell of what would have been a convenience.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
