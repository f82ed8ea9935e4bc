//! Zip archives as far as `.npz` needs them: stored and deflated members, zip64, no encryption.
//!
//! The directory at the end of the archive is what counts; sizes in local headers are ignored, as
//! streaming writers leave them empty. Members must not overlap, so that a small archive cannot
//! expand without bound: deflate alone gives at most 1032 bytes for one.

use std::io::{self, Read, Write};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::{WeightsError, WeightsFile};

/// What archives begin with: a local header or, when empty, the end of the directory.
pub(super) const ANY_MAGIC: &[u8] = b"PK";

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const DIRECTORY_END: u32 = 0x0605_4b50;
const DIRECTORY_END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
const EXTRA_64: u16 = 1;
/// The tag of an extra field that readers skip, as Android's `zipalign` uses it for padding.
const EXTRA_PADDING: u16 = 0xd935;
/// What stands in a 32-bit field whose value is in the zip64 extra field.
const ELSEWHERE: u32 = u32::MAX;
/// The greatest expansion of deflate: 258 bytes from two bits.
const DEFLATE_RATIO: u64 = 1032;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
}

/// One member of an archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    method: Method,
    crc: u32,
    /// Where its data starts in the file.
    start: usize,
    compressed: usize,
    size: usize,
}

/// The data of a member: in the file as it is, or inflated.
pub(super) enum MemberData {
    InPlace { start: usize, length: usize },
    Inflated(Vec<u8>),
}

/// Reads the directory of an archive and checks every member's place.
pub(super) fn read_directory(file: &WeightsFile) -> Result<Vec<Member>, WeightsError> {
    let bytes = file.bytes();
    let (count, directory, length) = find_directory(file)?;
    let malformed = |field: &str, expected: &str, found: String| {
        WeightsError::malformed(file.name(), field, expected, found)
    };
    let end = directory.checked_add(length).filter(|end| *end <= bytes.len());
    let Some(directory_bytes) = end.and_then(|end| bytes.get(directory..end)) else {
        let found = format!("{length} bytes at {directory} of {}", bytes.len());
        return Err(malformed("directory", "a place within the file", found));
    };
    let mut fields = Fields { rest: directory_bytes };
    let mut members = Vec::new();
    while !fields.rest.is_empty() {
        let index = members.len();
        let member = read_entry(&mut fields, file, directory)
            .unwrap_or_else(|| {
                Err(malformed("directory", "a whole entry", "the end of the directory".into()))
            })
            .map_err(|error| in_member(error, index))?;
        members.push(member);
    }
    if members.len() as u64 != count {
        return Err(malformed("directory", &format!("{count} entries"), members.len().to_string()));
    }
    let mut places: Vec<(usize, usize, &str)> =
        members.iter().map(|m| (m.start, m.start + m.compressed, m.name.as_str())).collect();
    places.sort_unstable();
    if let Some(pair) = places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        let found = format!("{} and {} overlapping", pair[0].2, pair[1].2);
        return Err(malformed("directory", "members apart from each other", found));
    }
    Ok(members)
}

/// Finds a member's data and, where that needs a copy anyway, checks it against its checksum.
pub(super) fn read_member(file: &WeightsFile, member: &Member) -> Result<MemberData, WeightsError> {
    if member.method == Method::Stored {
        return Ok(MemberData::InPlace { start: member.start, length: member.size });
    }
    let malformed = |expected: String, found: String| {
        WeightsError::malformed(file.name(), format_args!("member {}", member.name), expected, found)
    };
    let compressed = &file.bytes()[member.start..member.start + member.compressed];
    let mut data = Vec::new();
    // One byte more than promised shows that there is more.
    let mut decoder = DeflateDecoder::new(compressed).take(member.size as u64 + 1);
    decoder
        .read_to_end(&mut data)
        .map_err(|error| malformed("valid deflate data".into(), error.to_string()))?;
    if data.len() != member.size {
        return Err(malformed(format!("{} bytes", member.size), format!("{} or more", data.len())));
    }
    let crc = checksum(&[&data]);
    if crc != member.crc {
        return Err(malformed(format!("checksum {:#010x}", member.crc), format!("{crc:#010x}")));
    }
    Ok(MemberData::Inflated(data))
}

/// Adds the number of a directory entry to an error about it.
fn in_member(error: WeightsError, index: usize) -> WeightsError {
    match error {
        WeightsError::Malformed { file, field, expected, found } => {
            WeightsError::Malformed { file, field: format!("entry {index}: {field}"), expected, found }
        }
        other => other,
    }
}

