"""Builds small models of the com.microsoft operators and compares tcc with ONNX Runtime on them.

    contrib.py TCC [--only OPERATOR]

Exits with 1 if anything is refused or differs.
"""

import argparse
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from check import difference, reference, run

random = np.random.default_rng(7)


def f(*shape, scale=1.0):
    return (random.standard_normal(shape) * scale).astype(np.float32)


def i32(values):
    return np.array(values, np.int32)


def i64(values):
    return np.array(values, np.int64)


def u8(*shape):
    return random.integers(0, 256, shape, dtype=np.uint8)


def i8(*shape):
    return random.integers(-128, 128, shape, dtype=np.int8)


def s(value, dtype=np.float32):
    return np.array(value, dtype)


class Fixed(np.ndarray):
    """An operand that is a constant of the model."""


def fixed(array):
    return np.asarray(array).view(Fixed)


def past(b, h, p, d):
    return [f(b, h, p, d), f(b, h, p, d)]


def cases():
    """Name, operator, operands (None where left out), count or positions of results, attributes."""
    x, w = f(2, 5, 8), f(8)
    for op in ["Gelu", "FastGelu", "QuickGelu"]:
        yield op, [x], 1, {}
    yield "QuickGelu", [x], 1, dict(alpha=1.0)
    yield "BiasGelu", [x, w], 1, {}
    yield "FastGelu", [x, w], 1, {}
    for a, b in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        left, right = f(*((2, 3, 5, 4) if a else (2, 3, 4, 5))), f(*((2, 3, 6, 5) if b else (2, 3, 5, 6)))
        yield "FusedMatMul", [left, right], 1, dict(transA=a, transB=b, alpha=0.5)
    yield "FusedMatMul", [f(4, 3, 5), f(3, 5, 6)], 1, dict(transBatchA=1, transA=0)
    for activation in ["Relu", "Tanh", "Sigmoid"]:
        yield "FusedGemm", [f(3, 4), f(4, 5), f(5)], 1, dict(activation=activation, alpha=0.5, beta=2.0)
    yield "FusedGemm", [f(3, 4), f(4, 5), f(5)], 1, dict(activation="LeakyRelu", activation_alpha=0.2)
    image, kernel, bias = f(1, 3, 7, 7), fixed(f(4, 3, 3, 3)), fixed(f(4))
    yield "FusedConv", [image, kernel, bias], 1, dict(activation="Relu", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    yield "FusedConv", [image, kernel, bias], 1, dict(
        activation="LeakyRelu", activation_params=[0.3], kernel_shape=[3, 3])
    yield "FusedConv", [image, kernel, bias], 1, dict(
        activation="Clip", activation_params=[0.0, 1.0], kernel_shape=[3, 3], strides=[2, 2])
    yield "FusedConv", [image, kernel, bias, f(1, 4, 5, 5)], 1, dict(activation="Relu", kernel_shape=[3, 3])
    yield "SkipLayerNormalization", [x, f(2, 5, 8), w, f(8), f(8)], [0, 3], dict(epsilon=1e-5)
    yield "SkipLayerNormalization", [x, f(2, 5, 8), w], 1, dict(epsilon=1e-5)
    yield "SkipSimplifiedLayerNormalization", [x, f(2, 5, 8), w, f(8)], [0, 3], dict(epsilon=1e-5)
    yield "SkipSimplifiedLayerNormalization", [x, f(2, 5, 8), w], 1, dict(epsilon=1e-5)
    ids, kinds = i32(random.integers(0, 9, (2, 5))), i32(random.integers(0, 2, (2, 5)))
    yield "EmbedLayerNormalization", [ids, kinds, f(9, 8), f(6, 8), f(2, 8), f(8), f(8)], [0, 1], dict(epsilon=1e-5)
    yield "EmbedLayerNormalization", [ids, None, f(9, 8), f(6, 8), None, f(8), f(8)], [0, 1], dict(epsilon=1e-5)
    yield from attention_cases()
    yield from quantised_cases()


def attention_cases():
    b, n, h, d = 2, 5, 4, 6
    wide = h * d
    x, w, bias = f(b, n, wide), f(wide, 3 * wide, scale=0.3), f(3 * wide)
    yield "Attention", [x, w, bias], 1, dict(num_heads=h)
    yield "Attention", [x, w, bias], 1, dict(num_heads=h, unidirectional=1, scale=0.3)
    yield "Attention", [x, w, bias, i32([[1] * 5, [1, 1, 1, 0, 0]])], 1, dict(num_heads=h)
    yield "Attention", [x, w, bias, i32([5, 3])], 1, dict(num_heads=h)
    yield "Attention", [x, w, bias, None, f(2, b, h, 3, d)], 2, dict(num_heads=h, unidirectional=1)
    yield "Attention", [x, w, bias, None, None, f(b, h, n, n)], 1, dict(num_heads=h)
    yield "Attention", [x, f(wide, wide + wide + 16), f(2 * wide + 16)], 1, dict(
        num_heads=h, qkv_hidden_sizes=[wide, wide, 16])
    q, k, v = f(b, n, wide), f(b, 7, wide), f(b, 7, wide)
    yield "MultiHeadAttention", [q, k, v], 1, dict(num_heads=h)
    yield "MultiHeadAttention", [q, k, v, f(3 * wide)], 1, dict(num_heads=h)
    yield "MultiHeadAttention", [q, k, v, None, i32([[1] * 7, [1] * 4 + [0] * 3])], 1, dict(num_heads=h)
    yield "MultiHeadAttention", [q, k, v, None, i32([7, 4])], 1, dict(num_heads=h)
    yield "MultiHeadAttention", [q, k, v, None, None, f(b, h, n, 7)], 1, dict(num_heads=h)
    yield "MultiHeadAttention", [q, f(b, h, 7, d), f(b, h, 7, d)], 1, dict(num_heads=h)
    own = [q, f(b, n, wide), f(b, n, wide)]
    yield "MultiHeadAttention", [*own, None, None, None, *past(b, h, 3, d)], 3, dict(num_heads=h)
    yield "MultiHeadAttention", [*own], 1, dict(num_heads=h, unidirectional=1)
    d = 8
    cos, sin = np.cos(f(20, d // 2)), np.sin(f(20, d // 2))
    for interleaved in (0, 1):
        x4, x3 = f(b, h, n, d), f(b, n, h * d)
        places = i64(random.integers(0, 20, (b, n)))
        yield "RotaryEmbedding", [x3, places, cos, sin], 1, dict(interleaved=interleaved)
        yield "RotaryEmbedding", [x4, places, cos, sin], 1, dict(interleaved=interleaved)
        yield "RotaryEmbedding", [x3, i64([3]), cos, sin], 1, dict(interleaved=interleaved)
    partial = [np.cos(f(20, 2)), np.sin(f(20, 2))]
    yield "RotaryEmbedding", [f(b, n, h * d), i64([0]), *partial], 1, dict(num_heads=h, rotary_embedding_dim=4)
    g, d = 2, 16
    cos, sin = np.cos(f(20, d // 2)), np.sin(f(20, d // 2))
    own = [f(b, n, h * d), f(b, n, g * d), f(b, n, g * d)]
    sizes = dict(num_heads=h, kv_num_heads=g)
    none = [np.zeros((b, g, 0, d), np.float32)] * 2
    yield "GroupQueryAttention", [*own, None, None, i32([n - 1] * b), s(n, np.int32)], 3, sizes
    yield "GroupQueryAttention", [*own, *none, i32([n - 1] * b), s(n, np.int32)], 3, sizes
    yield "GroupQueryAttention", [*own, None, None, i32([n - 1, 2]), s(n, np.int32)], [0], sizes
    rotary = dict(sizes, do_rotary=1)
    yield "GroupQueryAttention", [*own, None, None, i32([n - 1] * b), s(n, np.int32), cos, sin], 3, rotary
    yield "GroupQueryAttention", [*own, None, None, i32([n - 1] * b), s(n, np.int32), cos, sin], 3, dict(
        rotary, rotary_interleaved=1)
    yield "GroupQueryAttention", [*own, None, None, i32([n - 1, 2]), s(n, np.int32), cos, sin], [0], rotary
    packed = [f(b, n, (h + 2 * g) * d), None, None]
    yield "GroupQueryAttention", [*packed, None, None, i32([n - 1] * b), s(n, np.int32), cos, sin], 3, rotary
    one = [f(b, 1, h * d), f(b, 1, g * d), f(b, 1, g * d)]
    total = [i32([6, 6]), s(7, np.int32)]
    yield "GroupQueryAttention", [*one, *past(b, g, 6, d), *total], 3, sizes
    yield "GroupQueryAttention", [*one, *past(b, g, 6, d), *total, cos, sin], 3, rotary
    yield "GroupQueryAttention", [*one, *past(b, g, 6, d), *total], 3, dict(sizes, softcap=2.0, scale=0.2)
    yield "GroupQueryAttention", [*one, *past(b, g, 6, d), *total], 3, dict(sizes, local_window_size=3)
    # ONNX Runtime needs its results for keys and values wherever there are past ones.
    for lengths in ([6, 3], [2, 5], [4, 0]):
        uneven = [i32(lengths), s(max(lengths) + 1, np.int32)]
        for attributes in (sizes, rotary, dict(sizes, local_window_size=2)):
            yield "GroupQueryAttention", [
                *one, *past(b, g, 6, d), *uneven, *([cos, sin] if "do_rotary" in attributes else [])], 3, attributes
            constant = [*uneven[:1], fixed(uneven[1])]
            yield "GroupQueryAttention", [
                *one, *past(b, g, 6, d), *constant, *([cos, sin] if "do_rotary" in attributes else [])], 3, attributes
    alone = [f(1, 3, h * d), f(1, 3, g * d), f(1, 3, g * d)]
    yield "GroupQueryAttention", [*alone, *past(1, g, 6, d), i32([8]), s(9, np.int32), cos, sin], 3, rotary
    yield "GroupQueryAttention", [*alone, *past(1, g, 6, d), i32([5]), s(6, np.int32), cos, sin], 3, rotary


def quantised_cases():
    for bits, k, n, block in [(4, 64, 6, 32), (4, 48, 5, 16), (8, 64, 6, 32)]:
        blocks = -(-k // block)
        codes = fixed(u8(n, blocks, block * bits // 8))
        scales = fixed(np.abs(f(n, blocks, scale=0.1)).reshape(-1))
        points = fixed(u8(n * -(-blocks * bits // 8)))
        sizes = dict(K=k, N=n, bits=bits, block_size=block)
        yield "MatMulNBits", [f(2, 3, k), codes, scales], 1, sizes
        yield "MatMulNBits", [f(2, 3, k), codes, scales, points], 1, sizes
        yield "MatMulNBits", [f(2, 3, k), codes, scales, None, None, fixed(f(n))], 1, sizes
    a, b = [u8(2, 3, 4), s(0.05), s(120, np.uint8)], [u8(3, 4), s(0.03), s(100, np.uint8)]
    y = [s(0.08), s(110, np.uint8)]
    for op in ["QLinearAdd", "QLinearMul"]:
        yield op, [*a, *b, *y], 1, {}
    yield "QLinearAdd", [
        i8(3, 4), s(0.05), s(3, np.int8), i8(3, 4), s(0.03), s(-5, np.int8), s(0.08), s(1, np.int8)], 1, {}
    yield "QLinearSigmoid", [*a, s(1 / 256), s(0, np.uint8)], 1, {}
    yield "QLinearLeakyRelu", [*a, *y], 1, dict(alpha=0.1)
    yield "QLinearConcat", [*y, *a, u8(2, 3, 4), s(0.02), s(90, np.uint8)], 1, dict(axis=1)
    image = [u8(1, 4, 6, 6), s(0.05), s(120, np.uint8)]
    yield "QLinearGlobalAveragePool", [*image, *y], 1, dict(channels_last=0)
    yield "QLinearAveragePool", [*image, *y], 1, dict(kernel_shape=[2, 2], strides=[2, 2])
    yield "QLinearSoftmax", [u8(2, 8), s(0.05), s(120, np.uint8), s(1 / 256), s(0, np.uint8)], 1, dict(
        axis=-1, opset=13)
    matrix = [u8(4, 5), s(0.02), s(128, np.uint8)]
    yield "QGemm", [u8(3, 4), s(0.05), s(120, np.uint8), *matrix, i32(random.integers(-50, 50, 5)), *y], 1, dict(
        alpha=1.0)
    yield "DynamicQuantizeMatMul", [f(3, 4), fixed(i8(4, 5)), fixed(s(0.02)), fixed(s(3, np.int8)), fixed(f(5))], 1, {}
    yield "MatMulIntegerToFloat", [
        u8(3, 4), fixed(i8(4, 5)), s(0.05), fixed(s(0.02)), s(120, np.uint8), fixed(s(3, np.int8)), fixed(f(5))], 1, {}
    yield "QuantizeLinear", [f(2, 3, 4), s(0.05), s(120, np.uint8)], 1, {}
    yield "DequantizeLinear", [u8(2, 3, 4), s(0.05), s(120, np.uint8)], 1, {}
    yield "DequantizeLinear", [u8(2, 3, 4), np.abs(f(3)), u8(3)], 1, dict(axis=1)


def model(op, operands, results, attributes):
    """The operator as a model of itself, and the inputs it takes."""
    names, inputs, infos, constants = [], {}, [], []
    for i, operand in enumerate(operands):
        if operand is None:
            names.append("")
            continue
        names.append(f"x{i}")
        if isinstance(operand, Fixed):
            constants.append(onnx.numpy_helper.from_array(np.asarray(operand), f"x{i}"))
            continue
        inputs[f"x{i}"] = operand
        kind = helper.np_dtype_to_tensor_dtype(operand.dtype)
        infos.append(helper.make_tensor_value_info(f"x{i}", kind, operand.shape))
    wanted = range(results) if isinstance(results, int) else results
    outputs = [f"y{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
    quantised = op.startswith("QLinear") or op in ("QGemm", "QuantizeLinear")
    signed = any(o is not None and o.dtype == np.int8 for o in operands)
    kind = (TensorProto.INT8 if signed else TensorProto.UINT8) if quantised else TensorProto.FLOAT
    second = TensorProto.INT32 if op == "EmbedLayerNormalization" else kind
    kinds = {name: second if name == "y1" else kind for name in outputs}
    results = [helper.make_tensor_value_info(name, kinds[name], None) for name in outputs if name]
    node = helper.make_node(op, names, outputs, domain="com.microsoft", **attributes)
    graph = helper.make_graph([node], op, infos, results, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), inputs


def agreed(got, wanted):
    """Quantised results may be off by one where a rounding is close; floats within the usual tolerances."""
    if all(w.dtype in (np.uint8, np.int8) for w in wanted.values()):
        apart = max(np.max(np.abs(got[n].astype(int) - w.astype(int))) for n, w in wanted.items())
        return "" if apart <= 1 else f"codes differ by {apart}"
    return difference(got, wanted)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tcc")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    onnxruntime.set_default_logger_severity(4)
    problems = total = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (op, operands, results, attributes) in enumerate(cases()):
            if arguments.only not in op:
                continue
            built, inputs = model(op, operands, results, attributes)
            path = os.path.join(folder, f"{op}-{number}.onnx")
            onnx.save(built, path)
            try:
                wanted = reference(path, inputs)
            except Exception as error:
                # Not every form of an operator has a kernel for processors there.
                print(f"SKIPPED {op} {attributes}: {str(error).strip().splitlines()[0][:160]}")
                skipped += 1
                continue
            for engine in ["interpreter", "cranelift"]:
                total += 1
                got, complaint = run(arguments.tcc, path, inputs, engine, folder)
                if got is not None:
                    complaint = agreed(got, wanted)
                if complaint:
                    problems += 1
                    kinds = [None if o is None else f"{o.dtype}{list(o.shape)}" for o in operands]
                    print(f"PROBLEM {engine} {op} {attributes} {kinds}: {complaint[:400]}")
    print(f"{total} runs, {problems} problems, {skipped} skipped")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
