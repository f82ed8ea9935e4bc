//! The options of passes: declared with defaults, given as `name{key=value}`.

use std::collections::BTreeMap;
use std::fmt;

/// How a pass declares an option.
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// The name in text.
    pub name: &'static str,
    /// What it holds.
    pub kind: OptionKind,
    /// Its value when not given, in text.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// What an option holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// `true` or `false`.
    Flag,
    /// A number that is not negative.
    Count,
    /// A word.
    Word,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Of [`OptionKind::Flag`].
    Flag(bool),
    /// Of [`OptionKind::Count`].
    Count(u64),
    /// Of [`OptionKind::Word`].
    Word(String),
}

impl fmt::Display for OptionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionKind::Flag => "`true` or `false`",
            OptionKind::Count => "a number that is not negative",
            OptionKind::Word => "a word",
        })
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionValue::Flag(value) => write!(f, "{value}"),
            OptionValue::Count(value) => write!(f, "{value}"),
            OptionValue::Word(value) => f.write_str(value),
        }
    }
}

impl OptionKind {
    /// The value of a text, if it is of this kind.
    pub fn read(self, text: &str) -> Option<OptionValue> {
        match self {
            OptionKind::Flag => text.parse().ok().map(OptionValue::Flag),
            OptionKind::Count => text.parse().ok().map(OptionValue::Count),
            OptionKind::Word => Some(OptionValue::Word(text.to_owned())),
        }
    }
}

/// The values of all options of one application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    values: BTreeMap<&'static str, OptionValue>,
    given: Vec<&'static str>,
}

impl Options {
    /// The defaults.
    ///
    /// # Panics
    ///
    /// If a declared default is not of the declared kind, which a test of the registry excludes.
    pub fn defaults(declared: &'static [OptionDef]) -> Options {
        let value = |def: &OptionDef| {
            let read = def.kind.read(def.default);
            read.unwrap_or_else(|| panic!("the default of option `{}` is not {}", def.name, def.kind))
        };
        Options { values: declared.iter().map(|d| (d.name, value(d))).collect(), given: Vec::new() }
    }

    /// Sets an option that was given; false if it was before.
    pub fn give(&mut self, def: &OptionDef, value: OptionValue) -> bool {
        let first = !self.given.contains(&def.name);
        self.values.insert(def.name, value);
        if first {
            self.given.push(def.name);
        }
        first
    }

    /// The options that were given, in order.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &OptionValue)> {
        self.given.iter().map(|name| (*name, &self.values[name]))
    }

    /// A flag.
    ///
    /// # Panics
    ///
    /// If the pass declares no such flag.
    pub fn flag(&self, name: &str) -> bool {
        let Some(OptionValue::Flag(value)) = self.values.get(name) else { undeclared(name) };
        *value
    }

    /// A number.
    ///
    /// # Panics
    ///
    /// If the pass declares no such number.
    pub fn count(&self, name: &str) -> u64 {
        let Some(OptionValue::Count(value)) = self.values.get(name) else { undeclared(name) };
        *value
    }

    /// A word.
    ///
    /// # Panics
    ///
    /// If the pass declares no such word.
    pub fn word(&self, name: &str) -> &str {
        let Some(OptionValue::Word(value)) = self.values.get(name) else { undeclared(name) };
        value
    }
}

fn undeclared(name: &str) -> ! {
    panic!("the pass declares no option `{name}` of this kind")
}
