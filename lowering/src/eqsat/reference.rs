//! The page that lists the rules and the functions they may use.

use std::fmt::Write;

use super::functions::FUNCTIONS;
use super::{THEMES, builtin_rules};

/// The text of the page.
pub fn markdown() -> String {
    let mut out = String::from(HEAD);
    // Writing to a string cannot fail.
    for (theme, _) in THEMES {
        let _ = writeln!(out, "\n## {theme}\n\n| Rule | Numerics | Meaning |\n|---|---|---|");
        for rule in builtin_rules().rules.iter().filter(|r| r.theme == *theme) {
            let meaning = rule.text.split_once(": ").map_or(rule.text.as_str(), |(_, meaning)| meaning);
            let meaning = meaning.replace('|', "\\|");
            let _ = writeln!(out, "| `{}` | {} | `{meaning}` |", rule.name, rule.numerics);
        }
    }
    let _ = writeln!(out, "\n## Functions\n\n| Function | What it gives |\n|---|---|");
    for function in FUNCTIONS {
        let _ = writeln!(out, "| `{}({})` | {} |", function.name, function.args.join(", "), function.doc);
    }
    out
}

const HEAD: &str = "# Rewrite rules

Generated from `lowering/rules/*.rules`; `TCC_BLESS=1 cargo test --test main docs` writes it anew.

A rule reads `rule NAME CLASS: PATTERN => TEMPLATE if CONDITION, …`. Lower-case names are variables,
upper-case ones any elementwise op with that many operands. A number in a pattern is a tensor that repeats
it. Attributes that a pattern does not mention are bound to variables of their own names; a template takes
those it does not mention from there. Operands of ops that commute are found in either order.
`let a = PATTERN in` names a part. A rule that begins with `merge` makes one of all places that its pattern is
found at and that agree in all but the variables it is `over`: what these stand for is joined along their axes,
and each place is a slice of the whole along the axis behind `=>`. Lines with `try` say on which types tests instantiate the rule.
";
