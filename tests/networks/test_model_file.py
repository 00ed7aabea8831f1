import dataclasses
import json
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from wct_jax.networks.digest import encoder_digest
from wct_jax.networks.model import Model
from wct_jax.networks.model_file import (
    add_decoder,
    add_painter,
    check_model_target,
    is_model_file,
    load_model,
    model_path,
    save_model,
)
from wct_jax.networks.parts import require_decoders, require_painter, with_decoder
from wct_jax.networks.vgg import LAYERS, decoder_shapes, deepest_first, depth_of, encoder_shapes
from wct_jax.system.folders import cache_folder, user_folder

if os.name == "posix":
    import resource


def random_parameters(shapes, rng):
    def layer(inputs, outputs):
        leaves = {"kernel": (3, 3, inputs, outputs), "bias": outputs}
        return {leaf: rng.normal(size=size).astype(np.float32) for leaf, size in leaves.items()}

    return {name: layer(*channels) for name, channels in shapes.items()}


def small_model(widths=(2, 3), layers=("relu2_1", "relu1_1"), seed=0, **fields):
    rng = np.random.default_rng(seed)
    encoder = random_parameters(encoder_shapes(widths), rng)
    decoders = {layer: random_parameters(decoder_shapes(layer, widths), rng) for layer in layers}
    return Model(encoder, decoders, widths, encoder_digest(encoder), **fields)


def assert_same(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(one), jax.tree.leaves(other))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def rewrite(path, change=lambda arrays: None, model=None, **facts):
    """Save a model's file anew, changed, by safetensors itself, without checksum; facts that are None are left out."""
    save_model(path, model or small_model())
    arrays, document = load_file(path), load_model(path).metadata | {"checksum": None} | facts
    change(arrays)
    document = {key: value for key, value in document.items() if value is not None}
    save_file(arrays, path, {"wct_jax": json.dumps(document)})


# The file


@pytest.mark.core
@settings(max_examples=25)
@given(data=st.data())
def test_a_model_comes_back_as_it_was_saved(tmp_path_factory, data):
    widths = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=5), label="widths"))
    layers = data.draw(st.lists(st.sampled_from(LAYERS[: len(widths)]), unique=True), label="layers")
    taps = data.draw(st.lists(st.sampled_from(LAYERS[: len(widths)]), unique=True), label="auxiliary")
    kernels = {layer: np.ones((1, 1, widths[depth_of(layer) - 1], 7), np.float32) for layer in taps}
    auxiliary = {layer: {"kernel": kernel, "bias": np.arange(7, dtype=np.float32)} for layer, kernel in kernels.items()}
    document = {"source": {"kind": "tést", "file": "näme"}, "licence": data.draw(st.text(), label="licence")}
    model = small_model(widths, layers, auxiliary=auxiliary, document=json.dumps(document))
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    assert_same(loaded, model)
    assert loaded.layers == deepest_first(layers)
    facts = {"format": 1, "widths": list(widths), "layers": list(loaded.layers), "digest": model.digest}
    checksum = loaded.metadata["checksum"]
    assert loaded.metadata == document | facts | {"checksum": checksum}
    assert len(bytes.fromhex(checksum)) == 32
    for leaf in jax.tree.leaves(loaded):
        assert isinstance(leaf, jax.Array)
        assert leaf.dtype == jnp.float32


def test_the_keys_are_those_the_format_names(path):
    save_model(path, small_model())
    arrays = load_file(path)
    assert arrays["encoder/conv1_2/kernel"].shape == (3, 3, 2, 2)
    assert arrays["decoder/relu2_1/conv2_1/kernel"].shape == (3, 3, 3, 2)
    assert arrays["decoder/relu1_1/conv1_1/bias"].shape == (3,)
    assert len(arrays) == 2 * (3 + 3 + 1)


