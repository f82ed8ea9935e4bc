//! What is written is read, the best variant is chosen, and damage is refused.

use super::*;
use crate::cpu::Isa;
use crate::model::{Op, Place};

fn model(constant: Vec<u8>) -> Model {
    let shape = vec![Expr(vec![Op::Symbol(0), Op::Const(4), Op::Mul])];
    let buffer = BufferDef {
        place: Place::Constant(0),
        bytes: Expr::constant(8),
        dtype: "f32".to_owned(),
        shape: shape.clone(),
    };
    Model {
        symbols: vec!["N".to_owned()],
        ranges: vec![[1, 99]],
        outputs: vec![Param { name: "y".to_owned(), dtype: "f32".to_owned(), bits: 32, shape, buffer: 0 }],
        constants: vec![Constant { bytes: Arc::new(constant) }],
        buffers: vec![buffer],
        object: vec![0x7f; 40],
        ..Model::default()
    }
}

const ARCH: &str = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };

fn variant(target: &str, arch: &str, features: &[&str], constant: u8) -> Variant {
    Variant {
        target: target.to_owned(),
        arch: arch.to_owned(),
        features: features.iter().map(|f| (*f).to_owned()).collect(),
        model: model(vec![constant; 8]),
        host: vec!["graph".to_owned()],
        ledger: vec![Inexact { rewrite: "r".to_owned(), numerics: "reassociating".to_owned(), count: 2 }],
        ..Variant::default()
    }
}

fn bytes(variants: Vec<Variant>) -> Vec<u8> {
    let provenance = Provenance {
        made_by: "a test".to_owned(),
        model_sha256: Some("00".to_owned()),
        ..Provenance::default()
    };
    let mut bytes = Vec::new();
    Artifact { provenance, variants }.write(&mut bytes).unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Artifact, ArtifactError> {
    Artifact::read(Arc::new(bytes.to_vec()))
}

#[test]
fn what_is_written_is_read() {
    let artifact = read(&bytes(vec![variant("here", ARCH, &[], 7)])).unwrap();
    assert_eq!(artifact.provenance.made_by, "a test");
    let chosen = artifact.choose().unwrap();
    assert_eq!((chosen.host.as_slice(), chosen.ledger[0].count), (&["graph".to_owned()][..], 2));
    assert_eq!(chosen.model.outputs[0].shape[0].eval(&[Some(3)]), Some(12));
    assert_eq!(chosen.model.ranges, [[1, 99]]);
    assert_eq!((*chosen.model.constants[0].bytes).as_ref(), [7; 8]);
}

#[test]
fn resident_weights_are_the_same_in_other_memory() {
    let mut large = variant("here", ARCH, &[], 7);
    large.model.constants.push(Constant { bytes: Arc::new(vec![9u8; HUGE_PAGE + 5]) });
    let mapped = read(&bytes(vec![large])).unwrap().choose().unwrap();
    let at = |v: &Variant, i: usize| {
        let bytes: &[u8] = (*v.model.constants[i].bytes).as_ref();
        (bytes.as_ptr().addr(), bytes.to_vec())
    };
    let before = [at(&mapped, 0), at(&mapped, 1)];
    let resident = mapped.resident().unwrap();
    assert_eq!(at(&resident, 0), before[0]);
    assert_ne!(at(&resident, 1).0, before[1].0);
    assert_eq!(at(&resident, 1).1, before[1].1);
}

#[test]
fn the_best_variant_that_runs_here_is_chosen() {
    let isa = Isa::detect().to_string();
    let all: Vec<&str> = isa.split('+').collect();
    let variants = || {
        vec![
            variant("plain", ARCH, &[], 1),
            variant("other", "sparc", &all, 2),
            variant("best", ARCH, &all, 1),
            variant("same", ARCH, &all, 1),
            variant("beyond", ARCH, &[&all[..], &["mmx2"]].concat(), 1),
        ]
    };
    assert_eq!(read(&bytes(variants())).unwrap().choose().unwrap().target, "best");
    let foreign = vec![variants().remove(1), variants().remove(4)];
    let message = read(&bytes(foreign)).unwrap().choose().err().unwrap().to_string();
    assert!(
        message.contains(&format!("expected code for {ARCH} with {isa}, got code for sparc")),
        "{message}"
    );
    assert!(message.contains("mmx2"), "{message}");
}

#[test]
fn equal_constants_are_there_once() {
    let one = bytes(vec![variant("a", ARCH, &[], 1)]).len();
    let equal = bytes(vec![variant("a", ARCH, &[], 1), variant("b", ARCH, &[], 1)]);
    let manifest = Parts::new(Arc::new(equal)).unwrap().manifest;
    assert_eq!((manifest.constants.len(), manifest.variants[1].constants.as_slice()), (1, &[0][..]));
    let different = bytes(vec![variant("a", ARCH, &[], 1), variant("b", ARCH, &[], 2)]);
    assert_eq!(Parts::new(Arc::new(different)).unwrap().manifest.constants.len(), 2);
    assert!(one > 0);
}

#[test]
fn damage_is_refused() {
    let good = bytes(vec![variant("a", ARCH, &[], 1)]);
    assert!(Artifact::verify_bytes(Arc::new(good.clone())).is_ok());
    for len in 0..good.len() - 60 {
        assert!(read(&good[..len]).is_err(), "{len}");
    }
    let len = u64::from_le_bytes(std::array::from_fn(|i| good[16 + i])) as usize;
    let data = (HEADER + len).next_multiple_of(ALIGN);
    // The object is 40 bytes, the constant 8; padding is nobody's.
    let is_padding = |at: usize| {
        (12..16).contains(&at)
            || (HEADER + len..data).contains(&at)
            || (data + 40..data + 64).contains(&at)
            || at >= data + 72
    };
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        let outcome = Artifact::verify_bytes(Arc::new(bad));
        assert_eq!(outcome.is_ok(), is_padding(at), "byte {at}: {outcome:?}");
    }
}

