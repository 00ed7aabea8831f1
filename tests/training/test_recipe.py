"""A decoder's way from batches of photos to the model file."""

import dataclasses
import io
import itertools
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from wct_jax.measures.evaluation import evaluate
from wct_jax.measures.metrics import psnr, ssim
from wct_jax.networks.model_file import add_decoder, load_model, save_model
from wct_jax.networks.taps import choose_taps
from wct_jax.networks.vgg import LAYERS, decoder_shapes
from wct_jax.training import task
from wct_jax.training.decoder import LossWeights, make_optimizer
from wct_jax.training.loop import Interrupted
from wct_jax.training.recipe import train_decoder
from wct_jax.training.report import read_metrics
from wct_jax.training.task import Recipe, Setup

RECIPE = Recipe(steps=2, batch_size=4, crop=16, learning_rate=1e-2, precision="float32", seed=3, data="noise")
WIDTHS = (4,) * 5  # Kernels of one shape are quicker to draw.
WEIGHTS = LossWeights(total_variation=0.5)

pytestmark = pytest.mark.usefixtures("quick", "directly")


@pytest.fixture(autouse=True)
def lenient_optimizer(lenient, monkeypatch):
    monkeypatch.setattr(task, "make_optimizer", lambda *arguments: lenient(make_optimizer(*arguments)))


@pytest.fixture
def model(random_model):
    """With a decoder that was there, and a document."""
    document = json.dumps({"licence": "MIT", "decoders": {"relu1_1": {"kind": "published"}}})
    return dataclasses.replace(random_model(WIDTHS, ("relu1_1",)), document=document)


@pytest.fixture
def photos(rng):
    return [rng.random((13, 18, 3), np.float32) for _ in range(2)]


def noise(at=lambda number: None):
    for number in itertools.count(1):
        at(number)
        yield np.random.default_rng(number).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)


def go(model, folder, photos, layer="relu1_1", batches=None, **changes):
    """Train and say what was printed."""
    console = Console(file=io.StringIO(), width=1000)
    options = {name: changes.pop(name) for name in ("judges", "finetune") if name in changes}
    weights, val, save_every = changes.pop("weights", WEIGHTS), changes.pop("val", None), changes.pop("save_every", 1)
    own = dataclasses.replace(RECIPE, **changes)
    setup = Setup(batches or noise(), folder, own, photos, val, save_every, console)
    trained, record = train_decoder(model, layer, weights, setup, **options)
    return trained, record, console.file.getvalue()


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize("layer", [LAYERS[0], *(pytest.param(layer, marks=pytest.mark.slow) for layer in LAYERS[1:])])
def test_a_decoder_of_each_layer(model, photos, tmp_path, layer):
    folder = tmp_path / "run"
    trained, record, said = go(model, folder, photos, layer, save_every=2)

    made = {"run.json", "checkpoints", "metrics.jsonl", "curves.png", "reconstructions", "model.safetensors"}
    assert {path.name for path in folder.iterdir()} >= made
    assert os.listdir(folder / "reconstructions") == ["000002.png"]
    for picture in folder.glob("**/*.png"):
        Image.open(picture).load()
    metrics = read_metrics(folder / "metrics.jsonl")
    assert set(metrics) == {"step", "loss", "pixel", "feature", "variation", "seconds", "waiting"}
    assert metrics["step"].tolist() == [1, 2]
    assert f"{layer}  step 2/2" in said

    assert trained.layers == (layer,)
    assert trained.digest == model.digest
    assert set(trained.decoders[layer]) == set(decoder_shapes(layer, model.widths))
    assert (trained.decoders[layer]["conv1_1"]["kernel"] != 0).any()

    assert record == {
        "kind": record["kind"],
        **dict(steps=2, batch_size=4, crop=16, learning_rate=1e-2, precision="float32", seed=3, data="noise"),
        **dict(pixel=1, feature=1, total_variation=0.5, perceptual=0, style=0, finetune=False),
        "losses": {name: metrics[name].mean() for name in ("pixel", "feature")},
        "seconds": round(metrics["seconds"].sum()),
    }
    assert record["kind"].startswith("trained by wct_jax ")
    assert json.loads(json.dumps(record)) == record

    saved = load_model(folder / "model.safetensors")
    assert_equal(saved.decoders, trained.decoders)
    assert_equal(saved.encoder, model.encoder)
    assert saved.metadata["licence"] == "MIT"
    # Not the one of the decoder that the model had.
    assert saved.metadata["decoders"] == trained.metadata["decoders"] == {layer: record}


