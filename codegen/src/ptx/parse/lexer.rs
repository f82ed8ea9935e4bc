//! From text to tokens with their places. Any text gives tokens or an error, never a panic.

use super::ParseError;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name, a directive or an instruction with its modifiers.
    Word,
    Number,
    Text,
    Punctuation(u8),
    End,
}

/// A token: its place in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// All tokens; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let bytes = text.as_bytes();
    if u32::try_from(bytes.len()).is_err() {
        return Err(ParseError { line: 1, column: 1, message: "expected less than 4 GiB of text".into() });
    }
    if let Some(at) = bytes.iter().position(|b| !b.is_ascii()) {
        // The assembler takes no other characters, not even in comments.
        let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
        let column = at - bytes[..at].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1) + 1;
        return Err(ParseError {
            line: line as u32,
            column: column as u32,
            message: "expected ASCII".into(),
        });
    }
    let mut found = Vec::new();
    let (mut at, mut line, mut line_begin) = (0, 1, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        let begin = at;
        let column = (at - line_begin + 1) as u32;
        let fail = |message: &str| Err(ParseError { line, column, message: message.into() });
        let kind = match byte {
            b'\n' => {
                at += 1;
                line += 1;
                line_begin = at;
                continue;
            }
            b' ' | b'\t' | b'\r' => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let Some(length) = text[at + 2..].find("*/") else {
                    return fail("expected the end of a comment");
                };
                for (newline, _) in text[at..at + 2 + length].match_indices('\n') {
                    line += 1;
                    line_begin = at + newline + 1;
                }
                at += length + 4;
                continue;
            }
            b'"' => {
                let Some(length) = bytes[at + 1..].iter().position(|b| *b == b'"' || *b == b'\n') else {
                    return fail("expected the end of a string");
                };
                at += length + 2;
                if bytes[at - 1] != b'"' {
                    return fail("expected the end of a string");
                }
                TokenKind::Text
            }
            b'0'..=b'9' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || bytes[at] == b'.') {
                    at += 1;
                }
                TokenKind::Number
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | b'%' | b'.' => {
                at = word_end(bytes, at + 1);
                TokenKind::Word
            }
            b';' | b',' | b'{' | b'}' | b'[' | b']' | b'(' | b')' | b'@' | b'!' | b'|' | b'+' | b'-'
            | b':' | b'=' | b'<' | b'>' => {
                at += 1;
                TokenKind::Punctuation(byte)
            }
            _ => return fail("expected a name, a number or punctuation"),
        };
        found.push(Token { kind, begin: begin as u32, end: at as u32, line, column });
    }
    let column = (at - line_begin + 1) as u32;
    found.push(Token { kind: TokenKind::End, begin: at as u32, end: at as u32, line, column });
    Ok(found)
}

/// Where a word ends: colons belong to it in pairs only.
fn word_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.') => at += 1,
            Some(b':') if bytes.get(at + 1) == Some(&b':') => at += 2,
            _ => return at,
        }
    }
}
