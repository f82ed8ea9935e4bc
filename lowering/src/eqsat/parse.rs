//! Reading rules: `rule NAME CLASS: [let NAME = TERM in] TERM => TERM [if CONDITION, …] [try EXAMPLE]…` and
//! `merge NAME CLASS: TERM over NAME axis EXPR, … => axis EXPR [if CONDITION, …] [try EXAMPLE]…`.
//!
//! Every name is resolved here: an op, attribute, function or variable that does not exist is an error at its
//! place, and all rules of a file are read before any error is reported. An attribute that a pattern does not
//! mention is bound to a variable of its own name; one that a template does not mention is taken from there.

use tcc_ir::diag::{Diag, Diags};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, AttrKind, Op};
use tcc_ir::numerics::Numerics;
use tcc_ir::text::Cursor;

use super::functions::Function;
use super::rule::{Callee, Content, Example, Expr, Merging, Operand, Rule, RuleSet, Term};

/// Terms nested deeper than this are refused.
const MAX_DEPTH: usize = 64;

impl RuleSet {
    /// Reads the text of a rules file; `theme` is what its rules are listed under.
    pub fn parse(source: &str, theme: &str) -> Result<RuleSet, Diags> {
        let mut cursor = Cursor::new(source);
        let (mut rules, mut diags): (Vec<Rule>, Diags) = Default::default();
        while !cursor.at_end() && !diags.is_full() {
            let start = cursor.here();
            match Reader::new(&mut cursor).rule(theme) {
                Ok(rule) if rules.iter().any(|r| r.name == rule.name) => {
                    let message = format!("expected distinct names, got a second rule `{}`", rule.name);
                    diags.push(Diag::at(cursor.since(start), "name", message));
                }
                Ok(mut rule) => {
                    let text = cursor.text(start, cursor.here());
                    let text = text.split("\n  try ").next().unwrap_or(text);
                    let lines = text.lines().map(|l| l.split("//").next().unwrap_or(l).trim());
                    rule.text = lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ");
                    rules.push(rule);
                }
                Err(diag) => {
                    diags.push(diag);
                    let next = |c: &Cursor<'_>| c.at_end() || c.peek("rule") || c.peek("merge");
                    while !next(&cursor) && cursor.skip_token() {}
                }
            }
        }
        diags.into_result().map(|()| RuleSet { rules })
    }
}

/// What stands for a name of a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stands {
    Tensor,
    Attr(AttrKind),
}

struct Reader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    vars: Vec<(String, Stands)>,
    lets: Vec<(String, Term)>,
    families: Vec<(String, usize)>,
    /// Whether names are bound where they stand, as in patterns.
    binding: bool,
    /// Whether names that are bound nowhere are extents to choose, as in examples.
    choosing: bool,
}

impl<'c, 'a> Reader<'c, 'a> {
    fn new(cursor: &'c mut Cursor<'a>) -> Self {
        let (vars, lets, families) = Default::default();
        Reader { cursor, vars, lets, families, binding: true, choosing: false }
    }

    fn rule(&mut self, theme: &str) -> Result<Rule, Diag> {
        let merges = self.cursor.accept("merge");
        if !merges {
            self.cursor.expect("rule")?;
        }
        let name = self.cursor.word("the name of a rule")?.to_owned();
        let numerics = self.numerics()?;
        self.cursor.expect(":")?;
        while self.cursor.accept("let") {
            let name = self.cursor.word("a name")?.to_owned();
            self.cursor.expect("=")?;
            let term = self.term(0)?;
            self.cursor.expect("in")?;
            self.lets.push((name, term));
        }
        let start = self.cursor.here();
        let pattern = self.term(0)?;
        if !matches!(pattern, Term::Apply { .. }) {
            let message = "expected a pattern that begins with an op";
            return Err(Diag::at(self.cursor.since(start), "pattern", message));
        }
        self.binding = false;
        let (template, merging) = if merges {
            (pattern.clone(), Some(self.merging()?))
        } else {
            self.cursor.expect("=>")?;
            (self.term(0)?, None)
        };
        let mut conditions = Vec::new();
        if self.cursor.accept("if") {
            conditions.push(self.expr(0)?);
            while self.cursor.accept(",") {
                conditions.push(self.expr(0)?);
            }
        }
        let mut examples = Vec::new();
        self.choosing = true;
        while self.cursor.accept("try") {
            examples.push(self.example()?);
        }
        let (text, theme) = (String::new(), theme.to_owned());
        let vars = self.vars.iter().map(|(name, _)| name.clone()).collect();
        Ok(Rule { name, numerics, theme, text, vars, pattern, template, conditions, merging, examples })
    }

