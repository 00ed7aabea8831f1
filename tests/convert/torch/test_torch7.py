import struct

import numpy as np
import pytest

from wct_jax.convert.reading import read_checkpoint


@pytest.fixture
def save(tmp_path, torch7):
    def save(value):
        path = tmp_path / "network"
        path.write_bytes(torch7.dumps(value))
        return path

    return save


def network(torch7, convolutions, **options):
    """As the original release builds them: padding, convolution, ReLU."""
    modules = []
    for layer in convolutions:
        modules += [
            torch7.Module("nn.SpatialReflectionPadding", pad_l=1, pad_r=1, pad_t=1, pad_b=1),
            torch7.convolution(*layer, **options),
            torch7.Module("nn.ReLU", inplace=False, threshold=0, val=0, output=torch7.Tensor(np.zeros(0, np.float32))),
        ]
    return modules


@pytest.mark.parametrize("kind", ["nn.SpatialConvolution", "nn.SpatialConvolutionMM", "cudnn.SpatialConvolution"])
@pytest.mark.parametrize("tensor", ["Float", "Double", "Cuda"])
def test_encoder(save, torch7, layers, colour, assert_holds, kind, tensor):
    options = {"kind": kind, "tensor": tensor}
    first = torch7.convolution(*colour, **options)
    checkpoint = read_checkpoint(save(torch7.sequential([first, *network(torch7, layers(13), **options)])))
    assert_holds(checkpoint, layers(13))
    assert checkpoint.kind == "normalised VGG-19, Torch7"
    assert checkpoint.normalised
    assert checkpoint.convolutions[0].name == "3"
    np.testing.assert_array_equal(checkpoint.preprocessing.matrix, colour[0][0, 0].T)
    np.testing.assert_array_equal(checkpoint.preprocessing.offset, colour[1])


@pytest.mark.parametrize("depth", [1, 3, 13])
def test_decoder(save, torch7, decoder, assert_holds, depth):
    modules = network(torch7, decoder(depth))[:-1]
    modules.insert(3, torch7.Module("nn.SpatialUpSamplingNearest", scale_factor=2))
    checkpoint = read_checkpoint(save(torch7.sequential(modules)))
    assert_holds(checkpoint, decoder(depth))
    assert checkpoint.kind == "decoder, Torch7"
    assert checkpoint.preprocessing is None


def test_half_precision(save, torch7, decoder):
    checkpoint = read_checkpoint(save(torch7.sequential(network(torch7, decoder(1), tensor="Half"))))
    np.testing.assert_array_equal(checkpoint.convolutions[0].kernel, decoder(1)[0][0].astype(np.float16))


def test_nested_sequentials(save, torch7, layers, colour, assert_holds):
    inner = [torch7.sequential(network(torch7, [layer])) for layer in layers(3)]
    checkpoint = read_checkpoint(save(torch7.sequential([torch7.convolution(*colour), torch7.sequential(inner)])))
    assert_holds(checkpoint, layers(3))
    assert [layer.name for layer in checkpoint.convolutions] == ["2.1.2", "2.2.2", "2.3.2"]


def test_parameters_in_one_flattened_storage(save, torch7, decoder, assert_holds):
    # After getParameters() of nn, every tensor is a view of one storage, by offset.
    modules = network(torch7, decoder(3))
    tensors = [module.fields[part] for module in modules if "weight" in module.fields for part in ("weight", "bias")]
    storage = torch7.Storage(
        np.concatenate([[-1, -1], *(tensor.array.ravel() for tensor in tensors)]).astype("<f4"), "Float"
    )
    offset = 2
    for tensor in tensors:
        tensor.storage, tensor.offset = storage, offset
        offset += tensor.array.size
    assert_holds(read_checkpoint(save(torch7.sequential(modules))), decoder(3))


def test_fields_of_every_type_are_stepped_over(save, torch7, decoder, assert_holds):
    modules = network(torch7, decoder(1))
    modules[1].fields |= {
        "closure": torch7.Function(),
        "nothing": None,
        "parent": modules[0],
        "sizes": torch7.Storage(np.arange(3), "Long"),
        "scratch": torch7.Tensor(np.zeros(0, np.float32)),
        "table": {1: "one", "two": {3: True}},
    }
    assert_holds(read_checkpoint(save(torch7.sequential(modules))), decoder(1))


def test_file_from_before_versions(tmp_path, torch7, decoder, assert_holds):
    content = torch7.dumps(torch7.sequential(network(torch7, decoder(1))))
    path = tmp_path / "network"
    path.write_bytes(content.replace(struct.pack("<i", 3) + b"V 1", b""))
    assert_holds(read_checkpoint(path), decoder(1))


