"""VGG-16, MobileNetV2, AlexNet and SqueezeNet in NumPy, straight from their tables, and random weights for them.

One picture (3, h, w) of RGB in 0..255 to a list of features (channels, h', w'), all in float64.
"""

import numpy as np
import torch

VGG = (("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128), ("3_1", 256), ("3_2", 256), ("3_3", 256),
       ("4_1", 512), ("4_2", 512), ("4_3", 512), ("5_1", 512), ("5_2", 512), ("5_3", 512))  # fmt: skip
VGG_INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
MOBILENET = ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1),
             (96, 1), (160, 2), (160, 1), (160, 1), (320, 1))  # fmt: skip
FIRES = (
    (3, 16, 64),
    (4, 16, 64),
    (6, 32, 128),
    (7, 32, 128),
    (9, 48, 192),
    (10, 48, 192),
    (11, 64, 256),
    (12, 64, 256),
)


def conv(x, weight, bias=0.0, stride=1, pad=(0, 0, 0, 0)):
    """pad: top, bottom, left, right. Depthwise where the weight has one input channel and x has more."""
    weight = np.asarray(weight, np.float64)
    x = np.pad(x, ((0, 0), pad[:2], pad[2:]))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (1, 2))[:, ::stride, ::stride]
    if weight.shape[1] == 1 and x.shape[0] > 1:
        y = np.einsum("chwij,cij->chw", windows, weight[:, 0])
    else:
        y = np.tensordot(weight, windows, ((1, 2, 3), (0, 3, 4)))
    return y + np.asarray(bias, np.float64).reshape(-1, 1, 1)


def relu(x):
    return np.maximum(x, 0)


