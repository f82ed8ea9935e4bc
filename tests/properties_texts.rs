//! Texts of nests and programs that use all of their languages: what verifies prints to what reads back the same, and
//! any damage to it gives an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tcc::lowering::pass::{CheckOptions, Ir, Level, Pipeline, Registry, RunOptions, random_inputs, run};

use crate::properties::seeds;
use crate::support::{Random, programs, vocabulary};

fn both(seed: u64) -> [Ir; 2] {
    [Ir::Nest(vocabulary::nest(seed)), Ir::Program(programs::program(seed))]
}

#[test]
fn all_of_the_languages_verifies_and_round_trips() {
    for ir in seeds().flat_map(both) {
        ir.verify().unwrap_or_else(|d| panic!("{d}\n{ir}"));
        let text = ir.to_string();
        let again = Ir::parse(&text).unwrap_or_else(|d| panic!("{}", d.render("text", &text)));
        assert_eq!(again.to_string(), text);
        assert_eq!(again.level(), ir.level());
    }
}

#[test]
fn interpreters_answer_whatever_is_computed() {
    let mut asked = 0;
    for seed in seeds() {
        for ir in both(seed) {
            let Ok(sample) = random_inputs(&ir, seed, true) else { continue };
            let result =
                catch_unwind(AssertUnwindSafe(|| ir.interpret_with(&sample.inputs, &sample.bindings)));
            assert!(result.is_ok(), "seed {seed}: it panics\n{ir}");
            asked += 1;
        }
    }
    assert!(asked > 500, "only {asked} could be asked");
}

#[test]
fn every_pass_over_programs_is_honest() {
    let registry = Registry::builtin();
    let names: Vec<&str> =
        registry.passes().iter().filter(|p| p.level() == Level::Program).map(|p| p.name).collect();
    let pipeline = Pipeline::parse(&names.join(","), &registry).unwrap();
    let check = Some(CheckOptions { samples: 2, seed: 0 });
    let options = RunOptions { diff: true, check, ..RunOptions::default() };
    let mut changed = 0;
    for seed in seeds() {
        let ir = Ir::Program(programs::program(seed));
        run(ir.clone(), &pipeline, &options, &mut |applied| changed += usize::from(applied.changed))
            .unwrap_or_else(|e| panic!("seed {seed}: {e}\n{ir}"));
    }
    assert!(changed > 20, "only {changed} programs were changed");
}

#[test]
fn damaged_texts_give_errors() {
    for seed in seeds() {
        let mut random = Random(seed);
        for ir in both(seed) {
            let text = ir.to_string();
            let mut bytes = text.clone().into_bytes();
            let at = random.below(bytes.len());
            bytes[at] = b"(){}[]%@=<\"x0-:,."[random.below(17)];
            let damaged = String::from_utf8_lossy(&bytes).into_owned();
            let read = catch_unwind(AssertUnwindSafe(|| Ir::parse(&damaged).map(|ir| ir.to_string())));
            match read {
                Ok(Ok(printed)) => assert!(Ir::parse(&printed).is_ok(), "reads once only:\n{damaged}"),
                Ok(Err(diags)) => assert!(!diags.render("damaged", &damaged).is_empty()),
                Err(_) => panic!("seed {seed}: the parser panics on\n{damaged}"),
            }
        }
    }
}