@pytest.mark.parametrize(
    "kind", ["nn.SpatialBatchNormalization", "nn.SpatialAveragePooling", "nn.Linear", "nn.gModule"]
)
def test_other_modules(save, torch7, decoder, refusal, kind):
    other = torch7.Module(kind, running_mean=torch7.Tensor(np.zeros(3, np.float32)))
    sentence = f"it holds a '{kind}', which neither VGG-19 nor a decoder has"
    assert sentence in refusal(save(torch7.sequential([*network(torch7, decoder(1)), other])))


@pytest.mark.parametrize("field", ["dW", "dH", "groups"])
def test_strides_and_groups(save, torch7, decoder, refusal, field):
    modules = network(torch7, decoder(1))
    modules[1].fields[field] = 2
    assert "layer 2 has strides or groups" in refusal(save(torch7.sequential(modules)))


def test_no_bias_and_no_convolutions(save, torch7, decoder, refusal):
    modules = network(torch7, decoder(1))
    del modules[1].fields["bias"]
    assert "layer 2 has no bias" in refusal(save(torch7.sequential(modules)))
    assert "it has no convolutions" in refusal(save(torch7.sequential([])))


def test_files_without_a_network(save, torch7, refusal):
    for value in ({"a": 1}, torch7.Tensor(np.zeros(3, np.float32)), torch7.sequential([3.0])):
        assert "it holds no nn module" in refusal(save(value))


def test_sequential_within_itself(save, torch7, refusal):
    outer = torch7.sequential([])
    outer.fields["modules"][1] = outer
    assert "an nn.Sequential without modules or met twice" in refusal(save(outer))


def test_nan(save, torch7, decoder, refusal):
    given = decoder(3)
    given[1][1][0] = np.nan
    assert "layer 5 holds values that are NaN or infinite" in refusal(save(torch7.sequential(network(torch7, given))))


def test_deep_nesting_is_no_crash(save, torch7, refusal):
    value = torch7.sequential([])
    for _ in range(100):
        value = torch7.sequential([value])
    assert "nested deeper than" in refusal(save(value))


def test_text_form(tmp_path, refusal):
    path = tmp_path / "network"
    path.write_text("4\n1\n3\nV 1\n13\nnn.Sequential\n3\n2\n0\n")
    assert "it is a Torch7 file in text form; save it anew with torch.save(name, network, 'binary')" in refusal(path)


STORAGE = b"torch.FloatStorage"
TABLE = b"nn.Sequential" + struct.pack("<ii", 3, 2)
SIZE_AND_STRIDE = struct.pack("<8q", 3, 4, 3, 3, 36, 9, 3, 1)


@pytest.mark.parametrize(
    ("before", "form", "number", "after", "replacement", "expected"),
    [
        (STORAGE, "<q", 108, b"", 2**60, " elements announced"),
        (STORAGE, "<q", 108, b"", -1, " -1 elements announced"),
        (struct.pack("<i", 2), "<i", 6, b"weight", 2**31 - 1, " elements announced"),
        (TABLE, "<i", 2, b"", 2**31 - 1, " elements announced"),
        # The offset of a tensor in its storage, counted from 1.
        *((SIZE_AND_STRIDE, "<q", 1, b"", offset, "it is damaged: a tensor") for offset in (0, -3, 2, 10**12)),
    ],
)
def test_damaged_numbers(save, torch7, decoder, refusal, before, form, number, after, replacement, expected):
    assert decoder(1)[0][0].shape == (3, 3, 4, 3)
    path = save(torch7.sequential(network(torch7, decoder(1))))
    old, new = (before + struct.pack(form, value) + after for value in (number, replacement))
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    assert expected in refusal(path)


def test_many_references_to_one_layer_are_one(save, torch7, layers, refusal):
    # Two-dimensional and not contiguous, as reshaping would copy it.
    convolution = torch7.convolution(*layers(1)[0], kind="nn.SpatialConvolutionMM")
    path = save(torch7.sequential([convolution] * 5000))
    assert "it has 18 convolutions, expected at most VGG-19's 16" in refusal(path, "caffe")


def test_more_objects_than_a_network_has(save, refusal):
    assert "it holds more than 200000 objects" in refusal(save(dict.fromkeys(range(110000))))


def test_dimensions_without_end(tmp_path, refusal):
    # A tensor of 300,000 dimensions: their product has megabytes.
    content = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 17) + b"torch.FloatTensor"
    path = tmp_path / "network"
    path.write_bytes(content + struct.pack("<i", 300_000) + b"\xff" * 4_900_000)
    assert "it holds more than 200000 objects" in refusal(path)
