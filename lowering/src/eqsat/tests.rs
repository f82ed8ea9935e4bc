//! Every rule fires on its own examples, and both sides compute the same.

use super::*;
use crate::pass::{Ir, compare_runs};

#[test]
fn every_rule_is_safe() {
    let mut wrong = Vec::new();
    for rule in &builtin_rules().rules {
        let instances = instances(rule, 0);
        if instances.is_empty() {
            wrong.push(format!("{}: it never fires", rule.name));
        }
        let mut compared = 0;
        for (seed, instance) in instances.into_iter().enumerate() {
            let (before, after) = (Ir::Graph(instance.before), Ir::Graph(instance.after));
            match compare_runs(&before, &after, rule.numerics, 2, seed as u64) {
                Ok(checked) => compared += checked.compared,
                Err(what) => {
                    wrong.push(format!("{}: {what}\n{before}{after}", rule.name));
                    break;
                }
            }
        }
        if compared == 0 {
            wrong.push(format!("{}: nothing was compared", rule.name));
        }
    }
    assert!(wrong.is_empty(), "{} rules:\n{}", wrong.len(), wrong.join("\n"));
}
