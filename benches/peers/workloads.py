"""The workloads: small torch modules with random weights, each exported to ONNX with its inputs and expected outputs.

    python workloads.py FOLDER        makes what is not there yet: FOLDER/NAME/{model.onnx, inputs.npz, expected.npz, facts.json}

A workload is a function in the table below that gives a module, its inputs, and what is known of its cost."""
import json, math, pathlib, sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

WORKLOADS = {}


def workload(name, **facts):
    """Enters a builder `() -> (module, inputs)` into the table."""
    def enter(build):
        WORKLOADS[name] = (build, facts)
        return build
    return enter


def randn(*shape, scale=1.0):
    return torch.randn(*shape) * scale


class Apply(nn.Module):
    """A function of its inputs and of the weights handed to it."""

    def __init__(self, function, *weights):
        super().__init__()
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(w) for w in weights)

    def forward(self, *inputs):
        return self.function(*inputs, *self.weights)


def product(m, k, n, constant):
    b = randn(k, n, scale=k**-0.5)
    return (Apply(torch.matmul, b), [randn(m, k)]) if constant else (Apply(torch.matmul), [randn(m, k), b])


for size in (256, 512, 1024, 2048):
    workload(f"dot_{size}", flops=2 * size**3)(lambda s=size: product(s, s, s, False))
for size in (127, 255, 1000, 1024):
    workload(f"dot_{size}_weights", flops=2 * size**3)(lambda s=size: product(s, s, s, True))
for rows in (1, 8, 16, 64):
    workload(f"dot_{rows}x4096x4096", flops=2 * rows * 4096**2, bytes=4 * 4096**2)(lambda m=rows: product(m, 4096, 4096, True))
workload("dot_128x768x3072", flops=2 * 128 * 768 * 3072)(lambda: product(128, 768, 3072, True))
workload("dot_100000x16x16", flops=2 * 100000 * 256, bytes=8 * 100000 * 16)(lambda: product(100000, 16, 16, True))


@workload("batched_96x64", flops=2 * 96 * 64**3)
def _():
    return Apply(torch.matmul), [randn(96, 64, 64), randn(96, 64, 64)]


@workload("batched_12x1024x64x1024", flops=2 * 12 * 1024 * 64 * 1024)
def _():
    return Apply(torch.matmul), [randn(12, 1024, 64), randn(12, 64, 1024)]


@workload("gelu_chain_16m", bytes=12 * 4096**2)
def _():
    return Apply(lambda x, a, b, r: F.gelu(x * a + b) + r), [randn(4096, 4096), randn(4096), randn(4096), randn(4096, 4096)]


@workload("bias_gelu_residual_2048x3072", bytes=12 * 2048 * 3072)
def _():
    return Apply(lambda x, r, b: F.gelu(x + b) + r, randn(3072)), [randn(2048, 3072), randn(2048, 3072)]


@workload("softmax_4096x1024", bytes=8 * 4096 * 1024)
def _():
    return Apply(lambda x: F.softmax(x, -1)), [randn(4096, 1024)]


@workload("layer_norm_4096x1024", bytes=8 * 4096 * 1024)
def _():
    return Apply(lambda x, w, b: F.layer_norm(x, (1024,), w, b), 1 + randn(1024, scale=0.1), randn(1024)), [randn(4096, 1024)]


for batch in (1, 128):
    @workload(f"mlp_batch_{batch}", flops=2 * batch * (784 * 512 + 512 * 512 + 512 * 10), bytes=4 * (784 * 512 + 512 * 512 + 5120))
    def _(batch=batch):
        layers = [nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)]
        return nn.Sequential(*layers), [randn(batch, 784)]


def convolution(layer, *shape):
    return nn.Sequential(layer, nn.ReLU()), [randn(*shape)]


def conv_flops(inputs, outputs, window, pixels, groups=1):
    return 2 * inputs // groups * outputs * window * pixels


CONVOLUTIONS = {
    "conv_3x3_64_56": (conv_flops(64, 64, 9, 56**2), lambda: convolution(nn.Conv2d(64, 64, 3, 1, 1), 1, 64, 56, 56)),
    "conv_1x1_256_64_56": (conv_flops(256, 64, 1, 56**2), lambda: convolution(nn.Conv2d(256, 64, 1), 1, 256, 56, 56)),
    "conv_3x3_stride2_128_56": (conv_flops(128, 128, 9, 28**2), lambda: convolution(nn.Conv2d(128, 128, 3, 2, 1), 1, 128, 56, 56)),
    "conv_7x7_stride2_3_64_224": (conv_flops(3, 64, 49, 112**2), lambda: convolution(nn.Conv2d(3, 64, 7, 2, 3), 1, 3, 224, 224)),
    "conv_3x3_512_7": (conv_flops(512, 512, 9, 49), lambda: convolution(nn.Conv2d(512, 512, 3, 1, 1), 1, 512, 7, 7)),
    "depthwise_3x3_144_56": (conv_flops(144, 144, 9, 56**2, 144), lambda: convolution(nn.Conv2d(144, 144, 3, 1, 1, groups=144), 1, 144, 56, 56)),
    "grouped_5x5_96_28": (conv_flops(96, 96, 25, 28**2, 8), lambda: convolution(nn.Conv2d(96, 96, 5, 1, 2, groups=8), 1, 96, 28, 28)),
    "dilated_3x3_128_28": (conv_flops(128, 128, 9, 28**2), lambda: convolution(nn.Conv2d(128, 128, 3, 1, 2, dilation=2), 1, 128, 28, 28)),
    "transposed_4x4_64_28": (conv_flops(64, 32, 16, 28**2), lambda: convolution(nn.ConvTranspose2d(64, 32, 4, 2, 1), 1, 64, 28, 28)),
    "conv_3d_16_32": (conv_flops(16, 16, 27, 32**3), lambda: convolution(nn.Conv3d(16, 16, 3, 1, 1), 1, 16, 32, 32, 32)),
    "conv_1d_256_500": (conv_flops(256, 256, 5, 500), lambda: convolution(nn.Conv1d(256, 256, 5, 1, 2), 1, 256, 500)),
}
for name, (flops, build) in CONVOLUTIONS.items():
    workload(name, flops=flops)(build)


