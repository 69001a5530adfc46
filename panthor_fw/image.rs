// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The firmware image: a header, and entries of which the sections of memory count.
//!
//! Nothing of the kernel is used here: `tests/host` runs this file as it is against millions of
//! broken images.
//!
//! Everything is little-endian. A header of 20 bytes (magic, version, hash of the version, size of
//! header and entries together) is followed by entries, each of which begins with a word that has its
//! type in bits 7:0, its size in bytes in bits 15:8, and in bit 31 whether one may go without it. There
//! is no public description: the format is what the kernel's C driver reads
//! (`drivers/gpu/drm/panthor/panthor_fw.c`).

use core::ops::Range;

/// First word of an image.
const MAGIC: u32 = 0xc3f1_3a6e;
/// Bytes of the header.
const HEADER_SIZE: usize = 20;
/// The only major version there is.
const MAJOR: u8 = 0;
/// Bytes of a section entry up to the name.
const SECTION_ENTRY_SIZE: usize = 24;
/// Bytes of a build information entry.
const BUILD_INFO_ENTRY_SIZE: usize = 12;
/// How many sections an image may have. Those of Arm have less than twenty.
pub(crate) const MAX_SECTIONS: usize = 64;
/// A section begins and ends at multiples of this: a GPU page.
const PAGE: u32 = 0x1000;

/// Where the section with the interfaces begins, in the address space of the microcontroller.
pub(crate) const SHARED_START: u32 = 0x0400_0000;
/// Where the addresses end that the driver shares with it: behind the section is what the driver
/// allocates for queues and suspended groups.
pub(crate) const SHARED_END: u32 = 0x0800_0000;

/// Bits of the flags of a section.
mod flag {
    /// The microcontroller may read it.
    pub(super) const READ: u32 = 1 << 0;
    /// It may write it.
    pub(super) const WRITE: u32 = 1 << 1;
    /// It may execute it.
    pub(super) const EXECUTE: u32 = 1 << 2;
    /// The cache mode: 0 none, 1 cached, 2 uncached and coherent, 3 cached and coherent.
    pub(super) const CACHE_MODE: u32 = 3 << 3;
    /// Cached, not coherent.
    pub(super) const CACHED: u32 = 1 << 3;
    /// Of the protected mode.
    pub(super) const PROTECTED: u32 = 1 << 5;
    /// The host has it mapped.
    pub(super) const SHARED: u32 = 1 << 30;
    /// What the file does not fill is zero.
    pub(super) const ZERO: u32 = 1 << 31;
    /// All of them.
    pub(super) const ALL: u32 = READ | WRITE | EXECUTE | CACHE_MODE | PROTECTED | SHARED | ZERO;
}

/// Why an image is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageError {
    /// It ends in its header.
    NoHeader,
    /// It does not begin with the magic word.
    Magic,
    /// A major version that this driver does not know.
    Version,
    /// Header and entries are larger than the file.
    Size,
    /// The entry at this offset does not fit, or its size is not a multiple of four.
    Entry(u32),
    /// The entry at this offset is of an unknown type, and the firmware needs it.
    Unknown(u32),
    /// The section at this offset has flags that this driver does not know.
    Flags(u32),
    /// The addresses of the section at this offset end before they begin, or are not those of pages.
    Addresses(u32),
    /// The data of the section at this offset is not in the file, or larger than the section.
    Data(u32),
    /// The section at this offset has addresses of one before it.
    Overlap(u32),
    /// The section at this offset is one too many.
    TooMany(u32),
    /// The shared section is not there, not shared, or too large.
    NoShared,
}

impl ImageError {
    /// What is wrong, in words, and at which offset of the file.
    pub(crate) fn describe(self) -> (&'static str, u32) {
        match self {
            Self::NoHeader => ("it is shorter than a header", 0),
            Self::Magic => ("it is no firmware of a Mali GPU", 0),
            Self::Version => ("its version is unknown", 4),
            Self::Size => ("it is shorter than its header says", 16),
            Self::Entry(at) => ("an entry does not fit", at),
            Self::Unknown(at) => ("an entry is of an unknown type", at),
            Self::Flags(at) => ("a section has unknown flags", at),
            Self::Addresses(at) => ("a section has bad addresses", at),
            Self::Data(at) => ("a section has bad data", at),
            Self::Overlap(at) => ("two sections overlap", at),
            Self::TooMany(at) => ("there are too many sections", at),
            Self::NoShared => ("the shared section is missing", 0),
        }
    }
}

