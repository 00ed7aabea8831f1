"""COCO's test images of 2017: tensorflow-datasets prepares them once, then they are read without TensorFlow."""

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

_CONFIG = "2017_test"
_FOLDER = Path("coco", _CONFIG, "1.1.0")  # Where tensorflow-datasets puts the records.
_DOWNLOADS = Path("downloads", f"coco_{_CONFIG}")  # Ours alone, so that it can be removed.
_MANUAL = Path("downloads", "manual")
_ARCHIVES = ("/zips/test2017.zip", "/annotations/image_info_test2017.zip")
# The archives, the files extracted from them, and the records, whose shuffled copies are deleted as they are written;
# the rest is what the file system adds to 40,670 small files.
_PEAK = 3.3


class Coco:
    """COCO's test images as a source of encoded photos, from the folder of the prepared records."""

    def __init__(self, folder: Path) -> None:
        import tensorflow_datasets as tfds

        self._folder = folder
        with self._reading():
            builder = tfds.builder_from_directory(folder)
            self._records = builder.as_data_source(split="test", decoders={"image": tfds.decode.SkipDecoding()})

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[str, bytes]:
        with self._reading():
            record = self._records[index]
        return record["image/filename"].decode(), record["image"]

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # Damaged and missing files raise exceptions of many kinds.
            raise ValueError(
                f"cannot read {self._folder}: it is damaged ({_one_line(error)}); delete it to prepare COCO again"
            ) from None


def open_coco(tell: Callable[[str], None], root: str | os.PathLike[str] | None = None) -> Coco:
    """Open COCO's test images of 2017; if they are not prepared yet, download and prepare them first.

    A process of its own runs the builder of tensorflow-datasets, so that TensorFlow is never loaded here. After an
    interrupt or a failure, the next call continues with the archives that are complete. Archives in `downloads/manual`
    of the data folder are not downloaded.

    Args:
        tell: Function called with a sentence on the download before it begins.
        root: Data folder of tensorflow-datasets; by default $TFDS_DATA_DIR, or ~/tensorflow_datasets.

    Raises:
        ValueError: Packages are missing, the disk is too small, preparing fails, or the prepared records are damaged.
    """
    root = os.fspath(root or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    if "://" in root:
        raise ValueError(f"COCO is read from a local folder, expected one in TFDS_DATA_DIR, got {root}")
    root = Path(root).expanduser().absolute()
    if not _is_prepared(root):
        _require_packages(root)
        with _locked(root, tell):
            if not _is_prepared(root):
                _prepare(root, tell)
    return Coco(root / _FOLDER)


def _is_prepared(root: Path) -> bool:
    return (root / _FOLDER / "dataset_info.json").is_file()


def _require_packages(root: Path) -> None:
    names = ("tensorflow_datasets", "tensorflow", "importlib_resources")
    if missing := [name for name in names if importlib.util.find_spec(name) is None]:
        raise ValueError(
            f"COCO is not prepared in {root}, and to prepare it {' and '.join(missing)} must be installed: "
            "pip install 'wct_jax[prepare]', or in a checkout pip install '.[prepare]'"
        )


@contextlib.contextmanager
def _locked(root: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from preparing in the same folder; the lock is released when this one dies."""
    import fcntl  # Only on POSIX, like the reader of the records.

    try:
        (root / _DOWNLOADS).parent.mkdir(parents=True, exist_ok=True)
        with open(root / _DOWNLOADS.with_suffix(".lock"), "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell(f"another process is preparing COCO in {root}; waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
            # The preparing process inherits the lock: it may outlive this one.
            os.set_inheritable(file.fileno(), True)
            yield
    except OSError as error:
        raise ValueError(f"cannot prepare COCO in {root}: {error.strerror or error}") from None


def _prepare(root: Path, tell: Callable[[str], None]) -> None:
    """Check the disk, announce the download, and run `_build` in a process of its own."""
    from tensorflow_datasets.object_detection.coco import Coco as Builder

    downloads = root / _DOWNLOADS
    for unfinished in (*downloads.glob("coco/*.tmp.*"), *downloads.glob("extracted/incomplete.*")):
        shutil.rmtree(unfinished, ignore_errors=True)
    for unfinished in (root / _FOLDER).parent.glob("incomplete.*"):
        shutil.rmtree(unfinished, ignore_errors=True)

    size = sum(info.size for url, info in Builder.url_infos.items() if url.endswith(_ARCHIVES))
    here = [*downloads.rglob("*"), *(root / _MANUAL / Path(archive).name for archive in _ARCHIVES)]
    sizes = {file: file.stat().st_size for file in here if file.is_file()}
    left = _PEAK * size - sum(sizes.values())
    free = shutil.disk_usage(root).free
    if free < left:
        raise ValueError(
            f"preparing COCO in {root} needs {_in_gib(left)} of disk, and {_in_gib(free)} are free; "
            "set TFDS_DATA_DIR to a folder on a larger one"
        )
    archives = sum(length for file, length in sizes.items() if file.suffix == ".zip")
    tell(
        f"preparing COCO's test images of 2017 in {root}: {_in_gib(size - archives)} are to be downloaded; meanwhile "
        f"they take {_in_gib(_PEAK * size)} of disk, afterwards {_in_gib(size)}"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        # TensorFlow must not take the GPUs, and should be quiet.
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }
    command = (sys.executable, "-P", "-m", __name__, str(root))
    build = subprocess.run(command, env=environment, stdout=subprocess.PIPE, close_fds=False, check=False, text=True)
    if build.returncode:
        status = f"signal {-build.returncode}" if build.returncode < 0 else f"status {build.returncode}"
        reason = build.stdout.strip().rpartition("\n")[2] if build.returncode == 2 else f"it ended with {status}"
        raise ValueError(f"cannot prepare COCO in {root}: {reason}; the next try goes on with what is complete")
    shutil.rmtree(downloads, ignore_errors=True)


def _build(root: Path) -> None:
    """Prepare the records in this process; on failure print the reason as the last line and exit with status 2."""
    # Python's own handler of Ctrl-C would wait for every thread that downloads.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import absl.logging
    import tensorflow_datasets as tfds
    from tensorflow_datasets.object_detection.coco import Coco as Builder
    from tensorflow_datasets.object_detection.coco import CocoConfig

    absl.logging.set_verbosity(absl.logging.ERROR)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    whole = next(config for config in Builder.BUILDER_CONFIGS if config.name == "2017")
    config = CocoConfig(
        name=_CONFIG,
        description="The test images of COCO 2017.",
        splits=[split for split in whole.splits if split.name == tfds.Split.TEST],
    )
    try:
        Builder(data_dir=root, config=config, file_format="array_record").download_and_prepare(
            download_dir=root / _DOWNLOADS,
            download_config=tfds.download.DownloadConfig(manual_dir=root / _MANUAL, try_download_gcs=False),
        )
    except Exception as error:  # The network, the disk and the archives have exceptions of their own.
        print(_one_line(error), flush=True)
        os._exit(2)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _in_gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"


if __name__ == "__main__":
    _build(Path(sys.argv[1]))
