//! Integer expressions over the symbols of a model, as code for a stack machine.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One step of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Pushes a number.
    Const(i64),
    /// Pushes the value of a symbol.
    Symbol(u32),
    /// Replaces the two last by their sum.
    Add,
    /// By their product.
    Mul,
    /// By their quotient, rounded down; zero if the divisor is.
    FloorDiv,
    /// By the remainder of that division.
    Mod,
    /// By the smaller.
    Min,
    /// By the larger.
    Max,
}

/// An integer expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Expr(pub Vec<Op>);

/// A word that is no step of an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a number, a symbol or an operation, got `{0}`")]
pub struct UnknownWord(String);

impl From<Expr> for String {
    fn from(expr: Expr) -> String {
        expr.to_string()
    }
}

impl TryFrom<String> for Expr {
    type Error = UnknownWord;
    fn try_from(text: String) -> Result<Expr, UnknownWord> {
        text.parse()
    }
}

impl FromStr for Expr {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Expr, UnknownWord> {
        let word = |word: &str| {
            Some(match word {
                "+" => Op::Add,
                "*" => Op::Mul,
                "/" => Op::FloorDiv,
                "%" => Op::Mod,
                "min" => Op::Min,
                "max" => Op::Max,
                word => match word.strip_prefix('s') {
                    Some(index) => Op::Symbol(index.parse().ok()?),
                    None => Op::Const(word.parse().ok()?),
                },
            })
        };
        text.split_whitespace()
            .map(|w| word(w).ok_or_else(|| UnknownWord(w.to_owned())))
            .collect::<Result<_, _>>()
            .map(Expr)
    }
}

impl Expr {
    /// A number.
    pub fn constant(value: i64) -> Expr {
        Expr(vec![Op::Const(value)])
    }

    /// The value, or nothing if the code is malformed, names a symbol that has no value, or overflows.
    pub fn eval(&self, symbols: &[Option<i64>]) -> Option<i64> {
        if let [Op::Const(value)] = self.0.as_slice() {
            return Some(*value);
        }
        let mut stack = [0i64; 32];
        let mut depth = 0usize;
        for op in &self.0 {
            let value = match op {
                Op::Const(value) => *value,
                Op::Symbol(index) => (*symbols.get(*index as usize)?)?,
                binary => {
                    let (b, a) = (*stack.get(depth.checked_sub(1)?)?, *stack.get(depth.checked_sub(2)?)?);
                    depth -= 2;
                    match binary {
                        Op::Add => a.checked_add(b)?,
                        Op::Mul => a.checked_mul(b)?,
                        Op::FloorDiv => floor_div(a, b)?,
                        Op::Mod => a.checked_sub(b.checked_mul(floor_div(a, b)?)?)?,
                        Op::Min => a.min(b),
                        _ => a.max(b),
                    }
                }
            };
            *stack.get_mut(depth)? = value;
            depth += 1;
        }
        (depth == 1).then_some(stack[0])
    }

    /// The value as a size.
    pub fn size(&self, symbols: &[Option<i64>]) -> Option<usize> {
        usize::try_from(self.eval(symbols)?).ok()
    }
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    if b == 0 {
        return Some(0);
    }
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && ((a < 0) != (b < 0)) { quotient - 1 } else { quotient })
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, op) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            match op {
                Op::Const(value) => write!(f, "{value}")?,
                Op::Symbol(index) => write!(f, "s{index}")?,
                Op::Add => f.write_str("+")?,
                Op::Mul => f.write_str("*")?,
                Op::FloorDiv => f.write_str("/")?,
                Op::Mod => f.write_str("%")?,
                Op::Min => f.write_str("min")?,
                Op::Max => f.write_str("max")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_code_has_no_value() {
        assert_eq!(Expr(vec![Op::Const(2), Op::Symbol(0), Op::Mul]).eval(&[Some(21)]), Some(42));
        assert_eq!(Expr(vec![Op::Const(-7), Op::Const(2), Op::FloorDiv]).eval(&[]), Some(-4));
        assert_eq!(Expr(vec![Op::Add]).eval(&[]), None);
        assert_eq!(Expr(vec![Op::Symbol(3)]).eval(&[Some(1)]), None);
        assert_eq!(Expr(vec![Op::Const(1); 2]).eval(&[]), None);
        assert_eq!(Expr(vec![Op::Const(i64::MAX), Op::Const(2), Op::Mul]).eval(&[]), None);
    }
}