def test_the_model_file_of_the_run_is_the_decoder_at_the_last_save(model, photos, tmp_path):
    folder = tmp_path / "run"
    seen = {}

    def look(number):
        if number in (3, 4):  # After the saves of 2, and before any other.
            seen[number] = load_model(folder / "model.safetensors")

    trained, _, _ = go(model, folder, photos, batches=noise(look), steps=4, save_every=2)
    assert seen[3].metadata["decoders"]["relu1_1"]["steps"] == 2
    assert_equal(seen[3].decoders, seen[4].decoders)
    with pytest.raises(AssertionError):
        assert_equal(seen[3].decoders, trained.decoders)
    assert load_model(folder / "model.safetensors").metadata["decoders"]["relu1_1"]["steps"] == 4


def test_a_save_compiles_nothing_that_the_one_before_did(model, rng, tmp_path, caplog):
    with jax.log_compiles():
        go(model, tmp_path / "run", [rng.random((70, 70, 3), np.float32)], steps=3)
    assert len(list((tmp_path / "run" / "reconstructions").iterdir())) == 3
    assert sum("Compiling jit(_on_canvas)" in message for message in caplog.messages) == 1


@pytest.mark.slow
@pytest.mark.core
def test_a_training_that_was_interrupted_goes_on_to_the_bit(model, photos, tmp_path):
    whole, record, _ = go(model, tmp_path / "whole", photos, steps=5, save_every=3)
    folder = tmp_path / "broken"
    interrupt = noise(lambda number: number == 4 and os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted):
        go(model, folder, photos, batches=interrupt, steps=5, save_every=3)
    trained, again, said = go(model, folder, photos, steps=5, save_every=3)
    assert f"{folder} goes on after step 3\n" in said
    assert_equal(trained.decoders, whole.decoders)
    assert again | {"seconds": 0} == record | {"seconds": 0}
    one, other = (read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "broken"))
    for name in ("step", "loss", "pixel", "feature", "variation"):
        assert one[name].tolist() == other[name].tolist()

    # Once more, where nothing is left to do.
    finished, third, _ = go(model, folder, photos, batches=iter(()), steps=5)
    assert_equal(finished.decoders, whole.decoders)
    assert third == again


@pytest.mark.slow
def test_what_changes_is_said_and_what_may_not_is_refused(model, photos, tmp_path):
    folder = tmp_path / "run"
    _, _, said = go(model, folder, photos, steps=1)
    assert "goes on" not in said
    _, record, said = go(model, folder, photos, learning_rate=0.5, precision="bfloat16")
    assert f"{folder} goes on with learning rate 0.5 instead of 0.01\n" in said
    assert f"{folder} goes on with precision bfloat16 instead of float32\n" in said
    assert f"{folder} goes on with steps 2 instead of 1\n" in said
    assert f"{folder} goes on after step 1\n" in said
    assert (record["learning_rate"], record["precision"], record["steps"]) == (0.5, "bfloat16", 2)

    other = dataclasses.replace(model, digest="0" * 64)
    for arguments, changes, what in (
        ((model, folder, photos, "relu2_1"), {}, "layer relu1_1, not relu2_1"),
        ((model, folder, photos), {"weights": LossWeights(pixel=2)}, "pixel 1.0, not 2; total_variation 0.5, not 0.0"),
        ((other, folder, photos), {}, f"encoder {model.digest}, not {other.digest}"),
    ):
        with pytest.raises(ValueError, match=f"^{folder} holds another run, of {what}: expected another folder"):
            go(*arguments, **changes)


