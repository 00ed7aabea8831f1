"""The command `wct-distill`, from outside."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
from PIL import Image

import wct_jax.training.recipe
from wct_jax.cli import train
from wct_jax.cli.distill import main
from wct_jax.networks.model_file import load_model, save_model
from wct_jax.networks.vgg import LAYERS
from wct_jax.training.report import read_metrics
from wct_jax.training.student import DistillWeights
from wct_jax.training.task import Recipe

pytestmark = pytest.mark.usefixtures("as_a_user")


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory, random_model):
    folder = tmp_path_factory.mktemp("files")
    for name in ("photos", "val"):
        (folder / name).mkdir()
        for number in range(2):
            Image.fromarray(noise(20, 24, 3, seed=number)).save(folder / name / f"{number}.png")
    sources = ("one", {"kind": "other", "file": "a.pth"})
    for seed, (name, widths) in enumerate({"shallow": (4, 6), "deep": (5, 7, 9)}.items()):
        document = json.dumps({"source": sources[seed], "licence": "MIT"})
        model = dataclasses.replace(random_model(widths, (), seed), document=document)
        save_model(folder / f"{name}.safetensors", model)
    return folder


@pytest.fixture
def flags(files, tmp_path):
    def flags(**others):
        values = {"data": files / "photos", "out": tmp_path / "run", "steps": 2, "batch_size": 4, "crop": 16} | others
        teachers = [str(files / f"{name}.safetensors") for name in ("shallow", "deep")]
        options = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
        return ["--teachers", *teachers, "--widths", "3", "4", "4", *options]

    return flags


def without_widths(flags):
    return [flag for flag in flags if flag not in ("--widths", "3", "4")]


@pytest.fixture
def succeed(run):
    """Run a command that is to succeed: what it says on either output."""

    def succeed(main, *arguments):
        status, out, err = run(main, *arguments)
        assert status == 0, err
        return out, err

    return succeed


@pytest.mark.slow
def test_a_model_that_the_other_commands_take(succeed, flags, files, tmp_path):
    out, _ = succeed(main, *flags(val=files / "val", save_every=1))
    path = tmp_path / "run" / "model.safetensors"
    assert f"the model is {path}" in out
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == ["relu3_1", "relu2_1", "relu1_1"]
    assert "dB PSNR" in out

    model = load_model(path)
    assert (model.widths, set(model.layers), dict(model.auxiliary)) == ((3, 4, 4), set(LAYERS[:3]), {})
    document = model.metadata
    (record,) = document["distillations"]
    assert [(teacher["source"], teacher["layers"]) for teacher in record["teachers"]] == [
        ("one", ["relu1_1", "relu2_1"]),
        ({"kind": "other", "file": "a.pth"}, ["relu3_1"]),
    ]
    assert document["source"] == "distilled from relu1_1, relu2_1 of one; relu3_1 of other"
    assert (record["steps"], record["crop"], record["feature"], record["data"]) == (2, 16, 1.0, "2 photos of photos")
    assert set(record["val"]) == set(LAYERS[:3])
    assert set(read_metrics(tmp_path / "run" / "metrics.jsonl")) >= {"loss", "pixel", "feature", "relu3_1/pixel"}
    assert (tmp_path / "run" / "curves.png").exists()

    assert "goes on after step 2" in succeed(main, *flags(steps=3))[1]
    assert [record["steps"] for record in load_model(path).metadata["distillations"]] == [3]

    more = ["--layer=relu2_1", f"--model={path}", f"--data={files / 'photos'}", f"--out={tmp_path / 'decoder'}"]
    more += ["--steps=1", "--batch-size=4", "--crop=16", "--learning-rate=1e-9"]
    succeed(train.main, *more, "--finetune", "--overwrite", "--perceptual-weight=1")
    assert set(load_model(path).layers) == set(LAYERS[:3])


@pytest.mark.slow
def test_the_last_layers_of_a_model_again(succeed, flags, files, tmp_path):
    succeed(main, *flags())
    start = tmp_path / "run" / "model.safetensors"
    more = dict(out=tmp_path / "more", steps=1, model=start, perceptual_weight=1) | {"from": "relu3_1"}
    more = without_widths(flags(**more))
    more += ["--learning-rate=1e-9", "--judges", str(files / "shallow.safetensors")]
    succeed(main, *more, "--finetune")
    before, after = load_model(start), load_model(tmp_path / "more" / "model.safetensors")
    for name in before.encoder:
        same = np.array_equal(before.encoder[name]["kernel"], after.encoder[name]["kernel"])
        assert same == (name in ("conv1_1", "conv1_2", "conv2_1")), name
    kernels = [model.encoder["conv3_1"]["kernel"] for model in (before, after)]
    np.testing.assert_allclose(*kernels, atol=1e-6)
    for layer in LAYERS[:3]:
        same = np.array_equal(before.decoders[layer]["conv1_1"]["kernel"], after.decoders[layer]["conv1_1"]["kernel"])
        assert same == (layer != "relu3_1")
    first, second = after.metadata["distillations"]
    assert [first] == before.metadata["distillations"]
    assert (second["perceptual"], set(second["judges"])) == (1.0, {"relu1_1", "relu2_1"})
    assert [teacher["layers"] for teacher in second["teachers"]] == [["relu3_1"]]

    succeed(main, *(flag.replace("more", "anew") for flag in more))
    anew = load_model(tmp_path / "anew" / "model.safetensors")
    np.testing.assert_array_equal(anew.encoder["conv2_1"]["kernel"], before.encoder["conv2_1"]["kernel"])
    assert not np.allclose(anew.encoder["conv3_1"]["kernel"], before.encoder["conv3_1"]["kernel"], atol=1e-3)


def test_the_flags_are_the_recipe(run, flags, files, tmp_path, monkeypatch):
    calls = []

    def distill(teachers, widths, weights, setup, **options):
        assert options == {"judges": (), "model": None, "finetune": False}
        calls.append((widths, setup.folder, setup.recipe, weights, setup.save_every, next(setup.batches).shape))
        raise ValueError("enough")

    monkeypatch.setattr(wct_jax.training.recipe, "distill", distill)
    more = flags(learning_rate=0.5, feature_weight=3, precision="bfloat16", seed=5, save_every=6)
    assert run(main, *more)[0] == 2
    recipe = Recipe(2, 4, 16, 0.5, "bfloat16", 5, "2 photos of photos")
    assert calls == [([3, 4, 4], tmp_path / "run", recipe, DistillWeights(3), 6, (4, 16, 16, 3))]


def test_what_a_user_can_get_wrong(refused, flags, files, several, tmp_path):
    refuse = functools.partial(refused, main)
    assert refuse() == "the following arguments are required: --teachers"
    assert refuse(*flags(feature_weight=-1)).startswith("argument --feature-weight: expected a number of at least 0")
    assert refuse(*flags(), "--widths", "3", "0").startswith("argument --widths: expected a whole number")
    assert refuse(*flags(), "--widths", *"333333").startswith("an encoder has one to 5 blocks")
    assert refuse(*flags(), "--widths", *"3333").startswith("none of the encoders has relu4_1: they end at")
    assert refuse(*flags(), "--teachers", "nowhere").startswith("there is no model file nowhere")
    unjudged = "--judges and --perceptual-weight go together: expected both or neither"
    assert refuse(*flags(perceptual_weight=1)) == unjudged
    deep = files / "deep.safetensors"
    assert refuse(*flags(model=deep)) == "--widths are those of --model: expected one of the two"
    without = "--from relu2_1 without --model: expected the model whose first blocks to keep"
    assert refuse(*flags(), "--from", "relu2_1") == without
    assert refuse(*flags(), "--finetune") == "--finetune without --model: expected the model to begin with"
    bare = without_widths(flags(model=deep))
    lacking = "deep.safetensors has no decoder for relu2_1, relu3_1: expected one to begin with"
    assert refuse(*bare, "--from", "relu2_1", "--finetune").endswith(lacking)
    assert refuse(*bare, "--from", "relu5_1").endswith("ends at relu3_1: expected --from to be no deeper")
    save_model(files / "several.safetensors", several)
    bare = without_widths(flags(model=files / "several.safetensors"))
    assert refuse(*bare).endswith("has encoders of its own for relu1_1, relu2_1: expected a model of one")
    assert refuse(*flags(), "--resume") == f"there is no run to resume in {tmp_path / 'run'}"
    assert refuse(*flags(learning_rate=0)).startswith("argument --learning-rate: expected a number above 0")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_of_other_teachers_is_refused(succeed, refused, flags, files):
    succeed(main, *flags(steps=1))
    only = ["--teachers", str(files / "deep.safetensors")]
    assert "teachers" in refused(main, *flags(steps=1), *only)
    assert "feature" in refused(main, *flags(steps=1, feature_weight=2))


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 12])
def test_a_distillation_that_diverged_is_no_result(run, flags, tmp_path, steps):
    status, out, err = run(main, *flags(steps=steps, learning_rate=1e5, save_every=5))
    assert (status, out) == (2, "")
    sentence = err.splitlines()[-1]
    assert re.search(r"training stopped at step \d+: the ", sentence)
    assert sentence.endswith("; try a lower learning rate or a larger batch (nothing was saved yet)")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "run" / "metrics.jsonl").exists()