def test_arrays_in_any_memory_order_are_saved_right(path):
    model = small_model()
    fortran = jax.tree.map(np.asfortranarray, model)
    assert not fortran.encoder["conv1_1"]["kernel"].flags.c_contiguous
    assert encoder_digest(fortran.encoder) == model.digest
    save_model(path, fortran)
    assert_same(load_model(path), model)


def test_half_precision_is_kept_in_the_file_and_read_as_float32(path):
    half = jax.tree.map(lambda array: array.astype(np.float16), small_model())
    save_model(path, half)
    assert load_file(path)["encoder/conv1_1/kernel"].dtype == np.float16
    loaded = load_model(path)
    assert loaded.encoder["conv1_1"]["kernel"].dtype == jnp.float32
    assert_same(loaded.encoder, half.encoder)
    assert loaded.digest == encoder_digest(half.encoder)


def test_saving_brings_the_document_up_to_date(path):
    save_model(path, small_model(layers=("relu1_1",), document=json.dumps({"layers": ["relu5_1"], "digest": "old"})))
    metadata = load_model(path).metadata
    assert metadata["layers"] == ["relu1_1"]
    assert metadata["digest"] == small_model().digest


def test_a_model_file_is_told_from_others(path, tmp_path):
    save_model(path, small_model())
    assert is_model_file(path)
    save_file({"x": np.zeros(3)}, path)
    (tmp_path / "empty").touch()
    for other in (path, tmp_path / "empty", tmp_path, tmp_path / "missing"):
        assert not is_model_file(other)


# The digest


def test_the_digest_is_of_names_shapes_and_values():
    model = small_model()
    assert len(model.digest) == 64
    assert encoder_digest(dict(reversed(model.encoder.items()))) == model.digest
    assert encoder_digest(jax.tree.map(jnp.asarray, model.encoder)) == model.digest
    assert encoder_digest(jax.tree.map(lambda x: x.astype(np.float64), model.encoder)) == model.digest
    # Half precision has other values, and the digest is that of those in float32.
    half = jax.tree.map(lambda array: array.astype(np.float16), model.encoder)
    assert encoder_digest(half) != model.digest
    assert encoder_digest(half) == encoder_digest(jax.tree.map(lambda array: array.astype(np.float32), half))


def test_the_digest_knows_a_changed_value_name_or_shape():
    encoder = small_model().encoder
    others = [encoder]
    for change in (
        lambda layer: {**layer, "bias": np.nextafter(layer["bias"], 9)},
        lambda layer: {**layer, "kernel": layer["kernel"].transpose(1, 0, 2, 3)},
        lambda layer: {**layer, "kernel": layer["kernel"].reshape(1, 9, *layer["kernel"].shape[2:])},
    ):
        others.append({**encoder, "conv1_2": change(encoder["conv1_2"])})
    others.append({("conv1_3" if name == "conv1_2" else name): layer for name, layer in encoder.items()})
    assert len({encoder_digest(other) for other in others}) == len(others)


def test_the_digest_stays_when_a_decoder_comes(path):
    model = small_model(layers=())
    save_model(path, model)
    bare = load_model(path)
    save_model(path, dataclasses.replace(bare, decoders=small_model(layers=("relu2_1",)).decoders))
    assert load_model(path).digest == bare.digest == model.digest


def test_a_model_of_several_encoders(path, several):
    save_model(path, several)
    loaded = load_model(path)
    assert_same(loaded, several)
    assert loaded.digest == several.digest == encoder_digest(several.encoder, several.encoders)
    assert several.digest != encoder_digest(several.encoder)
    # Readers of format 1 alone refuse it by that.
    assert loaded.metadata["format"] == 2
    assert loaded.metadata["encoders"] == {"relu1_1": [7], "relu2_1": [3, 5]}
    save_model(path, dataclasses.replace(loaded, encoders={}, decoders={}))
    assert load_model(path).metadata["format"] == 1
    assert load_model(path).digest == encoder_digest(several.encoder)


