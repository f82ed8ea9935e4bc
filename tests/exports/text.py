"""Networks for text, speech and series, with random weights: in full, and cut down for an interpreter."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from entry import Entry, axis

BATCH, SEQ, PAST = axis("batch", 1, 64), axis("seq", 1, 512), axis("past", 1, 512)


def randomised(model):
    """Weights of a size that keeps activations alive through many layers."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0, 1 / math.sqrt(parameter.shape[-1]))
    return model


def heads(x, count):
    return x.view(x.shape[0], x.shape[1], count, -1).transpose(1, 2)


def joined(x):
    return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)


# ── encoder ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class BertLayer(nn.Module):
    def __init__(self, width, count, inner):
        super().__init__()
        self.count = count
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.n1, self.n2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x, mask):
        q, k, v = (heads(f(x), self.count) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask
        x = self.n1(x + self.o(joined(F.softmax(scores, -1) @ v)))
        return self.n2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, vocabulary, positions, width, count, inner, layers):
        super().__init__()
        self.word, self.place = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.kind, self.norm = nn.Embedding(2, width), nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.ModuleList(BertLayer(width, count, inner) for _ in range(layers))
        self.pool = nn.Linear(width, width)

    def forward(self, ids, mask, kinds):
        places = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        x = self.norm(self.word(ids) + self.place(places) + self.kind(kinds))
        mask = (1.0 - mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        for layer in self.layers:
            x = layer(x, mask)
        return x, torch.tanh(self.pool(x[:, 0]))


def bert(full):
    sizes = (30522, 512, 768, 12, 3072, 12) if full else (100, 40, 32, 4, 64, 2)
    model = randomised(Bert(*sizes))

    def made(b, s):
        mask = torch.ones(b, s, dtype=torch.int64)
        mask[-1, s // 2 :] = 0
        return torch.randint(0, sizes[0], (b, s)), mask, torch.randint(0, 2, (b, s))

    return Entry(
        model, ["ids", "mask", "kinds"], made(2, 16), made(3, 32 if full else 9), [{0: BATCH, 1: SEQ}] * 3, ["x", "pooled"]
    )


# ── decoders ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Gpt2Block(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.count = count
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, past_k, past_v, mask):
        q, k, v = (heads(t, self.count) for t in self.qkv(self.n1(x)).chunk(3, dim=-1))
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        x = x + self.o(joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask)))
        return x + self.down(F.gelu(self.up(self.n2(x)), approximate="tanh")), k, v


class Decoder(nn.Module):
    """Takes tokens and, for every layer, the keys and values of those before."""

    def causal(self, ids, past, mask):
        rows = torch.arange(ids.shape[1], device=ids.device)[:, None] + past
        columns = torch.arange(past + ids.shape[1], device=ids.device)[None, :]
        return (columns <= rows)[None, None] & (mask[:, None, None, :] != 0)


class Gpt2(Decoder):
    def __init__(self, vocabulary, positions, width, count, layers):
        super().__init__()
        self.word, self.place = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        self.blocks = nn.ModuleList(Gpt2Block(width, count) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids, mask, *pasts):
        past = pasts[0].shape[2]
        places = (mask.cumsum(-1) - 1)[:, past:].clamp(min=0)
        x = self.word(ids) + self.place(places)
        allowed = self.causal(ids, past, mask)
        presents = []
        for i, block in enumerate(self.blocks):
            x, k, v = block(x, pasts[2 * i], pasts[2 * i + 1], allowed)
            presents += [k, v]
        return F.linear(self.norm(x), self.word.weight), *presents


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(width) + 0.5)

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotated(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class LlamaBlock(nn.Module):
    def __init__(self, width, count, shared, inner):
        super().__init__()
        each = width // count
        self.count, self.shared = count, shared
        self.n1, self.n2 = RmsNorm(width), RmsNorm(width)
        self.q, self.o = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, shared * each, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x, cos, sin, past_k, past_v, mask):
        y = self.n1(x)
        q, k, v = heads(self.q(y), self.count), heads(self.k(y), self.shared), heads(self.v(y), self.shared)
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
        b, h, s, d = k.shape
        wide = [t[:, :, None].expand(b, h, self.count // h, s, d).reshape(b, self.count, s, d) for t in (k, v)]
        scores = q @ wide[0].transpose(-1, -2) / math.sqrt(d)
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        x = x + self.o(joined(F.softmax(scores, -1, dtype=torch.float32) @ wide[1]))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y)), k, v


class Llama(Decoder):
    def __init__(self, vocabulary, width, count, shared, inner, layers):
        super().__init__()
        self.word, self.head = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary, bias=False)
        self.blocks = nn.ModuleList(LlamaBlock(width, count, shared, inner) for _ in range(layers))
        self.norm = RmsNorm(width)
        each = width // count
        self.register_buffer("rates", 10000.0 ** (-torch.arange(0, each, 2).float() / each))

    def forward(self, ids, mask, places, *pasts):
        x = self.word(ids)
        angles = places[:, :, None].float() * self.rates
        angles = torch.cat([angles, angles], -1)[:, None]
        cos, sin = angles.cos(), angles.sin()
        allowed = self.causal(ids, pasts[0].shape[2], mask)
        presents = []
        for i, block in enumerate(self.blocks):
            x, k, v = block(x, cos, sin, pasts[2 * i], pasts[2 * i + 1], allowed)
            presents += [k, v]
        return self.head(self.norm(x)), *presents


