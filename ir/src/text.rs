//! The cursor that the parsers of all levels share: names, numbers, strings and punctuation with their spans.
//!
//! Comments run from `//` to the end of the line. Nothing here allocates more than the text is long.

use crate::diag::{Diag, Span};
use crate::dim::{Dim, parse_dim_prefix};

/// A place in a text.
pub struct Cursor<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The start of a text.
    pub fn new(source: &'a str) -> Self {
        Cursor { source, at: 0 }
    }

    /// The byte offset of the next token, behind space and comments.
    pub fn here(&self) -> usize {
        let bytes = self.source.as_bytes();
        let mut at = self.at;
        loop {
            while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
                at += 1;
            }
            if !bytes[at..].starts_with(b"//") {
                return at;
            }
            at = self.line_end(at);
        }
    }

    fn line_end(&self, at: usize) -> usize {
        self.source[at..].find('\n').map_or(self.source.len(), |p| at + p + 1)
    }

    /// The range from `start` to the end of the last token.
    pub fn since(&self, start: usize) -> Span {
        Span::new(start, self.at.max(start + 1))
    }

    /// Whether nothing but space and comments follows.
    pub fn at_end(&self) -> bool {
        self.here() == self.source.len()
    }

    /// The length of the text.
    pub fn end(&self) -> usize {
        self.source.len()
    }

    /// The text from one offset to another.
    pub fn text(&self, from: usize, to: usize) -> &'a str {
        &self.source[from..to]
    }

    /// Moves to the start of the next line, to go on after an error.
    pub fn skip_line(&mut self) {
        self.at = self.line_end(self.at);
    }

    /// Whether the text goes on with this punctuation or word.
    pub fn peek(&self, token: &str) -> bool {
        let at = self.here();
        let rest = &self.source[at..];
        rest.starts_with(token)
            && !(token.starts_with(char::is_alphabetic) && rest[token.len()..].starts_with(is_word))
    }

    /// Takes the punctuation or word if the text goes on with it.
    pub fn accept(&mut self, token: &str) -> bool {
        let found = self.peek(token);
        if found {
            self.at = self.here() + token.len();
        }
        found
    }

    /// Takes the punctuation or word, or says that it was expected.
    pub fn expect(&mut self, token: &str) -> Result<(), Diag> {
        if self.accept(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    /// The diagnostic that `what` was expected here.
    pub fn expected(&self, what: &str) -> Diag {
        let at = self.here();
        let word = self.source[at..].find(|c: char| !is_word(c)).unwrap_or(self.source.len() - at);
        let length = match word {
            0 => self.source[at..].chars().next().map_or(0, char::len_utf8),
            n => n,
        };
        let found: String = self.source[at..at + length].chars().take(40).collect();
        let got = if length == 0 { "the end of the text".to_owned() } else { format!("`{found}`") };
        Diag::at(Span::new(at, at + length.max(1)), "syntax", format!("expected {what}, got {got}"))
    }

    /// A word: a letter or `_`, then letters, digits, `_` and `.`.
    pub fn word(&mut self, what: &str) -> Result<&'a str, Diag> {
        let at = self.here();
        let rest = &self.source[at..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(self.expected(what));
        }
        let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        self.at = at + length;
        Ok(&rest[..length])
    }

    /// A name behind its sigil: `%x`, `@main`. Any string can be a name: `%"a b"`.
    pub fn name(&mut self, sigil: &str, what: &str) -> Result<String, Diag> {
        let at = self.here();
        let rest = &self.source[at..];
        if !rest.starts_with(sigil) {
            return Err(self.expected(what));
        }
        self.at = at + sigil.len();
        let rest = &self.source[self.at..];
        if rest.starts_with('"') {
            return self.string();
        }
        let length = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected("a name"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    /// A string in double quotes with `\"`, `\\`, `\n`, `\t` and `\u{…}`.
    pub fn string(&mut self) -> Result<String, Diag> {
        let start = self.here();
        self.expect("\"")?;
        let mut value = String::new();
        let mut chars = self.source[self.at..].char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => value.push('\n'),
                    Some('t') => value.push('\t'),
                    Some(c @ ('"' | '\\')) => value.push(c),
                    Some('u') => {
                        let rest = chars.as_str();
                        let hex = rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|(h, _)| h);
                        let decoded =
                            hex.and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32);
                        let (Some(hex), Some(decoded)) = (hex, decoded) else { break };
                        value.push(decoded);
                        for _ in 0..hex.chars().count() + 2 {
                            chars.next();
                        }
                    }
                    _ => break,
                },
                c => value.push(c),
            }
        }
        Err(Diag::at(Span::new(start, start + 1), "syntax", "expected a string that is closed on its line"))
    }

    /// The text of a number: digits with an optional sign, fraction and exponent, or `inf`, `nan`.
    pub fn number(&mut self) -> Result<&'a str, Diag> {
        let start = self.here();
        let bytes = self.source.as_bytes();
        let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
        if let Some(word) = ["inf", "nan"].iter().find(|w| self.source[at..].starts_with(**w)) {
            at += word.len();
        } else if bytes.get(at).is_some_and(u8::is_ascii_digit) {
            while let Some(c) = bytes.get(at) {
                let exponent_sign = matches!(c, b'+' | b'-') && matches!(bytes[at - 1], b'e' | b'E');
                if !(c.is_ascii_digit() || matches!(c, b'.' | b'e' | b'E') || exponent_sign) {
                    break;
                }
                at += 1;
            }
        } else {
            return Err(self.expected("a number"));
        }
        self.at = at;
        Ok(&self.source[start..at])
    }

    /// An integer.
    pub fn int(&mut self) -> Result<i64, Diag> {
        let start = self.here();
        let text = self.number()?;
        text.parse().map_err(|_| {
            Diag::at(self.since(start), "syntax", format!("expected an integer of 64 bits, got `{text}`"))
        })
    }

    /// An integer directly followed by punctuation that begins with a dot, as in `1..=8`.
    pub fn bound(&mut self, follow: &str) -> Result<i64, Diag> {
        let start = self.here();
        let length = self.source[start..]
            .find(follow)
            .filter(|n| *n <= 20)
            .ok_or_else(|| self.expected("a range `a..=b`"))?;
        let text = &self.source[start..start + length];
        let value = text.trim().parse().map_err(|_| self.expected("an integer of 64 bits"))?;
        self.at = start + length;
        Ok(value)
    }

    /// Whether the line has nothing more but space and comments.
    pub fn at_line_end(&self) -> bool {
        let rest = self.source[self.at..].trim_start_matches([' ', '\t', '\r']);
        rest.is_empty() || rest.starts_with('\n') || rest.starts_with("//")
    }

    /// Moves past one character, word or string, whatever it is; false at the end.
    pub fn skip_token(&mut self) -> bool {
        let at = self.here();
        if self.source[at..].starts_with('"') && self.string().is_ok() {
            return true;
        }
        match self.source[at..].chars().next() {
            Some(c) => {
                let rest = &self.source[at..];
                let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                self.at = at + word.max(c.len_utf8());
                true
            }
            None => false,
        }
    }

    /// An integer expression.
    pub fn dim(&mut self) -> Result<Dim, Diag> {
        let at = self.here();
        match parse_dim_prefix(self.source, at) {
            Ok((dim, end)) => {
                self.at = end;
                Ok(dim)
            }
            Err(e) => {
                self.at = e.at.min(self.source.len());
                Err(self.expected(e.expected))
            }
        }
    }

    /// Items separated by commas up to `close`, which is taken.
    pub fn list<T>(
        &mut self,
        close: &str,
        item: impl FnMut(&mut Self) -> Result<T, Diag>,
    ) -> Result<Vec<T>, Diag> {
        self.short_list(close, usize::MAX, item)
    }

    /// A list of at most `limit` items, so that what is kept stays small however long the text is.
    pub fn short_list<T>(
        &mut self,
        close: &str,
        limit: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, Diag>,
    ) -> Result<Vec<T>, Diag> {
        let mut items = Vec::new();
        while !self.accept(close) {
            if items.len() == limit {
                return Err(self.expected(&format!("at most {limit} items")));
            }
            if !items.is_empty() {
                self.expect(",").map_err(|_| self.expected(&format!("`,` or `{close}`")))?;
                if self.accept(close) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// Writes a name behind its sigil, quoted where its characters need it.
pub fn write_name(out: &mut impl std::fmt::Write, sigil: &str, name: &str) -> std::fmt::Result {
    out.write_str(sigil)?;
    if !name.is_empty() && name.chars().all(is_word) { out.write_str(name) } else { write_string(out, name) }
}

/// Writes a string literal that [`Cursor::string`] reads back.
pub fn write_string(out: &mut impl std::fmt::Write, value: &str) -> std::fmt::Result {
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() => write!(out, "\\u{{{:x}}}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_round_trip() {
        for value in ["", "plain", "a\"b\\c\n\t\u{1}é", "/model/layer.0/MatMul"] {
            let mut text = String::new();
            write_string(&mut text, value).unwrap();
            assert_eq!(Cursor::new(&text).string().unwrap(), value);
        }
    }

    #[test]
    fn an_unclosed_string_is_an_error_at_its_start() {
        let diag = Cursor::new("  \"abc\n").string().unwrap_err();
        assert_eq!(diag.span, Some(Span::new(2, 3)));
    }

    #[test]
    fn words_do_not_match_their_prefixes() {
        let mut cursor = Cursor::new("returned // return\n return");
        assert!(!cursor.accept("return"));
        assert_eq!(cursor.word("a word").unwrap(), "returned");
        assert!(cursor.accept("return"));
        assert!(cursor.at_end());
    }
}