@pytest.mark.parametrize("deepest", ["relu1_1", "relu2_1"])
def test_a_model_with_a_painter(path, deepest):
    painter = small_model(layers=(deepest,), seed=3).decoders[deepest]
    for layers in ((), ("relu2_1",)):
        model = small_model(layers=layers)
        save_model(path, model)
        add_painter(path, dataclasses.replace(model, painter=painter), {"steps": 3})
        loaded = load_model(path)
        assert_same(loaded, dataclasses.replace(model, painter=painter))
        assert loaded.painter_layers == deepest_first({"relu1_1", deepest})
        assert (loaded.digest, loaded.metadata["painter"]) == (model.digest, {"steps": 3})
    with pytest.raises(ValueError, match=f"^{path} has another encoder than the one the painter was trained for$"):
        add_painter(path, dataclasses.replace(small_model(seed=1), painter=painter), {})


def test_layers_that_a_painter_paints():
    painter = small_model((2, 3, 4), ("relu2_1",)).decoders["relu2_1"]
    model = small_model((2, 3, 4), painter=painter)
    assert require_painter(model, "m", None) == ("relu2_1", "relu1_1")
    assert require_painter(model, "m", ["relu1_1"]) == ("relu1_1",)
    for lacking, layers, message in (
        (model, ["relu3_1"], "the painter of m paints relu2_1, relu1_1, got relu3_1"),
        (small_model(), None, "the model m has no painter of one pass: python train.py --painter --model m trains one"),
    ):
        with pytest.raises(ValueError, match=message):
            require_painter(lacking, "m", layers)


def test_the_digest_knows_all_encoders(several):
    changed = jax.tree.map(lambda x: x + 1, several.encoders)
    moved = {"relu1_1": several.encoders["relu1_1"]}
    digests = {encoder_digest(several.encoder, encoders) for encoders in (several.encoders, changed, moved, {})}
    assert len(digests) == 4


# Files that are no models


def refusal(path):
    with pytest.raises(ValueError, match=r".") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_every_wrong_array_is_named_in_one_error(path):
    def change(arrays):
        del arrays["encoder/conv1_1/bias"], arrays["decoder/relu2_1/conv1_2/kernel"]
        arrays["encoder/conv9_1/kernel"] = np.zeros(3, np.float32)
        arrays["nonsense"] = np.zeros(3, np.float32)
        arrays["encoder/conv2_1/kernel"] = np.zeros((3, 3, 2, 9), np.float32)
        arrays["decoder/relu1_1/conv1_1/bias"] = np.float32([1, np.nan, 3])
        arrays["auxiliary/relu2_1/kernel"] = np.full((1, 1, 5, 4), np.inf, np.float32)
        arrays["auxiliary/relu5_1/bias"] = np.zeros(4, np.float32)

    rewrite(path, change)
    message = refusal(path)
    for fault in (
        "missing: encoder/conv1_1/bias, decoder/relu2_1/conv1_2/kernel;",
        "wrong shape: encoder/conv2_1/kernel (3, 3, 2, 9) for (3, 3, 2, 3), "
        "auxiliary/relu2_1/kernel (1, 1, 5, 4) for (1, 1, 3, 4);",
        "not finite: ",
    ):
        assert fault in message
    extra = message.partition("extra: ")[2].partition(";")[0]
    assert set(extra.split(", ")) == {"encoder/conv9_1/kernel", "nonsense", "auxiliary/relu5_1/bias"}
    infinite = message.partition("not finite: ")[2]
    assert set(infinite.split(", ")) == {"decoder/relu1_1/conv1_1/bias", "auxiliary/relu2_1/kernel"}


OWN = [("relu3_1", [4, 6, 8]), ("relu6_1", [3]), ("relu2_1", [3]), ("relu2_1", [3, 5, 8])]
OWN += [("relu1_1", widths) for widths in ([0], [True], 7, ["7"])]


