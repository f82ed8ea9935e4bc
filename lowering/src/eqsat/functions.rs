//! The functions that conditions and templates of rules may use: one entry each, over attributes and types.
//!
//! A function that has no value for its arguments gives none, and then the rule does not apply there.

use egg::Id;
use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Ranges};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, Ints};
use tcc_ir::shape::{Shape, TensorType};

use super::facts::{Egraph, type_of};

/// A function of the rule language.
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// The names of the arguments; `x` and `y` are tensors, the others attributes.
    pub args: &'static [&'static str],
    /// What it gives.
    pub doc: &'static str,
    call: fn(&Egraph, &[Arg]) -> Option<Attr>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Function) -> bool {
        self.name == other.name
    }
}

/// An argument.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Tensor(Id),
    Attr(Attr),
}

impl Function {
    /// The function of a name.
    pub fn find(name: &str) -> Option<&'static Function> {
        FUNCTIONS.iter().find(|f| f.name == name)
    }

    /// Whether an argument is a tensor.
    pub(super) fn takes_tensor(&self, arg: usize) -> bool {
        matches!(self.args[arg], "x" | "y")
    }

    pub(super) fn call(&self, egraph: &Egraph, args: &[Arg]) -> Option<Attr> {
        (self.call)(egraph, args)
    }
}

macro_rules! functions {
    ($($name:literal ($($arg:literal),*) $doc:literal $call:expr;)*) => {
        /// All functions.
        pub static FUNCTIONS: &[Function] =
            &[$(Function { name: $name, args: &[$($arg),*], doc: $doc, call: $call }),*];
    };
}