/// How the microcontroller may access a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Whether it may write.
    pub(crate) write: bool,
    /// Whether it may execute.
    pub(crate) execute: bool,
    /// Whether its accesses are cached.
    pub(crate) cached: bool,
}

/// A section: memory that the microcontroller finds at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    /// First address, a multiple of 4 KiB.
    pub(crate) start: u32,
    /// The address behind it, a multiple of 4 KiB, greater than `start`.
    pub(crate) end: u32,
    /// What it begins with; not longer than it is.
    pub(crate) data: &'a [u8],
    /// Whether the rest must be zero.
    pub(crate) zero: bool,
    /// Whether it stays mapped for the host.
    pub(crate) shared: bool,
    /// Whether it is of the protected mode, which is not used.
    pub(crate) protected: bool,
    /// What the microcontroller may do.
    pub(crate) access: Access,
}

impl Section<'_> {
    /// Number of bytes, not zero.
    pub(crate) fn size(&self) -> u32 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it is the one with the interfaces.
    pub(crate) fn is_interface(&self) -> bool {
        self.start == SHARED_START && !self.protected
    }

    /// Whether both need the same address. Those of the protected mode are not loaded.
    fn overlaps(&self, other: &Section<'_>) -> bool {
        !self.protected && !other.protected && self.start < other.end && other.start < self.end
    }
}

/// An image whose every section was checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    file: &'a [u8],
    /// Where the entries end.
    end: usize,
}

/// The word at an offset.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// An entry.
enum Entry<'a> {
    Section(Section<'a>),
    /// Where in the file the build information is.
    BuildInfo(Range<u32>),
    /// One that is not needed.
    Other,
}

/// The entries one after the other, up to and with the first bad one.
struct Entries<'a> {
    image: Image<'a>,
    at: usize,
}