@pytest.mark.parametrize("own", [None, [], *({layer: widths} for layer, widths in OWN)])
def test_widths_of_encoders_that_cannot_be(path, several, own):
    rewrite(path, model=several, encoders=own)
    assert "is not a model file: its metadata does not say what encoders it has" in refusal(path)


def test_wrong_arrays_of_several_encoders_are_named(path, several):
    def change(arrays):
        del arrays["encoders/relu2_1/conv1_2/bias"]
        arrays["encoders/relu3_1/conv1_1/bias"] = np.zeros(4, np.float32)
        arrays["encoders/relu1_1/conv1_1/bias"] = np.zeros(4, np.float32)

    rewrite(path, change, several)
    message = refusal(path)
    assert "missing: encoders/relu2_1/conv1_2/bias;" in message
    assert "extra: encoders/relu3_1/conv1_1/bias;" in message
    assert "wrong shape: encoders/relu1_1/conv1_1/bias (4,) for (7,)" in message
    # A decoder fits its own layer's encoder.
    rewrite(path, model=several, encoders={"relu2_1": [3, 5]})
    assert "decoder/relu1_1/conv1_1/kernel (3, 3, 7, 3) for (3, 3, 4, 3)" in refusal(path)


def test_wrong_arrays_of_a_painter_are_named(path, several):
    model = small_model(painter=small_model(seed=3).decoders["relu2_1"])

    def change(arrays):
        del arrays["painter/conv1_2/bias"]
        arrays["painter/conv1_1/kernel"] = np.zeros((3, 3, 2, 4), np.float32)
        arrays["painter/conv3_1/bias"] = np.zeros(4, np.float32)

    rewrite(path, change, model)
    message = refusal(path)
    assert "missing: painter/conv1_2/bias;" in message
    assert "extra: painter/conv3_1/bias;" in message
    assert "wrong shape: painter/conv1_1/kernel (3, 3, 2, 4) for (3, 3, 2, 3)" in message
    # It needs all of its features from one encoder.
    with pytest.raises(ValueError, match="extra: painter/conv1_1/"):
        save_model(path, dataclasses.replace(several, painter={"conv1_1": several.decoders["relu1_1"]["conv1_1"]}))


def test_a_changed_byte_is_noticed(path, several):
    small, digest, checksum = small_model(), "its encoder's digest is ", r"its checksum is \w{12}, expected \w{12}$"
    for model, array, fault in (
        (small, small.encoder["conv1_1"]["kernel"], digest),
        (several, several.encoders["relu1_1"]["conv1_1"]["kernel"], digest),
        (small, small.decoders["relu2_1"]["conv2_1"]["bias"], checksum),
    ):
        save_model(path, model)
        content = bytearray(path.read_bytes())
        content[content.index(np.asarray(array).tobytes())] ^= 1
        path.write_bytes(content)
        assert re.search(f"model.safetensors is damaged: {fault}", refusal(path))


def test_a_file_without_a_checksum_is_read(path):
    rewrite(path)
    assert_same(load_model(path), small_model())


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file(path, keep):
    save_model(path, small_model())
    path.write_bytes(path.read_bytes()[:keep])
    assert "is not a model file" in refusal(path)


def test_files_of_other_kinds(path, tmp_path):
    path.write_text("weights")
    assert "is not a model file" in refusal(path)
    assert "is a directory" in refusal(tmp_path)
    assert "expected compact, or a file" in refusal(tmp_path / "missing.safetensors")
    assert "there is no model file" in refusal(tmp_path / ("x" * 300))
    save_file({"features.0.weight": np.zeros(3, np.float32)}, path)
    assert f"convert it with python convert_vgg.py {path}" in refusal(path)


NO_WIDTHS = (-3, 10**9, 10**400, True, float("nan"))
NO_MODEL = {
    "format": [None, True, 1.0],
    "widths": [None, [], "23", 2, [1] * 6, [2.0, 3.0], ["2", "3"], [[2], 3], {"2": 3}, *([2, x] for x in NO_WIDTHS)],
    "layers": [None, ["relu3_1"], [["relu1_1"]], {"relu1_1": 1}, [["relu1_1"], "relu2_1"], [{"relu1_1": 1}], [1]],
    "digest": [7, ["x"], {"sha3": "x"}],
    "checksum": [7],
}


