"""Quantises small networks with ONNX Runtime's own tools, in each of its forms, and compares tcc with it.

    quantised.py TCC

Exits with 1 if anything is refused or differs.
"""

import os
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from check import difference, reference, run

random = np.random.default_rng(11)


def weights(**arrays):
    return [numpy_helper.from_array(np.asarray(a, np.float32), name) for name, a in arrays.items()]


def normal(*shape):
    return random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))


def network(name, nodes, constants, extents, outputs=("y",)):
    kind = onnx.TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("x", kind, extents)]
    results = [helper.make_tensor_value_info(o, kind, None) for o in outputs]
    graph = helper.make_graph(nodes, name, inputs, results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def convolutional():
    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        n("Relu", ["c1"], ["r1"]),
        n("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", ["p1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=2),
        n("LeakyRelu", ["c2"], ["r2"], alpha=0.1),
        n("Conv", ["p1", "w3"], ["c3"]),
        n("Add", ["r2", "c3"], ["a"]),
        n("Sigmoid", ["a"], ["g"]),
        n("Mul", ["a", "g"], ["m"]),
        n("Concat", ["m", "p1"], ["cat"], axis=1),
        n("AveragePool", ["cat"], ["ap"], kernel_shape=[2, 2], strides=[2, 2]),
        n("GlobalAveragePool", ["ap"], ["q"]),
        n("Flatten", ["q"], ["f"]),
        n("Gemm", ["f", "w4", "b4"], ["l"], transB=1),
        n("Softmax", ["l"], ["y"]),
    ]
    constants = weights(
        w1=normal(8, 3, 3, 3), b1=normal(8), w2=normal(8, 4, 3, 3), b2=normal(8), w3=normal(8, 8, 1, 1),
        w4=normal(5, 16), b4=normal(5),
    )
    return network("cnn", nodes, constants, ["batch", 3, 16, 16])


def dense():
    n = helper.make_node
    nodes = [
        n("MatMul", ["x", "w1"], ["m1"]), n("Add", ["m1", "b1"], ["a1"]), n("Relu", ["a1"], ["r1"]),
        n("MatMul", ["r1", "w2"], ["m2"]), n("Add", ["m2", "b2"], ["y"]),
    ]
    constants = weights(w1=normal(16, 32), b1=normal(32), w2=normal(32, 4), b2=normal(4))
    return network("mlp", nodes, constants, ["batch", 16])


class Samples(CalibrationDataReader):
    def __init__(self, shape):
        self.left = [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(8)]

    def get_next(self):
        return self.left.pop() if self.left else None


def forms(source, target, shape):
    """Each form's name, with a function that writes the model in it."""
    for activations in (QuantType.QUInt8, QuantType.QInt8):
        for per_channel in (False, True):
            for form in (QuantFormat.QDQ, QuantFormat.QOperator):
                name = f"{form.name} {activations.name}{' per channel' if per_channel else ''}"
                yield name, lambda form=form, activations=activations, per_channel=per_channel: quantize_static(
                    source, target, Samples(shape), quant_format=form, activation_type=activations,
                    weight_type=QuantType.QInt8, per_channel=per_channel,
                )
    for kind in (QuantType.QUInt8, QuantType.QInt8):
        yield f"dynamic {kind.name}", lambda kind=kind: quantize_dynamic(source, target, weight_type=kind)
    yield "QDQ 16 bits", lambda: quantize_static(
        source, target, Samples(shape), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt16,
        weight_type=QuantType.QInt8, extra_options={"UseQDQContribOps": True},
    )
    yield "QDQ weights of 4 bits", lambda: quantize_static(
        source, target, Samples(shape), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt4,
    )


def main():
    warnings.filterwarnings("ignore")
    onnxruntime.set_default_logger_severity(4)
    problems = total = 0
    with tempfile.TemporaryDirectory() as folder:
        for model, shape in [(convolutional(), (3, 3, 16, 16)), (dense(), (3, 16))]:
            source, target = os.path.join(folder, "f32.onnx"), os.path.join(folder, "quantised.onnx")
            onnx.save(model, source)
            for form, write in forms(source, target, shape):
                label = f"{model.graph.name} {form}"
                try:
                    write()
                    inputs = {"x": random.standard_normal(shape).astype(np.float32)}
                    wanted = reference(target, inputs)
                except Exception as error:
                    print(f"SKIPPED {label}: {str(error).strip().splitlines()[0][:200]}")
                    continue
                for engine in ["interpreter", "cranelift"]:
                    total += 1
                    got, complaint = run(sys.argv[1], target, inputs, engine, folder)
                    if got is not None:
                        # A rounding that falls the other way moves everything behind it by a step.
                        complaint, _ = difference(got, wanted, relative=0.0, absolute=0.08)
                    if complaint:
                        problems += 1
                        print(f"PROBLEM {engine} {label}: {complaint[:500]}")
    print(f"{total} runs, {problems} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