    fn merging(&mut self) -> Result<Merging, Diag> {
        self.cursor.expect("over")?;
        let mut over = Vec::new();
        loop {
            let start = self.cursor.here();
            let name = self.cursor.word("a variable")?.to_owned();
            let Some(var) = self.vars.iter().position(|(known, _)| *known == name) else {
                let message = format!("expected a variable of the pattern, got `{name}`");
                return Err(Diag::at(self.cursor.since(start), "variable", message));
            };
            self.cursor.expect("axis")?;
            over.push((var, self.expr(0)?));
            if !self.cursor.accept(",") {
                break;
            }
        }
        self.cursor.expect("=>")?;
        self.cursor.expect("axis")?;
        Ok(Merging { over, along: self.expr(0)? })
    }

    fn numerics(&mut self) -> Result<Numerics, Diag> {
        let start = self.cursor.here();
        let bound = |reader: &mut Self| -> Result<u32, Diag> {
            reader.cursor.expect("(")?;
            let start = reader.cursor.here();
            let value = reader.cursor.int()?;
            let value = u32::try_from(value).map_err(|_| {
                Diag::at(
                    reader.cursor.since(start),
                    "numerics",
                    format!("expected a bound of 32 bits, got {value}"),
                )
            })?;
            reader.cursor.expect(")")?;
            Ok(value)
        };
        match self.cursor.word("a class of numerics")? {
            "exact" => Ok(Numerics::Exact),
            "rounding" => Ok(Numerics::Rounding { ulps: bound(self)? }),
            "reassociates" => Ok(Numerics::Reassociates),
            "approximate" => Ok(Numerics::Approximate { bound: bound(self)? }),
            other => {
                let message = format!(
                    "expected `exact`, `rounding(ulps)`, `reassociates` or `approximate(bound)`, \
                     got `{other}`"
                );
                Err(Diag::at(self.cursor.since(start), "numerics", message))
            }
        }
    }