@pytest.mark.parametrize(("fact", "value"), [(fact, value) for fact in NO_MODEL for value in NO_MODEL[fact]])
def test_metadata_that_does_not_describe_a_model(path, fact, value):
    rewrite(path, **{fact: value})
    assert "its metadata does not say format, widths, layers and digest" in refusal(path)


@pytest.mark.parametrize("document", ["", "{", "[]", "null", "3", "[" * 100_000])
def test_metadata_that_is_no_document(path, document):
    rewrite(path)
    save_file(load_file(path), path, {"wct_jax": document})
    assert "its metadata does not say" in refusal(path)


def test_a_format_from_the_future(path):
    rewrite(path, format=3, layers=None, digest={"sha3": "0"})
    assert "has format 3, and this version of wct_jax reads formats 1 and 2" in refusal(path)


# Writing


def test_arrays_that_are_no_model_are_not_saved(path):
    model = small_model()
    for fault, wrong in (
        ("wrong shape", dataclasses.replace(model, widths=(2, 4))),
        ("missing", dataclasses.replace(model, decoders={"relu2_1": {}})),
        ("not finite", jax.tree.map(lambda array: array * np.float32("nan"), model)),
    ):
        with pytest.raises(ValueError, match=fault):
            save_model(path, wrong)
        assert not path.exists()


