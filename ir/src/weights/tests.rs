//! Tests across formats: everything written reads back, and damaged files never panic.

use std::io::Write as _;
use std::time::Instant;

use super::npz::Npz;
use super::safetensors::Safetensors;
use super::*;
use crate::dtype::DType;

fn samples() -> Vec<(String, Tensor)> {
    let shapes: [&[usize]; 4] = [&[3, 5], &[], &[0, 2], &[7]];
    let named = |(index, dtype): (usize, DType)| {
        let tensor = Tensor::random(dtype, shapes[index % shapes.len()], index as u64).expect("small");
        (format!("layer.{index}.{dtype}"), tensor)
    };
    DType::ALL.into_iter().enumerate().map(named).collect()
}

fn borrowed(tensors: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

fn npy_bytes(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    npy::write_to(&mut bytes, tensor, "x.npy").expect("memory");
    bytes
}

fn npz_bytes(tensors: &[(String, Tensor)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    npz::write_to(&mut bytes, &borrowed(tensors), "x.npz").expect("memory");
    bytes
}

fn safetensors_bytes(tensors: &[(String, Tensor)]) -> Vec<u8> {
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let mut bytes = Vec::new();
    Safetensors { tensors: tensors.to_vec(), metadata }.write_to(&mut bytes, "x").expect("memory");
    bytes
}

/// An archive of one deflated member with sizes in the directory only, as streaming writers make;
/// those are in a zip64 extra field if `wide`.
fn deflated_npz(name: &str, tensor: &Tensor, wide: bool) -> Vec<u8> {
    let plain = npy_bytes(tensor);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&plain).expect("memory");
    let data = encoder.finish().expect("memory");
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    let name = format!("{name}.npy");
    let name_length = (name.len() as u16).to_le_bytes();
    let mut bytes = b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0".to_vec();
    bytes.extend([0; 12]);
    bytes.extend(name_length);
    bytes.extend([0; 2]);
    bytes.extend(name.as_bytes());
    bytes.extend(&data);
    let directory = bytes.len();
    bytes.extend(b"PK\x01\x02\x14\0\x14\0\x08\0\x08\0\0\0\0\0");
    let sizes = [data.len(), plain.len()];
    let narrow = sizes.map(|size| if wide { u32::MAX } else { size as u32 });
    for field in [crc.sum(), narrow[0], narrow[1]] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(name_length);
    bytes.extend([if wide { 20 } else { 0 }, 0]);
    bytes.extend([0; 14]);
    bytes.extend(name.as_bytes());
    if wide {
        bytes.extend([1, 0, 16, 0]);
        bytes.extend([sizes[1].to_le_bytes(), sizes[0].to_le_bytes()].concat());
    }
    let length = bytes.len() - directory;
    bytes.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    bytes.extend((length as u32).to_le_bytes());
    bytes.extend((directory as u32).to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

#[test]
fn every_type_reads_back_from_every_format() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tensors = samples();
    let path = directory.path().join("all.npz");
    npz::write(&path, &borrowed(&tensors)).expect("written");
    assert_eq!(read(&path).expect("valid"), tensors);
    let path = directory.path().join("all.safetensors");
    Safetensors { tensors: tensors.clone(), ..Default::default() }.write(&path).expect("written");
    let content = Safetensors::open(&path).expect("valid");
    assert_eq!(content.tensors.len(), tensors.len());
    for (name, tensor) in &tensors {
        assert_eq!(content.get(name), Some(tensor), "{name}");
        let path = directory.path().join("one.npy");
        npy::write(&path, tensor).expect("written");
        assert_eq!(read(&path).expect("valid"), [("one".to_owned(), tensor.clone())]);
    }
    assert!(read(&directory.path().join("absent")).expect_err("absent").to_string().contains("absent"));
}

#[test]
fn mapped_tensors_are_aligned_windows() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let tensors: Vec<(String, Tensor)> =
        samples().into_iter().filter(|(_, tensor)| tensor.dtype() == DType::F32).collect();
    let path = directory.path().join("f32.npz");
    npz::write(&path, &borrowed(&tensors)).expect("written");
    let file = WeightsFile::open(&path).expect("written");
    let range = file.bytes().as_ptr_range();
    for (name, tensor) in Npz::parse(file.clone()).expect("valid").read_all().expect("valid") {
        let elements = tensor.as_slice::<f32>().unwrap_or_else(|| panic!("{name} is misaligned"));
        assert!(range.contains(&elements.as_ptr().cast()), "{name} was copied");
    }
}

#[test]
fn deflated_members_are_inflated_and_checked() {
    let tensor = Tensor::zeros(DType::F32, &[64, 64]).expect("small");
    let mut bytes = deflated_npz("w", &tensor, false);
    let read = |bytes: &[u8]| Npz::parse(WeightsFile::from_bytes("d.npz", bytes.to_vec()))?.read_all();
    assert_eq!(read(&bytes).expect("valid"), [("w".to_owned(), tensor.clone())]);
    assert_eq!(read(&deflated_npz("w", &tensor, true)).expect("valid"), [("w".to_owned(), tensor)]);
    let crc_at = bytes.len() - 22 - 5 - 46 + 16;
    bytes[crc_at] ^= 1;
    let error = read(&bytes).expect_err("the checksum differs").to_string();
    assert!(error.starts_with("d.npz: member w.npy: expected checksum 0x"), "{error}");
}

#[test]
fn more_members_than_a_plain_directory_counts() {
    let one = Tensor::scalar(DType::Bool, true.into());
    let tensors: Vec<(String, Tensor)> = (0..65_540).map(|index| (index.to_string(), one.clone())).collect();
    let npz = Npz::parse(WeightsFile::from_bytes("many.npz", npz_bytes(&tensors))).expect("valid");
    assert_eq!(npz.names().count(), tensors.len());
    assert_eq!(npz.get("65539").expect("a member").expect("valid"), one);
}

#[test]
fn overlapping_members_are_refused() {
    let tensor = Tensor::zeros(DType::F32, &[4]).expect("small");
    let mut bytes = npz_bytes(&[("a".to_owned(), tensor.clone()), ("b".to_owned(), tensor)]);
    // The second entry's local header becomes the first's.
    let second = bytes.len() - 22 - (46 + 5) + 42;
    bytes[second..second + 4].fill(0);
    let error = Npz::parse(WeightsFile::from_bytes("o.npz", bytes)).expect_err("overlap").to_string();
    assert_eq!(
        error,
        "o.npz: directory: expected members apart from each other, found a.npy and b.npy overlapping"
    );
}

#[test]
fn written_bytes_depend_on_content_only() {
    assert_eq!(npz_bytes(&samples()), npz_bytes(&samples()));
    let mut reversed = samples();
    reversed.reverse();
    assert_eq!(safetensors_bytes(&samples()), safetensors_bytes(&reversed));
}

/// Calls `attempt` with damaged copies of `valid`: truncations, flipped bits, spliced numbers.
fn damage(valid: &[u8], mut attempt: impl FnMut(Vec<u8>)) {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut next = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    let interesting: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'9', b'-', b'['];
    for round in 0..1500 {
        let mut bytes = valid.to_vec();
        match round % 4 {
            0 => bytes.truncate(next(valid.len())),
            1 => {
                for _ in 0..=next(4) {
                    let at = next(bytes.len());
                    bytes[at] ^= 1 << next(8);
                }
            }
            2 => {
                // Structure stands at the ends of every format.
                let near = next(valid.len().min(300));
                let at = if next(2) == 0 { near } else { valid.len() - 1 - near };
                bytes[at] = interesting[next(interesting.len())];
            }
            _ => {
                let (at, from, length) = (next(bytes.len()), next(bytes.len()), 1 + next(8));
                let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                let end = (at + next(8)).min(bytes.len());
                bytes.splice(at..end, piece);
            }
        }
        attempt(bytes);
    }
}

