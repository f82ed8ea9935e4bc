//! Whatever steps a random nest accepts, it goes on computing the same.

use tcc::ir::dtype::{DType, Scalar};
use tcc::ir::loops::{interpret_with, parse_nest};
use tcc::ir::tensor::Tensor;
use tcc::lowering::pass::{Ir, random_inputs};
use tcc::lowering::schedule::{Machine, Schedule, TARGETS, parse_schedules, parse_steps, plan};

use crate::support::{Random, nests};

/// How many pairs of a nest and a list of steps are tried.
fn pairs() -> u64 {
    if std::env::var_os("TCC_LONG").is_some_and(|v| v == "1") { 50_000 } else { 2_000 }
}

/// Small integers in place of random numbers, so that sums are exact.
fn integers(tensor: &Tensor, random: &mut Random) -> Tensor {
    let values: Vec<Scalar> =
        (0..tensor.len()).map(|_| Scalar::Float(random.below(17) as f64 - 8.0)).collect();
    Tensor::from_scalars(DType::F32, tensor.shape(), &values).unwrap()
}

#[test]
fn accepted_steps_keep_what_a_nest_computes() {
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..pairs() {
        let nest = nests::nest(seed);
        let mut random = Random(seed ^ 0x5eed);
        let sample = random_inputs(&Ir::Nest(nest.clone()), seed, false).unwrap();
        let inputs: Vec<Tensor> = sample.inputs.iter().map(|t| integers(t, &mut random)).collect();
        let expected = interpret_with(&nest, &inputs, &sample.bindings);
        let expected = expected.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{nest}"));
        let mut schedule = Schedule { name: nest.name.clone(), steps: Vec::new() };
        let mut scheduled = nest.clone();
        for number in 0..8 {
            let text = nests::step(&scheduled, number, &mut random);
            let steps = parse_steps(&text).unwrap_or_else(|d| panic!("{}", d.render("step", &text)));
            assert_eq!(steps[0].to_string(), text);
            match steps[0].apply(&scheduled) {
                Ok(next) => {
                    scheduled = next;
                    schedule.steps.extend(steps);
                    accepted += 1;
                }
                Err(refusal) => {
                    assert!(!refusal.expected.is_empty() && !refusal.found.is_empty(), "{text}");
                    refused += 1;
                }
            }
        }
        let place = || format!("seed {seed}\n{nest}{schedule}{scheduled}");
        scheduled.verify().unwrap_or_else(|d| panic!("{d}\n{}", place()));
        let got = interpret_with(&scheduled, &inputs, &sample.bindings);
        let got = got.unwrap_or_else(|e| panic!("{e}\n{}", place()));
        for (got, want) in got.iter().zip(&expected) {
            assert_eq!(got, want, "{}", place());
        }
        let text = scheduled.to_string();
        assert_eq!(parse_nest(&text).unwrap_or_else(|d| panic!("{}", d.render("nest", &text))), scheduled);
        let text = schedule.to_string();
        assert_eq!(parse_schedules(&text).unwrap(), [schedule]);
    }
    assert!(accepted * 5 > refused, "{accepted} steps were accepted, {refused} refused");
}

#[test]
fn default_schedules_keep_what_a_nest_computes() {
    for seed in 0..pairs() / 4 {
        let nest = nests::nest(seed);
        let target = TARGETS[(seed % 4) as usize].name;
        let (scheduled, schedule) = plan(&nest, &Machine::of(target).unwrap());
        assert_eq!(schedule.apply(&nest).unwrap(), scheduled);
        let mut random = Random(seed ^ 0xdefa);
        let sample = random_inputs(&Ir::Nest(nest.clone()), seed, false).unwrap();
        let inputs: Vec<Tensor> = sample.inputs.iter().map(|t| integers(t, &mut random)).collect();
        let want = interpret_with(&nest, &inputs, &sample.bindings).unwrap();
        let got = interpret_with(&scheduled, &inputs, &sample.bindings);
        assert_eq!(
            got.unwrap_or_else(|e| panic!("{e}\n{nest}{schedule}")),
            want,
            "{nest}{schedule}{scheduled}"
        );
    }
}
