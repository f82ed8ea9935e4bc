//! Compiled models: nothing is run, but all that comes before is.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(artifact) = tcc_runtime::artifact::Artifact::read(std::sync::Arc::new(bytes.to_vec())) {
        assert!(artifact.variants.iter().all(|v| v.model.validate().is_ok()));
        let _ = artifact.choose();
    }
});