def attend(q, k, v, mask=None):
    """Attention as exporters write it out."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return F.softmax(scores if mask is None else scores + mask, -1) @ v


@workload("attention_12x1024x64", flops=4 * 12 * 1024**2 * 64)
def _():
    return Apply(attend), [randn(1, 12, 1024, 64) for _ in range(3)]


class Block(nn.Module):
    """A transformer layer, normalised before (as in GPT) or after (as in BERT) its two parts."""

    def __init__(self, width, heads, before):
        super().__init__()
        self.heads, self.before = heads, before
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def attention(self, x, mask, past):
        batch, length, width = x.shape
        split = lambda t: t.view(batch, length, self.heads, width // self.heads).transpose(1, 2)
        q, k, v = map(split, self.qkv(x).chunk(3, -1))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        mixed = attend(q, k, v, mask).transpose(1, 2).reshape(batch, length, width)
        return self.out(mixed)

    def forward(self, x, mask=None, past=None):
        first, second = self.norms
        if self.before:
            x = x + self.attention(first(x), mask, past)
            return x + self.down(F.gelu(self.up(second(x)), approximate="tanh"))
        x = first(x + self.attention(x, mask, past))
        return second(x + self.down(F.gelu(self.up(x))))


class Transformer(nn.Module):
    def __init__(self, layers, width, heads, before, vocabulary=30522):
        super().__init__()
        self.words, self.places = nn.Embedding(vocabulary, width), nn.Embedding(1024, width)
        self.layers = nn.ModuleList(Block(width, heads, before) for _ in range(layers))
        self.norm, self.before, self.heads = nn.LayerNorm(width), before, heads

    def forward(self, tokens, past=None):
        length, start = tokens.shape[1], 0 if past is None else past.shape[4]
        x = self.words(tokens) + self.places.weight[start:start + length]
        if not self.before:
            x = self.norm(x)
        mask = torch.full((length, length), -1e4).triu(1) if self.before and length > 1 else None
        for index, layer in enumerate(self.layers):
            x = layer(x, mask, None if past is None else past[index])
        if not self.before:
            return x
        return F.linear(self.norm(x)[:, -1:], self.words.weight)


def tokens(batch, length):
    return torch.randint(0, 30522, (batch, length))


for length in (128, 512):
    workload(f"bert_layer_{length}")(lambda s=length: (Block(768, 12, False), [randn(1, s, 768)]))
workload("bert_base_128")(lambda: (Transformer(12, 768, 12, False), [tokens(1, 128)]))
workload("minilm_batch_1")(lambda: (Transformer(6, 384, 12, False), [tokens(1, 128)]))
workload("minilm_batch_8")(lambda: (Transformer(6, 384, 12, False), [tokens(8, 128)]))
workload("gpt2_prefill_128")(lambda: (Transformer(12, 768, 12, True), [tokens(1, 128)]))
workload("gpt2_decode_512")(lambda: (Transformer(12, 768, 12, True), [tokens(1, 1), randn(12, 2, 1, 12, 512, 64)]))


def vision(name):
    import torchvision
    model = getattr(torchvision.models, name)(weights=None)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.normal_(layer.running_mean, 0, 0.1)
    return model, [randn(1, 3, 224, 224)]


for name in ("resnet50", "mobilenet_v2", "densenet121", "squeezenet1_1", "shufflenet_v2_x1_0", "vgg19", "efficientnet_b0"):
    workload(name)(lambda n=name: vision(n))


def make(folder, name):
    build, facts = WORKLOADS[name]
    torch.manual_seed(sum(name.encode()))
    module, inputs = build()
    module.eval()
    folder.mkdir(parents=True)
    with torch.no_grad():
        expected = module(*inputs)
    names = [f"x{i}" for i in range(len(inputs))]
    torch.onnx.export(module, tuple(inputs), str(folder / "model.onnx"), input_names=names, output_names=["y"],
                      opset_version=17, dynamo=False, do_constant_folding=True)
    np.savez(folder / "inputs.npz", **{n: x.numpy() for n, x in zip(names, inputs)})
    np.savez(folder / "expected.npz", y=expected.numpy())
    (folder / "facts.json").write_text(json.dumps(facts))


def main():
    lab = pathlib.Path(sys.argv[1])
    for name in WORKLOADS:
        if not (lab / name / "facts.json").exists():
            print("making", name, flush=True)
            make(lab / name, name)


if __name__ == "__main__":
    main()