def test_a_crash_while_writing_keeps_the_old_file(path, monkeypatch):
    save_model(path, small_model())
    before = path.read_bytes()

    def crash(self, data):
        with self.open("wb") as file:
            file.write(data[:1000])
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_bytes", crash)
    with pytest.raises(KeyboardInterrupt):
        save_model(path, small_model(seed=1))
    assert (path.read_bytes(), os.listdir(path.parent)) == (before, [path.name])


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_full_disk_keeps_the_old_file(path):
    save_model(path, small_model())
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(ValueError, match=f"^cannot write {path}: File too large$"):
            save_model(path, small_model(seed=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (path.read_bytes(), os.listdir(path.parent)) == (before, [path.name])


# One more decoder


def other_decoder(layer):
    """A decoder for the encoder of `small_model`, and not the one it has."""
    return random_parameters(decoder_shapes(layer, (2, 3)), np.random.default_rng(9))


def test_a_model_with_one_more_decoder():
    model = small_model(layers=("relu1_1",), document=json.dumps({"licence": "MIT", "decoders": {"relu1_1": {"n": 1}}}))
    record = {"steps": 3}
    more = with_decoder(model, "relu2_1", other_decoder("relu2_1"), record)
    assert more.layers == ("relu2_1", "relu1_1")
    assert more.metadata == {"licence": "MIT", "decoders": {"relu1_1": {"n": 1}, "relu2_1": {"steps": 3}}}
    assert_same(more.decoders["relu2_1"], other_decoder("relu2_1"))
    assert more.decoders["relu1_1"] is model.decoders["relu1_1"]
    assert model.layers == ("relu1_1",)
    assert model.metadata["decoders"] == {"relu1_1": {"n": 1}}
    replaced = with_decoder(more, "relu1_1", other_decoder("relu1_1"), {"n": 2})
    assert replaced.metadata["decoders"] == {"relu1_1": {"n": 2}, "relu2_1": {"steps": 3}}
    assert replaced.layers == more.layers


def test_a_decoder_enters_the_file(path):
    auxiliary = {"relu2_1": {"kernel": np.ones((1, 1, 3, 7), np.float32), "bias": np.zeros(7, np.float32)}}
    before = small_model(layers=("relu1_1",), auxiliary=auxiliary, document=json.dumps({"licence": "MIT"}))
    save_model(path, before)
    # A trained decoder comes with its encoder, but without the rest of the file.
    trained = dataclasses.replace(before, decoders={"relu2_1": other_decoder("relu2_1")}, auxiliary={}, document="{}")
    add_decoder(path, trained, "relu2_1", {"steps": 3})
    after = load_model(path)
    assert_same(after, dataclasses.replace(before, decoders={**before.decoders, **trained.decoders}))
    assert after.digest == before.digest
    assert after.metadata["licence"] == "MIT"
    assert after.metadata["layers"] == ["relu2_1", "relu1_1"]
    assert after.metadata["decoders"] == {"relu2_1": {"steps": 3}}


def test_a_decoder_takes_the_place_of_the_one_there_was(path):
    save_model(path, small_model())
    add_decoder(path, small_model(), "relu2_1", {"steps": 3})
    trained = dataclasses.replace(small_model(), decoders={"relu2_1": other_decoder("relu2_1")})
    add_decoder(path, trained, "relu2_1", {"steps": 4})
    after = load_model(path)
    assert_same(after, dataclasses.replace(small_model(), decoders={**small_model().decoders, **trained.decoders}))
    assert after.metadata["decoders"] == {"relu2_1": {"steps": 4}}


def test_a_decoder_of_another_encoder_is_refused(path):
    save_model(path, small_model(layers=()))
    before = path.read_bytes()
    sentence = f"^{path} has another encoder than the one the decoder of relu2_1 was trained for$"
    for other in (small_model(seed=1), small_model((2, 4))):
        with pytest.raises(ValueError, match=sentence):
            add_decoder(path, other, "relu2_1", {})
    assert path.read_bytes() == before


def test_a_decoder_that_is_damaged_does_not_enter(path):
    save_model(path, small_model(layers=()))
    before = path.read_bytes()
    broken = jax.tree.map(lambda array: array * np.float32("nan"), other_decoder("relu1_1"))
    with pytest.raises(ValueError, match="not finite: decoder/relu1_1/"):
        add_decoder(path, dataclasses.replace(small_model(), decoders={"relu1_1": broken}), "relu1_1", {})
    assert path.read_bytes() == before


def test_a_file_to_add_to_must_be_there(path, tmp_path):
    (tmp_path / "other").write_text("weights")
    missing = tmp_path / "missing" / "model.safetensors"
    for place, message in (
        (path, f"^there is no model file {path}"),
        (missing, str(missing)),
        (tmp_path / "other", "is not a model file"),
    ):
        with pytest.raises(ValueError, match=message):
            add_decoder(place, small_model(), "relu1_1", {})
    assert (tmp_path / "other").read_text() == "weights"


def test_a_link_stays_one(path, tmp_path):
    save_model(path, small_model(layers=()))
    link = tmp_path / "links" / "link.safetensors"
    link.parent.mkdir()
    link.symlink_to(path)
    add_decoder(link, small_model(), "relu1_1", {})
    assert link.is_symlink()
    assert load_model(path).layers == ("relu1_1",)
    assert os.listdir(link.parent) == [link.name]


ADD_MANY = """
import sys
from pathlib import Path
from wct_jax.networks.model_file import add_decoder, load_model
path, trained, layer, times = sys.argv[1:]
model = load_model(trained)
print(flush=True)
sys.stdin.readline()
for n in range(int(times)):
    add_decoder(path, model, layer, {"n": n})
"""


@pytest.mark.core
def test_decoders_of_several_processes_all_enter(path, tmp_path):
    save_model(path, small_model(layers=()))
    trained = tmp_path / "trained.safetensors"
    save_model(trained, small_model())
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    processes = [
        subprocess.Popen([sys.executable, "-c", ADD_MANY, path, trained, layer, "40"], **options)
        for layer in ("relu1_1", "relu2_1")
    ]
    try:
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        while any(process.poll() is None for process in processes):
            assert load_model(path).digest == small_model().digest
        assert [process.wait(60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    after = load_model(path)
    assert_same(after, small_model())
    assert after.metadata["decoders"] == {"relu1_1": {"n": 39}, "relu2_1": {"n": 39}}


# Names


def test_where_vgg19_is(monkeypatch, tmp_path):
    for variable in ("WCT_JAX_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value, folder in (
        ("HOME", tmp_path, tmp_path / ".cache" / "wct_jax"),
        ("XDG_CACHE_HOME", tmp_path / "xdg", tmp_path / "xdg" / "wct_jax"),
        ("WCT_JAX_HOME", tmp_path / "home", tmp_path / "home"),
    ):
        monkeypatch.setenv(variable, str(value))
        assert model_path("vgg19") == folder / "vgg19.safetensors"
    assert model_path("./vgg19") == model_path(tmp_path / "vgg19").relative_to(tmp_path)
    (tmp_path / "home").mkdir()
    save_model(model_path("vgg19"), small_model())
    assert_same(load_model("vgg19"), small_model())


def test_paths_that_are_relative_or_empty_name_no_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("WCT_JAX_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for cache in ("", "cache", "./cache", "~/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        assert cache_folder() == tmp_path / ".cache" / "wct_jax"
    monkeypatch.setenv("WCT_JAX_HOME", "")
    assert cache_folder() == tmp_path / ".cache" / "wct_jax"


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_a_user_without_a_home_can_name_one(monkeypatch, tmp_path, home):
    for variable in ("WCT_JAX_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(variable, raising=False)
    if home is None:  # A user that the system does not know.
        monkeypatch.setattr("os.path.expanduser", lambda path: path)
    else:
        monkeypatch.setenv("HOME", home)
    for find in (lambda: load_model("vgg19"), user_folder):
        with pytest.raises(ValueError, match="no home folder: set WCT_JAX_HOME"):
            find()
    assert load_model("compact").layers
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "wct_jax"
    monkeypatch.setenv("WCT_JAX_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home"


def test_the_packaged_model_is_never_written_to(tmp_path):
    path = model_path("compact")
    before = path.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    for target in (path, link):
        for write in (check_model_target, lambda path: add_decoder(path, load_model("compact"), "relu1_1", {})):
            with pytest.raises(ValueError, match=r"^the packaged model is never written to: copy .*/compact.safe"):
                write(target)
    assert path.read_bytes() == before


def test_layers_that_a_model_can_decode():
    model = small_model((2, 3, 4), ("relu1_1", "relu3_1"))
    assert require_decoders(model, "m", None) == ("relu3_1", "relu1_1")
    assert require_decoders(model, "m", ["relu1_1", "relu3_1"]) == ("relu1_1", "relu3_1")
    trains = "python train.py --layer relu2_1 --model m trains one"
    for lacking, layers, message in (
        (model, ["relu3_1", "relu2_1"], rf"model m has no decoder for relu2_1 \(it has relu3_1, relu1_1\): {trains}"),
        (model, ["relu4_1"], "unknown layer 'relu4_1': the encoder of m has relu1_1, relu2_1, relu3_1"),
        (small_model(layers=()), None, rf"no decoder for relu2_1 \(it has none\): {trains}"),
    ):
        with pytest.raises(ValueError, match=message):
            require_decoders(lacking, "m", layers)


# Documents and arrays of the wrong types


DEEP = json.loads("[" * 60 + "]" * 60)
NO_RECORDS = {
    "decoders": [[], "relu1_1", {"relu1_1": "trained"}, {"relu1_1": {"kind": 3, "file": "x"}}],
    "source": [3, ["kind", "file"], {"kind": None, "file": []}],
    "licence": [3],
    "normalisation": [False],
    "distillations": [{}, [3]],
}


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        *(({fact: value}, fact) for fact, values in NO_RECORDS.items() for value in values),
        ({"licence": ["MIT"], "preprocessing": {}}, "preprocessing and licence"),
    ],
)
def test_records_of_other_types(path, facts, named):
    rewrite(path, **facts)
    assert refusal(path) == f"{path} has metadata whose {named} cannot be made sense of"


@pytest.mark.parametrize("deep", [DEEP, {"a": DEEP}])
def test_a_document_nested_without_end(path, deep):
    rewrite(path, x=deep)
    assert refusal(path) == f"{path} has metadata nested deeper than 50"
    with pytest.raises(ValueError, match="the model's document must be a JSON object, not nested 50 deep"):
        save_model(path, small_model(document=json.dumps({"x": deep})))


NOT_AN_OBJECT = "the model's document must be a JSON object"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        *((document, NOT_AN_OBJECT) for document in ("[]", "3", "null", "{", '"x"', "[" * 100_000)),
        ('{"decoders": []}', "has metadata whose decoders cannot be made sense of"),
    ],
)
def test_a_document_that_is_none_is_not_saved(path, document, message):
    with pytest.raises(ValueError, match=message):
        save_model(path, small_model(document=document))
    assert not path.exists()


def test_text_of_the_file_neither_fills_nor_steers_a_terminal(path):
    escapes = "\x1b]0;title\x07\x1b[2J\n\ud800\u202e"
    for facts in (
        {"format": escapes * 100_000},
        {"format": [escapes] * 100_000},
        {"digest": escapes * 100_000},
        {"checksum": escapes},
    ):
        rewrite(path, **facts)
        message = refusal(path)
        assert message.isprintable()
        assert len(message) < 300 + len(str(path))
    rewrite(path, lambda arrays: arrays.update({f"{escapes[:-2]}{n}": np.zeros(1, np.float32) for n in range(1000)}))
    message = refusal(path)
    assert message.isprintable()
    assert len(message) < 1200 + len(str(path))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_, np.complex64])
def test_arrays_of_other_types(path, dtype):
    name = "encoder/conv1_1/bias"
    rewrite(path, lambda arrays: arrays.update({name: arrays[name].astype(dtype)}))
    values = f"{np.dtype(dtype).name} values"
    assert f"{name} holds {values}, expected float16, bfloat16, float32 or float64" in refusal(path)
    encoder = jax.tree.map(lambda array: array.astype(dtype), small_model().encoder)
    with pytest.raises(ValueError, match=f"not floating point: encoder/conv1_1/bias {np.dtype(dtype)}"):
        save_model(path, dataclasses.replace(small_model(), encoder=encoder))


def test_values_beyond_single_precision(path):
    rewrite(path, lambda arrays: arrays.update({"encoder/conv1_1/bias": np.full(2, 1e300)}))
    assert "not finite: encoder/conv1_1/bias" in refusal(path)


def test_double_and_brain_precision_are_read(path):
    for dtype in (np.float64, jnp.bfloat16):
        model = jax.tree.map(lambda array, dtype=dtype: array.astype(dtype), small_model())
        save_model(path, model)
        assert_same(load_model(path).encoder, jax.tree.map(lambda array: array.astype(np.float32), model.encoder))


# Paths that are no files


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
def test_pipes_and_devices_are_not_waited_for(path):
    os.mkfifo(path)
    for place in (path, "/dev/zero"):
        assert refusal(place).endswith(f"the model file {place}: it is not a file but a pipe, a socket or a device")
        assert not is_model_file(place)


def test_the_system_says_why_a_model_cannot_be_read(path, monkeypatch):
    path.symlink_to(path.name)
    assert refusal(path) == f"cannot read the model file {path}: Too many levels of symbolic links"
    assert not is_model_file(path)
    monkeypatch.setattr("wct_jax.networks.model_file.unreadable", lambda path: "Permission denied")
    assert refusal(path) == f"cannot read the model file {path}: Permission denied"


def test_a_header_of_megabytes(path):
    rewrite(path, x="x" * 5_000_000)
    assert "expected a header of at most 4194304 bytes" in refusal(path)
    assert not is_model_file(path)
