"""The command `train.py`, from outside: what it makes, what stops it, how it goes on."""

import contextlib
import importlib.util
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import filelock
import jax
import numpy as np
import pytest
from PIL import Image

import wct_jax.networks.model_file
import wct_jax.training.recipe
from wct_jax.cli import stylize
from wct_jax.cli.train import main
from wct_jax.networks.model_file import load_model, save_model
from wct_jax.networks.vgg import LAYERS
from wct_jax.training.data import Folder
from wct_jax.training.decoder import LossWeights
from wct_jax.training.report import read_metrics
from wct_jax.training.task import Recipe

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (4, 6, 8, 8, 8)
KILLS = 3


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    # As for a script, the modules beside it come first.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / path.rpartition("/")[0])
        spec.loader.exec_module(module)
    return module


killing = load("kills", "benchmarks/kills.py")
prepared = load("tiny_coco", "tests/training/test_coco.py").prepared


pytestmark = pytest.mark.usefixtures("as_a_user")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, array, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode).save(path, **options)
    return path


@pytest.fixture(scope="session")
def save_encoder(random_model):
    """Write a model file with a random encoder and no decoder."""
    return lambda path, widths=WIDTHS, seed=0: save_model(path, random_model(widths, (), seed))


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Eight photos, none of which is written to."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(8):
        save(folder / f"{number}.png", noise(20, 24, 3, seed=number))
    return folder


