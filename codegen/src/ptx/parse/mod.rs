//! The parser of PTX modules. What it accepts, the emulator can run: instructions are decoded by the table here,
//! so that an unknown instruction, modifier or operand is an error with its line and column.

mod body;
mod lexer;
mod operand;
#[cfg(test)]
mod tests;

use lexer::{Token, TokenKind};

use super::isa::{Instruction, Slot, Special, Type};

/// Why a text is no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: u32,
    /// The byte in the line, from 1.
    pub column: u32,
    /// Expected …, got ….
    pub message: String,
}

/// A module of PTX: kernels and the shared memory they have in common.
#[derive(Clone, Debug)]
pub struct Module {
    /// The version of PTX, as in `(8, 0)`.
    pub version: (u32, u32),
    /// The target, as in `sm_80`.
    pub target: String,
    /// The kernels, in order.
    pub kernels: Vec<Kernel>,
    pub(crate) text: String,
    variables: Vec<Variable>,
}

/// A kernel.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The name of the entry.
    pub name: String,
    /// The parameters, in order.
    pub params: Vec<Param>,
    /// The most threads a block may have.
    pub max_threads: Option<u32>,
    /// The bytes of the shared memory that the module declares.
    pub static_shared: u32,
    /// Where the dynamic part of shared memory begins.
    pub dynamic_shared: u32,
    pub(crate) code: Vec<Instruction>,
    /// The rows of registers.
    pub(crate) slots: u32,
    /// Rows that hold the same value in every thread.
    pub(crate) constants: Vec<(Slot, u64)>,
    pub(crate) specials: Vec<(Slot, Special)>,
    /// The names of registers, for messages.
    pub(crate) names: Vec<(Slot, String)>,
    /// The bytes of the memory that each thread has for itself.
    pub(crate) local_bytes: u32,
}

/// A parameter of a kernel.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Where it stands among the bytes of the arguments.
    pub offset: u32,
    /// Its bytes.
    pub bytes: u32,
}

/// A variable in shared or local memory.
#[derive(Clone, Debug)]
struct Variable {
    name: String,
    local: bool,
    align: u32,
    /// None for memory that the launch gives.
    bytes: Option<u32>,
}

/// No variable may have more bytes.
const MAX_BYTES: u32 = 1 << 20;

impl Module {
    /// Reads a module.
    pub fn parse(text: &str) -> Result<Module, ParseError> {
        let mut parser = Parser { text, tokens: lexer::tokens(text)?, at: 0 };
        parser.module()
    }

    /// The kernel of a name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|k| k.name == name)
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
}

impl<'a> Parser<'a> {
    fn module(&mut self) -> Result<Module, ParseError> {
        let mut module = Module {
            version: (0, 0),
            target: String::new(),
            kernels: Vec::new(),
            text: self.text.to_owned(),
            variables: Vec::new(),
        };
        self.directive(".version")?;
        module.version = self.version()?;
        self.directive(".target")?;
        module.target = self.word("a target")?.to_owned();
        while self.eat(b',') {
            self.word("a target option")?;
        }
        loop {
            let token = self.peek();
            if token.kind == TokenKind::End {
                return Ok(module);
            }
            match self.word("a directive")? {
                ".address_size" => {
                    if self.number()? != 64 {
                        return Err(self.error_at(token, "expected addresses of 64 bits"));
                    }
                }
                ".visible" | ".weak" => {}
                ".extern" => {
                    self.directive(".shared")?;
                    let variable = self.variable(false, true)?;
                    module.variables.push(variable);
                }
                ".shared" => {
                    let variable = self.variable(false, false)?;
                    module.variables.push(variable);
                }
                ".entry" => {
                    let kernel = self.kernel(&module)?;
                    module.kernels.push(kernel);
                }
                ".file" | ".pragma" => self.skip_line(token.line),
                other => {
                    let message = format!("expected a directive of modules, got `{other}`");
                    return Err(self.error_at(token, &message));
                }
            }
        }
    }

    fn version(&mut self) -> Result<(u32, u32), ParseError> {
        let token = self.next();
        let parts = self.slice(token).split_once('.');
        let parsed = parts.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parsed.ok_or_else(|| self.error_at(token, "expected a version, as in 7.0"))
    }

    /// What comes behind `.shared` or `.local`.
    fn variable(&mut self, local: bool, is_extern: bool) -> Result<Variable, ParseError> {
        let (align, dtype) = self.align_and_type()?;
        let name = self.word("a name")?.to_owned();
        let mut bytes = Some(dtype.bytes() as u32);
        while self.eat(b'[') {
            if self.eat(b']') {
                bytes = None;
                continue;
            }
            let token = self.peek();
            let count = self.number()?;
            self.expect(b']')?;
            let product = u32::try_from(count).ok().zip(bytes).and_then(|(n, b)| n.checked_mul(b));
            match product.filter(|b| *b <= MAX_BYTES) {
                Some(product) => bytes = Some(product),
                None => return Err(self.error_at(token, "expected at most 1 MiB")),
            }
        }
        let end = self.peek();
        self.expect(b';')?;
        if bytes.is_none() != is_extern {
            return Err(
                self.error_at(end, "expected `.extern` for a variable without a size, and only there")
            );
        }
        Ok(Variable { name, local, align: align.unwrap_or(dtype.bytes() as u32), bytes })
    }