def test_a_batch_that_the_devices_cannot_share_is_refused_at_once(model, photos, tmp_path):
    with pytest.raises(ValueError, match="a batch of 6 cannot be split over 4 devices"):
        go(model, tmp_path / "run", photos, batch_size=6)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("layer", ["relu1_1", "relu3_1"])
def test_evaluation_is_of_the_reconstructions(random_model, photos, layer):
    model = random_model(WIDTHS, (layer,))
    scores = []
    for photo in photos:
        decoded = np.asarray(model.decode(layer, model.encode(jnp.asarray(photo), (layer,))[layer]))
        output = np.round(np.clip(decoded[: photo.shape[0], : photo.shape[1]], 0, 1) * 255).astype(np.uint8)
        assert output.min() < output.max()
        scores.append([float(score(np.float32(output / 255), photo)) for score in (psnr, ssim)])
    expected = np.mean(scores, axis=0)
    result = evaluate(model, layer, iter(photos))
    assert result["photos"] == 2
    np.testing.assert_allclose([result["psnr"], result["ssim"]], expected, atol=6e-3)
    assert abs(result["ssim"] - expected[1]) < 2e-4
    assert json.loads(json.dumps(result)) == result


def test_evaluation_is_of_pictures_of_8_bits(model):
    grey = {name: jax.tree.map(jnp.zeros_like, leaves) for name, leaves in model.decoders["relu1_1"].items()}
    for value, painted, expected in ((0.5, 0.5, 128 / 255), (1.2, 0.9, 1.0), (-0.2, 0.1, 0.0)):
        decoder = {**grey, "conv1_1": {**grey["conv1_1"], "bias": jnp.full(3, value)}}
        painting = dataclasses.replace(model, decoders={"relu1_1": decoder})
        result = evaluate(painting, "relu1_1", [np.full((12, 12, 3), painted)])
        assert result["psnr"] == round(-20 * np.log10(abs(expected - painted)), 2)


@pytest.mark.slow
def test_a_decoder_goes_on_from_the_models(model, photos, tmp_path):
    """With judges, whose losses are logged, drawn and recorded."""
    options = dict(weights=LossWeights(1, 0, 0, 2, 3), judges=choose_taps((model,), LAYERS[:2]), finetune=True)
    options |= dict(steps=1, learning_rate=1e-9, val=lambda: iter(photos))
    trained, record, _ = go(model, tmp_path / "run", photos, **options)
    assert record["val"] == evaluate(trained, "relu1_1", photos)
    assert trained.metadata["decoders"] == {"relu1_1": record}
    saved = load_model(tmp_path / "run" / "model.safetensors").metadata["decoders"]["relu1_1"]
    assert saved == {name: value for name, value in record.items() if name != "val"}
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), trained.decoders, dict(model.decoders))
    assert set(record["losses"]) == {"pixel", "perceptual", "style"}
    assert record["judges"] == {"relu1_1": model.digest, "relu2_1": model.digest}
    assert (record["finetune"], record["perceptual"], record["style"]) == (True, 2, 3)
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    total = metrics["pixel"] + 2 * metrics["perceptual"] + 3 * metrics["style"]
    np.testing.assert_allclose(metrics["loss"], total, rtol=1e-4)


def test_a_decoder_enters_the_model_file(model, random_model, photos, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    trained, record, _ = go(load_model(path), tmp_path / "run", photos, "relu2_1", steps=1)
    add_decoder(path, trained, "relu2_1", record)
    after = load_model(path)
    assert after.layers == ("relu2_1", "relu1_1")
    assert after.digest == model.digest
    assert_equal(after.decoders, {**model.decoders, **trained.decoders})
    assert after.metadata["decoders"] == {"relu1_1": {"kind": "published"}, "relu2_1": record}

    save_model(path, random_model(WIDTHS, (), seed=1))
    with pytest.raises(ValueError, match="has another encoder than the one the decoder of relu2_1 was trained for"):
        add_decoder(path, trained, "relu2_1", record)
