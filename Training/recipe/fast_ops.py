"""Faster CPU training: depthwise convolution and GELU from fast_ops.cpp, the rest as matrix products.

`accelerate(net)` swaps them into an encoder in place; parameters and state-dict names stay as they are.
"""

import ctypes
import hashlib
import os
import pathlib
import platform
import subprocess
import tempfile

import torch
import torch.nn.functional as F
from torch import nn

HERE = pathlib.Path(__file__).parent


def _library() -> ctypes.CDLL:
    """Built once for a source and a processor; several processes may build it at the same time."""
    source, told = (HERE / "fast_ops.cpp").read_bytes(), pathlib.Path("/proc/cpuinfo")
    flags = [line for line in told.read_text().splitlines() if line.startswith("flags")] if told.exists() else []
    name = hashlib.sha256(source + f"{platform.machine()} {flags[:1]}".encode()).hexdigest()[:16]
    folder = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "fastvlm"
    built = folder / f"fast_ops-{name}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        options = ["-O3", "-march=native", "-ffast-math", "-fopenmp", "-shared", "-fPIC", "-std=c++17"]
        with tempfile.TemporaryDirectory(dir=folder) as part:
            try:
                command = ["g++", *options, str(HERE / "fast_ops.cpp"), "-o", f"{part}/built.so"]
                subprocess.run(command, check=True)
            except FileNotFoundError:
                raise RuntimeError("fast_cpu needs g++: install it, or --set train.fast_cpu=false") from None
            os.replace(f"{part}/built.so", built)
    return ctypes.CDLL(str(built))


LIBRARY = _library()


def _pointer(t: torch.Tensor | None) -> ctypes.c_void_p:
    if t is not None and (t.dtype, t.device.type) != (torch.float32, "cpu"):
        raise TypeError(f"fast_cpu is for float32 on a CPU, not for {t.dtype} on {t.device.type}")
    return ctypes.c_void_p(0 if t is None else t.data_ptr())


def _run(name: str, a, b, c, d, x_shape, out_shape, k: int, s: int) -> None:
    n, h, w, channels = x_shape
    sizes = [ctypes.c_int64(n)] + [
        ctypes.c_int(v) for v in (h, w, channels, out_shape[1], out_shape[2], k, s)
    ]
    if getattr(LIBRARY, name)(_pointer(a), _pointer(b), _pointer(c), _pointer(d), *sizes):
        raise ValueError(f"depthwise convolution {k}x{k}, stride {s} is not built")


class Depthwise(torch.autograd.Function):
    """x: [N, H, W, C]; weight: [C, 1, K, K]; padding K // 2."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride):
        k = weight.shape[-1]
        p = k // 2
        padded = F.pad(x, (0, 0, p, p, p, p))
        taps = weight.reshape(weight.shape[0], k * k).t().contiguous()
        n, h, w, c = x.shape
        y = x.new_empty(n, (h - 1) // stride + 1, (w - 1) // stride + 1, c)
        _run("dw_forward", padded, taps, bias, y, padded.shape, y.shape, k, stride)
        ctx.save_for_backward(padded, taps)
        ctx.k, ctx.stride, ctx.x_shape, ctx.biased = k, stride, x.shape, bias is not None
        return y

    @staticmethod
    def backward(ctx, dy):
        padded, taps = ctx.saved_tensors
        k, s, (n, h, w, c) = ctx.k, ctx.stride, ctx.x_shape
        dy = dy.contiguous()
        dw, db = torch.zeros_like(taps), padded.new_zeros(c)
        _run("dw_weights", padded, dy, dw, db, padded.shape, dy.shape, k, s)
        dx = None
        if ctx.needs_input_grad[0]:
            spread = dy.new_zeros(n, h + k - 1, w + k - 1, c)
            o = k - 1 - k // 2
            spread[:, o : o + dy.shape[1] * s : s, o : o + dy.shape[2] * s : s] = dy
            dx = dy.new_empty(n, h, w, c)
            _run("dw_forward", spread, taps.flip(0).contiguous(), None, dx, spread.shape, dx.shape, k, 1)
        return dx, dw.t().reshape(c, 1, k, k), db if ctx.biased else None, None


class Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = x.contiguous() if not x.is_contiguous(memory_format=torch.channels_last) and x.dim() == 4 else x
        y = torch.empty_like(x)
        LIBRARY.gelu_forward(_pointer(x), _pointer(y), ctypes.c_int64(x.numel()))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        if dy.stride() != x.stride():
            dy = torch.empty_like(x).copy_(dy)
        dx = torch.empty_like(x)
        LIBRARY.gelu_backward(_pointer(x), _pointer(dy), _pointer(dx), ctypes.c_int64(x.numel()))
        return dx


class FastGelu(nn.Module):
    def forward(self, x):
        return Gelu.apply(x)


def _depthwise(self, x):
    x = x.permute(0, 2, 3, 1).contiguous()
    if self.out_channels != self.in_channels:  # multiplier 2: output o reads input o // 2
        x = x.repeat_interleave(self.out_channels // self.in_channels, dim=3)
    return Depthwise.apply(x, self.weight, self.bias, self.stride[0]).permute(0, 3, 1, 2)


def _pointwise(self, x):
    x = x.permute(0, 2, 3, 1).contiguous()
    return F.linear(x, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


def accelerate(net: nn.Module) -> nn.Module:
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GELU):
                setattr(module, name, FastGelu())
        if isinstance(module, nn.Conv2d):
            if module.groups == module.in_channels > 1 and module.out_channels % 8 == 0:
                module.forward = _depthwise.__get__(module)
            elif module.kernel_size == (1, 1) and module.groups == 1 and module.stride == (1, 1):
                module.forward = _pointwise.__get__(module)
    return net.to(memory_format=torch.channels_last)
