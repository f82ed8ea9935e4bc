//! Files of tensors in every format.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    use tcc_ir::weights::{WeightsFile, npy, npz::Npz, safetensors::Safetensors};
    let file = WeightsFile::from_bytes("fuzz", bytes.to_vec());
    let _ = npy::read(&file);
    let _ = Safetensors::parse(&file);
    if let Ok(archive) = Npz::parse(file) {
        let _ = archive.read_all();
    }
});
