"""Seeded weights of ordinary scale, and seeded images, so that fixtures can be made again bit for bit.

Every weight is exactly representable in bfloat16 *and* float16: one set of numbers can then be stored in
float32, bfloat16 and float16 checkpoints that must all give the same answer.
"""

import numpy as np
import torch
from torch import nn

# Below this float16 has no full mantissa, so smaller weights are stored as zero.
SMALLEST_NORMAL_HALF = 2.0**-14


def exact(values: torch.Tensor) -> torch.Tensor:
    """Rounds to numbers that float32, bfloat16 and float16 all hold exactly."""
    rounded = values.to(torch.bfloat16).to(torch.float32)
    return torch.where(rounded.abs() < SMALLEST_NORMAL_HALF, torch.zeros_like(rounded), rounded)


class Seeder:
    """Draws the weights of a module tree, one generator for all, in the order of registration."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, shape, deviation: float, mean: float = 0.0) -> torch.Tensor:
        return mean + deviation * torch.randn(tuple(shape), generator=self.generator)

    def uniform(self, shape, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(tuple(shape), generator=self.generator)

    @torch.no_grad()
    def fill(self, model: nn.Module) -> nn.Module:
        """Replaces every parameter and BatchNorm statistic of `model`; returns it in eval mode."""
        for name, module in model.named_modules():
            self._fill_module(name, module)
        return model.eval()

    def _fill_module(self, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.copy_(exact(self.normal(module.weight.shape, 1.3 * fan_in**-0.5)))
            if module.bias is not None:
                module.bias.copy_(exact(self.normal(module.bias.shape, 0.15)))
        elif isinstance(module, nn.Linear):
            module.weight.copy_(
                exact(self.normal(module.weight.shape, gain(name) * module.in_features**-0.5))
            )
            if module.bias is not None:
                module.bias.copy_(exact(self.normal(module.bias.shape, 0.15)))
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(exact(self.uniform(module.weight.shape, 0.5, 1.5)))
            module.bias.copy_(exact(self.normal(module.bias.shape, 0.2)))
            module.running_mean.copy_(exact(self.normal(module.running_mean.shape, 0.3)))
            module.running_var.copy_(exact(self.uniform(module.running_var.shape, 0.4, 1.6)))
            module.num_batches_tracked.fill_(1000)
        elif isinstance(module, nn.Embedding):
            module.weight.copy_(exact(self.normal(module.weight.shape, 1.0)))
        elif isinstance(module, nn.LayerNorm):
            module.weight.copy_(exact(self.normal(module.weight.shape, 0.2, mean=1.0)))
            module.bias.copy_(exact(self.normal(module.bias.shape, 0.1)))
        elif type(module).__name__.endswith("RMSNorm"):
            module.weight.copy_(exact(self.normal(module.weight.shape, 0.2, mean=1.0)))
        elif type(module).__name__ == "LayerScale2d":
            module.gamma.copy_(exact(self.normal(module.gamma.shape, 0.15, mean=0.5)))


def gain(name: str) -> float:
    """Standard deviation of a linear layer's output for an input of deviation one."""
    if name.endswith(("q_proj", "k_proj", "qkv")):
        return 1.6  # attention that prefers some positions, as a trained one does
    if name.endswith("lm_head"):
        return 2.5
    if name.endswith(("linear_1", "linear_2")):
        return 2.4  # visual tokens about as loud as text embeddings
    return 1.2


def image(index: int, side: int) -> np.ndarray:
    """A colourful image [side, side, 3] of uint8 that any language can make from this one line.

    Cells of 5 x 5 pixels, a size that no stride of the network divides:
    value(y, x, c) = (37 (x/5) + 61 (y/5) + 89 c + 113 index + 17 (x/5) (y/5)) mod 256, integer division.
    """
    y, x, c = np.meshgrid(np.arange(side) // 5, np.arange(side) // 5, np.arange(3), indexing="ij")
    return ((37 * x + 61 * y + 89 * c + 113 * index + 17 * x * y) % 256).astype(np.uint8)


def pixels(picture: np.ndarray) -> torch.Tensor:
    """uint8 [H, W, 3] to float32 [1, 3, H, W], value / 255 correctly rounded."""
    values = picture.astype(np.float32) / np.float32(255)
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()
