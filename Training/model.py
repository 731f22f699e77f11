"""The small FastVLM's image encoder: timm's `fastvit_mci3` code path (FastViTHD) with small dimensions.

Training every branch of the re-parameterisable blocks is what costs on a CPU, so the encoder is built in its
inference form and only the batch norms that training needs are put back: each folded convolution becomes
convolution + BatchNorm (one branch instead of three), the token mixers and position encodings start as the
identity. `fold` turns the trained module back into exactly timm's inference-mode module, so the exported
checkpoint loads into `timm.create_model("fastvit_mci3", inference_mode=True, **ENCODER)`.
"""

import timm
import torch
from timm.models import fastvit
from torch import nn

ENCODER = {
    "layers": [1, 1, 3, 3, 2],
    "embed_dims": [16, 32, 64, 128, 256],
    "mlp_ratios": [3, 3, 3, 3, 3],
}
FEATURES = 2 * ENCODER["embed_dims"][-1]  # channels of the final map
SIDE = 256
GRID = SIDE // 64  # the final map is GRID x GRID


class ConvBN(nn.Sequential):
    """Convolution without bias followed by BatchNorm; folds into one biased convolution."""

    def __init__(self, conv: nn.Conv2d):
        plain = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            bias=False,
        )
        super().__init__(plain, nn.BatchNorm2d(conv.out_channels))
        nn.init.kaiming_normal_(plain.weight, mode="fan_out", nonlinearity="relu")
        if conv.groups > 1:
            fan = conv.kernel_size[0] * conv.kernel_size[1]
            nn.init.normal_(plain.weight, std=(2.0 / fan) ** 0.5)

    def folded(self) -> nn.Conv2d:
        conv, bn = self[0], self[1]
        out = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            groups=conv.groups,
            bias=True,
        )
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        out.weight.data = (conv.weight * scale.reshape(-1, 1, 1, 1)).detach()
        out.bias.data = (bn.bias - bn.running_mean * scale).detach()
        return out


def identity_(conv: nn.Conv2d, noise: float) -> None:
    """Starts a depthwise convolution as the identity plus a little noise."""
    nn.init.normal_(conv.weight, std=noise)
    centre = conv.kernel_size[0] // 2
    conv.weight.data[:, 0, centre, centre] += 1
    nn.init.zeros_(conv.bias)


def make_encoder(training: bool = True) -> nn.Module:
    """The encoder; `training` puts batch norms back where the inference form has folded them away."""
    net = timm.create_model("fastvit_mci3", inference_mode=True, num_classes=0, global_pool="", **ENCODER)
    if not training:
        return net
    for module in net.modules():
        if isinstance(module, (fastvit.MobileOneBlock, fastvit.ReparamLargeKernelConv)):
            module.reparam_conv = ConvBN(module.reparam_conv)
        elif isinstance(module, fastvit.RepMixer):
            identity_(module.reparam_conv, 0.05)
        elif isinstance(module, fastvit.RepConditionalPosEnc):
            identity_(module.reparam_conv, 0.02)
        elif isinstance(module, fastvit.LayerScale2d):
            nn.init.constant_(module.gamma, 0.1)
    return net


def fold(net: nn.Module) -> nn.Module:
    """timm's inference-mode encoder with the weights of a trained one, its batch norms folded in."""
    out = make_encoder(training=False)
    state = net.state_dict()
    folded = {}
    for name, module in net.named_modules():
        if isinstance(module, ConvBN):
            conv = module.folded()
            folded[name + ".weight"], folded[name + ".bias"] = conv.weight, conv.bias
    wanted = out.state_dict()
    out.load_state_dict({k: folded[k] if k in folded else state[k] for k in wanted})
    return out.eval()


def load_folded(path) -> torch.nn.Module:
    """The inference-form encoder out of a stage 0 checkpoint."""
    net = make_encoder()
    state = torch.load(path, map_location="cpu")["net"]
    net.load_state_dict({k[len("encoder.") :]: v for k, v in state.items() if k.startswith("encoder.")})
    return fold(net)


def features(encoder, images: torch.Tensor) -> torch.Tensor:
    return encoder.forward_features(images).flatten(2).transpose(1, 2)