def pool(x, size, ceil=False):
    """The maximum over size x size every second place; ceil: a last, cut window counts too."""
    if ceil:
        x = np.pad(x, ((0, 0), *((0, (s - size) % 2) for s in x.shape[1:])), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return windows[:, ::2, ::2].max((3, 4))


def torchvision_input(x):
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (np.asarray(x, np.float64) / 255 - mean[:, None, None]) / std[:, None, None]


def vgg(x, state, source, convolutions):
    """The features of every convolution."""
    if source == "keras":
        x = np.asarray(x, np.float64)[::-1] - np.array([103.939, 116.779, 123.68])[:, None, None]
    else:
        x = torchvision_input(x)
    out, before = [], "1"
    for i, (name, _) in enumerate(VGG[:convolutions]):
        if name[0] != before:
            before, x = name[0], pool(x, 2)
        key = f"conv{name}" if source == "keras" else f"features.{VGG_INDEX[i]}"
        x = relu(conv(x, state[f"{key}.weight"], state[f"{key}.bias"], pad=(1, 1, 1, 1)))
        out.append(x)
    return out


def mobilenet(x, state):
    """The outputs of the 17 bottlenecks, then the head."""

    def layer(x, name, norm, stride=1, act=True):
        weight = state[f"{name}.weight"]
        pad = (0, 0, 0, 0)
        if weight.shape[-1] == 3 and stride == 1:
            pad = (1, 1, 1, 1)
        elif weight.shape[-1] == 3:  # even sides are padded behind only, odd ones on both sides
            pad = (x.shape[1] % 2, 1, x.shape[2] % 2, 1)
        x = conv(x, weight, stride=stride, pad=pad)
        gamma, beta, mean, variance = (
            np.asarray(state[f"{norm}.{part}"], np.float64)[:, None, None]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta
        return np.clip(x, 0, 6) if act else x

    x = layer(np.asarray(x, np.float64) / 127.5 - 1, "Conv1", "bn_Conv1", 2)
    out = []
    for i, (channels, stride) in enumerate(MOBILENET):
        prefix = f"block_{i}" if i else "expanded_conv"
        y = layer(x, f"{prefix}_expand", f"{prefix}_expand_BN") if i else x
        y = layer(y, f"{prefix}_depthwise", f"{prefix}_depthwise_BN", stride)
        y = layer(y, f"{prefix}_project", f"{prefix}_project_BN", act=False)
        x = x + y if stride == 1 and channels == x.shape[0] else y
        out.append(x)
    return [*out, layer(x, "Conv_1", "Conv_1_bn")]


def alexnet(x, state):
    x, out = torchvision_input(x), []
    for key, stride, p in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        if key in (3, 6):
            x = pool(x, 3)
        x = relu(conv(x, state[f"features.{key}.weight"], state[f"features.{key}.bias"], stride, (p, p, p, p)))
        out.append(x)
    return out


def squeezenet(x, state):
    def layer(x, key, p=0, stride=1):
        return relu(conv(x, state[f"features.{key}.weight"], state[f"features.{key}.bias"], stride, (p, p, p, p)))

    x = layer(torchvision_input(x), "0", stride=2)
    out = [x]
    for fire, _, _ in FIRES:
        if fire in (3, 6, 9):
            x = pool(x, 3, ceil=True)
        x = layer(x, f"{fire}.squeeze")
        x = np.concatenate([layer(x, f"{fire}.expand1x1"), layer(x, f"{fire}.expand3x3", 1)])
        if fire not in (3, 6):
            out.append(x)
    return out


def lpips(features_a, features_b, heads):
    """Equation 1 of Zhang et al. 2018."""

    def unit(x):
        return x / (np.sqrt((x**2).sum(0, keepdims=True)) + 1e-10)

    return sum(
        (np.asarray(heads[f"lin{i}.model.1.weight"], np.float64)[0] * (unit(a) - unit(b)) ** 2).sum(0).mean()
        for i, (a, b) in enumerate(zip(features_a, features_b, strict=True))
    )


def _random(shapes, seed):
    """Weights that keep the features' size about constant; biases of both signs."""
    g = torch.Generator().manual_seed(seed)
    state = {}
    for key, (out, into, side) in shapes.items():
        state[f"{key}.weight"] = torch.randn(out, into, side, side, generator=g) * (2 / (into * side * side)) ** 0.5
        state[f"{key}.bias"] = 0.1 * torch.randn(out, generator=g)
    return state


def random_vgg(source, convolutions, seed=0):
    shapes, before = {}, 3
    for i, (name, channels) in enumerate(VGG[:convolutions]):
        shapes[f"conv{name}" if source == "keras" else f"features.{VGG_INDEX[i]}"] = (channels, before, 3)
        before = channels
    return _random(shapes, seed)


def random_alexnet(seed=0):
    table = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    return _random({f"features.{key}": shape for key, shape in table.items()}, seed)


def random_squeezenet(seed=0):
    shapes, before = {"features.0": (64, 3, 3)}, 64
    for fire, narrow, wide in FIRES:
        shapes[f"features.{fire}.squeeze"] = (narrow, before, 1)
        shapes[f"features.{fire}.expand1x1"] = (wide, narrow, 1)
        shapes[f"features.{fire}.expand3x3"] = (wide, narrow, 3)
        before = 2 * wide
    return _random(shapes, seed)


def random_mobilenet(seed=0):
    shapes, norms, before = {"Conv1": (32, 3, 3), "Conv_1": (1280, 320, 1)}, {"bn_Conv1": 32, "Conv_1_bn": 1280}, 32
    for i, (channels, _) in enumerate(MOBILENET):
        prefix, wide = (f"block_{i}", 6 * before) if i else ("expanded_conv", before)
        if i:
            shapes[f"{prefix}_expand"] = (wide, before, 1)
        shapes[f"{prefix}_depthwise"], shapes[f"{prefix}_project"] = (wide, 1, 3), (channels, wide, 1)
        norms.update({f"{prefix}_{p}_BN": shapes[f"{prefix}_{p}"][0] for p in ("expand", "depthwise", "project")
                      if f"{prefix}_{p}" in shapes})  # fmt: skip
        before = channels
    state = {k: v for k, v in _random(shapes, seed).items() if k.endswith("weight")}
    g = torch.Generator().manual_seed(seed + 1)
    for norm, channels in norms.items():
        state[f"{norm}.gamma"] = 0.5 + torch.rand(channels, generator=g)
        state[f"{norm}.beta"] = 0.5 * torch.randn(channels, generator=g)
        state[f"{norm}.moving_mean"] = 0.3 * torch.randn(channels, generator=g)
        state[f"{norm}.moving_variance"] = 0.5 + torch.rand(channels, generator=g)
    return state


def random_heads(channels, seed=0):
    g = torch.Generator().manual_seed(seed)
    return {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=g) for i, c in enumerate(channels)}