    fn align_and_type(&mut self) -> Result<(Option<u32>, Type), ParseError> {
        let mut align = None;
        loop {
            let token = self.peek();
            let word = self.word("a type")?;
            if word == ".align" {
                let value = self.number()?;
                align = u32::try_from(value).ok().filter(|a| a.is_power_of_two() && *a <= MAX_BYTES);
                if align.is_none() {
                    return Err(self.error_at(token, "expected an alignment that is a power of two"));
                }
                continue;
            }
            match word.strip_prefix('.').and_then(Type::parse) {
                Some(dtype) => return Ok((align, dtype)),
                None => return Err(self.error_at(token, &format!("expected a type, got `{word}`"))),
            }
        }
    }

    fn params(&mut self) -> Result<Vec<Param>, ParseError> {
        let mut params = Vec::new();
        let mut end = 0u32;
        if !self.eat(b'(') || self.eat(b')') {
            return Ok(params);
        }
        loop {
            self.directive(".param")?;
            let (align, dtype) = self.align_and_type()?;
            if self.slice(self.peek()) == ".ptr" {
                self.next();
                while self.slice(self.peek()).starts_with('.') {
                    if self.word("a space")? == ".align" {
                        self.number()?;
                    }
                }
            }
            let token = self.peek();
            let name = self.word("a name")?.to_owned();
            let mut bytes = dtype.bytes() as u32;
            if self.eat(b'[') {
                let count = u32::try_from(self.number()?).ok().filter(|c| *c <= 4096);
                bytes *= count.ok_or_else(|| self.error_at(token, "expected at most 4096 elements"))?;
                self.expect(b']')?;
            }
            let offset = end.next_multiple_of(align.unwrap_or(dtype.bytes() as u32));
            end = offset + bytes;
            if end > 1 << 16 {
                return Err(self.error_at(token, "expected at most 64 KiB of parameters"));
            }
            params.push(Param { name, offset, bytes });
            if self.eat(b')') {
                return Ok(params);
            }
            self.expect(b',')?;
        }
    }

    fn kernel(&mut self, module: &Module) -> Result<Kernel, ParseError> {
        let token = self.peek();
        let name = self.word("the name of a kernel")?.to_owned();
        if module.kernel(&name).is_some() {
            return Err(self.error_at(token, &format!("expected one kernel of the name `{name}`")));
        }
        let params = self.params()?;
        let mut max_threads = None;
        while !self.eat(b'{') {
            let token = self.peek();
            let directive = self.word("a directive of kernels or the body")?;
            let mut numbers = vec![self.number()?];
            while self.eat(b',') {
                numbers.push(self.number()?);
            }
            match directive {
                ".maxntid" | ".reqntid" => {
                    let product = numbers.iter().try_fold(1i64, |p, n| p.checked_mul(*n));
                    let threads = product.and_then(|p| u32::try_from(p).ok());
                    max_threads =
                        Some(threads.ok_or_else(|| self.error_at(token, "expected sizes of a block"))?);
                }
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {}
                other => {
                    let message = format!("expected a directive of kernels, got `{other}`");
                    return Err(self.error_at(token, &message));
                }
            }
        }
        body::parse(self, module, name, params, max_threads)
    }

    fn peek(&self) -> Token {
        self.tokens[self.at]
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at];
        // The end stays the next token for ever.
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn slice(&self, token: Token) -> &'a str {
        &self.text[token.begin as usize..token.end as usize]
    }

    fn is(&self, byte: u8) -> bool {
        self.peek().kind == TokenKind::Punctuation(byte)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.is(byte);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.eat(byte) {
            return Ok(());
        }
        Err(self.error(&format!("`{}`", char::from(byte))))
    }

    fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        let token = self.peek();
        if token.kind != TokenKind::Word {
            return Err(self.error(what));
        }
        self.next();
        Ok(self.slice(token))
    }

    fn directive(&mut self, name: &str) -> Result<(), ParseError> {
        if self.slice(self.peek()) != name {
            return Err(self.error(&format!("`{name}`")));
        }
        self.next();
        Ok(())
    }

    /// An integer, with a sign if there is one.
    fn number(&mut self) -> Result<i64, ParseError> {
        let negative = self.eat(b'-');
        let token = self.peek();
        if token.kind != TokenKind::Number {
            return Err(self.error("a number"));
        }
        self.next();
        let value = operand::number(self.slice(token)).map_err(|m| self.error_at(token, &m))?;
        Ok(if negative { value.wrapping_neg() } else { value })
    }

    fn skip_line(&mut self, line: u32) {
        while self.peek().kind != TokenKind::End && self.peek().line == line {
            self.next();
        }
    }

    /// That something else was expected here.
    fn error(&self, expected: &str) -> ParseError {
        let token = self.peek();
        let found = match token.kind {
            TokenKind::End => "the end".to_owned(),
            _ => format!("`{}`", self.slice(token)),
        };
        self.error_at(token, &format!("expected {expected}, got {found}"))
    }

    fn error_at(&self, token: Token, message: &str) -> ParseError {
        ParseError { line: token.line, column: token.column, message: message.to_owned() }
    }
}