/// The number of entries, place and length of the directory.
fn find_directory(file: &WeightsFile) -> Result<(u64, usize, usize), WeightsError> {
    const END_LENGTH: usize = 22;
    const LOCATOR_LENGTH: usize = 20;
    let bytes = file.bytes();
    let missing = || {
        let found = format!("none in the last bytes of {}", bytes.len());
        WeightsError::malformed(file.name(), "end of directory", "a record at the end of the file", found)
    };
    // The record is last but for a comment of at most 65535 bytes.
    let last = bytes.len().checked_sub(END_LENGTH).ok_or_else(missing)?;
    let end = (last.saturating_sub(usize::from(u16::MAX))..=last)
        .rev()
        .find(|at| Fields::at(bytes, *at).is_some_and(|mut fields| fields.u32() == Some(DIRECTORY_END)))
        .ok_or_else(missing)?;
    let read_end = || {
        let mut fields = Fields::at(bytes, end + 10)?;
        Some((fields.u16()?, fields.u32()?, fields.u32()?))
    };
    let (count, length, directory) = read_end().ok_or_else(missing)?;
    let read_end_64 = || {
        let mut locator = Fields::at(bytes, end.checked_sub(LOCATOR_LENGTH)?)?;
        if locator.u32()? != LOCATOR_64 {
            return None;
        }
        locator.skip(4)?;
        let mut fields = Fields::at(bytes, usize::try_from(locator.u64()?).ok()?)?;
        if fields.u32()? != DIRECTORY_END_64 {
            return None;
        }
        fields.skip(28)?;
        let (count, length, directory) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Some((count, usize::try_from(directory).ok()?, usize::try_from(length).ok()?))
    };
    let needs_64 = count == u16::MAX || length == ELSEWHERE || directory == ELSEWHERE;
    match (needs_64, read_end_64()) {
        (true, Some(found)) => Ok(found),
        _ => Ok((count.into(), directory as usize, length as usize)),
    }
}

