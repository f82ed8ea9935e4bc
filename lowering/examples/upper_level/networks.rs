//! The graphs that the papers on TASO and Tensat optimise, built from their descriptions, and deep decoders.
//!
//! Weights are random and sizes are those of the papers, with fewer repetitions where cells repeat.

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, Graph, Ints, Op, Value};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};
use tcc_ir::tensor::Tensor;

/// The networks by name.
pub(crate) const NAMES: &[&str] =
    &["bert", "resnext50", "nasnet_a", "nasrnn", "squeezenet", "vgg", "inception", "decoder8", "decoder32"];

type Failure = Box<dyn std::error::Error>;
type Built = Result<Value, Failure>;

/// A network of the list.
pub(crate) fn network(name: &str) -> Result<Graph, Failure> {
    let mut net = Net { graph: Graph::new(name), seed: 0 };
    let out = match name {
        "bert" => net.encoder(4)?,
        "resnext50" => net.resnext()?,
        "nasnet_a" => net.nasnet()?,
        "nasrnn" => net.nasrnn()?,
        "squeezenet" => net.squeezenet()?,
        "vgg" => net.vgg()?,
        "inception" => net.inception()?,
        "decoder8" => net.decoder(8)?,
        "decoder32" => net.decoder(32)?,
        other => return Err(format!("expected one of {}, got `{other}`", NAMES.join(", ")).into()),
    };
    net.graph.add_output("y", out);
    Ok(net.graph)
}

struct Net {
    graph: Graph,
    seed: u64,
}

impl Net {
    fn input(&mut self, shape: &[usize]) -> Value {
        self.graph.add_param("x", TensorType::fixed(DType::F32, shape))
    }

    fn weights(&mut self, shape: &[usize]) -> Built {
        self.seed += 1;
        Ok(self.graph.constant(Tensor::random(DType::F32, shape, self.seed)?)?)
    }

    fn extents(&self, x: Value) -> Vec<usize> {
        self.graph.ty(x).shape.iter().map(|d| d.as_const().unwrap_or(1) as usize).collect()
    }

    fn plus(&mut self, x: Value, y: Value) -> Built {
        Ok(self.graph.broadcasting(ScalarOp::Add, &[x, y])?)
    }

    fn times(&mut self, x: Value, y: Value) -> Built {
        Ok(self.graph.broadcasting(ScalarOp::Mul, &[x, y])?)
    }

    fn unary(&mut self, op: ScalarOp, x: Value) -> Built {
        Ok(self.graph.scalar(op, &[x])?)
    }

    fn relu(&mut self, x: Value) -> Built {
        let zero = self.graph.number(DType::F32, 0.0)?;
        Ok(self.graph.broadcasting(ScalarOp::Max, &[x, zero])?)
    }

    /// A convolution without bias; padding keeps the extents at stride 1.
    fn plain_conv(
        &mut self,
        x: Value,
        out: usize,
        kernel: [usize; 2],
        stride: usize,
        groups: usize,
    ) -> Built {
        let channels = self.extents(x)[1];
        let w = self.weights(&[out, channels / groups, kernel[0], kernel[1]])?;
        let list = |v: [usize; 2]| Attr::Ints(v.iter().map(|i| *i as i64).collect());
        let pad = [(kernel[0] - 1) / 2, (kernel[1] - 1) / 2];
        let attrs = smallvec![
            list([stride, stride]),
            list(pad),
            list(pad),
            list([1, 1]),
            list([1, 1]),
            Attr::Int(groups as i64),
            DType::F32.into()
        ];
        Ok(self.graph.op(Op::Conv, &[x, w], attrs)?)
    }

    /// Convolution, batch normalisation as exporters write it, activation.
    fn conv(&mut self, x: Value, out: usize, kernel: [usize; 2], stride: usize, groups: usize) -> Built {
        let y = self.plain_conv(x, out, kernel, stride, groups)?;
        let (scale, bias) = (self.weights(&[out, 1, 1])?, self.weights(&[out, 1, 1])?);
        let y = self.times(y, scale)?;
        let y = self.plus(y, bias)?;
        self.relu(y)
    }

    fn biased(&mut self, x: Value, out: usize, kernel: [usize; 2], stride: usize) -> Built {
        let y = self.plain_conv(x, out, kernel, stride, 1)?;
        let bias = self.weights(&[out, 1, 1])?;
        let y = self.plus(y, bias)?;
        self.relu(y)
    }