functions! {
    "dtype"("x") "the element type" |g, a| Some(ty(g, a)?.dtype.into());
    "shape"("x") "the extents" |g, a| Some(ty(g, a)?.shape.clone().into());
    "rank"("x") "the number of axes" |g, a| Some(Attr::Int(ty(g, a)?.shape.rank() as i64));
    "value"("x") "the number that every element is" |g, a| match splat(g, a)? {
        Scalar::Float(v) => Some(Attr::Float(v)),
        Scalar::Int(v) => i64::try_from(v).ok().map(Attr::Int),
    };
    "constant"("x") "whether it follows from constants" |g, a| Some(Attr::Bool(facts(g, a)?.constant));
    "repeats"("x") "whether every element is one known number" |g, a|
        Some(Attr::Bool(facts(g, a)?.splat.is_some()));
    "float"("x") "whether the elements are floats" |g, a| Some(Attr::Bool(ty(g, a)?.dtype.is_float()));
    "signed"("x") "whether the type has negative numbers" |g, a| {
        let dtype = ty(g, a)?.dtype;
        Some(Attr::Bool(dtype.is_float() && dtype != DType::F8E8M0 || dtype.is_int() && !dtype.is_unsigned()))
    };
    "holds"("wide", "narrow") "whether one type has every value of another" |_, a|
        Some(Attr::Bool(holds(dtype(a, 0)?, dtype(a, 1)?)));
    "at"("list", "i") "an entry; from the end if negative" |_, a| {
        let i = int(a, 1)?;
        match attr(a, 0)? {
            Attr::Ints(list) => place(i, list.len()).map(|i| Attr::Int(list[i])),
            Attr::Dims(list) => place(i, list.rank()).map(|i| Attr::Dim(list[i].clone())),
            _ => None,
        }
    };
    "count"("list") "the number of entries" |_, a| Some(Attr::Int(match attr(a, 0)? {
        Attr::Ints(list) => list.len() as i64,
        Attr::Dims(list) => list.rank() as i64,
        _ => return None,
    }));
    "product"("dims") "the product of extents" |_, a| Some(Attr::Dim(dims(a, 0)?.elements()));
    "pick"("list", "axes") "the entries at some places" |_, a| {
        let axes = ints(a, 1)?;
        match attr(a, 0)? {
            Attr::Ints(list) =>
                axes.iter()
                    .map(|i| Some(list[place(*i, list.len())?]))
                    .collect::<Option<Ints>>()
                    .map(Attr::Ints),
            Attr::Dims(list) =>
                axes.iter()
                    .map(|i| Some(list[place(*i, list.rank())?].clone()))
                    .collect::<Option<Shape>>()
                    .map(Attr::Dims),
            _ => None,
        }
    };
    "find"("list", "values") "where values stand in a list" |_, a| {
        let list = ints(a, 0)?;
        let at = |v: &i64| list.iter().position(|p| p == v).map(|p| p as i64);
        ints(a, 1)?.iter().map(at).collect::<Option<Ints>>().map(Attr::Ints)
    };
    "inverse"("perm") "the permutation that undoes it" |_, a| {
        let perm = ints(a, 0)?;
        let at = |v: i64| perm.iter().position(|p| *p == v).map(|p| p as i64);
        (0..perm.len() as i64).map(at).collect::<Option<Ints>>().map(Attr::Ints)
    };
    "range"("from", "to") "the numbers from one to before another" |_, a| {
        let (from, to) = (int(a, 0)?, int(a, 1)?);
        (to - from <= 64).then(|| Attr::Ints((from..to).collect()))
    };
    "join"("list", "more") "both lists" |_, a| match (attr(a, 0)?, attr(a, 1)?) {
        (Attr::Ints(x), Attr::Ints(y)) => Some(Attr::Ints(x.iter().chain(y).copied().collect())),
        _ => Some(Attr::Dims(dims(a, 0)?.iter().chain(dims(a, 1)?.iter()).cloned().collect())),
    };
    "skip"("list", "n") "without the first entries" |_, a| {
        let n = usize::try_from(int(a, 1)?).ok()?;
        match attr(a, 0)? {
            Attr::Ints(list) => Some(Attr::Ints(list.get(n..)?.iter().copied().collect())),
            Attr::Dims(list) => Some(Attr::Dims(Shape::from(list.get(n..)?))),
            _ => None,
        }
    };
    "first"("list", "n") "the first entries" |_, a| {
        let n = usize::try_from(int(a, 1)?).ok()?;
        match attr(a, 0)? {
            Attr::Ints(list) => Some(Attr::Ints(list.get(..n)?.iter().copied().collect())),
            Attr::Dims(list) => Some(Attr::Dims(Shape::from(list.get(..n)?))),
            _ => None,
        }
    };
    "copies"("value", "n") "a list of one value" |_, a| {
        let n = usize::try_from(int(a, 1)?).ok().filter(|n| *n <= 64)?;
        match attr(a, 0)? {
            Attr::Int(v) => Some(Attr::Ints(std::iter::repeat_n(*v, n).collect())),
            Attr::Dim(d) => Some(Attr::Dims(std::iter::repeat_n(d.clone(), n).collect())),
            _ => None,
        }
    };
    "kept"("dims", "axes") "the extents with 1 at some axes" |_, a| {
        let axes = ints(a, 1)?;
        let extent = |(i, d): (usize, &Dim)| if axes.contains(&(i as i64)) { Dim::ONE } else { d.clone() };
        Some(Attr::Dims(dims(a, 0)?.iter().enumerate().map(extent).collect()))
    };
    "others"("axes", "rank") "the axes that are not in a list, in order" |_, a| {
        let axes = ints(a, 0)?;
        Some(Attr::Ints((0..int(a, 1)?.min(64)).filter(|i| !axes.contains(i)).collect()))
    };
    "rising"("list") "whether each entry is above the one before" |_, a|
        Some(Attr::Bool(ints(a, 0)?.windows(2).all(|w| w[0] < w[1])));
    "all"("list", "value") "whether every entry is a number" |_, a| {
        let value = int(a, 1)?;
        Some(Attr::Bool(match attr(a, 0)? {
            Attr::Ints(list) => list.iter().all(|v| *v == value),
            Attr::Dims(list) => list.iter().all(|d| d.is(value)),
            _ => return None,
        }))
    };
    "ints"("dims") "extents that are numbers" |_, a|
        dims(a, 0)?.iter().map(Dim::as_const).collect::<Option<Ints>>().map(Attr::Ints);
    "padded"("dims", "rank") "the extents behind so many ones that there are as many as axes" |_, a| {
        let (shape, rank) = (dims(a, 0)?, usize::try_from(int(a, 1)?).ok()?);
        let ones = rank.checked_sub(shape.rank())?;
        Some(Attr::Dims(std::iter::repeat_n(Dim::ONE, ones).chain(shape.iter().cloned()).collect()))
    };
    "along"("dims", "axis", "rank") "whether extents, aligned at the last axis, are 1 but at one" |_, a| {
        let (shape, axis, rank) = (dims(a, 0)?, int(a, 1)?, int(a, 2)?);
        let lead = rank - shape.rank() as i64;
        let only = |(i, d): (usize, &Dim)| d.is(1) || i as i64 + lead == axis;
        Some(Attr::Bool(lead >= 0 && shape.iter().enumerate().all(only)))
    };
    "grows"("from", "to") "whether broadcasting surely repeats or keeps each axis" |g, a| {
        let (from, to) = (dims(a, 0)?, dims(a, 1)?);
        let fits = from.rank() <= to.rank() && {
            let aligned = &to[to.rank() - from.rank()..];
            from.iter().zip(aligned).all(|(a, b): (&Dim, &Dim)| a.is(1) || g.analysis.ranges.equal(a, b))
        };
        Some(Attr::Bool(fits))
    };
    "reciprocal"("number") "one over a number" |_, a| Some(Attr::Float(1.0 / number(a, 0)?));
    "not"("c") "the opposite" |_, a| Some(Attr::Bool(!flag(a, 0)?));
    "eq"("a", "b") "`a == b`, of extents for all values of symbols" |g, a|
        Some(Attr::Bool(equal(ranges(g), attr(a, 0)?, attr(a, 1)?)?));
    "ne"("a", "b") "`a != b`: not surely equal" |g, a|
        Some(Attr::Bool(!equal(ranges(g), attr(a, 0)?, attr(a, 1)?)?));
    "lt"("a", "b") "`a < b`" |_, a| Some(Attr::Bool(number(a, 0)? < number(a, 1)?));
    "le"("a", "b") "`a <= b`" |_, a| Some(Attr::Bool(number(a, 0)? <= number(a, 1)?));
    "add"("a", "b") "`a + b`, of lists entry by entry" |_, a|
        arithmetic(a, |x, y| x.checked_add(y), |x, y| x + y, |x, y| x + y);
    "sub"("a", "b") "`a - b`" |_, a| arithmetic(a, |x, y| x.checked_sub(y), |x, y| x - y, |x, y| x - y);
    "mul"("a", "b") "`a * b`" |_, a| arithmetic(a, |x, y| x.checked_mul(y), |x, y| x * y, |x, y| x * y);
}

