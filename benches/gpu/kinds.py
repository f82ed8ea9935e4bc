"""Every kind of kernel as a small graph, with what PyTorch says in f64."""

import torch
import torch.nn.functional as F

DOT = "lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0]"

# Name, tolerance relative to the spread, inputs by name with their shapes, graph, reference. Integers stand for
# indices below that number.
KINDS = [
    ("elementwise", 1e-5, {"x": (513, 257)},
     """graph @g(%x: f32[513, 257]) -> (y: f32[513, 257]) {
       %0 = gelu %x : f32[513, 257]
       %1 = add %0, %x : f32[513, 257]
       return %1
     }""", lambda x: F.gelu(x) + x),
    ("broadcast", 1e-6, {"x": (64, 96), "b": (96,)},
     """graph @g(%x: f32[64, 96], %b: f32[96]) -> (y: f32[64, 96]) {
       %0 = broadcast %b shape=[64, 96] : f32[64, 96]
       %1 = mul %x, %0 : f32[64, 96]
       return %1
     }""", lambda x, b: x * b),
    ("transpose", 0, {"x": (65, 130)},
     """graph @g(%x: f32[65, 130]) -> (y: f32[130, 65]) {
       %0 = transpose %x perm=[1, 0] : f32[130, 65]
       return %0
     }""", lambda x: x.T),
    ("sum of rows", 1e-5, {"x": (300, 1000)},
     """graph @g(%x: f32[300, 1000]) -> (y: f32[300]) {
       %0 = reduce_sum %x axes=[1] : f32[300]
       return %0
     }""", lambda x: x.sum(1)),
    ("sum of columns", 1e-5, {"x": (300, 1000)},
     """graph @g(%x: f32[300, 1000]) -> (y: f32[1000]) {
       %0 = reduce_sum %x axes=[0] : f32[1000]
       return %0
     }""", lambda x: x.sum(0)),
    ("softmax", 1e-5, {"x": (256, 1000)},
     """graph @g(%x: f32[256, 1000]) -> (y: f32[256, 1000]) {
       %0 = softmax %x axis=1 : f32[256, 1000]
       return %0
     }""", lambda x: x.softmax(1)),
    ("layer norm", 1e-4, {"x": (256, 768), "b": (768,)},
     """graph @g(%x: f32[256, 768], %b: f32[768]) -> (y: f32[256, 768]) {
       %0 = layer_norm %x, %b, %b axis=1 eps=0.00001 : f32[256, 768]
       return %0
     }""", lambda x, b: F.layer_norm(x, (768,), b, b, 1e-5)),
    ("matmul f32", 1e-5, {"x": (200, 300), "w": (300, 250)},
     f"""graph @g(%x: f32[200, 300], %w: f32[300, 250]) -> (y: f32[200, 250]) {{
       %0 = dot %x, %w {DOT} dtype=f32 : f32[200, 250]
       return %0
     }}""", lambda x, w: x @ w),
    ("matmul f16", 2e-3, {"x": (200, 320), "w": (320, 256)},
     f"""graph @g(%x: f32[200, 320], %w: f32[320, 256]) -> (y: f32[200, 256]) {{
       %0 = cast %x dtype=f16 saturate=false : f16[200, 320]
       %1 = cast %w dtype=f16 saturate=false : f16[320, 256]
       %2 = copy %0 : f16[200, 320]
       %3 = copy %1 : f16[320, 256]
       %4 = dot %2, %3 {DOT} dtype=f32 : f32[200, 256]
       return %4
     }}""", lambda x, w: x.half().double() @ w.half().double()),
    ("matmul bf16", 1e-2, {"x": (200, 320), "w": (320, 256)},
     f"""graph @g(%x: f32[200, 320], %w: f32[320, 256]) -> (y: f32[200, 256]) {{
       %0 = cast %x dtype=bf16 saturate=false : bf16[200, 320]
       %1 = cast %w dtype=bf16 saturate=false : bf16[320, 256]
       %2 = copy %0 : bf16[200, 320]
       %3 = copy %1 : bf16[320, 256]
       %4 = dot %2, %3 {DOT} dtype=f32 : f32[200, 256]
       return %4
     }}""", lambda x, w: x.bfloat16().double() @ w.bfloat16().double()),
    ("matrix by vector", 1e-5, {"x": (1, 1024), "w": (1024, 1000)},
     f"""graph @g(%x: f32[1, 1024], %w: f32[1024, 1000]) -> (y: f32[1, 1000]) {{
       %0 = dot %x, %w {DOT} dtype=f32 : f32[1, 1000]
       return %0
     }}""", lambda x, w: x @ w),
    ("convolution", 1e-5, {"x": (2, 32, 28, 28), "w": (64, 32, 3, 3)},
     """graph @g(%x: f32[2, 32, 28, 28], %w: f32[64, 32, 3, 3]) -> (y: f32[2, 64, 14, 14]) {
       %0 = conv %x, %w strides=[2, 2] lo=[1, 1] hi=[1, 1] dilation=[1, 1] base=[1, 1] groups=1 dtype=f32 : f32[2, 64, 14, 14]
       return %0
     }""", lambda x, w: F.conv2d(x, w, stride=2, padding=1)),
    ("depthwise convolution", 1e-5, {"x": (2, 32, 28, 28), "w": (32, 1, 3, 3)},
     """graph @g(%x: f32[2, 32, 28, 28], %w: f32[32, 1, 3, 3]) -> (y: f32[2, 32, 28, 28]) {
       %0 = conv %x, %w strides=[1, 1] lo=[1, 1] hi=[1, 1] dilation=[1, 1] base=[1, 1] groups=32 dtype=f32 : f32[2, 32, 28, 28]
       return %0
     }""", lambda x, w: F.conv2d(x, w, padding=1, groups=32)),
    ("largest of windows", 0, {"x": (2, 16, 28, 28)},
     """graph @g(%x: f32[2, 16, 28, 28]) -> (y: f32[2, 16, 14, 14]) {
       %0 = pool_max %x window=[3, 3] strides=[2, 2] lo=[1, 1] hi=[0, 0] dilation=[1, 1] : f32[2, 16, 14, 14]
       return %0
     }""", lambda x: F.max_pool2d(x, 3, 2, 1)),
    ("attention", 1e-4, {"q": (2, 4, 100, 64), "k": (2, 4, 100, 64), "v": (2, 4, 100, 64)},
     """graph @g(%q: f32[2, 4, 100, 64], %k: f32[2, 4, 100, 64], %v: f32[2, 4, 100, 64]) -> (y: f32[2, 4, 100, 64]) {
       %0 = attention %q, %k, %v scale=0.125 causal=true softcap=0.0 : f32[2, 4, 100, 64]
       return %0
     }""", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    ("gather of rows", 0, {"x": (500, 64), "i": (500, (77,))},
     """graph @g(%x: f32[500, 64], %i: i64[77]) -> (y: f32[77, 64]) {
       %0 = gather %x, %i axis=0 : f32[77, 64]
       return %0
     }""", lambda x, i: x[i]),
    ("running sum", 1e-5, {"x": (40, 200)},
     """graph @g(%x: f32[40, 200]) -> (y: f32[40, 200]) {
       %0 = cumsum %x axis=1 exclusive=false reverse=false : f32[40, 200]
       return %0
     }""", lambda x: x.cumsum(1)),
]
