//! The `.npz` format: a zip archive of `.npy` members, stored or deflated.
//!
//! Stored members are windows onto the file, and their checksums are not computed, since that would
//! read all of it; deflated members are inflated and checked when they are asked for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::zip::{self, ArchiveWriter, Member, MemberData};
use super::{WeightsError, WeightsFile, npy};
use crate::tensor::Tensor;

const SUFFIX: &str = ".npy";

/// An archive whose directory has been read.
#[derive(Clone, Debug)]
pub struct Npz {
    file: WeightsFile,
    members: Vec<Member>,
}

impl Npz {
    /// Maps an archive and reads its directory.
    pub fn open(path: &Path) -> Result<Npz, WeightsError> {
        Npz::parse(WeightsFile::open(path)?)
    }

    /// Reads the directory of an archive.
    pub fn parse(file: WeightsFile) -> Result<Npz, WeightsError> {
        let mut members = zip::read_directory(&file)?;
        members.retain(|member| member.name.ends_with(SUFFIX));
        let mut names = rustc_hash::FxHashSet::default();
        if let Some(twice) = members.iter().find(|member| !names.insert(member.name.as_str())) {
            return Err(WeightsError::malformed(file.name(), "directory", "names used once", &twice.name));
        }
        Ok(Npz { file, members })
    }

    /// The names of the arrays, in the order of the archive.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(array_name)
    }

    /// The array of a name, if there is one.
    pub fn get(&self, name: &str) -> Option<Result<Tensor, WeightsError>> {
        self.members.iter().find(|member| array_name(member) == name).map(|member| self.read_member(member))
    }

    /// Every array, in the order of the archive.
    pub fn read_all(&self) -> Result<Vec<(String, Tensor)>, WeightsError> {
        let read = |member| Ok((array_name(member).to_owned(), self.read_member(member)?));
        self.members.iter().map(read).collect()
    }

    fn read_member(&self, member: &Member) -> Result<Tensor, WeightsError> {
        let context = format!("member {}: ", member.name);
        match zip::read_member(&self.file, member)? {
            MemberData::InPlace { start, length } => npy::read_region(&self.file, &context, start, length),
            MemberData::Inflated(bytes) => {
                let length = bytes.len();
                let inflated = WeightsFile::from_bytes(self.file.name(), bytes);
                npy::read_region(&inflated, &context, 0, length)
            }
        }
    }
}

/// Maps an archive and reads every array, in the order of the archive.
pub fn open(path: &Path) -> Result<Vec<(String, Tensor)>, WeightsError> {
    Npz::open(path)?.read_all()
}

/// Writes an archive of stored members, aligned for mapping.
pub fn write(path: &Path, arrays: &[(&str, &Tensor)]) -> Result<(), WeightsError> {
    let out = File::create(path).map_err(|source| WeightsError::io(path.display(), source))?;
    write_to(BufWriter::new(out), arrays, &path.display().to_string())
}

/// Writes the bytes of an archive, which depend on nothing but the content; `file` is what errors
/// call it.
pub fn write_to(out: impl Write, arrays: &[(&str, &Tensor)], file: &str) -> Result<(), WeightsError> {
    let failed = |source| WeightsError::io(file, source);
    let mut archive = ArchiveWriter::new(out);
    for (name, tensor) in arrays {
        let widened = npy::byte_per_element(tensor, file)?;
        let data = widened.to_bytes().map_err(|source| WeightsError::tensor(file, name, source))?;
        archive.add(&format!("{name}{SUFFIX}"), &[&npy::encode_header(tensor), &data]).map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

fn array_name(member: &Member) -> &str {
    member.name.strip_suffix(SUFFIX).unwrap_or(&member.name)
}
