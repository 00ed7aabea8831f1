"""The preprocessing that a published VGG-19 expects, where its file does not say.

Tensor names are not enough: Caffe's weights, which take BGR in 0..255, circulate under torchvision's names, and a
picture made with the wrong preprocessing does not look wrong. So we look at conv1_1 too.
"""

import numpy as np

from wct_jax.convert.checkpoint import CheckpointError, Convolution, Preprocessing, check_layer

# https://pytorch.org/vision/stable/models/generated/torchvision.models.vgg19.html
_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# Red, green and blue, from https://www.robots.ox.ac.uk/~vgg/research/very_deep/.
_CAFFE_MEAN = np.array([123.68, 116.779, 103.939])

#: The values of `convert`'s argument.
PREPROCESSINGS = {
    "caffe": Preprocessing(
        "BGR 0..255 less the means 103.939, 116.779, 123.68", 255 * np.eye(3)[::-1], -_CAFFE_MEAN[::-1]
    ),
    "caffe-rgb": Preprocessing("RGB 0..255 less the means 123.68, 116.779, 103.939", 255 * np.eye(3), -_CAFFE_MEAN),
    "torchvision": Preprocessing("RGB 0..1, (x - mean) / std of ImageNet", np.diag(1 / _STD), -_MEAN / _STD),
    "none": Preprocessing("none: RGB 0..1", np.eye(3), np.zeros(3)),
}

# One filter of conv1_1 identifies a network. From the Visual Geometry Group's Caffe model, which Keras has too, we
# take one of blue against red, with its bias, since that shows the order of the channels; from torchvision's the first,
# without its bias. Planes are [3, 3], in the order of each network's channels.
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
# Fine-tuning hardly changes that filter; other networks have nothing like it.
_SAME = 0.99

# Bounds on the median norm of conv1_1's filters: 0.3 to 1.4 for inputs of about -2 to 2. For inputs of -128 to 128 it
# may be a hundredth of that, but Caffe's weights have 0.8.
_LEAST_FOR_UNIT_INPUTS = 0.1
_MOST = 20.0


def check_name(name: str | None) -> None:
    """Raise `ValueError` for a name that is neither None nor one of `PREPROCESSINGS`."""
    if name is not None and name not in PREPROCESSINGS:
        raise ValueError(f"unknown preprocessing {name!r}, expected one of {', '.join(PREPROCESSINGS)}")


# `assemble` reports values that are not finite or out of range.
@np.errstate(all="ignore")
def find_preprocessing(first: Convolution, names_say: str | None, given: str | None) -> Preprocessing:
    """Choose a preprocessing: the user's, that of known weights, or that of the names if the scale agrees.

    Args:
        first: conv1_1.
        names_say: The preprocessing that usually goes with the tensors' names, or None.
        given: The preprocessing that the user states, or None.

    Raises:
        CheckpointError: The preprocessing cannot be told, or `first` is not a 3x3 convolution.
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
    """Recognise published weights by conv1_1, Caffe's at any scale: one of `PREPROCESSINGS`, or None."""
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
    # NaN for zeros, which are like nothing.
    return float((one * other).sum() / np.linalg.norm(one) / np.linalg.norm(other))
