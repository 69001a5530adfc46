// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The file format of `mali_csffw.bin`: a header and a list of entries.

/// First word of the file.
pub const MAGIC: u32 = 0xc3f1_3a6e;
/// Bytes of the file header.
pub const HEADER_SIZE: usize = 20;
/// Granule of section addresses.
pub const PAGE: u32 = 4096;

/// Section flags.
pub mod flags {
    /// Readable by the microcontroller.
    pub const READ: u32 = 1 << 0;
    /// Writable by the microcontroller.
    pub const WRITE: u32 = 1 << 1;
    /// Executable by the microcontroller.
    pub const EXECUTE: u32 = 1 << 2;
    /// Cache mode 1: cached.
    pub const CACHED: u32 = 1 << 3;
    /// Cache mode 2: uncached and coherent.
    pub const UNCACHED_COHERENT: u32 = 2 << 3;
    /// Both bits of the cache mode.
    pub const CACHE_MODE: u32 = 3 << 3;
    /// Protected-mode section.
    pub const PROTECTED: u32 = 1 << 5;
    /// Shared with the host.
    pub const SHARED: u32 = 1 << 30;
    /// The rest of the section is filled with zeros.
    pub const ZERO: u32 = 1 << 31;
    /// Every bit that has a meaning.
    pub const ALL: u32 = READ | WRITE | EXECUTE | CACHE_MODE | PROTECTED | SHARED | ZERO;
}

/// Type of an entry, the low byte of its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryType {
    /// A section of memory.
    Section,
    /// Configuration, unit test, trace buffer or time line metadata: skipped.
    Skipped(u8),
    /// Text that says where the image comes from.
    BuildInfo,
    /// Anything else.
    Unknown(u8),
}

impl EntryType {
    fn of(word: u32) -> Self {
        match word as u8 {
            0 => Self::Section,
            n @ 1..=4 => Self::Skipped(n),
            6 => Self::BuildInfo,
            n => Self::Unknown(n),
        }
    }
}

/// Bit of an entry word: a reader that does not know the type may skip it.
const OPTIONAL: u32 = 1 << 31;

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name, only for people.
    pub name: String,
    /// Bits of [`flags`].
    pub flags: u32,
    /// Address in the microcontroller's space.
    pub va: u32,
    /// Bytes of address space.
    pub size: u32,
    /// What is copied to the start of it.
    pub data: Vec<u8>,
}

/// A firmware image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Opaque word of the header.
    pub version_hash: u32,
    /// Text of the build info entry, without its final NUL.
    pub build_info: Option<String>,
    /// Sections in file order.
    pub sections: Vec<Section>,
}

/// Why a file is not an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// The file ends too early.
    Truncated,
    /// Wrong first word.
    Magic,
    /// Unknown major version.
    Version,
    /// An entry with an impossible size or place.
    Entry(u32),
    /// An entry of an unknown type that is not optional.
    Type(u8),
    /// A section whose flags, addresses or data make no sense.
    Section(u32),
    /// No shared section at the fixed address.
    NoShared,
}

fn word(bytes: &[u8], at: usize) -> Result<u32, ParseError> {
    at.checked_add(4)
        .and_then(|end| bytes.get(at..end))
        .and_then(|b| b.try_into().ok())
        .map(u32::from_le_bytes)
        .ok_or(ParseError::Truncated)
}

fn range(bytes: &[u8], start: u32, end: u32) -> Option<&[u8]> {
    bytes.get(start as usize..end as usize)
}

impl Image {
    /// Writes the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let entry_sizes: usize = self
            .sections
            .iter()
            .map(|s| 24 + s.name.len().next_multiple_of(4))
            .sum();
        let info_entry = if self.build_info.is_some() { 12 } else { 0 };
        let size = HEADER_SIZE + entry_sizes + info_entry;
        let mut blob_at = size.next_multiple_of(64);

        let mut entries = Vec::new();
        let mut blobs: Vec<u8> = Vec::new();
        let mut put = |blobs: &mut Vec<u8>, data: &[u8]| -> (u32, u32) {
            let start = blob_at;
            blobs.extend_from_slice(data);
            blob_at += data.len();
            (start as u32, blob_at as u32)
        };
        for section in &self.sections {
            let name_len = section.name.len().next_multiple_of(4);
            let (start, end) = put(&mut blobs, &section.data);
            let words = [
                (24 + name_len as u32) << 8,
                section.flags,
                section.va,
                section.va + section.size,
                start,
                end,
            ];
            entries.extend(words.iter().flat_map(|w| w.to_le_bytes()));
            entries.extend_from_slice(section.name.as_bytes());
            entries.resize(entries.len() + name_len - section.name.len(), 0);
        }
        if let Some(info) = &self.build_info {
            let mut text = info.as_bytes().to_vec();
            text.push(0);
            let (start, end) = put(&mut blobs, &text);
            let words = [6 | (12 << 8) | OPTIONAL, start, end - start];
            entries.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        }