#[test]
fn another_version_is_refused_as_such() {
    let mut newer = bytes(vec![variant("a", ARCH, &[], 1)]);
    newer[8] = 9;
    assert_eq!(read(&newer).err().unwrap().to_string(), "artifact: expected version 2, got 9");
}

/// Mutants whose checksums are right again: what is behind the checksums stands on its own, too.
#[test]
fn manifests_that_lie_are_refused_or_read() {
    let good = bytes(vec![variant("a", ARCH, &[], 1), variant("b", ARCH, &[], 2)]);
    let len = u64::from_le_bytes(std::array::from_fn(|i| good[16 + i])) as usize;
    let text = String::from_utf8(good[HEADER..HEADER + len].to_vec()).unwrap();
    let numbers: Vec<(usize, usize)> = {
        let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
        let starts = (1..text.len()).filter(|at| digit(*at) && !digit(at - 1));
        starts.map(|at| (at, (at..).find(|end| !digit(*end)).unwrap())).collect()
    };
    let mut refused = 0;
    let lies = ["0", "1", "7", "63", "4294967295", "9223372036854775807", "18446744073709551615", "-1"];
    let mut mutants = 0;
    for (start, end) in numbers {
        for lie in lies {
            let changed = format!("{}{lie}{}", &text[..start], &text[end..]);
            let mut mutant = good[..16].to_vec();
            mutant.extend((changed.len() as u64).to_le_bytes());
            mutant.extend(checksum(changed.as_bytes()).to_le_bytes());
            mutant.extend(changed.as_bytes());
            mutant.resize(mutant.len().next_multiple_of(ALIGN), 0);
            mutant.extend(&good[(HEADER + len).next_multiple_of(ALIGN)..]);
            mutants += 1;
            match read(&mutant) {
                Ok(artifact) => assert!(artifact.variants.iter().all(|v| v.model.validate().is_ok())),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(mutants > 200 && refused > mutants / 4, "{refused} of {mutants} were refused");
}
