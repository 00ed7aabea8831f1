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


def refusal(path):
    with pytest.raises(ValueError, match=str(path)) as error:
        read_checkpoint(path)
    return str(error.value)


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
    # What getParameters() of nn leaves behind: every tensor a view of one storage, by offset.
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


def test_other_modules(save, torch7, decoder):
    for kind in ("nn.SpatialBatchNormalization", "nn.SpatialAveragePooling", "nn.Linear", "nn.gModule"):
        modules = [
            *network(torch7, decoder(1)),
            torch7.Module(kind, running_mean=torch7.Tensor(np.zeros(3, np.float32))),
        ]
        assert f"it holds a '{kind}', which neither VGG-19 nor a decoder has" in refusal(
            save(torch7.sequential(modules))
        )


def test_strides_and_groups(save, torch7, decoder):
    for field in ("dW", "dH", "groups"):
        modules = network(torch7, decoder(1))
        modules[1].fields[field] = 2
        assert "layer 2 has strides or groups" in refusal(save(torch7.sequential(modules)))


def test_no_bias_and_no_convolutions(save, torch7, decoder):
    modules = network(torch7, decoder(1))
    del modules[1].fields["bias"]
    assert "layer 2 has no bias" in refusal(save(torch7.sequential(modules)))
    assert "it has no convolutions" in refusal(save(torch7.sequential([])))


def test_files_without_a_network(save, torch7):
    assert "it holds no nn module" in refusal(save({"a": 1}))
    assert "it holds no nn module" in refusal(save(torch7.Tensor(np.zeros(3, np.float32))))
    assert "it holds no nn module" in refusal(save(torch7.sequential([3.0])))


def test_sequential_within_itself(save, torch7):
    outer = torch7.sequential([])
    outer.fields["modules"][1] = outer
    assert "an nn.Sequential without modules or met twice" in refusal(save(outer))


def test_nan(save, torch7, decoder):
    given = decoder(3)
    given[1][1][0] = np.nan
    assert "layer 5 holds values that are NaN or infinite" in refusal(save(torch7.sequential(network(torch7, given))))


def test_deep_nesting_is_no_crash(save, torch7):
    value = torch7.sequential([])
    for _ in range(100):
        value = torch7.sequential([value])
    assert "nested deeper than" in refusal(save(value))


def test_text_form(tmp_path):
    path = tmp_path / "network"
    path.write_text("4\n1\n3\nV 1\n13\nnn.Sequential\n3\n2\n0\n")
    assert "it is a Torch7 file in text form; save it anew with torch.save(name, network, 'binary')" in refusal(path)


def edited(save, torch7, decoder, old, new):
    path = save(torch7.sequential(network(torch7, decoder(1))))
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return refusal(path)


def test_lengths_are_checked_before_anything_is_allocated(save, torch7, decoder):
    size = decoder(1)[0][0].size
    head = b"torch.FloatStorage"
    huge = struct.pack("<q", 2**60)
    assert "elements announced" in edited(save, torch7, decoder, head + struct.pack("<q", size), head + huge)
    negative = struct.pack("<q", -1)
    assert "-1 elements announced" in edited(save, torch7, decoder, head + struct.pack("<q", size), head + negative)
    text = struct.pack("<ii", 2, 6) + b"weight"
    assert "elements announced" in edited(save, torch7, decoder, text, struct.pack("<ii", 2, 2**31 - 1) + b"weight")
    table = b"nn.Sequential" + struct.pack("<iii", 3, 2, 2)
    longer = b"nn.Sequential" + struct.pack("<iii", 3, 2, 2**31 - 1)
    assert "elements announced" in edited(save, torch7, decoder, table, longer)


@pytest.mark.parametrize("replacement", [0, -3, 2, 10**12])
def test_tensor_that_does_not_lie_within_its_storage(save, torch7, decoder, replacement):
    kernel, _ = decoder(1)[0]
    sizes = struct.pack("<4q", 3, 4, 3, 3)
    assert kernel.shape == (3, 3, 4, 3)
    offset = struct.pack("<4qq", 36, 9, 3, 1, 1)
    moved = struct.pack("<4qq", 36, 9, 3, 1, replacement)
    message = edited(save, torch7, decoder, sizes + offset, sizes + moved)
    assert "it is damaged: a tensor" in message


def test_many_references_to_one_layer_are_one(tmp_path, torch7, layers):
    # Two-dimensional and not contiguous, as reshaping would copy it.
    convolution = torch7.convolution(*layers(1)[0], kind="nn.SpatialConvolutionMM")
    path = tmp_path / "network"
    path.write_bytes(torch7.dumps(torch7.sequential([convolution] * 5000)))
    with pytest.raises(ValueError, match="it has 18 convolutions, expected at most VGG-19's 16"):
        read_checkpoint(path, "caffe")


def test_more_objects_than_a_network_has(tmp_path, torch7):
    path = tmp_path / "network"
    path.write_bytes(torch7.dumps(dict.fromkeys(range(110000))))
    with pytest.raises(ValueError, match="it holds more than 200000 objects"):
        read_checkpoint(path)


def test_dimensions_without_end(tmp_path):
    # A tensor of 300,000 dimensions: their product has megabytes.
    content = struct.pack("<iii", 4, 1, 3) + b"V 1" + struct.pack("<i", 17) + b"torch.FloatTensor"
    path = tmp_path / "network"
    path.write_bytes(b"\4\0\0\0\1\0\0\0" + content[8:] + struct.pack("<i", 300_000) + b"\xff" * 4_900_000)
    with pytest.raises(ValueError, match="it holds more than 200000 objects"):
        read_checkpoint(path)