/// Reads one directory entry; `None` if the directory ends within it.
fn read_entry(
    fields: &mut Fields<'_>,
    file: &WeightsFile,
    directory: usize,
) -> Option<Result<Member, WeightsError>> {
    let signature = fields.u32()?;
    fields.skip(4)?;
    let (flags, method) = (fields.u16()?, fields.u16()?);
    fields.skip(4)?;
    let (crc, compressed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
    fields.skip(8)?;
    let offset = fields.u32()?;
    let name = fields.take(name.into())?;
    let extra = fields.take(extra.into())?;
    fields.skip(comment.into())?;

    let malformed = |field: &str, expected: &str, found: String| {
        Some(Err(WeightsError::malformed(file.name(), field, expected, found)))
    };
    if signature != DIRECTORY_ENTRY {
        return malformed("signature", &format!("{DIRECTORY_ENTRY:#010x}"), format!("{signature:#010x}"));
    }
    let Ok(name) = std::str::from_utf8(name) else {
        return malformed("name", "UTF-8 text", format!("{name:02x?}"));
    };
    if flags & 1 != 0 {
        return malformed(name, "an unencrypted member", "an encrypted one".into());
    }
    let method = match method {
        0 => Method::Stored,
        8 => Method::Deflated,
        other => return malformed(name, "method 0 (stored) or 8 (deflated)", other.to_string()),
    };
    let Some([size, compressed, offset]) = widen(extra, [size, compressed, offset]) else {
        return malformed(name, "sizes in a zip64 extra field", "none".into());
    };
    let start = data_start(file.bytes(), offset);
    let data_end = start.and_then(|start| start.checked_add(usize::try_from(compressed).ok()?));
    let (Some(start), Some(_)) = (start, data_end.filter(|end| *end <= directory)) else {
        let found = format!("{compressed} bytes at {offset}");
        return malformed(name, &format!("a member within {directory} bytes"), found);
    };
    let largest =
        if method == Method::Stored { compressed } else { compressed.saturating_mul(DEFLATE_RATIO) };
    if size > largest || (method == Method::Stored && size != compressed) {
        return malformed(name, &format!("a size within {largest}"), size.to_string());
    }
    // Both are within the file or a small multiple of it.
    let (compressed, size) = (compressed as usize, size as usize);
    Some(Ok(Member { name: name.to_owned(), method, crc, start, compressed, size }))
}

/// Replaces 32-bit fields that say so by those of the zip64 extra field, in their order there.
fn widen(extra: &[u8], narrow: [u32; 3]) -> Option<[u64; 3]> {
    if !narrow.contains(&ELSEWHERE) {
        return Some(narrow.map(u64::from));
    }
    let mut fields = Fields { rest: extra };
    loop {
        let (tag, length) = (fields.u16()?, fields.u16()?);
        let content = fields.take(length.into())?;
        if tag == EXTRA_64 {
            let mut wide = Fields { rest: content };
            let mut values = narrow.map(u64::from);
            for value in values.iter_mut().filter(|value| **value == u64::from(ELSEWHERE)) {
                *value = wide.u64()?;
            }
            return Some(values);
        }
    }
}

/// Where the data of the member whose local header is at `offset` starts.
fn data_start(bytes: &[u8], offset: u64) -> Option<usize> {
    let offset = usize::try_from(offset).ok()?;
    let mut fields = Fields::at(bytes, offset)?;
    if fields.u32()? != LOCAL_HEADER {
        return None;
    }
    fields.skip(22)?;
    let (name, extra) = (usize::from(fields.u16()?), usize::from(fields.u16()?));
    Some(offset + 30 + name + extra)
}

/// Little-endian fields, one after another; `None` at the end.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn at(bytes: &'a [u8], offset: usize) -> Option<Fields<'a>> {
        Some(Fields { rest: bytes.get(offset..)? })
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn array<const SIZE: usize>(&mut self) -> Option<[u8; SIZE]> {
        let (taken, rest) = self.rest.split_first_chunk::<SIZE>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.sum()
}

/// Writes archives of stored members whose data is aligned; bytes depend on nothing but content.
pub(super) struct ArchiveWriter<W> {
    out: W,
    position: u64,
    directory: Vec<u8>,
    count: u64,
}

/// Stored data starts at a multiple of this.
const DATA_ALIGNMENT: u64 = 64;
/// Needed for zip64; any reader of today has it.
const VERSION: u16 = 45;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1980-01-01, the first day that the format knows, at midnight.
const TIMESTAMP: u32 = 0x0021_0000;

impl<W: Write> ArchiveWriter<W> {
    pub(super) fn new(out: W) -> Self {
        ArchiveWriter { out, position: 0, directory: Vec::new(), count: 0 }
    }

    /// Adds a member made of the parts one after another.
    pub(super) fn add(&mut self, name: &str, parts: &[&[u8]]) -> io::Result<()> {
        let too_long =
            |_| io::Error::new(io::ErrorKind::InvalidInput, "expected a name of at most 65535 bytes");
        let name_length = u16::try_from(name.len()).map_err(too_long)?;
        let size: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let offset = self.position;
        let wide_size = size >= ELSEWHERE.into();
        let mut extra = Vec::new();
        if wide_size {
            put_extra(&mut extra, EXTRA_64, &[size.to_le_bytes(), size.to_le_bytes()].concat());
        }
        let unpadded = offset + 30 + u64::from(name_length) + extra.len() as u64 + 4;
        let padding = unpadded.next_multiple_of(DATA_ALIGNMENT) - unpadded;
        put_extra(&mut extra, EXTRA_PADDING, &vec![0; padding as usize]);

        let narrow_size = u32::try_from(size).unwrap_or(ELSEWHERE);
        let mut shared = Vec::new();
        [VERSION, FLAGS, 0].iter().for_each(|field| shared.extend(field.to_le_bytes()));
        [TIMESTAMP, checksum(parts), narrow_size, narrow_size]
            .iter()
            .for_each(|field| shared.extend(field.to_le_bytes()));
        shared.extend(name_length.to_le_bytes());

        let mut local = LOCAL_HEADER.to_le_bytes().to_vec();
        local.extend(&shared);
        local.extend((extra.len() as u16).to_le_bytes());
        local.extend(name.as_bytes());
        local.extend(&extra);
        self.put(&local)?;
        parts.iter().try_for_each(|part| self.put(part))?;

        let mut wide = Vec::new();
        if wide_size {
            wide.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        }
        if offset >= ELSEWHERE.into() {
            wide.extend(offset.to_le_bytes());
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            put_extra(&mut extra, EXTRA_64, &wide);
        }
        self.directory.extend(DIRECTORY_ENTRY.to_le_bytes());
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&shared);
        self.directory.extend((extra.len() as u16).to_le_bytes());
        // No comment, disk 0, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(u32::try_from(offset).unwrap_or(ELSEWHERE).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.directory.extend(&extra);
        self.count += 1;
        Ok(())
    }

    /// Writes the directory.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let (start, length) = (self.position, self.directory.len() as u64);
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let needs_64 =
            self.count >= u16::MAX.into() || start >= ELSEWHERE.into() || length >= ELSEWHERE.into();
        let mut end = Vec::new();
        if needs_64 {
            let record = self.position;
            end.extend(DIRECTORY_END_64.to_le_bytes());
            end.extend(44u64.to_le_bytes());
            end.extend([VERSION.to_le_bytes(), VERSION.to_le_bytes()].concat());
            end.extend([0; 8]);
            [self.count, self.count, length, start].iter().for_each(|field| end.extend(field.to_le_bytes()));
            end.extend(LOCATOR_64.to_le_bytes());
            end.extend(0u32.to_le_bytes());
            end.extend(record.to_le_bytes());
            end.extend(1u32.to_le_bytes());
        }
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        end.extend(DIRECTORY_END.to_le_bytes());
        end.extend([0; 4]);
        end.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
        end.extend(u32::try_from(length).unwrap_or(ELSEWHERE).to_le_bytes());
        end.extend(u32::try_from(start).unwrap_or(ELSEWHERE).to_le_bytes());
        end.extend([0; 2]);
        self.put(&end)?;
        self.out.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.position += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

fn put_extra(extra: &mut Vec<u8>, tag: u16, content: &[u8]) {
    extra.extend(tag.to_le_bytes());
    extra.extend((content.len() as u16).to_le_bytes());
    extra.extend(content);
}