    fn pool(&mut self, op: Op, x: Value, window: usize, stride: usize) -> Built {
        let list = |v: usize| Attr::Ints(Ints::from_iter([v as i64, v as i64]));
        let pad = (window - 1) / 2;
        Ok(self.graph.op(op, &[x], smallvec![list(window), list(stride), list(pad), list(pad), list(1)])?)
    }

    fn joined(&mut self, xs: &[Value]) -> Built {
        Ok(self.graph.concat(xs, 1)?)
    }

    fn squeezenet(&mut self) -> Built {
        let mut x = self.input(&[1, 64, 55, 55]);
        for (turn, (squeeze, expand)) in
            [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
                .into_iter()
                .enumerate()
        {
            let s = self.biased(x, squeeze, [1, 1], 1)?;
            let (a, b) = (self.biased(s, expand, [1, 1], 1)?, self.biased(s, expand, [3, 3], 1)?);
            x = self.joined(&[a, b])?;
            if turn % 2 == 1 && turn < 4 {
                x = self.pool(Op::PoolMax, x, 3, 2)?;
            }
        }
        Ok(x)
    }

    fn vgg(&mut self) -> Built {
        let mut x = self.input(&[1, 3, 224, 224]);
        for (channels, count) in [(64, 2), (128, 2), (256, 4), (512, 4)] {
            for _ in 0..count {
                x = self.biased(x, channels, [3, 3], 1)?;
            }
            x = self.pool(Op::PoolMax, x, 2, 2)?;
        }
        Ok(x)
    }

    fn resnext(&mut self) -> Built {
        let mut x = self.input(&[1, 64, 56, 56]);
        for (stage, (width, count)) in [(128, 3), (256, 4), (512, 6), (1024, 3)].into_iter().enumerate() {
            for block in 0..count {
                let stride = if block == 0 && stage > 0 { 2 } else { 1 };
                let y = self.conv(x, width, [1, 1], 1, 1)?;
                let y = self.conv(y, width, [3, 3], stride, 32)?;
                let y = self.plain_conv(y, 2 * width, [1, 1], 1, 1)?;
                let short = if block == 0 { self.plain_conv(x, 2 * width, [1, 1], stride, 1)? } else { x };
                let sum = self.plus(y, short)?;
                x = self.relu(sum)?;
            }
        }
        Ok(x)
    }

    /// Three modules of the first kind of Inception v3, and two of the second.
    fn inception(&mut self) -> Built {
        let mut x = self.input(&[1, 192, 35, 35]);
        for pooled in [32, 64, 64] {
            let a = self.conv(x, 64, [1, 1], 1, 1)?;
            let b = self.conv(x, 48, [1, 1], 1, 1)?;
            let b = self.conv(b, 64, [5, 5], 1, 1)?;
            let c = self.conv(x, 64, [1, 1], 1, 1)?;
            let c = self.conv(c, 96, [3, 3], 1, 1)?;
            let c = self.conv(c, 96, [3, 3], 1, 1)?;
            let d = self.pool(Op::PoolSum, x, 3, 1)?;
            let d = self.conv(d, pooled, [1, 1], 1, 1)?;
            x = self.joined(&[a, b, c, d])?;
        }
        for width in [128, 160] {
            let a = self.conv(x, 192, [1, 1], 1, 1)?;
            let b = self.conv(x, width, [1, 1], 1, 1)?;
            let b = self.conv(b, width, [1, 7], 1, 1)?;
            let b = self.conv(b, 192, [7, 1], 1, 1)?;
            let c = self.conv(x, width, [1, 1], 1, 1)?;
            let c = self.conv(c, width, [7, 1], 1, 1)?;
            let c = self.conv(c, 192, [1, 7], 1, 1)?;
            let d = self.pool(Op::PoolSum, x, 3, 1)?;
            let d = self.conv(d, 192, [1, 1], 1, 1)?;
            x = self.joined(&[a, b, c, d])?;
        }
        Ok(x)
    }

    /// Depthwise, then pointwise.
    fn separable(&mut self, x: Value, out: usize, kernel: usize) -> Built {
        let channels = self.extents(x)[1];
        let x = self.relu(x)?;
        let y = self.plain_conv(x, channels, [kernel, kernel], 1, channels)?;
        self.plain_conv(y, out, [1, 1], 1, 1)
    }

    /// Four normal cells of NasNet-A.
    fn nasnet(&mut self) -> Built {
        let width = 128;
        let x = self.input(&[1, width, 28, 28]);
        let (mut before, mut last) = (x, x);
        for _ in 0..4 {
            let (p, c) = (self.conv(before, width, [1, 1], 1, 1)?, self.conv(last, width, [1, 1], 1, 1)?);
            let (s1, s2) = (self.separable(c, width, 3)?, c);
            let a = self.plus(s1, s2)?;
            let (s1, s2) = (self.separable(p, width, 3)?, self.separable(c, width, 5)?);
            let b = self.plus(s1, s2)?;
            let s1 = self.pool(Op::PoolSum, c, 3, 1)?;
            let d = self.plus(s1, p)?;
            let (s1, s2) = (self.pool(Op::PoolSum, p, 3, 1)?, self.pool(Op::PoolSum, p, 3, 1)?);
            let e = self.plus(s1, s2)?;
            let (s1, s2) = (self.separable(p, width, 5)?, self.separable(p, width, 3)?);
            let f = self.plus(s1, s2)?;
            before = last;
            last = self.joined(&[p, a, b, d, e, f])?;
        }
        Ok(last)
    }

    /// Five steps of the recurrent cell that architecture search found: eight pairs of products.
    fn nasrnn(&mut self) -> Built {
        let width = 512;
        let x = self.input(&[1, width]);
        let mut state = self.weights(&[1, width])?;
        for _ in 0..5 {
            let mut gates = Vec::new();
            for gate in 0..8 {
                let (w, u) = (self.weights(&[width, width])?, self.weights(&[width, width])?);
                let (a, b) = (self.graph.matmul(x, w, DType::F32)?, self.graph.matmul(state, u, DType::F32)?);
                let sum = self.plus(a, b)?;
                gates.push(match gate % 3 {
                    0 => self.unary(ScalarOp::Sigmoid, sum)?,
                    1 => self.unary(ScalarOp::Tanh, sum)?,
                    _ => self.relu(sum)?,
                });
            }
            while gates.len() > 1 {
                let pair = gates.split_off(gates.len() - 2);
                let product = self.times(pair[0], pair[1])?;
                let product = self.unary(ScalarOp::Tanh, product)?;
                gates.insert(0, product);
            }
            state = gates[0];
        }
        Ok(state)
    }

    fn linear(&mut self, x: Value, out: usize, bias: bool) -> Built {
        let inner = self.extents(x).last().copied().unwrap_or(1);
        let w = self.weights(&[inner, out])?;
        let last = self.extents(x).len() as i64 - 1;
        let list = |axes: &[i64]| Attr::Ints(axes.iter().copied().collect());
        let attrs = smallvec![list(&[]), list(&[]), list(&[last]), list(&[0]), DType::F32.into()];
        let y = self.graph.op(Op::Dot, &[x, w], attrs)?;
        if !bias {
            return Ok(y);
        }
        let b = self.weights(&[out])?;
        self.plus(y, b)
    }

    fn mean(&mut self, x: Value) -> Built {
        let shape = self.extents(x);
        let sum = self.graph.reduce(Op::ReduceSum, x, &[shape.len() - 1], true)?;
        let count = self.graph.number(DType::F32, *shape.last().unwrap_or(&1) as f64)?;
        Ok(self.graph.broadcasting(ScalarOp::Div, &[sum, count])?)
    }

    fn inverse_root(&mut self, x: Value) -> Built {
        let eps = self.graph.number(DType::F32, 1e-5)?;
        let sum = self.plus(x, eps)?;
        let root = self.unary(ScalarOp::Sqrt, sum)?;
        let one = self.graph.number(DType::F32, 1.0)?;
        Ok(self.graph.broadcasting(ScalarOp::Div, &[one, root])?)
    }

    fn layer_norm(&mut self, x: Value) -> Built {
        let width = self.extents(x).last().copied().unwrap_or(1);
        let mean = self.mean(x)?;
        let centred = self.graph.broadcasting(ScalarOp::Sub, &[x, mean])?;
        let squares = self.times(centred, centred)?;
        let variance = self.mean(squares)?;
        let factor = self.inverse_root(variance)?;
        let y = self.times(centred, factor)?;
        let (g, b) = (self.weights(&[width])?, self.weights(&[width])?);
        let y = self.times(y, g)?;
        self.plus(y, b)
    }

    fn rms_norm(&mut self, x: Value) -> Built {
        let width = self.extents(x).last().copied().unwrap_or(1);
        let squares = self.times(x, x)?;
        let mean = self.mean(squares)?;
        let factor = self.inverse_root(mean)?;
        let y = self.times(x, factor)?;
        let g = self.weights(&[width])?;
        self.times(y, g)
    }

    fn heads(&mut self, x: Value, count: usize) -> Built {
        let [b, s, d] = self.extents(x)[..] else { return Err("expected three axes".into()) };
        let shape: Shape = [b, s, count, d / count].iter().map(|i| Dim::from(*i)).collect();
        let split = self.graph.reshape(x, &shape)?;
        Ok(self.graph.transpose(split, &[0, 2, 1, 3])?)
    }

    fn attention(&mut self, x: Value, heads: usize, bias: bool) -> Built {
        let [b, s, d] = self.extents(x)[..] else { return Err("expected three axes".into()) };
        let mut parts = Vec::new();
        for _ in 0..3 {
            let y = self.linear(x, d, bias)?;
            parts.push(self.heads(y, heads)?);
        }
        let keys = self.graph.transpose(parts[1], &[0, 1, 3, 2])?;
        let scores = self.graph.matmul(parts[0], keys, DType::F32)?;
        let scale = self.graph.number(DType::F32, ((d / heads) as f64).sqrt().recip())?;
        let scores = self.times(scores, scale)?;
        let most = self.graph.reduce(Op::ReduceMax, scores, &[3], true)?;
        let relative = self.graph.broadcasting(ScalarOp::Sub, &[scores, most])?;
        let weights = self.unary(ScalarOp::Exp, relative)?;
        let total = self.graph.reduce(Op::ReduceSum, weights, &[3], true)?;
        let weights = self.graph.broadcasting(ScalarOp::Div, &[weights, total])?;
        let mixed = self.graph.matmul(weights, parts[2], DType::F32)?;
        let mixed = self.graph.transpose(mixed, &[0, 2, 1, 3])?;
        let shape: Shape = [b, s, d].iter().map(|i| Dim::from(*i)).collect();
        let mixed = self.graph.reshape(mixed, &shape)?;
        self.linear(mixed, d, bias)
    }

    fn encoder(&mut self, layers: usize) -> Built {
        let (width, heads) = (256, 4);
        let mut x = self.input(&[1, 128, width]);
        for _ in 0..layers {
            let y = self.attention(x, heads, true)?;
            let sum = self.plus(x, y)?;
            x = self.layer_norm(sum)?;
            let y = self.linear(x, 4 * width, true)?;
            let half = self.graph.number(DType::F32, std::f64::consts::FRAC_1_SQRT_2)?;
            let inner = self.times(y, half)?;
            let erf = self.unary(ScalarOp::Erf, inner)?;
            let one = self.graph.number(DType::F32, 1.0)?;
            let erf = self.plus(erf, one)?;
            let product = self.times(y, erf)?;
            let half = self.graph.number(DType::F32, 0.5)?;
            let gelu = self.times(product, half)?;
            let y = self.linear(gelu, width, true)?;
            let sum = self.plus(x, y)?;
            x = self.layer_norm(sum)?;
        }
        Ok(x)
    }

    fn decoder(&mut self, layers: usize) -> Built {
        let (width, heads) = (128, 4);
        let mut x = self.input(&[1, 128, width]);
        for _ in 0..layers {
            let norm = self.rms_norm(x)?;
            let y = self.attention(norm, heads, false)?;
            x = self.plus(x, y)?;
            let norm = self.rms_norm(x)?;
            let (gate, up) = (self.linear(norm, 3 * width, false)?, self.linear(norm, 3 * width, false)?);
            let sigmoid = self.unary(ScalarOp::Sigmoid, gate)?;
            let gate = self.times(gate, sigmoid)?;
            let inner = self.times(gate, up)?;
            let y = self.linear(inner, width, false)?;
            x = self.plus(x, y)?;
        }
        Ok(x)
    }
}