#[test]
fn damaged_files_give_tensors_or_errors() {
    let begin = Instant::now();
    let (mut accepted, mut refused) = (0, 0);
    let mut judge = |result: Result<Vec<(String, Tensor)>, WeightsError>| match result {
        Ok(tensors) => {
            accepted += 1;
            for (_, tensor) in tensors {
                tensor.to_vec_f64().expect("no bigger than the file");
                tensor.to_string();
            }
        }
        Err(error) => {
            refused += 1;
            assert!(error.to_string().len() < 2000);
        }
    };
    let tensors = samples();
    for (_, tensor) in &tensors[..12] {
        damage(&npy_bytes(tensor), |bytes| {
            judge(npy::read(&WeightsFile::from_bytes("x", bytes)).map(|tensor| vec![("x".into(), tensor)]));
        });
    }
    let noise = Tensor::random(DType::F32, &[20, 20], 5).expect("small");
    let deflated = [false, true].map(|wide| deflated_npz("w", &noise, wide));
    for valid in [npz_bytes(&tensors[..3])].into_iter().chain(deflated) {
        damage(&valid, |bytes| {
            judge(Npz::parse(WeightsFile::from_bytes("x", bytes)).and_then(|npz| npz.read_all()));
        });
    }
    damage(&safetensors_bytes(&tensors[..4]), |bytes| {
        judge(Safetensors::parse(&WeightsFile::from_bytes("x", bytes)).map(|content| content.tensors));
    });
    assert!(accepted > 1000 && refused > 1000, "{accepted} accepted, {refused} refused");
    assert!(begin.elapsed().as_secs() < 60, "a damaged file took too long");
}
