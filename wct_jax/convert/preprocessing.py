"""What a published VGG-19 expects its input to have gone through, where its file does not say.

Names of tensors do not tell: Caffe's weights, which take BGR in 0..255, are passed around under torchvision's names,
and nothing in a picture made with the wrong preprocessing says so. So conv1_1 is looked at, too.
"""

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError, Convolution, Preprocessing, check_layer

# https://pytorch.org/vision/stable/models/generated/torchvision.models.vgg19.html
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# Of red, green and blue, as in https://www.robots.ox.ac.uk/~vgg/research/very_deep/.
_CAFFE_MEAN = np.array([123.68, 116.779, 103.939])

#: By the names that `convert` takes.
PREPROCESSINGS = {
    "caffe": Preprocessing(
        "BGR 0..255 less the means 103.939, 116.779, 123.68", 255 * np.eye(3)[::-1], -_CAFFE_MEAN[::-1]
    ),
    "caffe-rgb": Preprocessing("RGB 0..255 less the means 123.68, 116.779, 103.939", 255 * np.eye(3), -_CAFFE_MEAN),
    "torchvision": Preprocessing("RGB 0..1, (x - mean) / std of ImageNet", np.diag(1 / _STD), -_MEAN / _STD),
    "none": Preprocessing("none: RGB 0..1", np.eye(3), np.zeros(3)),
}

# One filter of conv1_1, with its bias, tells whose network it is: that of the Visual Geometry Group's Caffe model (as
# Keras has it, too), blue against red, which tells the order of the channels; and the first of torchvision's, of which
# the bias is not used. Planes of [3, 3], in the order of the channels that each network takes.
_CAFFE_FILTER, _CAFFE_BIAS = 22, 0.2701
_CAFFE_KERNEL = np.array(
    [
        [0.1483, 0.1539, 0.1457, 0.1547, 0.1521, 0.1479, 0.1319, 0.1523, 0.1399],
        [0.0624, 0.0362, 0.0549, 0.0368, 0.0013, 0.0250, 0.0405, 0.0297, 0.0442],
        [-0.1446, -0.1923, -0.1524, -0.1922, -0.2497, -0.2047, -0.1611, -0.1938, -0.1591],
    ]
)
_TORCHVISION_KERNEL = np.array(
    [
        [-0.0535, -0.0493, -0.0679, 0.0153, 0.0451, 0.0021, 0.0362, 0.0200, 0.0199],
        [0.0170, 0.0554, -0.0062, 0.1417, 0.2271, 0.1376, 0.1200, 0.2003, 0.0921],
        [-0.0449, 0.0127, -0.0145, 0.0597, 0.1396, 0.0541, -0.0010, 0.0583, -0.0297],
    ]
)
# A network that was trained further hardly changes there; others have nothing like it.
_SAME = 0.99

# The median of the norms of conv1_1's filters. Made for inputs of about -2 to 2 it is 0.3 to 1.4; for inputs of -128 to
# 128 it may be a hundredth of that, or as much: that of Caffe's weights is 0.8.
_LEAST_FOR_UNIT_INPUTS = 0.1
_MOST = 20.0


def check_name(name: str | None) -> None:
    """Refuse a name that stands for no preprocessing.

    Raises:
        ValueError: It is neither None nor one of `PREPROCESSINGS`.
    """
    if name is not None and name not in PREPROCESSINGS:
        raise ValueError(f"unknown preprocessing {name!r}, expected one of {', '.join(PREPROCESSINGS)}")


# Values that are not finite, or beyond range, are reported when the network is put together.
@np.errstate(all="ignore")
def find_preprocessing(first: Convolution, names_say: str | None, given: str | None) -> Preprocessing:
    """Choose a preprocessing by what the user says, whose weights they are, and their names and scale together.

    Args:
        first: conv1_1.
        names_say: What the names of the tensors are known for: one of `PREPROCESSINGS`, or None if for nothing.
        given: What the user says; None to find out.

    Raises:
        CheckpointError: It cannot be told, or `first` is no 3x3 convolution.
    """
    if given is not None:
        return PREPROCESSINGS[given]
    check_layer(first, size=3)
    whose = whose_weights(first)
    if whose:
        return PREPROCESSINGS[whose]
    kernel = first.kernel.astype(np.float64)
    norm = np.median(np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), axis=0))
    least = _LEAST_FOR_UNIT_INPUTS if names_say == "torchvision" else 0.0
    if names_say and not (norm < least or norm > _MOST):
        return PREPROCESSINGS[names_say]
    names = f"its names say {names_say}" if names_say else "its names do not tell"
    raise CheckpointError(
        f"it is not clear what preprocessing it expects: {names}, and the filters of {first.name} have a median norm "
        f"of {norm:.2g}, expected those of a known network{f' or {least:g} to {_MOST:g}' if names_say else ''}; "
        f"say which by --preprocessing, one of {', '.join(PREPROCESSINGS)}"
    )


@np.errstate(all="ignore")
def whose_weights(first: Convolution) -> str | None:
    """Recognise published weights by their conv1_1, Caffe's however they are scaled.

    Args:
        first: A first convolution.

    Returns:
        One of `PREPROCESSINGS`; None for weights that are not known.
    """
    kernel, bias = (array.astype(np.float64) for array in (first.kernel, first.bias))
    if kernel.shape[:3] != (3, 3, 3) or bias.shape != kernel.shape[3:] or not kernel.size:
        return None
    planes = kernel.reshape(9, 3, -1).transpose(2, 1, 0)
    if len(planes) > _CAFFE_FILTER:
        found = np.append(planes[_CAFFE_FILTER], bias[_CAFFE_FILTER])
        for name, expected in (("caffe", _CAFFE_KERNEL), ("caffe-rgb", _CAFFE_KERNEL[::-1])):
            if _cosine(found, np.append(expected, _CAFFE_BIAS)) > _SAME:
                return name
    size = np.linalg.norm(_TORCHVISION_KERNEL)
    is_as_large = abs(np.linalg.norm(planes[0]) - size) < (1 - _SAME) * size
    return "torchvision" if is_as_large and _cosine(planes[0], _TORCHVISION_KERNEL) > _SAME else None


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    # Of zeros it is NaN: they are like nothing.
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
