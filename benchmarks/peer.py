"""The cascade in PyTorch, ONNX Runtime and OpenVINO, each set up to run as fast as it can; `stylize.py` starts this.

`eager` is PyTorch as its users write it: channels first, and an encoder pass over the picture for every level. The
others encode the picture once for all levels. All take statistics in float32 and eigenvalues in float64. `compiled` is
`torch.compile` with the weights frozen; statistics and the map of the pixels are compiled with the networks. ONNX
Runtime and OpenVINO run the networks, and PyTorch what is between them.
"""

import io
import warnings

import numpy as np
import torch
from stopwatch import Stopwatch
from torch import nn
from torch_networks import Decoder, Encoder
from worker import serve

from wct_jax.networks.vgg import cell_of, deepest_first, depth_of


class Look(nn.Module):
    """An image to the centered pixels `[C, N]` of each feature, their mean `[C, 1]` and covariance `[C, C]`."""

    def __init__(self, encode):
        super().__init__()
        self.encode = encode

    def forward(self, image):
        """Encode, and take statistics."""
        looks = []
        for feature in self.encode(image):
            pixels = feature[0].flatten(1)
            mean = pixels.mean(1, keepdim=True)
            centered = pixels - mean
            looks.append((centered, mean, centered @ centered.T / (pixels.shape[1] - 1)))
        return looks


class Paint(nn.Module):
    """Centered pixels, the matrix to map them by and the mean to add, to a square image."""

    def __init__(self, decode, layer, size, pixels_first):
        super().__init__()
        self.decode, self.size, self.side, self.pixels_first = decode, size, -(-size // cell_of(layer)), pixels_first

    def forward(self, centered, matrix, mean):
        """Map, and decode."""
        # A product has the memory format of its first factor.
        mapped = (centered.T @ matrix.T).T if self.pixels_first else matrix @ centered
        feature = (mapped + mean).view(1, -1, self.side, self.side)
        return self.decode(feature)[:, :, : self.size, : self.size]


def whiten_color(covariance, style):
    """The matrix that whitens by one covariance and colors by the other."""
    (values, vectors), (style_values, style_vectors) = (
        torch.linalg.eigh(each.double()) for each in (covariance, style)
    )
    kept, style_kept = (x > 1e-6 * x[-1] for x in (values, style_values))
    whitening = (vectors[:, kept] * values[kept] ** -0.5) @ vectors[:, kept].T
    coloring = (style_vectors[:, style_kept] * style_values[style_kept] ** 0.5) @ style_vectors[:, style_kept].T
    return (coloring @ whitening).float()


def exported(kind, module, shape):
    """A network as a function of a tensor of one shape, run by ONNX Runtime or OpenVINO."""
    if kind == "onnxruntime":
        import onnxruntime

        file, options = io.BytesIO(), onnxruntime.SessionOptions()
        with warnings.catch_warnings(action="ignore"):  # The exporter that needs no onnxscript is deprecated.
            torch.onnx.export(module, (torch.rand(shape),), file, dynamo=False, opset_version=17, input_names=["x"])
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

        def run(x):
            return session.run(None, {"x": x})
    else:
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if kind == "openvino_bf16" else "f32",
        }
        model = openvino.convert_model(module, example_input=torch.rand(shape), input=[shape])
        request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

        def run(x):
            results = request.infer([x], share_inputs=True, share_outputs=True)
            return [results[place] for place in range(len(results))]

    def call(x):
        results = tuple(torch.from_numpy(result) for result in run(np.ascontiguousarray(x.numpy())))
        return results if isinstance(module, Encoder) else results[0]

    return call


class Peer:
    """One peer with its networks, a photo and a picture of the same square size."""

    def __init__(self, kind, encoder, decoders, content, style):
        self._layers, size, pixels_first = deepest_first(decoders), len(content), kind == "channels_last"
        memory_format = torch.channels_last if pixels_first else torch.contiguous_format

        def ready(module, channels, side):
            module = module.eval().to(memory_format=memory_format)
            shape = (1, channels, side, side)
            return module if kind in ("eager", "channels_last", "compiled") else exported(kind, module, shape)

        def whole(module):
            if kind != "compiled":
                return module
            torch._inductor.config.freezing = True  # As an option of `compile` the tracer would not see it.
            return torch.compile(module, dynamic=False)

        self._looks, self._paints = {}, {}
        for layer in self._layers:
            channels, side = len(encoder[f"conv{depth_of(layer)}_1"]["bias"]), -(-size // cell_of(layer))
            self._looks[layer] = whole(Look(ready(Encoder(encoder, (layer,)), 3, size)))
            decode = ready(Decoder(decoders[layer], layer), channels, side)
            self._paints[layer] = whole(Paint(decode, layer, size, pixels_first))
        self._look_at_all = None
        if kind != "eager":
            self._look_at_all = whole(Look(ready(Encoder(encoder, self._layers), 3, size)))
        self._content, self._style = (
            torch.from_numpy(image).permute(2, 0, 1)[None].contiguous(memory_format=memory_format)
            for image in (content, style)
        )

        self._watch = Stopwatch()

    @torch.inference_mode()
    def fresh(self):
        """Repaint with a new style."""
        with self._watch("encode"):
            if self._look_at_all is not None:
                looks = dict(zip(self._layers[::-1], self._look_at_all(self._style), strict=True))
            else:
                looks = {layer: self._looks[layer](self._style)[0] for layer in self._layers}
        self._kept = {layer: (mean, covariance) for layer, (_, mean, covariance) in looks.items()}
        return self.kept()

    @torch.inference_mode()
    def kept(self):
        """Repaint with the style from before."""
        image = self._content
        for layer in self._layers:
            mean, style = self._kept[layer]
            with self._watch("encode"):
                ((centered, _, covariance),) = self._looks[layer](image)
            with self._watch("matrix"):
                matrix = whiten_color(covariance, style)
            with self._watch("decode"):
                image = self._paints[layer](centered, matrix, mean)
        return image[0].permute(1, 2, 0).numpy()

    def stages(self):
        """Seconds of each stage of a new style."""
        self._watch = Stopwatch()
        self.fresh()
        return self._watch.seconds


if __name__ == "__main__":
    serve(Peer)
