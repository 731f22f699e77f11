"""FastViTHD for training: timm's `fastvit_mci3` with the dimensions of a configuration, folded again for use.

`branches = "multi"` trains the blocks as published (several branches, folded afterwards by timm). On a CPU
those branches are most of the cost, so `branches = "single"` builds the inference form and puts back only the
batch norms that training needs: each folded convolution becomes convolution + BatchNorm, the token mixers and
position encodings start as the identity. Either way `folded` gives exactly timm's inference-mode module.
`branches = "folded"` is that module itself, to fine-tune a checkpoint that was published folded.
"""

import copy

import timm
import torch
from timm.models import fastvit
from timm.utils import reparameterize_model
from torch import nn

PUBLISHED = {
    "layers": [2, 12, 24, 4, 2],
    "embed_dims": [96, 192, 384, 768, 1536],
    "mlp_ratios": [4, 4, 4, 4, 4],
}


class ConvBN(nn.Sequential):
    """Convolution without bias followed by BatchNorm; folds into one biased convolution."""

    def __init__(self, conv: nn.Conv2d):
        plain = _like(conv, bias=False)
        super().__init__(plain, nn.BatchNorm2d(conv.out_channels))
        nn.init.kaiming_normal_(plain.weight, mode="fan_out", nonlinearity="relu")
        if conv.groups > 1:
            nn.init.normal_(plain.weight, std=(2.0 / (conv.kernel_size[0] * conv.kernel_size[1])) ** 0.5)

    def folded(self) -> nn.Conv2d:
        conv, bn = self[0], self[1]
        out = _like(conv, bias=True)
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        out.weight.data = (conv.weight * scale.reshape(-1, 1, 1, 1)).detach()
        out.bias.data = (bn.bias - bn.running_mean * scale).detach()
        return out


def _like(conv: nn.Conv2d, bias: bool) -> nn.Conv2d:
    sizes = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding)
    return nn.Conv2d(*sizes, groups=conv.groups, bias=bias)


def _identity(conv: nn.Conv2d, noise: float) -> None:
    """Starts a depthwise convolution as the identity plus a little noise."""
    nn.init.normal_(conv.weight, std=noise)
    centre = conv.kernel_size[0] // 2
    conv.weight.data[:, 0, centre, centre] += 1
    nn.init.zeros_(conv.bias)


def make_encoder(
    layers=PUBLISHED["layers"],
    embed_dims=PUBLISHED["embed_dims"],
    mlp_ratios=PUBLISHED["mlp_ratios"],
    branches: str = "multi",
    layer_scale: float = 1e-5,
    drop_path: float = 0.0,
) -> nn.Module:
    """The encoder in the form that is trained. Widths must double from stage to stage."""
    if branches not in ("multi", "single", "folded"):
        raise ValueError(f'branches is "{branches}", expected "multi", "single" or "folded"')
    if any(2 * a != b for a, b in zip(embed_dims, embed_dims[1:])):
        raise ValueError(
            f"embed_dims {embed_dims}: each must be twice the one before (grouped 7x7 downsampling)"
        )
    sizes = {"layers": list(layers), "embed_dims": list(embed_dims), "mlp_ratios": list(mlp_ratios)}
    net = timm.create_model(
        "fastvit_mci3",
        inference_mode=branches != "multi",
        num_classes=0,
        global_pool="",
        drop_path_rate=drop_path,
        **sizes,
    )
    net.sizes, net.branches = sizes, branches
    for module in list(net.modules()):
        if isinstance(module, fastvit.LayerScale2d):
            nn.init.constant_(module.gamma, layer_scale)
        if branches != "single":
            continue
        if isinstance(module, (fastvit.MobileOneBlock, fastvit.ReparamLargeKernelConv)):
            module.reparam_conv = ConvBN(module.reparam_conv)
        elif isinstance(module, fastvit.RepMixer):
            _identity(module.reparam_conv, 0.05)
        elif isinstance(module, fastvit.RepConditionalPosEnc):
            _identity(module.reparam_conv, 0.02)
    return net


def folded(net: nn.Module) -> nn.Module:
    """timm's inference-mode encoder with the weights of a trained one; the argument stays as it is."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ConvBN):
                setattr(module, name, child.folded())
    if net.branches == "multi":
        net = reparameterize_model(net)
    state, sizes = net.state_dict(), net.sizes
    out = timm.create_model("fastvit_mci3", inference_mode=True, num_classes=0, global_pool="", **sizes)
    out.load_state_dict({k: state[k] for k in out.state_dict()})
    out.sizes = sizes
    return out.eval()


@torch.no_grad()
def unfold(net: nn.Module, state: dict[str, torch.Tensor], images) -> None:
    """Puts folded weights into a single-branch training encoder, so that training can go on from an export.

    A folded convolution has lost its batch statistics; they are measured on `images` (batches of pixels) and
    put back so that the function stays the same: gamma takes what the statistics divide by. Blocks that
    `state` does not have stay as they are.
    """
    own = net.state_dict()
    convs = {n: m for n, m in net.named_modules() if isinstance(m, ConvBN) and n + ".weight" in state}
    for name, value in state.items():
        if name in own and own[name].shape == value.shape:
            own[name].copy_(value)
    for name, module in convs.items():
        module[0].weight.copy_(state[name + ".weight"])
        bn = module[1]
        bn.running_mean.zero_(), bn.running_var.fill_(1 - bn.eps), bn.weight.fill_(1)
        bn.bias.copy_(state[name + ".bias"])
    sums = {name: [0, 0, 0] for name in convs}

    def watch(name):
        def hook(_, inputs):
            x = inputs[0].double()
            found = sums[name]
            found[0] += x.numel() // x.shape[1]
            found[1] += x.sum((0, 2, 3))
            found[2] += x.square().sum((0, 2, 3))

        return hook

    hooks = [module[1].register_forward_pre_hook(watch(name)) for name, module in convs.items()]
    net.eval()
    for batch in images:
        net.forward_features(batch)
    for hook in hooks:
        hook.remove()
    for name, module in convs.items():
        number, total, squares = sums[name]
        mean = total / number
        variance = (squares / number - mean.square()).clamp_min(1e-6)
        bn = module[1]
        bn.running_mean.copy_(mean), bn.running_var.copy_(variance)
        bn.weight.copy_((variance + bn.eps).sqrt())
        bn.bias.add_(mean)
    net.train()


def tokens(net: nn.Module, pixels: torch.Tensor) -> torch.Tensor:
    """pixels [N, 3, S, S] in 0...1 -> features [N, (S/64)^2, C], row by row."""
    return net.forward_features(pixels).flatten(2).transpose(1, 2)