fn ranges(egraph: &Egraph) -> &Ranges {
    &egraph.analysis.ranges
}

fn facts<'g>(egraph: &'g Egraph, args: &[Arg]) -> Option<&'g super::facts::Facts> {
    match args.first()? {
        Arg::Tensor(id) => Some(&egraph[*id].data),
        Arg::Attr(_) => None,
    }
}

fn ty<'g>(egraph: &'g Egraph, args: &[Arg]) -> Option<&'g TensorType> {
    match args.first()? {
        Arg::Tensor(id) => type_of(egraph, *id),
        Arg::Attr(_) => None,
    }
}

fn splat(egraph: &Egraph, args: &[Arg]) -> Option<Scalar> {
    facts(egraph, args)?.splat
}

fn attr(args: &[Arg], i: usize) -> Option<&Attr> {
    match args.get(i)? {
        Arg::Attr(attr) => Some(attr),
        Arg::Tensor(_) => None,
    }
}

fn int(args: &[Arg], i: usize) -> Option<i64> {
    match attr(args, i)? {
        Attr::Int(v) => Some(*v),
        Attr::Dim(d) => d.as_const(),
        _ => None,
    }
}

fn number(args: &[Arg], i: usize) -> Option<f64> {
    match attr(args, i)? {
        Attr::Float(v) => Some(*v),
        _ => int(args, i).map(|v| v as f64),
    }
}

fn flag(args: &[Arg], i: usize) -> Option<bool> {
    match attr(args, i)? {
        Attr::Bool(v) => Some(*v),
        _ => None,
    }
}

fn dtype(args: &[Arg], i: usize) -> Option<DType> {
    match attr(args, i)? {
        Attr::DType(v) => Some(*v),
        _ => None,
    }
}

