//! Bodies of kernels: declarations, labels and instructions, in nested scopes.

use super::super::isa::{self, Guard, Place, Type};
use super::lexer::TokenKind;
use super::operand::Names;
use super::{Kernel, Module, Param, ParseError, Parser, Variable};

/// Reads what comes behind the `{` of a kernel.
pub(super) fn parse(
    parser: &mut Parser<'_>,
    module: &Module,
    name: String,
    params: Vec<Param>,
    max_threads: Option<u32>,
) -> Result<Kernel, ParseError> {
    let mut kernel = Kernel {
        name,
        params,
        max_threads,
        static_shared: 0,
        dynamic_shared: 0,
        code: Vec::new(),
        slots: 0,
        constants: Vec::new(),
        specials: Vec::new(),
        names: Vec::new(),
        local_bytes: 0,
    };
    let mut names = Names::new();
    for param in &kernel.params {
        names.define(&param.name, u64::from(param.offset));
    }
    let variables = module.variables.iter().cloned().chain(own_variables(parser)?);
    lay_out(variables.collect(), &mut names, &mut kernel);
    let mut body = Body { labels: Vec::new(), uses: Vec::new() };
    loop {
        let token = parser.peek();
        if parser.eat(b'{') {
            names.open();
        } else if parser.eat(b'}') {
            if !names.close() {
                break;
            }
        } else if parser.is(b'@') {
            body.instruction(parser, &mut names, &mut kernel)?;
        } else if token.kind == TokenKind::Word {
            match parser.slice(token) {
                ".reg" => registers(parser, &mut names)?,
                ".shared" | ".local" => while parser.next().kind != TokenKind::Punctuation(b';') {},
                ".pragma" | ".loc" | ".file" => parser.skip_line(token.line),
                word if word.starts_with('.') => return Err(parser.error("a declaration or an instruction")),
                _ if parser.tokens[parser.at + 1].kind == TokenKind::Punctuation(b':') => {
                    body.label(parser, &mut names, &kernel)?;
                }
                _ => body.instruction(parser, &mut names, &mut kernel)?,
            }
        } else {
            return Err(parser.error("an instruction"));
        }
    }
    body.resolve(parser, &names, &mut kernel)?;
    names.finish(&mut kernel);
    Ok(kernel)
}

/// The variables of the body, wherever they stand: their names are known before the first instruction.
fn own_variables(parser: &mut Parser<'_>) -> Result<Vec<Variable>, ParseError> {
    let begin = parser.at;
    let mut variables = Vec::new();
    let mut depth = 1;
    while depth > 0 && parser.peek().kind != TokenKind::End {
        let token = parser.next();
        match (token.kind, parser.slice(token)) {
            (TokenKind::Punctuation(b'{'), _) => depth += 1,
            (TokenKind::Punctuation(b'}'), _) => depth -= 1,
            (TokenKind::Word, ".shared") => variables.push(parser.variable(false, false)?),
            (TokenKind::Word, ".local") => variables.push(parser.variable(true, false)?),
            _ => {}
        }
    }
    parser.at = begin;
    Ok(variables)
}

/// Gives variables their offsets, the dynamic ones behind all others.
fn lay_out(variables: Vec<Variable>, names: &mut Names, kernel: &mut Kernel) {
    for variable in &variables {
        let Some(bytes) = variable.bytes else { continue };
        let end = if variable.local { &mut kernel.local_bytes } else { &mut kernel.static_shared };
        let offset = end.next_multiple_of(variable.align);
        *end = offset.saturating_add(bytes);
        names.define(&variable.name, u64::from(offset));
    }
    let dynamic: Vec<&Variable> = variables.iter().filter(|v| v.bytes.is_none()).collect();
    let align = dynamic.iter().map(|v| v.align).max().unwrap_or(1);
    kernel.dynamic_shared = kernel.static_shared.next_multiple_of(align);
    for variable in dynamic {
        names.define(&variable.name, u64::from(kernel.dynamic_shared));
    }
}

/// `.reg .b32 %r<8>, %x;`
fn registers(parser: &mut Parser<'_>, names: &mut Names) -> Result<(), ParseError> {
    parser.next();
    let token = parser.peek();
    let word = parser.word("a type")?;
    if word.strip_prefix('.').and_then(Type::parse).is_none() {
        return Err(parser.error_at(token, &format!("expected a type of registers, got `{word}`")));
    }
    loop {
        let name = parser.word("a register")?;
        let count = if parser.eat(b'<') {
            let count = parser.number()?;
            parser.expect(b'>')?;
            Some(count.max(0) as u64)
        } else {
            None
        };
        names.declare(name, count);
        if parser.eat(b';') {
            return Ok(());
        }
        parser.expect(b',')?;
    }
}

struct Body {
    /// Where labels stand, by number.
    labels: Vec<Option<u32>>,
    /// Instructions that go to a label, with their token.
    uses: Vec<(u32, usize)>,
}

impl Body {
    fn label(
        &mut self,
        parser: &mut Parser<'_>,
        names: &mut Names,
        kernel: &Kernel,
    ) -> Result<(), ParseError> {
        let token = parser.peek();
        let name = parser.word("a label")?;
        parser.expect(b':')?;
        let number = names.label(name) as usize;
        if self.labels.len() <= number {
            self.labels.resize(number + 1, None);
        }
        if self.labels[number].replace(kernel.code.len() as u32).is_some() {
            return Err(parser.error_at(token, &format!("expected one label `{name}`")));
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        parser: &mut Parser<'_>,
        names: &mut Names,
        kernel: &mut Kernel,
    ) -> Result<(), ParseError> {
        let first = parser.peek();
        let mut guard = None;
        if parser.eat(b'@') {
            let negated = parser.eat(b'!');
            guard = Some(Guard { slot: parser.register(names)?, negated });
        }
        let token = parser.peek();
        let token_at = parser.at;
        let name = parser.word("an instruction")?;
        let mut operands = Vec::new();
        if !parser.is(b';') {
            operands.push(parser.operand(names)?);
            while parser.eat(b',') {
                operands.push(parser.operand(names)?);
            }
        }
        let place = Place { line: token.line, text: (first.begin, parser.peek().end) };
        parser.expect(b';')?;
        let decoded = isa::decode(name, guard, &operands, place);
        if decoded.is_ok() && operands.iter().any(|o| matches!(o, isa::Operand::Label(_))) {
            self.uses.push((kernel.code.len() as u32, token_at));
        }
        kernel.code.push(decoded.map_err(|message| parser.error_at(token, &message))?);
        Ok(())
    }

    /// Turns numbers of labels into instructions.
    fn resolve(self, parser: &Parser<'_>, names: &Names, kernel: &mut Kernel) -> Result<(), ParseError> {
        for (at, token) in self.uses {
            let number = kernel.code[at as usize].target;
            match self.labels.get(number as usize).copied().flatten() {
                Some(target) => kernel.code[at as usize].target = target,
                None => {
                    let message = format!("expected a label `{}` in the kernel", names.label_name(number));
                    return Err(parser.error_at(parser.tokens[token], &message));
                }
            }
        }
        Ok(())
    }
}
