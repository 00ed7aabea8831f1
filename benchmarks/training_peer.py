"""The training step in PyTorch; `training.py` starts this.

Adam, fused; the encoder frozen. `compiled` compiles the loss, whose gradient is compiled with it. With narrow layers it
takes longer than eager channels last, since inductor's gradients of reflection, upsampling and pooling are slow.
"""

import time

import torch
from torch.nn import functional
from torch_networks import Decoder, Encoder
from worker import serve


class Training:
    """A decoder in training on one batch, uint8 `[B, H, W, 3]`."""

    def __init__(self, kind, layer, encoder, decoder, batch, rate, seconds):
        self._batch, self._seconds = torch.from_numpy(batch).permute(0, 3, 1, 2), seconds
        self._format = torch.contiguous_format if kind == "eager" else torch.channels_last
        encode = Encoder(encoder, (layer,)).requires_grad_(False).to(memory_format=self._format)
        self._decoder = Decoder(decoder, layer).to(memory_format=self._format)
        self._optimizer = torch.optim.Adam(self._decoder.parameters(), rate, fused=True)

        def loss(images):
            (feature,) = encode(images)
            output = self._decoder(feature)[:, :, : images.shape[2], : images.shape[3]]
            return functional.mse_loss(output, images) + functional.mse_loss(encode(output)[0], feature)

        self._loss = torch.compile(loss, dynamic=False) if kind == "compiled" else loss

    def step(self):
        """Take a step and return the loss."""
        images = self._batch.float().div(255).contiguous(memory_format=self._format)
        loss = self._loss(images)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def first(self):
        """Take a step and return the loss and the decoder's gradients."""
        loss, convolutions = self.step(), self._decoder.convolutions.items()
        return loss, {
            name: {"kernel": each.kernel.grad.permute(2, 3, 1, 0).numpy(), "bias": each.bias.grad.numpy()}
            for name, each in convolutions
        }

    def turn(self):
        """Images per second over the steps that begin within some seconds."""
        began, images, elapsed = time.perf_counter(), 0, 0.0
        while elapsed < self._seconds:
            self.step()
            images += len(self._batch)
            elapsed = time.perf_counter() - began
        return images / elapsed


if __name__ == "__main__":
    serve(Training)