    fn term(&mut self, depth: usize) -> Result<Term, Diag> {
        let start = self.cursor.here();
        if depth > MAX_DEPTH {
            let message = format!("expected terms nested at most {MAX_DEPTH} deep");
            return Err(Diag::at(self.cursor.since(start), "depth", message));
        }
        let rest = self.cursor.text(start, self.cursor.end());
        if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let number = self.cursor.number()?;
            return number.parse().map(Term::Number).map_err(|_| {
                Diag::at(self.cursor.since(start), "number", format!("expected a number, got `{number}`"))
            });
        }
        let name = self.cursor.word("an op, a variable or a number")?.to_owned();
        if !self.cursor.accept("(") {
            if let Some((_, term)) = self.lets.iter().find(|(known, _)| *known == name) {
                return Ok(term.clone());
            }
            return self.variable(&name, Stands::Tensor, start).map(Term::Var);
        }
        if name == "full" && !self.binding {
            let value = Box::new(self.expr(0)?);
            self.cursor.expect(",")?;
            let dtype = Box::new(self.expr(0)?);
            self.cursor.expect(",")?;
            let shape = Box::new(self.expr(0)?);
            self.cursor.expect(")")?;
            return Ok(Term::Full { value, dtype, shape });
        }
        self.application(&name, start, depth)
    }

    fn application(&mut self, name: &str, start: usize, depth: usize) -> Result<Term, Diag> {
        let any = name.starts_with(|c: char| c.is_ascii_uppercase());
        let op = Op::from_name(name).filter(|op| op.def().regions.is_empty() && !op.def().binds);
        if op.is_none() && !any {
            let message = format!("expected an op without regions, got `{name}`");
            return Err(Diag::at(self.cursor.since(start), "op", message));
        }
        let declared = op.map_or(&[][..], |op| op.def().attrs);
        let mut operands = Vec::new();
        let mut attrs: Vec<Option<Expr>> = vec![None; declared.len()];
        while !self.cursor.accept(")") {
            if !operands.is_empty() || attrs.iter().any(Option::is_some) {
                self.cursor.expect(",")?;
            }
            match self.attribute(declared)? {
                Some((at, value)) => attrs[at] = Some(value),
                None => operands.push(self.term(depth + 1)?),
            }
        }
        let span = self.cursor.since(start);
        let given = operands.len();
        let fits = match op {
            Some(op) => {
                let def = op.def();
                given == def.operands.len() || (given > def.operands.len() && def.rest.is_some())
            }
            None => {
                let arity = self.families.iter().find(|(known, _)| known == name).map(|(_, n)| *n);
                if arity.is_none() && self.binding {
                    self.families.push((name.to_owned(), given));
                }
                (1..=3).contains(&given) && arity.map_or(self.binding, |n| n == given)
            }
        };
        if !fits {
            let message = format!("expected as many operands as `{name}` has, got {given}");
            return Err(Diag::at(span, "arity", message));
        }
        let mut all = Vec::with_capacity(attrs.len());
        for (attr, declared) in attrs.into_iter().zip(declared) {
            all.push(match attr {
                Some(value) => value,
                None => Expr::Var(self.variable(declared.name, Stands::Attr(declared.kind), start)?),
            });
        }
        let head = op.map_or_else(|| Callee::Any(name.to_owned()), Callee::Op);
        Ok(Term::Apply { head, operands, attrs: all })
    }

    /// `name=value`, if one follows; nothing otherwise.
    fn attribute(&mut self, declared: &[tcc_ir::graph::AttrDef]) -> Result<Option<(usize, Expr)>, Diag> {
        let start = self.cursor.here();
        for (at, def) in declared.iter().enumerate() {
            let behind = start + def.name.len();
            if !self.cursor.peek(def.name) {
                continue;
            }
            // A variable may have the name of an attribute; an attribute is followed by `=`.
            let source = self.cursor.text(start, start + def.name.len());
            debug_assert_eq!(source, def.name);
            let mut ahead = Cursor::new(self.cursor.text(behind, self.cursor.end()));
            if !ahead.accept("=") || ahead.peek("=") || ahead.peek(">") {
                continue;
            }
            self.cursor.word("an attribute")?;
            self.cursor.expect("=")?;
            if self.binding {
                let start = self.cursor.here();
                let name = self.cursor.word("a variable for the attribute")?.to_owned();
                let var = self.variable(&name, Stands::Attr(def.kind), start)?;
                return Ok(Some((at, Expr::Var(var))));
            }
            return Ok(Some((at, self.expr(0)?)));
        }
        Ok(None)
    }

    fn variable(&mut self, name: &str, stands: Stands, start: usize) -> Result<usize, Diag> {
        let known = self.vars.iter().position(|(known, _)| known == name);
        match known {
            Some(at) if self.vars[at].1 == stands => Ok(at),
            Some(_) => {
                let message = format!("expected `{name}` to stand for one kind of thing");
                Err(Diag::at(self.cursor.since(start), "variable", message))
            }
            None if self.binding => {
                self.vars.push((name.to_owned(), stands));
                Ok(self.vars.len() - 1)
            }
            None => {
                let message = format!("expected a variable that the pattern binds, got `{name}`");
                Err(Diag::at(self.cursor.since(start), "variable", message))
            }
        }
    }

    fn expr(&mut self, depth: usize) -> Result<Expr, Diag> {
        let left = self.sum(depth)?;
        for (sign, name, swapped) in [
            ("==", "eq", false),
            ("!=", "ne", false),
            ("<=", "le", false),
            (">=", "le", true),
            ("<", "lt", false),
        ] {
            if self.cursor.accept(sign) {
                let right = self.sum(depth)?;
                let args = if swapped { vec![right, left] } else { vec![left, right] };
                return Ok(Expr::Call(known(name), args));
            }
        }
        if !self.cursor.peek(">") {
            return Ok(left);
        }
        self.cursor.expect(">")?;
        let right = self.sum(depth)?;
        Ok(Expr::Call(known("lt"), vec![right, left]))
    }

    fn sum(&mut self, depth: usize) -> Result<Expr, Diag> {
        let mut left = self.product(depth)?;
        loop {
            let name = if self.cursor.accept("+") {
                "add"
            } else if self.cursor.accept("-") {
                "sub"
            } else {
                return Ok(left);
            };
            left = Expr::Call(known(name), vec![left, self.product(depth)?]);
        }
    }

    fn product(&mut self, depth: usize) -> Result<Expr, Diag> {
        let mut left = self.primary(depth)?;
        while self.cursor.accept("*") {
            left = Expr::Call(known("mul"), vec![left, self.primary(depth)?]);
        }
        Ok(left)
    }

    fn primary(&mut self, depth: usize) -> Result<Expr, Diag> {
        let start = self.cursor.here();
        if depth > MAX_DEPTH {
            let message = format!("expected expressions nested at most {MAX_DEPTH} deep");
            return Err(Diag::at(self.cursor.since(start), "depth", message));
        }
        if self.cursor.accept("[") {
            let mut items = Vec::new();
            while !self.cursor.accept("]") {
                if !items.is_empty() {
                    self.cursor.expect(",")?;
                }
                items.push(self.expr(depth + 1)?);
            }
            return Ok(Expr::List(items));
        }
        if self.cursor.accept("(") {
            let inner = self.expr(depth + 1)?;
            self.cursor.expect(")")?;
            return Ok(inner);
        }
        let rest = self.cursor.text(start, self.cursor.end());
        if rest.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            let text = self.cursor.number()?;
            let value = match text.parse::<i64>() {
                Ok(int) => Some(Attr::Int(int)),
                Err(_) => text.parse::<f64>().ok().map(Attr::Float),
            };
            return value.map(Expr::Value).ok_or_else(|| {
                Diag::at(self.cursor.since(start), "number", format!("expected a number, got `{text}`"))
            });
        }
        let name = self.cursor.word("an expression")?.to_owned();
        if self.cursor.accept("(") {
            return self.call(&name, start, depth);
        }
        if let Some(var) = self.vars.iter().position(|(known, _)| *known == name) {
            return Ok(Expr::Var(var));
        }
        match name.as_str() {
            "true" | "false" => return Ok(Expr::Value(Attr::Bool(name == "true"))),
            _ => {
                if let Ok(dtype) = name.parse::<DType>() {
                    return Ok(Expr::Value(Attr::DType(dtype)));
                }
            }
        }
        if self.choosing {
            return Ok(Expr::Free(name));
        }
        let message = format!("expected a variable that the pattern binds, got `{name}`");
        Err(Diag::at(self.cursor.since(start), "variable", message))
    }

    fn call(&mut self, name: &str, start: usize, depth: usize) -> Result<Expr, Diag> {
        let Some(function) = Function::find(name) else {
            let message = format!("expected a function, got `{name}`");
            return Err(Diag::at(self.cursor.since(start), "function", message));
        };
        let mut args = Vec::new();
        while !self.cursor.accept(")") {
            if !args.is_empty() {
                self.cursor.expect(",")?;
            }
            let at = self.cursor.here();
            let arg = self.expr(depth + 1)?;
            let tensor = matches!(&arg, Expr::Var(v) if self.vars[*v].1 == Stands::Tensor);
            if args.len() < function.args.len() && tensor != function.takes_tensor(args.len()) {
                let wanted = if tensor { "an attribute" } else { "a variable that stands for a tensor" };
                let message = format!("expected {wanted} as argument `{}`", function.args[args.len()]);
                return Err(Diag::at(self.cursor.since(at), "argument", message));
            }
            args.push(arg);
        }
        if args.len() != function.args.len() {
            let (expected, got) = (function.args.len(), args.len());
            let message = format!("expected {expected} arguments of `{name}`, got {got}");
            return Err(Diag::at(self.cursor.since(start), "arity", message));
        }
        Ok(Expr::Call(function, args))
    }

    fn example(&mut self) -> Result<Example, Diag> {
        let mut example = Example::default();
        loop {
            let start = self.cursor.here();
            let name = self.cursor.word("a variable")?.to_owned();
            if !self.vars.iter().any(|(known, _)| *known == name) {
                let message = format!("expected a variable of the pattern, got `{name}`");
                return Err(Diag::at(self.cursor.since(start), "variable", message));
            }
            if self.cursor.accept("=") {
                let value = self.expr(0)?;
                example.attrs.push((name, value));
            } else {
                self.cursor.expect(":")?;
                let content = if self.cursor.accept("const") {
                    Content::Constant
                } else if self.cursor.accept("splat") {
                    let Term::Number(value) = self.term(0)? else {
                        return Err(self.cursor.expected("a number"));
                    };
                    Content::Splat(value)
                } else {
                    Content::Unknown
                };
                let dtype = if self.cursor.peek("[") {
                    None
                } else {
                    let word = self.cursor.word("an element type or a shape")?;
                    Some(word.parse::<DType>().map_err(|_| {
                        Diag::at(
                            self.cursor.since(start),
                            "dtype",
                            format!("expected an element type, got `{word}`"),
                        )
                    })?)
                };
                let shape = self.expr(0)?;
                example.tensors.push((name, Operand { content, dtype, shape }));
            }
            if !self.cursor.accept(",") {
                return Ok(example);
            }
        }
    }
}

/// A function that operators stand for.
fn known(name: &str) -> &'static Function {
    Function::find(name).unwrap_or_else(|| unreachable!("`{name}` is in the table of functions"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_have_a_place() {
        let text = "rule a exact: neg(neg(x)) => y\nrule b exact: foo(x) => x\nrule c slow: neg(x) => x\n\
                    rule d exact: transpose(x, perm=p) => transpose(x, perm=flip(p))\n";
        let shown = RuleSet::parse(text, "t").unwrap_err().render("t.rules", text);
        for wanted in ["t.rules:1:30", "got `y`", "t.rules:2:15", "t.rules:3:8", "t.rules:4:57", "got `flip`"]
        {
            assert!(shown.contains(wanted), "expected {wanted} in\n{shown}");
        }
    }
}
