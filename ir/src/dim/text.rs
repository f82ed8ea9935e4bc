//! The text of dims: `2*N + 1`, `N / 4`, `N % 4`, `min(N, 8)`, `max(N, M)`.
//!
//! `/` rounds towards minus infinity and `%` has the sign of its divisor. What is printed parses to the same
//! normal form.

use std::fmt;

use super::{Atom, Dim, Term};

/// What a dim's text should have held, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at byte {at}")]
pub struct DimParseError {
    /// Byte offset in the text.
    pub at: usize,
    /// What was expected there.
    pub expected: &'static str,
}

/// Nesting beyond this is refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Parses a dim.
pub fn parse_dim(text: &str) -> Result<Dim, DimParseError> {
    let mut parser = Parser { text: text.as_bytes(), at: 0, depth: 0 };
    let dim = parser.sum()?;
    parser.space();
    if parser.at < text.len() { Err(parser.error("an operator or the end")) } else { Ok(dim) }
}

/// Parses the dim that starts at a byte of a longer text; gives it with the offset of its end.
pub fn parse_dim_prefix(text: &str, at: usize) -> Result<(Dim, usize), DimParseError> {
    let mut parser = Parser { text: text.as_bytes(), at, depth: 0 };
    let dim = parser.sum()?;
    Ok((dim, parser.at))
}

impl std::str::FromStr for Dim {
    type Err = DimParseError;
    fn from_str(text: &str) -> Result<Dim, DimParseError> {
        parse_dim(text)
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn error(&self, expected: &'static str) -> DimParseError {
        DimParseError { at: self.at, expected }
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// `//` starts a comment of the text around the dim.
    fn at_comment(&mut self) -> bool {
        self.space();
        self.text[self.at.min(self.text.len())..].starts_with(b"//")
    }

    fn sum(&mut self) -> Result<Dim, DimParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("fewer than 64 levels of nesting"));
        }
        let mut left = self.product()?;
        loop {
            if self.accept(b'+') {
                left = &left + &self.product()?;
            } else if self.accept(b'-') {
                left = &left - &self.product()?;
            } else {
                self.depth -= 1;
                return Ok(left);
            }
        }
    }

    fn product(&mut self) -> Result<Dim, DimParseError> {
        let mut left = self.factor()?;
        loop {
            if self.accept(b'*') {
                left = &left * &self.factor()?;
            } else if !self.at_comment() && self.accept(b'/') {
                left = left.floor_div(&self.factor()?);
            } else if self.accept(b'%') {
                left = left.modulo(&self.factor()?);
            } else {
                return Ok(left);
            }
        }
    }

    fn factor(&mut self) -> Result<Dim, DimParseError> {
        let mut negative = false;
        while self.accept(b'-') {
            negative = !negative;
        }
        let value = self.primary()?;
        Ok(if negative { &Dim::ZERO - &value } else { value })
    }

    fn primary(&mut self) -> Result<Dim, DimParseError> {
        self.space();
        let start = self.at;
        match self.text.get(self.at) {
            Some(b'(') => {
                self.at += 1;
                let inner = self.sum()?;
                if self.accept(b')') { Ok(inner) } else { Err(self.error("`)`")) }
            }
            Some(c) if c.is_ascii_digit() => {
                while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
                    self.at += 1;
                }
                let digits = str::from_utf8(&self.text[start..self.at]).unwrap_or("");
                digits
                    .parse::<i64>()
                    .map(Dim::from)
                    .map_err(|_| DimParseError { at: start, expected: "an integer below 2^63" })
            }
            Some(c) if is_name_start(*c) => {
                while self.text.get(self.at).is_some_and(|c| is_name_part(*c)) {
                    self.at += 1;
                }
                let name = str::from_utf8(&self.text[start..self.at]).unwrap_or("").to_owned();
                if !matches!(name.as_str(), "min" | "max") || !self.accept(b'(') {
                    return Ok(Dim::sym(name.as_str()));
                }
                let left = self.sum()?;
                if !self.accept(b',') {
                    return Err(self.error("`,`"));
                }
                let right = self.sum()?;
                if !self.accept(b')') {
                    return Err(self.error("`)`"));
                }
                Ok(if name == "min" { left.minimum(&right) } else { left.maximum(&right) })
            }
            _ => Err(self.error("a number, a name or `(`")),
        }
    }
}

fn is_name_start(c: u8) -> bool {
    c.is_ascii_alphabetic() || c == b'_'
}

fn is_name_part(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'.'
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The empty product sorts first; people write the constant last.
        let mut terms: Vec<Term> = self.terms().collect();
        if terms.is_empty() {
            return f.write_str("0");
        }
        if terms[0].atoms.is_empty() {
            terms.rotate_left(1);
        }
        for (i, term) in terms.iter().enumerate() {
            let (sign, coeff) = (term.coeff < 0, term.coeff.unsigned_abs());
            match (i, sign) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            if term.atoms.is_empty() {
                write!(f, "{coeff}")?;
                continue;
            }
            // Quotients and remainders come first, since `*` binds to the left as they do.
            let (mut quotients, others): (Vec<&Atom>, Vec<&Atom>) =
                term.atoms.iter().partition(|a| matches!(a, Atom::FloorDiv(_) | Atom::Mod(_)));
            let bare = coeff == 1 && quotients.len() == 1 && others.is_empty() && !sign;
            if bare && let Some(atom) = quotients.pop() {
                write_quotient(f, atom)?;
                continue;
            }
            let mut first = true;
            if coeff != 1 {
                write!(f, "{coeff}")?;
                first = false;
            }
            for atom in others.into_iter().chain(quotients) {
                if !first {
                    f.write_str("*")?;
                }
                first = false;
                match atom {
                    Atom::Sym(s) => write!(f, "{s}")?,
                    Atom::Min(p) => write!(f, "min({}, {})", p.0, p.1)?,
                    Atom::Max(p) => write!(f, "max({}, {})", p.0, p.1)?,
                    Atom::FloorDiv(_) | Atom::Mod(_) => {
                        f.write_str("(")?;
                        write_quotient(f, atom)?;
                        f.write_str(")")?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn write_quotient(f: &mut fmt::Formatter<'_>, atom: &Atom) -> fmt::Result {
    let (pair, sign) = match atom {
        Atom::FloorDiv(p) => (p, '/'),
        Atom::Mod(p) => (p, '%'),
        _ => return Ok(()),
    };
    write_operand(f, &pair.0)?;
    write!(f, " {sign} ")?;
    write_operand(f, &pair.1)
}

/// Parenthesises everything but single names and numbers.
fn write_operand(f: &mut fmt::Formatter<'_>, dim: &Dim) -> fmt::Result {
    if dim.as_symbol().is_some() || dim.as_const().is_some_and(|c| c >= 0) {
        write!(f, "{dim}")
    } else {
        write!(f, "({dim})")
    }
}

impl fmt::Debug for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
