//! Pipelines as text: `fold, cse, unroll-small{limit=4}`.
//!
//! Steps are separated by commas or lines; `//` and `#` begin comments. A text that starts with `@` names a
//! file that holds the pipeline; reading it is the caller's business.

use tcc_ir::diag::{Diag, Diags, Span};

use super::{Options, PassDef, Registry};

/// Passes with their options, in order.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// The applications.
    pub steps: Vec<Step>,
}

/// One application of a pass.
#[derive(Clone, Debug)]
pub struct Step {
    /// The pass.
    pub pass: PassDef,
    /// Its options.
    pub options: Options,
}

impl Pipeline {
    /// Parses a pipeline; all errors are collected, with their places.
    pub fn parse(text: &str, registry: &Registry) -> Result<Pipeline, Diags> {
        let mut reader = Reader { text, at: 0, registry, diags: Diags::default() };
        let steps = reader.steps();
        reader.diags.into_result()?;
        Ok(Pipeline { steps })
    }
}

/// The text of steps, which parses to the same.
pub fn write_pipeline(steps: &[Step]) -> String {
    steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.pass.name)?;
        let given: Vec<String> = self.options.given().map(|(n, v)| format!("{n}={v}")).collect();
        if given.is_empty() { Ok(()) } else { write!(f, "{{{}}}", given.join(",")) }
    }
}

impl std::fmt::Display for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&write_pipeline(&self.steps))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    registry: &'a Registry,
    diags: Diags,
}

impl<'a> Reader<'a> {
    fn steps(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            while self.accept(",") {}
            let Some(next) = self.peek() else { return steps };
            let start = self.at;
            let name = self.word();
            if name.is_empty() {
                self.error(
                    start,
                    start + next.len_utf8(),
                    format!("expected the name of a pass, got `{next}`"),
                );
                return steps;
            }
            let pass = self.registry.find(name).copied();
            if pass.is_none() {
                let hint = self.nearest(name);
                self.error(start, self.at, format!("expected the name of a pass, got `{name}`{hint}"));
            }
            let options = if self.accept("{") { self.options(pass.as_ref()) } else { None };
            if let Some(pass) = pass {
                let options = options.unwrap_or_else(|| Options::defaults(pass.options));
                steps.push(Step { pass, options });
            }
        }
    }

    /// What stands between braces; without a pass it is only skipped.
    fn options(&mut self, pass: Option<&PassDef>) -> Option<Options> {
        let mut options = pass.map(|p| Options::defaults(p.options));
        while !self.accept("}") {
            let Some(next) = self.peek() else {
                self.error(self.at, self.at + 1, "expected `}`, got the end of the text".into());
                return options;
            };
            let start = self.at;
            let key = self.word();
            let end = self.at;
            if key.is_empty() {
                self.error(
                    start,
                    start + next.len_utf8(),
                    format!("expected an option or `}}`, got `{next}`"),
                );
                self.at = start + next.len_utf8();
                continue;
            }
            let given = self.accept("=");
            self.skip_space();
            let value_at = self.at;
            let value = if given { self.word() } else { "true" };
            if let (Some(pass), Some(options)) = (pass, &mut options) {
                let place = Span::new(start, end);
                let value_place = if given { Span::new(value_at, self.at.max(value_at + 1)) } else { place };
                if let Err(diag) = give(pass, options, (key, place), (value, value_place)) {
                    self.diags.push(diag);
                }
            }
            if !self.accept(",") && self.peek().is_some_and(|c| c != '}') {
                let next = self.peek().unwrap_or(' ');
                self.error(self.at, self.at + next.len_utf8(), format!("expected `,` or `}}`, got `{next}`"));
                self.at += next.len_utf8();
            }
        }
        options
    }

    fn nearest(&self, name: &str) -> String {
        let known: Vec<&str> = self.registry.passes().iter().map(|p| p.name).collect();
        let close = known.iter().find(|k| k.starts_with(name) || name.starts_with(**k));
        match close {
            Some(close) => format!("; is `{close}` meant?"),
            None => format!("; there are {}", known.join(", ")),
        }
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") && !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn accept(&mut self, token: &str) -> bool {
        self.skip_space();
        let found = self.text[self.at..].starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '/');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn error(&mut self, start: usize, end: usize, message: String) {
        self.diags.push(Diag::at(Span::new(start, end), "pipeline", message));
    }
}

fn give(
    pass: &PassDef,
    options: &mut Options,
    (key, place): (&str, Span),
    (value, value_place): (&str, Span),
) -> Result<(), Diag> {
    let Some(def) = pass.options.iter().find(|d| d.name == key) else {
        let known: Vec<&str> = pass.options.iter().map(|d| d.name).collect();
        let known = if known.is_empty() { "no options".to_owned() } else { known.join(", ") };
        let message = format!("expected {known} of {}, got `{key}`", pass.name);
        return Err(Diag::at(place, "pipeline", message));
    };
    let read = def.kind.read(value).filter(|_| !value.is_empty());
    let value = read.ok_or_else(|| {
        let message = format!("expected `{key}` to be {}, got `{value}`", def.kind);
        Diag::at(value_place, "pipeline", message)
    })?;
    if options.give(def, value) {
        Ok(())
    } else {
        Err(Diag::at(place, "pipeline", format!("expected `{key}` once")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pipeline, Diags> {
        Pipeline::parse(text, &Registry::builtin())
    }

    #[test]
    fn text_reads_back() {
        let pipeline = parse("fold // constants first\n cse,, unroll-small { limit = 4 } # done").unwrap();
        assert_eq!(pipeline.to_string(), "fold,cse,unroll-small{limit=4}");
        assert_eq!(parse(&pipeline.to_string()).unwrap().to_string(), pipeline.to_string());
        assert_eq!(parse("").unwrap().steps.len(), 0);
    }

    #[test]
    fn every_error_has_its_place() {
        let text = "folt, cse{x=1}, unroll-small{limit=few}";
        let diags = parse(text).unwrap_err();
        let at: Vec<u32> = diags.0.iter().map(|d| d.span.unwrap().start).collect();
        assert_eq!(at, [0, 10, 35], "{}", diags.render("passes", text));
        for text in ["fold{", "{", "fold{=}", "fold}", "é"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