impl<'a> Image<'a> {
    /// Looks at a whole file. Nothing is copied, nothing allocated.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        let header = file.get(..HEADER_SIZE).ok_or(ImageError::NoHeader)?;
        if word(header, 0) != Some(MAGIC) {
            return Err(ImageError::Magic);
        }
        if header.get(5) != Some(&MAJOR) {
            return Err(ImageError::Version);
        }
        let end = word(header, 16)
            .and_then(|size| usize::try_from(size).ok())
            .filter(|end| *end <= file.len())
            .ok_or(ImageError::Size)?;
        let image = Self { file, end };
        image.check()?;
        Ok(image)
    }

    /// Every entry by itself, and the sections together.
    fn check(self) -> Result<(), ImageError> {
        let mut count = 0;
        let mut has_shared = false;
        for (at, entry) in self.entries() {
            let Entry::Section(section) = entry? else {
                continue;
            };
            count += 1;
            if count > MAX_SECTIONS {
                return Err(ImageError::TooMany(at));
            }
            if section.is_interface() {
                if !section.shared || section.end > SHARED_END {
                    return Err(ImageError::NoShared);
                }
                has_shared = true;
            }
            if self
                .sections_before(at)
                .any(|other| other.overlaps(&section))
            {
                return Err(ImageError::Overlap(at));
            }
        }
        if has_shared {
            Ok(())
        } else {
            Err(ImageError::NoShared)
        }
    }

    fn entries(self) -> Entries<'a> {
        Entries {
            image: self,
            at: HEADER_SIZE,
        }
    }

    /// The sections whose entries are before an offset, all of which are good.
    fn sections_before(self, end: u32) -> impl Iterator<Item = Section<'a>> {
        self.entries()
            .take_while(move |(at, _)| *at < end)
            .filter_map(|(_, entry)| match entry {
                Ok(Entry::Section(section)) => Some(section),
                _ => None,
            })
    }

    /// The sections, those of the protected mode too, in the order of the file.
    pub(crate) fn sections(self) -> impl Iterator<Item = Section<'a>> {
        self.sections_before(u32::MAX)
    }

    /// From which commit the firmware was built, if it says that.
    pub(crate) fn git_sha(self) -> Option<&'a str> {
        let range = self.entries().find_map(|(_, entry)| match entry {
            Ok(Entry::BuildInfo(range)) => Some(range),
            _ => None,
        })?;
        let info = self.data(&range)?.strip_prefix(b"git_sha: ")?;
        core::str::from_utf8(info.strip_suffix(b"\0")?).ok()
    }

    /// The bytes of the file in a range that is not backwards.
    fn data(self, range: &Range<u32>) -> Option<&'a [u8]> {
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        self.file.get(start..end)
    }

    /// A section from its whole entry.
    fn section(self, at: u32, entry: &[u8]) -> Result<Section<'a>, ImageError> {
        let field = |offset| word(entry, offset).ok_or(ImageError::Entry(at));
        if entry.len() < SECTION_ENTRY_SIZE {
            return Err(ImageError::Entry(at));
        }
        let (flags, start, end) = (field(4)?, field(8)?, field(12)?);
        let data = field(16)?..field(20)?;
        if flags & !flag::ALL != 0 {
            return Err(ImageError::Flags(at));
        }
        if end < start || (start | end) % PAGE != 0 {
            return Err(ImageError::Addresses(at));
        }
        let data = self.data(&data).ok_or(ImageError::Data(at))?;
        // CAST: Widened.
        if data.len() as u64 > u64::from(end - start) {
            return Err(ImageError::Data(at));
        }
        Ok(Section {
            start,
            end,
            data,
            zero: flags & flag::ZERO != 0,
            shared: flags & flag::SHARED != 0,
            protected: flags & flag::PROTECTED != 0,
            access: Access {
                write: flags & flag::WRITE != 0,
                execute: flags & flag::EXECUTE != 0,
                cached: flags & flag::CACHE_MODE == flag::CACHED,
            },
        })
    }
}

impl<'a> Entries<'a> {
    /// The entry at `at`, and its size.
    fn read(&self, at: u32) -> Result<(Entry<'a>, usize), ImageError> {
        let bad = ImageError::Entry(at);
        let rest = self.image.file.get(self.at..self.image.end).ok_or(bad)?;
        let head = word(rest, 0).ok_or(bad)?;
        let kind = head & 0xff;
        // CAST: Eight bits.
        let size = (head >> 8 & 0xff) as usize;
        if size < 4 || (self.at | size) % 4 != 0 {
            return Err(bad);
        }
        let entry = rest.get(..size).ok_or(bad)?;
        let optional = head >> 31 != 0;
        let entry = match kind {
            0 => {
                let section = self.image.section(at, entry)?;
                if section.size() == 0 {
                    Entry::Other
                } else {
                    Entry::Section(section)
                }
            }
            // Configuration, unit tests, trace buffers, metadata of the timeline.
            1..=4 => Entry::Other,
            6 if size >= BUILD_INFO_ENTRY_SIZE => {
                let start = word(entry, 4).ok_or(bad)?;
                let len = word(entry, 8).ok_or(bad)?;
                // Nobody needs what is outside of the file.
                Entry::BuildInfo(start..start.saturating_add(len))
            }
            6 => return Err(bad),
            _ if optional => Entry::Other,
            _ => return Err(ImageError::Unknown(at)),
        };
        Ok((entry, size))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u32, Result<Entry<'a>, ImageError>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.image.end {
            return None;
        }
        // The size of the whole is a word, so that this one fits.
        let at = u32::try_from(self.at).unwrap_or(u32::MAX);
        let entry = match self.read(at) {
            Ok((entry, size)) => {
                self.at = self.at.saturating_add(size);
                Ok(entry)
            }
            Err(err) => {
                self.at = self.image.end;
                Err(err)
            }
        };
        Some((at, entry))
    }
}