fn ints(args: &[Arg], i: usize) -> Option<&Ints> {
    match attr(args, i)? {
        Attr::Ints(v) => Some(v),
        _ => None,
    }
}

fn dims(args: &[Arg], i: usize) -> Option<Shape> {
    match attr(args, i)? {
        Attr::Dims(v) => Some(v.clone()),
        Attr::Ints(v) => Some(v.iter().map(|i| Dim::from(*i)).collect()),
        _ => None,
    }
}

fn place(i: i64, len: usize) -> Option<usize> {
    let at = if i < 0 { i + len as i64 } else { i };
    usize::try_from(at).ok().filter(|at| *at < len)
}

fn holds(wide: DType, narrow: DType) -> bool {
    use tcc_ir::dtype::Kind;
    match (narrow.kind(), wide.kind()) {
        (Kind::Float(_), Kind::Float(_)) => {
            wide == narrow || matches!(wide, DType::F32 | DType::F64) && narrow.bits() < wide.bits()
        }
        (Kind::Int { bits: n, signed: false }, Kind::Int { bits: w, signed: true }) => n < w,
        (Kind::Int { bits: n, signed: a }, Kind::Int { bits: w, signed: b }) => a == b && n <= w,
        _ => wide == narrow,
    }
}

/// Whether two attributes are the same, for all values of the symbols; none if they cannot be compared.
pub(super) fn equal(ranges: &Ranges, a: &Attr, b: &Attr) -> Option<bool> {
    Some(match (a, b) {
        (Attr::Dims(x), Attr::Dims(y)) => x.equal(y, ranges),
        (Attr::Dims(x), Attr::Ints(y)) | (Attr::Ints(y), Attr::Dims(x)) => {
            x.rank() == y.len() && x.iter().zip(y).all(|(d, i)| d.is(*i))
        }
        (Attr::Dim(x), Attr::Dim(y)) => ranges.equal(x, y),
        (Attr::Dim(x), Attr::Int(y)) | (Attr::Int(y), Attr::Dim(x)) => x.is(*y),
        (Attr::Float(x), Attr::Int(y)) | (Attr::Int(y), Attr::Float(x)) => *x == *y as f64,
        (Attr::Float(x), Attr::Dim(y)) | (Attr::Dim(y), Attr::Float(x)) => {
            y.as_const().is_some_and(|y| y as f64 == *x)
        }
        (x, y) if x.kind() == y.kind() => x == y,
        _ => return None,
    })
}

fn arithmetic(
    args: &[Arg],
    of_ints: fn(i64, i64) -> Option<i64>,
    of_dims: fn(&Dim, &Dim) -> Dim,
    of_floats: fn(f64, f64) -> f64,
) -> Option<Attr> {
    let dim = |a: &Attr| match a {
        Attr::Dim(d) => Some(d.clone()),
        Attr::Int(i) => Some(Dim::from(*i)),
        _ => None,
    };
    Some(match (attr(args, 0)?, attr(args, 1)?) {
        (Attr::Int(x), Attr::Int(y)) => Attr::Int(of_ints(*x, *y)?),
        (Attr::Ints(x), Attr::Ints(y)) if x.len() == y.len() => {
            let sums: Option<Ints> = x.iter().zip(y).map(|(x, y)| of_ints(*x, *y)).collect();
            Attr::Ints(sums?)
        }
        (Attr::Ints(x), Attr::Int(y)) => {
            let sums: Option<Ints> = x.iter().map(|x| of_ints(*x, *y)).collect();
            Attr::Ints(sums?)
        }
        (Attr::Float(_), _) | (_, Attr::Float(_)) => {
            Attr::Float(of_floats(number(args, 0)?, number(args, 1)?))
        }
        (Attr::Dims(x), Attr::Dims(y)) if x.rank() == y.rank() => Attr::Dims(
            x.iter()
                .zip(y.iter())
                .map(|(x, y)| of_dims(x, y))
                .collect::<SmallVec<[Dim; 4]>>()
                .into_iter()
                .collect(),
        ),
        (x, y) => Attr::Dim(of_dims(&dim(x)?, &dim(y)?)),
    })
}