def decoder(model, vocabulary, layers, shared, each, placed):
    def made(b, s, past):
        mask = torch.ones(b, past + s, dtype=torch.int64)
        mask[-1, : past // 2] = 0
        ids = torch.randint(0, vocabulary, (b, s))
        places = [torch.arange(past, past + s).expand(b, s).contiguous()] if placed else []
        return (ids, mask, *places, *(torch.randn(b, shared, past, each) for _ in range(2 * layers)))

    caches = [f"{kind}.{i}" for i in range(layers) for kind in ("key", "value")]
    step, total = {0: BATCH, 1: SEQ}, {0: BATCH, 1: "past + seq"}
    return Entry(
        randomised(model),
        ["ids", "mask", *(["places"] if placed else []), *(f"past.{c}" for c in caches)],
        made(2, 5, 7),
        made(3, 4, 9),
        [step, total, *([step] if placed else []), *([{0: BATCH, 2: PAST}] * (2 * layers))],
        ["logits", *(f"present.{c}" for c in caches)],
    )


def gpt2(full):
    vocabulary, positions, width, count, layers = (50257, 1024, 768, 12, 12) if full else (100, 64, 32, 4, 2)
    model = Gpt2(vocabulary, positions, width, count, layers)
    return decoder(model, vocabulary, layers, count, width // count, False)


def llama(full):
    sizes = (32000, 1024, 16, 4, 2816, 8) if full else (100, 32, 4, 2, 48, 2)
    vocabulary, width, count, shared, _, layers = sizes
    return decoder(Llama(*sizes), vocabulary, layers, shared, width // count, True)


# ── encoder and decoder ──────────────────────────────────────────────────────────────────────────────────────────────


class Attention(nn.Module):
    def __init__(self, width, count):
        super().__init__()
        self.count = count
        self.q, self.v, self.o = (nn.Linear(width, width) for _ in range(3))
        self.k = nn.Linear(width, width, bias=False)

    def forward(self, x, y, causal=False):
        q, k, v = heads(self.q(x), self.count), heads(self.k(y), self.count), heads(self.v(y), self.count)
        return self.o(joined(F.scaled_dot_product_attention(q, k, v, is_causal=causal)))


class WhisperBlock(nn.Module):
    def __init__(self, width, count, crossed):
        super().__init__()
        self.own, self.n1 = Attention(width, count), nn.LayerNorm(width)
        self.cross, self.n2 = (Attention(width, count), nn.LayerNorm(width)) if crossed else (None, None)
        self.n3, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, memory=None):
        y = self.n1(x)
        x = x + self.own(y, y, causal=self.cross is not None)
        if self.cross is not None:
            x = x + self.cross(self.n2(x), memory)
        return x + self.down(F.gelu(self.up(self.n3(x))))


class Whisper(nn.Module):
    def __init__(self, bands, vocabulary, width, count, layers):
        super().__init__()
        self.c1, self.c2 = nn.Conv1d(bands, width, 3, padding=1), nn.Conv1d(width, width, 3, 2, 1)
        self.encoder = nn.ModuleList(WhisperBlock(width, count, False) for _ in range(layers))
        self.decoder = nn.ModuleList(WhisperBlock(width, count, True) for _ in range(layers))
        self.word, self.place = nn.Embedding(vocabulary, width), nn.Embedding(448, width)
        self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
        rates = torch.exp(-torch.arange(width // 2) * math.log(10000) / (width // 2 - 1))
        angles = torch.arange(1500)[:, None] * rates
        self.register_buffer("waves", torch.cat([angles.sin(), angles.cos()], 1))

    def forward(self, mel, tokens):
        x = F.gelu(self.c2(F.gelu(self.c1(mel)))).transpose(1, 2)
        x = x + self.waves[: x.shape[1]]
        for block in self.encoder:
            x = block(x)
        x = self.n1(x)
        y = self.word(tokens) + self.place.weight[: tokens.shape[1]]
        for block in self.decoder:
            y = block(y, x)
        return F.linear(self.n2(y), self.word.weight)


def whisper(full):
    bands, vocabulary, *_ = sizes = (80, 51865, 512, 8, 6) if full else (8, 60, 32, 4, 2)

    def made(b, frames, s):
        return torch.randn(b, bands, frames), torch.randint(0, vocabulary, (b, s))

    frames = axis("half_frames", 1, 1500)
    axes = [{0: BATCH, 2: (2, frames)}, {0: BATCH, 1: SEQ}]
    model = randomised(Whisper(*sizes))
    return Entry(model, ["mel", "tokens"], made(2, 60, 5), made(3, 200 if full else 44, 7), axes, ["logits"])


# ── recurrence ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Lstm(nn.Module):
    def __init__(self, vocabulary, width, hidden):
        super().__init__()
        self.word = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 5)

    def forward(self, ids):
        y, (h, c) = self.lstm(self.word(ids))
        return self.head(y), h, c


def lstm(full):
    vocabulary, *_ = sizes = (10000, 128, 256) if full else (50, 8, 12)

    def made(b, s):
        return (torch.randint(0, vocabulary, (b, s)),)

    return Entry(randomised(Lstm(*sizes)), ["ids"], made(2, 6), made(3, 6), [{0: BATCH}], ["y", "h", "c"])


ENTRIES = [bert, gpt2, llama, whisper, lstm]