@pytest.fixture
def files(tmp_path, save_encoder):
    """A folder of the test's own with a model file."""
    save_encoder(tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def flags(files, photos):
    """What the command is given: the shortest training that there is, but for what is said."""

    def flags(**others):
        values = {"layer": "relu1_1", "model": files / "model.safetensors", "data": photos, "out": files / "run"}
        values |= {"steps": 1, "batch_size": 4, "crop": 16} | others
        return [f"--{name.replace('_', '-')}={value}" for name, value in values.items() if value is not None]

    return flags


@pytest.fixture
def train(run, flags):
    """Run the command to its end: what it says on either output."""

    def train(*more, status=0, **others):
        got, out, err = run(main, *flags(**others), *more)
        assert got == status, err
        assert not status or not out
        return err if status else (out, err)

    return train


@pytest.fixture
def refuse(refused, flags):
    """Run the command, which is to refuse: the sentence it says."""

    def refuse(*more, **others):
        return refused(main, *flags(**others), *more)

    return refuse


def sorted_names(folder):
    return sorted(os.listdir(folder))


def photos_of_every_kind(folder):
    """Ten photos, two files that look like one and one that does not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = noise(20, 24, 4)
    alpha[:8, :, 3] = 0
    save(folder / "grey.jpg", noise(20, 24))
    save(folder / "cmyk.jpg", noise(20, 24, 4), "CMYK")
    save(folder / "deep.png", noise(20, 24).astype(np.uint16) * 257)
    save(folder / "alpha.png", alpha)
    save(folder / "clear.png", np.zeros((20, 24, 4), np.uint8))
    save(folder / "turned.jpg", noise(30, 18, 3), exif=exif)
    save(folder / "pixel.png", noise(1, 1, 3))
    save(folder / "tiny" / "line.png", noise(1, 9, 3))
    save(folder / "tiny" / "nested" / "tiny.webp", noise(5, 3, 3))
    save(folder / "plain.JPG", noise(40, 50, 3))
    (folder / "empty.jpg").touch()
    (folder / "tiny" / "text.png").write_text("Dear diary,\n")
    (folder / "notes.txt").write_text("not a photo\n")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_one_step_of_every_layer_on_photos_of_every_kind_and_on_coco(run, train, files, prepared, monkeypatch):
    photos, val, model = files / "photos", files / "val", files / "model.safetensors"
    photos_of_every_kind(photos)
    save(val / "square.png", noise(16, 16, 3))
    (val / "broken.png").write_bytes(b"\x89PNG")
    encoder = load_model(model)

    # Each of the ten photos comes once before any comes again.
    out, err = train(layer="all", batch_size=12, out=files / "runs", data=photos, val=val)
    lines = err.splitlines()
    assert lines[0] == f"left out of {val}:"
    assert str(val / "broken.png") in lines[1]
    assert lines[2:6] == [
        f"left out of {photos}:",
        f"  cannot read {photos / 'empty.jpg'}: the file is empty",
        f"  {photos / 'tiny' / 'text.png'} is not a picture Pillow can read",
        f"  not named as pictures, and passed over in {photos}: 1 .txt",
    ]
    assert [line.split()[0] for line in lines[6:]] == [*LAYERS]

    trained = load_model(model)
    assert trained.layers == LAYERS[::-1]
    assert trained.digest == encoder.digest
    jax.tree.map(np.testing.assert_array_equal, trained.encoder, encoder.encoder)
    for layer, line in zip(LAYERS, out.splitlines(), strict=True):
        record = trained.metadata["decoders"][layer]
        assert line.startswith(f"{layer}: 1 steps, pixel loss ")
        assert line.endswith(f" SSIM on 1 photos; the decoder is in {model}")
        assert record["data"] == "10 photos of photos"
        assert (record["steps"], record["batch_size"], record["val"]["photos"]) == (1, 12, 1)
        assert 0 < record["val"]["psnr"] < 20
        folder = files / "runs" / layer
        own = load_model(folder / "model.safetensors")
        assert own.layers == (layer,)
        jax.tree.map(np.testing.assert_array_equal, own.decoders[layer], trained.decoders[layer])
        assert record == own.metadata["decoders"][layer]
        assert record["losses"] == {name: read_metrics(folder / "metrics.jsonl")[name][0] for name in record["losses"]}
        made = [
            ".lock",
            "checkpoints",
            "curves.png",
            "metrics.jsonl",
            "model.safetensors",
            "reconstructions",
            "run.json",
        ]
        assert sorted_names(folder) == made
    assert sorted_names(files) == [".model.safetensors.lock", "model.safetensors", "photos", "runs", "val"]

    picture = files / "picture.png"
    arguments = ["--content", photos / "plain.JPG", "--style", val / "square.png", "--output", picture]
    status, out, err = run(stylize.main, *arguments, "--model", model)
    assert (status, err) == (0, "")
    assert "50 x 40 pixels, " in out

    # In the same test, since all is compiled by now.
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared[0]))
    out, err = train("--overwrite", layer="all", batch_size=12, out=files / "coco", data="coco")
    assert len(out.splitlines()) == len(err.splitlines()) == len(LAYERS)
    retrained = load_model(model)
    for layer in LAYERS:
        assert retrained.metadata["decoders"][layer]["data"] == "COCO 2017 test"
        assert read_metrics(files / "coco" / layer / "metrics.jsonl")["step"].tolist() == [1]
        kernel = retrained.decoders[layer]["conv1_1"]["kernel"]
        assert (kernel != trained.decoders[layer]["conv1_1"]["kernel"]).any()


@pytest.fixture
def asked(monkeypatch, run):
    """What the command has the library do, which is not done."""

    def asked(*arguments):
        calls = []

        def train_decoder(model, layer, weights, setup, **options):
            options |= vars(setup) | {"weights": weights}
            calls.append((layer, setup.folder, setup.recipe, options, next(setup.batches).shape))
            raise ValueError("enough")

        monkeypatch.setattr(wct_jax.training.recipe, "train_decoder", train_decoder)
        status, _, err = run(main, *arguments)
        assert (status, err.splitlines()[-1].partition("error: ")[2]) == (2, "enough")
        return calls[0]

    return asked


def test_the_flags_are_the_recipe(asked, files, photos):
    arguments = ["--layer=relu2_1", f"--model={files / 'model.safetensors'}", f"--data={photos}"]
    layer, folder, recipe, options, shape = asked(*arguments)
    assert (layer, folder, shape, options["save_every"]) == ("relu2_1", Path("runs", "relu2_1"), (8, 256, 256, 3), 500)
    assert recipe == Recipe(15_000, 8, 256, 5e-3, "float32", 0, f"8 photos of {photos.name}")
    assert options["weights"] == LossWeights(1, 1, 0, 0, 0)
    assert (options["judges"], options["finetune"], options["val"]) == ((), False, None)
    assert len(options["photos"]) == 8
    first = options["photos"][0]

    arguments += ["--steps=7", "--batch-size=12", "--crop=20", "--learning-rate=0.5", "--pixel-weight=2"]
    arguments += ["--feature-weight=3", "--tv-weight=4", "--perceptual-weight=5", "--style-weight=6"]
    arguments += ["--precision=bfloat16", "--seed=5", "--save-every=6"]
    save(files / "val" / "large.png", noise(300, 260, 3))
    arguments += [f"--val={files / 'val'}", f"--out={files / 'out'}"]
    layer, folder, recipe, options, shape = asked(*arguments)
    assert (layer, folder, shape, options["save_every"]) == ("relu2_1", files / "out", (12, 20, 20, 3), 6)
    assert recipe == Recipe(7, 12, 20, 0.5, "bfloat16", 5, f"8 photos of {photos.name}")
    assert options["weights"] == LossWeights(2, 3, 4, 5, 6)
    assert [(judge.model.widths, judge.layers) for judge in options["judges"]] == [(WIDTHS, LAYERS)]
    judged = asked(*arguments, "--judge-layers", "relu2_1", "relu1_1", "relu2_1")[3]["judges"]
    assert [judge.layers for judge in judged] == [("relu2_1", "relu1_1")]
    assert [photo.shape for photo in options["photos"]] == [(256, 256, 3)]
    assert [photo.shape for photo in options["val"]()] == [(256, 256, 3)]
    assert first.shape == (256, 256, 3)
    assert asked("--layer=all", *arguments[1:])[:2] == ("relu1_1", files / "out" / "relu1_1")


def test_the_model_named_vgg19_is_the_default(asked, refused, files, photos, monkeypatch):
    monkeypatch.setenv("WCT_JAX_HOME", str(files / "home"))
    arguments = ["--layer=relu5_1", f"--data={photos}"]
    assert "there is no model file" in refused(main, *arguments)
    (files / "home").mkdir()
    shutil.copy(files / "model.safetensors", files / "home" / "vgg19.safetensors")
    assert asked(*arguments)[0] == "relu5_1"


def test_the_help_names_every_flag_in_eighty_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run(main, "--help")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) < 80
    described = out.partition("what is trained")[2].splitlines()
    for flag in ("layer", "model", "data", "steps", "batch-size", "crop", "learning-rate", "pixel-weight"):
        assert any(line.startswith(f"  --{flag} ") for line in described)
    assert "Ctrl-C" in out


@pytest.fixture
def finished(train, files):
    """A run of two steps, its decoder in the model file."""
    train(steps=2)
    return files / "run"


@pytest.mark.slow
def test_a_finished_run_gives_its_decoder_again_and_more_steps_go_on(train, finished, files, save_encoder):
    model, metrics = files / "model.safetensors", finished / "metrics.jsonl"
    decoder, lines = load_model(model).decoders["relu1_1"], metrics.read_text()
    record = load_model(model).metadata["decoders"]["relu1_1"]

    # The model file as it was before: the same command needs no step to add the decoder.
    save_encoder(model)
    out, err = train(steps=2)
    assert out.startswith("relu1_1: 2 steps, ")
    assert err.splitlines() == [
        f"{finished} is finished: it has taken 2 steps",
        "--steps above 2 goes on with it, and another --out with --overwrite begins anew",
    ]
    assert metrics.read_text() == lines
    jax.tree.map(np.testing.assert_array_equal, load_model(model).decoders["relu1_1"], decoder)
    assert load_model(model).metadata["decoders"]["relu1_1"] == record

    # Without --overwrite too, since the decoder is this run's.
    out, err = train("--resume", steps=4)
    assert err.splitlines()[:2] == [f"{finished} goes on with steps 4 instead of 2", f"{finished} goes on after step 2"]
    assert metrics.read_text().startswith(lines)
    assert read_metrics(metrics)["step"].tolist() == [1, 2, 3, 4]
    assert load_model(model).metadata["decoders"]["relu1_1"]["steps"] == 4
    assert (load_model(model).decoders["relu1_1"]["conv1_1"]["kernel"] != decoder["conv1_1"]["kernel"]).any()


def test_a_finished_run_is_recorded_as_it_was(train, finished, files):
    model = files / "model.safetensors"
    before = load_model(model).metadata["decoders"]["relu1_1"], (finished / "run.json").read_text()
    _, err = train(steps=1, learning_rate=1e-5)
    assert "learning rate" not in err
    assert (load_model(model).metadata["decoders"]["relu1_1"], (finished / "run.json").read_text()) == before


def test_going_on_with_a_run_does_not_replace_the_decoder_of_another(refuse, train, finished, files):
    train("--overwrite", out=files / "other", seed=1)
    before = (files / "model.safetensors").read_bytes()
    assert "has a decoder for relu1_1: --overwrite replaces it" in refuse(out=finished, steps=2)
    assert (files / "model.safetensors").read_bytes() == before
    train("--overwrite", out=finished, steps=2)
    assert (files / "model.safetensors").read_bytes() != before


def test_a_decoder_that_exists_is_replaced_when_told(refuse, train, finished, files):
    model = files / "model.safetensors"
    sentence = f"{model} has a decoder for relu1_1: --overwrite replaces it by a new one, and with --finetune by one "
    assert refuse(out=files / "other") == sentence + "that begins with it"
    assert "has a decoder for relu1_1: " in refuse(out=files / "other", layer="all")
    before = load_model(model).decoders["relu1_1"]
    train("--overwrite", out=files / "other", seed=1)
    after = load_model(model)
    assert after.metadata["decoders"]["relu1_1"]["seed"] == 1
    assert (after.decoders["relu1_1"]["conv1_1"]["kernel"] != before["conv1_1"]["kernel"]).any()


def test_a_photo_that_breaks_while_training_names_itself(train, photos, files, monkeypatch):
    folder = shutil.copytree(photos, files / "photos")
    read, numbers = Folder.__getitem__, itertools.count(1)

    def break_one(self, index):
        if next(numbers) == 40:
            (folder / "3.png").write_bytes((photos / "3.png").read_bytes()[:500])
        return read(self, index)

    monkeypatch.setattr(Folder, "__getitem__", break_one)
    err = train(status=2, steps=40, data=folder, val=photos)
    found = re.search(r"cannot read (\S+): it is cut short or damaged .*; step (\d+) is saved in (\S+)$", err.strip())
    assert found, err
    assert (found[1], found[3]) == (str(folder / "3.png"), str(files / "run"))
    step = int(found[2])
    assert 5 <= step < 20
    assert sorted_names(files / "run" / "checkpoints") == [str(step)]
    assert read_metrics(files / "run" / "metrics.jsonl")["step"][-1] == step
    assert not load_model(files / "model.safetensors").decoders

    # The same command leaves it out and goes on.
    _, err = train(steps=step + 2, data=folder, val=photos)
    assert f"  cannot read {folder / '3.png'}: " in err
    assert f"{files / 'run'} goes on with data 7 photos of photos instead of 8 photos of photos" in err
    assert f"{files / 'run'} goes on after step {step}" in err
    assert load_model(files / "model.safetensors").layers == ("relu1_1",)


def test_damaged_photos_are_found_before_the_first_step_and_left_out(train, photos, files):
    folder = shutil.copytree(photos, files / "photos")
    (folder / "3.png").write_bytes((photos / "3.png").read_bytes()[:500])
    (folder / "._4.png").write_bytes(b"\0\5\x16\7")
    os.mkfifo(folder / "5.jpg")
    lines = train(steps=3, data=folder, val=folder)[1].splitlines()
    for start in (0, 3):
        assert lines[start] == f"left out of {folder}:"
        assert lines[start + 1].startswith(f"  cannot read {folder / '3.png'}: it is cut short or damaged")
        assert lines[start + 2] == f"  cannot read {folder / '5.jpg'}: it is not a regular file"
    record = load_model(files / "model.safetensors").metadata["decoders"]["relu1_1"]
    assert record["data"] == "7 photos of photos"
    assert record["val"]["photos"] == 7


def test_a_long_list_of_what_is_left_out_is_cut(train, photos, files):
    folder = shutil.copytree(photos, files / "photos")
    for number in range(30):
        (folder / f"empty{number}.jpg").touch()
    lines = train(data=folder)[1].splitlines()
    assert (lines[0], lines[21]) == (f"left out of {folder}:", "  and 10 more")


def test_a_loss_that_is_not_finite_stops_the_run(train, files):
    err = train(status=2, steps=30, save_every=1, learning_rate=1e38)
    assert re.search(r"training stopped at step \d+: the loss is (nan|inf); try a lower learning rate", err)
    assert not load_model(files / "model.safetensors").decoders
    assert "goes on with learning rate 0.001 instead of 1e+38" in train(steps=2, learning_rate=0.001)[1]


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("steps", "rate"), [(1, 1e3), (5, 1e5), *(pytest.param(*case, marks=SLOW) for case in ((20, 1e4), (120, 1e5)))]
)
def test_a_training_that_diverged_is_no_result(train, files, steps, rate):
    model = (files / "model.safetensors").read_bytes()
    for _ in range(2):  # The same command again fails again.
        err = train(status=2, steps=steps, batch_size=4, learning_rate=rate, save_every=50)
        sentence = err.splitlines()[-1]
        assert re.search(r"training stopped at step \d+: the loss .* on the same batches with the first para", sentence)
        assert sentence.endswith("; try a lower learning rate or a larger batch (nothing was saved yet)")
        assert (files / "model.safetensors").read_bytes() == model
        assert not (files / "run" / "model.safetensors").exists()
        assert (files / "run" / "metrics.jsonl").exists()
    train(steps=2)
    assert load_model(files / "model.safetensors").layers == ("relu1_1",)


@SLOW
def test_finetuning_ends_no_worse_than_it_began(train, files):
    train(steps=20)
    before = (files / "model.safetensors").read_bytes()
    err = train("--overwrite", "--finetune", status=2, steps=3, learning_rate=10, out=files / "worse")
    assert "training stopped at step 3: the loss has come to " in err
    assert (files / "model.safetensors").read_bytes() == before
    train("--overwrite", "--finetune", steps=3, out=files / "finer")
    assert load_model(files / "model.safetensors").metadata["decoders"]["relu1_1"]["finetune"]


@pytest.fixture
def training(tmp_path, photos, monkeypatch):
    """Begin a run as a process of its own."""
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    # Whatever started the tests may have it ignored, as for jobs in the background, and processes inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda name, *flags: killing.Training(tmp_path / name, photos, *flags)
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_an_interrupt_saves_and_the_same_command_goes_on(training):
    flags = ["--steps", 120, "--save-every", 10_000]
    unbroken, interrupted = training("unbroken", *flags), training("interrupted", *flags)
    unbroken.finish()
    after = 0
    for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        process = interrupted.start_and_step()
        target = interrupted.logged() + random.randint(1, 25)
        while interrupted.logged() < target:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=600)
        assert (process.returncode, out) == (status, "")
        found = re.fullmatch(
            r"relu2_1 was interrupted after step (\d+), which is saved in (.*): the same command goes on from there",
            err.splitlines()[-1],
        )
        assert found[2] == str(interrupted.run)
        after, before = int(found[1]), after
        assert interrupted.saved() == after == interrupted.logged()
        assert after >= target > before
        assert not load_model(interrupted.model).decoders
    assert f"{interrupted.run} goes on after step {after}" in interrupted.finish()
    assert killing.differences(unbroken, interrupted) == []


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(training, tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    flags = ["--steps", 16, "--save-every", 2]
    unbroken, killed = training("unbroken", *flags), training("killed", *flags)
    unbroken.finish()
    kills = list(killing.kill_repeatedly(killed, KILLS, seed=random.randrange(2**32), startup=2.5, stride=2))
    assert len(kills) == KILLS
    assert kills[0].in_save
    # Of a save that was being written the steps are lost too.
    assert max(kill.logged - kill.saved for kill in kills) <= 4
    killed.finish()
    assert read_metrics(killed.run / "metrics.jsonl")["step"].tolist() == list(range(1, 17))
    assert killing.differences(unbroken, killed) == []
    assert not killed.unfinished_saves()


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("layer", "relu6_1", "argument --layer: invalid choice: 'relu6_1'"),
        ("layer", "conv1_1", "argument --layer: invalid choice"),
        ("steps", "0", "argument --steps: expected a whole number from 1 to 1000000000, got '0'"),
        ("steps", "1e3", "argument --steps: expected a whole number"),
        ("batch-size", "0", "argument --batch-size: expected"),
        ("crop", "-1", "argument --crop: expected"),
        ("save-every", "0", "argument --save-every: expected"),
        ("learning-rate", "0", "argument --learning-rate: expected a number above 0, got 0"),
        ("learning-rate", "-0.1", "argument --learning-rate: expected a number of at least 0, got '-0.1'"),
        ("learning-rate", "nan", "argument --learning-rate: expected"),
        ("pixel-weight", "-1", "argument --pixel-weight: expected a number of at least 0, got '-1'"),
        ("feature-weight", "inf", "argument --feature-weight: expected a number of at least 0, got 'inf'"),
        ("tv-weight", "much", "argument --tv-weight: expected"),
        ("perceptual-weight", "-1", "argument --perceptual-weight: expected"),
        ("style-weight", "nan", "argument --style-weight: expected"),
        ("judges", "", "argument --judges: expected a path"),
        ("precision", "float16", "argument --precision: invalid choice"),
        ("seed", "-1", "argument --seed: expected a whole number from 0 to 4294967295, got '-1'"),
        ("seed", str(2**32), "argument --seed: expected"),
        ("seed", "9" * 5000, "argument --seed: expected"),
        ("model", "", "argument --model: expected a path, got ''"),
        ("out", "", "argument --out: expected a path"),
        ("val", "", "argument --val: expected a path"),
        ("data", "", "argument --data: expected a path"),
        ("distributed", "node", "argument --distributed: expected HOST:PORT N I with I below N, got 'node'"),
        ("steps", str(2**31), "argument --steps: expected a whole number from 1 to 1000000000"),
        ("crop", "100000", "a batch of 4 crops of 100000 x 100000 pixels is out of reach: expected --batch-size and "),
        ("batch-size", "4000000", "a batch of 4000000 crops of 16 x 16 pixels is out of reach"),
        ("learning-rate", "1e400", "argument --learning-rate: expected"),
        ("batch-size", "6", "a batch of 6 cannot be split over 4 devices: expected a multiple of that"),
    ],
)
def test_a_bad_value(refuse, flag, value, reason):
    assert refuse(f"--{flag}={value}").startswith(reason)


def test_bad_places_of_a_process(refuse):
    for words in ("node:1 2 2", "node:1 2", "node 2 0", "node:port 2 0", "node:1 0 0", "a b c d"):
        assert refuse("--distributed", *words.split()).endswith(f"expected HOST:PORT N I with I below N, got {words!r}")
    assert refuse("--distributed").startswith("--distributed finds no cluster here: expected HOST:PORT N I after it")


def test_bad_flags(refuse, refused):
    both = "--pixel-weight and --feature-weight are both 0: expected one of them to count"
    assert refuse("--pixel-weight=0", "--feature-weight=0", "--tv-weight=1") == both
    idle = "--judges without --perceptual-weight or --style-weight: expected one of them to count"
    assert refuse("--judges=model.safetensors") == idle
    assert refuse("--judge-layers=relu1_1") == idle.replace("judges", "judge-layers")
    assert refuse("--judge-layers=relu6_1", "--style-weight=1").startswith("argument --judge-layers: invalid choice")
    assert refuse("--finetune").endswith("has no decoder for relu1_1: expected one to begin with")
    assert "unrecognized arguments: --epochs" in refuse("--epochs=3")
    assert refused(main) == "expected --layer LAYER or --painter, got neither"


def test_bad_flags_of_painters(refuse, train, files, photos, save_encoder):
    painter = ["--painter", f"--styles={photos}"]
    for flags, sentence in (
        (["--painter"], "--painter needs pictures to take styles from: expected --styles DIR"),
        ([f"--styles={photos}"], "--styles needs --painter"),
        (["--structure-weight=1"], "--structure-weight is for a painter, got a decoder"),
        ([*painter, "--tv-weight=1"], "--tv-weight is for a decoder, got a painter"),
        ([*painter, "--finetune"], "has no painter from relu1_1: expected one to begin with"),
        ([*painter, "--resume"], f"there is no run to resume in {files / 'run'}"),
        ([*painter, "--styles=nowhere"], "nowhere"),
    ):
        assert sentence in refuse(*flags)
    assert "--painter is one network" in refuse(*painter, layer="all")
    save_encoder(files / "shallow.safetensors", WIDTHS[:2])
    assert "has no relu3_1" in refuse(*painter, layer="relu3_1", model=files / "shallow.safetensors")


@pytest.mark.slow
def test_a_painter_enters_the_model_and_is_replaced_when_told(refuse, train, files, photos):
    painter = ["--painter", f"--styles={photos}"]
    out, _ = train(*painter, layer="relu2_1", crop=32)
    assert out.startswith("painter: 1 steps, pixel loss ")
    model = load_model(files / "model.safetensors")
    assert model.painter_layers == ("relu2_1", "relu1_1")
    assert model.metadata["painter"]["data"] == f"8 photos of {photos.name}, with 8 styles of {photos.name}"
    train(*painter, layer="relu2_1", crop=32, steps=2)  # The same run goes on.
    assert "has a painter: --overwrite replaces it" in refuse(*painter, layer="relu2_1", crop=32, out=files / "other")
    train(*painter, "--overwrite", "--finetune", layer="relu2_1", crop=32, out=files / "other")
    assert load_model(files / "model.safetensors").metadata["painter"]["finetune"]


def test_a_layer_the_encoder_lacks(refuse, files, save_encoder):
    save_encoder(files / "shallow.safetensors", WIDTHS[:2])
    sentence = refuse(layer="relu3_1", model=files / "shallow.safetensors")
    assert sentence.endswith("shallow.safetensors has no relu3_1: expected one of relu1_1, relu2_1")


@SLOW
def test_all_layers_are_those_of_the_encoder(train, files, save_encoder):
    save_encoder(files / "shallow.safetensors", WIDTHS[:1])
    out, _ = train(layer="all", model=files / "shallow.safetensors")
    assert [line.partition(":")[0] for line in out.splitlines()] == ["relu1_1"]


def test_a_bad_model(refuse, files):
    assert "there is no model file" in refuse(model=files / "missing.safetensors")
    assert "it is a directory" in refuse(model=files)
    whole = (files / "model.safetensors").read_bytes()
    (files / "cut.safetensors").write_bytes(whole[:-9])
    assert "is not a model file" in refuse(model=files / "cut.safetensors")
    (files / "damaged.safetensors").write_bytes(whole[:-9] + bytes(9))
    assert "is damaged: its encoder's digest" in refuse(model=files / "damaged.safetensors")


@pytest.mark.parametrize("role", ["data", "val"])
def test_a_bad_folder_of_photos(refuse, files, role):
    folder = files / "photos"
    assert refuse(**{role: folder}) == f"cannot read the pictures in {folder}: there is no such folder"
    assert refuse(**{role: files / "model.safetensors"}).endswith("it is not a folder")
    folder.mkdir()
    assert refuse(**{role: folder}).startswith(f"there is no picture in {folder}: of 0 files in it, ")
    (folder / "notes.txt").touch()
    assert "of 1 files in it, " in refuse(**{role: folder})
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("Dear diary,\n")
    assert refuse(**{role: folder}).startswith(f"no photo in {folder} can be read, 2 cannot: cannot read ")


def test_a_folder_that_is_no_runs(refuse, refused, finished, files, save_encoder):
    for others, reason in (
        ({"layer": "relu2_1"}, "layer relu1_1, not relu2_1"),
        ({"pixel_weight": 2}, "pixel 1.0, not 2.0"),
        ({"tv_weight": 1, "feature_weight": 0}, "feature 1.0, not 0.0; total_variation 0.0, not 1.0"),
    ):
        sentence = refuse(**others)
        assert sentence == f"{finished} holds another run, of {reason}: expected another folder for this one"
    save_encoder(files / "other.safetensors", seed=1)
    assert f"{finished} holds another run, of encoder " in refuse(model=files / "other.safetensors")

    (files / "full").mkdir()
    (files / "full" / "thesis.tex").touch()
    full = f"{files / 'full'} is not empty and holds no run: expected another folder for it"
    assert refuse("--overwrite", out=files / "full") == full
    assert str(files / "model.safetensors") in refuse("--overwrite", out=files / "model.safetensors")
    assert "expected a path without any of * ? [" in refuse("--overwrite", out=files / "runs [new]")
    with filelock.FileLock(finished / ".lock"):
        assert refuse() == f"{finished} is in use: another process is training there"
    assert refuse("--resume", out=files / "none") == f"there is no run to resume in {files / 'none'}"


@pytest.mark.parametrize("out", ["file", "file/in/it", "fifo", "gone", "gone/run", "/dev/null/run", "x" * 300])
def test_a_folder_that_cannot_be_made_is_said_first(refuse, files, monkeypatch, out):
    (files / "file").touch()
    os.mkfifo(files / "fifo")
    (files / "gone").symlink_to(files / "nothing")
    # Before the seconds that it takes to load these.
    monkeypatch.setattr(wct_jax.networks.model_file, "load_model", None)
    assert refuse(out=files / out).startswith(f"cannot write {files / out}: ")
    assert refuse(layer="all", out=files / out).startswith(f"cannot write {files / out}: ")


def test_a_folder_that_cannot_be_written_is_said_first(refuse, files, mounted, monkeypatch):
    monkeypatch.setattr(wct_jax.networks.model_file, "load_model", None)
    with mounted(files / "disk", "ro") as disk:
        for out in (disk, disk / "run", disk / "a" / "b"):
            assert refuse(out=out) == f"cannot write {out}: {os.strerror(30)}"


@pytest.mark.slow
def test_a_save_that_is_damaged(train, files):
    train(steps=2, save_every=1)
    lines, save = (files / "run" / "metrics.jsonl").read_text().splitlines(), files / "run" / "checkpoints" / "2"
    (save / "state" / "_METADATA").write_bytes(b"")
    err = train(steps=2, status=2).splitlines()[-1]
    assert err.endswith(f"error: the save {save} is damaged: delete it to go on with the one before")
    shutil.rmtree(save)
    assert f"{files / 'run'} goes on after step 1" in train(steps=2)[1]
    again = (files / "run" / "metrics.jsonl").read_text().splitlines()
    assert [line.partition(', "seconds"')[0] for line in again] == [line.partition(', "seconds"')[0] for line in lines]


def test_a_model_that_cannot_be_written(refuse, files, mounted):
    folder = files / "locked"
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:  # who may write wherever the file system can be written to
            stack.enter_context(mounted(folder, "size=1m"))
        else:
            folder.mkdir()
        shutil.copy(files / "model.safetensors", folder)
        if os.geteuid() == 0:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        else:
            folder.chmod(0o500)
        (files / "link.safetensors").symlink_to(folder / "model.safetensors")
        for model in (folder / "model.safetensors", files / "link.safetensors"):
            assert refuse(model=model) == f"cannot write {model}: its folder is not writable"


def test_a_full_disk(train, files, mounted):
    with mounted(files / "full", "size=900k"):
        err = train(status=2, out=files / "full" / "run", steps=30, save_every=1)
        assert err.splitlines()[-1].endswith(": No space left on device")
        assert f"{files / 'full' / 'run'}" in err.splitlines()[-1]
    assert not load_model(files / "model.safetensors").decoders


def test_coco_that_cannot_be_prepared(refuse, files, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(files / "tfds"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find(name))
    sentence = refuse(data="coco")
    assert sentence.startswith(f"COCO is not prepared in {files / 'tfds'}, and to prepare it tensorflow must be")
    assert "pip install 'wct_jax[prepare]'" in sentence


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory.")])
def test_out_of_memory(refuse, monkeypatch, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(wct_jax.training.recipe, "train_decoder", fail)
    assert refuse() == "there is not enough memory: try a smaller --batch-size or --crop"


def test_a_model_that_is_replaced_meanwhile(train, files, monkeypatch, save_encoder):
    add = wct_jax.networks.model_file.add_decoder

    def meanwhile(*arguments):
        save_encoder(files / "model.safetensors", seed=1)
        add(*arguments)

    monkeypatch.setattr("wct_jax.networks.model_file.add_decoder", meanwhile)
    model = files / "model.safetensors"
    assert f"{model} has another encoder than the one the decoder of relu1_1 was trained for" in train(status=2)
    assert not load_model(model).decoders
    assert load_model(files / "run" / "model.safetensors").layers == ("relu1_1",)