        let mut file = Vec::new();
        file.extend_from_slice(&MAGIC.to_le_bytes());
        // Minor 0, major 0, padding.
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&self.version_hash.to_le_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&(size as u32).to_le_bytes());
        file.extend_from_slice(&entries);
        file.resize(size.next_multiple_of(64), 0);
        file.extend_from_slice(&blobs);
        file
    }

    /// Reads a file, with all the checks of the fact sheet.
    pub fn parse(file: &[u8]) -> Result<Self, ParseError> {
        if word(file, 0)? != MAGIC {
            return Err(ParseError::Magic);
        }
        if file.get(5) != Some(&0) {
            return Err(ParseError::Version);
        }
        let size = word(file, 16)? as usize;
        if size > file.len() {
            return Err(ParseError::Truncated);
        }
        let mut image = Image {
            version_hash: word(file, 8)?,
            build_info: None,
            sections: Vec::new(),
        };
        let mut at = HEADER_SIZE;
        while at < size {
            let head = word(file, at)?;
            let len = ((head >> 8) & 0xff) as usize;
            if at % 4 != 0 || len % 4 != 0 || len < 4 || at + len > size {
                return Err(ParseError::Entry(at as u32));
            }
            let body = &file[at + 4..at + len];
            match EntryType::of(head) {
                EntryType::Section => {
                    if let Some(section) = Self::parse_section(file, body, at as u32)? {
                        image.sections.push(section);
                    }
                }
                EntryType::BuildInfo => {
                    let start = word(body, 0)?;
                    let end = start.saturating_add(word(body, 4)?);
                    image.build_info = range(file, start, end)
                        .and_then(|text| text.strip_suffix(&[0]))
                        .and_then(|text| String::from_utf8(text.to_vec()).ok());
                }
                EntryType::Skipped(_) => {}
                EntryType::Unknown(n) if head & OPTIONAL == 0 => return Err(ParseError::Type(n)),
                EntryType::Unknown(_) => {}
            }
            at += len;
        }
        let shared = |s: &Section| s.va == 0x0400_0000 && s.flags & flags::SHARED != 0;
        if !image.sections.iter().any(shared) {
            return Err(ParseError::NoShared);
        }
        Ok(image)
    }

    fn parse_section(file: &[u8], body: &[u8], at: u32) -> Result<Option<Section>, ParseError> {
        let bad = ParseError::Section(at);
        let (flags, start, end) = (word(body, 0)?, word(body, 4)?, word(body, 8)?);
        let (data_start, data_end) = (word(body, 12)?, word(body, 16)?);
        if flags & !flags::ALL != 0 || end < start || (start | end) % PAGE != 0 {
            return Err(bad);
        }
        let data = range(file, data_start, data_end).ok_or(bad)?;
        if data.len() > (end - start) as usize {
            return Err(bad);
        }
        if start == end {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(&body[20..]);
        Ok(Some(Section {
            name: name.trim_end_matches('\0').into(),
            flags,
            va: start,
            size: end - start,
            data: data.to_vec(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Image {
        Image {
            version_hash: 7,
            build_info: None,
            sections: vec![Section {
                name: "shared".into(),
                flags: flags::READ | flags::WRITE | flags::SHARED,
                va: 0x0400_0000,
                size: 0x2000,
                data: vec![1, 2, 3, 4, 5],
            }],
        }
    }

    #[test]
    fn round_trip() {
        let image = sample();
        assert_eq!(Image::parse(&image.to_bytes()), Ok(image));
    }

    #[test]
    fn refusals() {
        let good = sample().to_bytes();
        let with = |at: usize, byte: u8| {
            let mut file = good.clone();
            file[at] = byte;
            Image::parse(&file)
        };
        assert_eq!(Image::parse(&[]), Err(ParseError::Truncated));
        assert_eq!(with(0, 0), Err(ParseError::Magic));
        assert_eq!(with(5, 1), Err(ParseError::Version));
        assert_eq!(with(19, 0x7f), Err(ParseError::Truncated));
        // Entry word: type 9 without the optional bit, then sizes that cannot be.
        assert_eq!(with(20, 9), Err(ParseError::Type(9)));
        assert_eq!(with(21, 0), Err(ParseError::Entry(20)));
        assert_eq!(with(21, 0xfc), Err(ParseError::Entry(20)));
        // An unknown flag, an unaligned address, data outside the file, no shared section.
        assert_eq!(with(25, 1), Err(ParseError::Section(20)));
        assert_eq!(with(28, 1), Err(ParseError::Section(20)));
        assert_eq!(with(43, 0x7f), Err(ParseError::Section(20)));
        assert_eq!(with(27, 0), Err(ParseError::NoShared));
    }

    #[test]
    fn every_truncation_is_refused_without_a_panic() {
        let good = sample().to_bytes();
        for len in 0..good.len() {
            assert!(Image::parse(&good[..len]).is_err());
        }
    }
}
