// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The region of a LOCK command.

/// Smallest width field: 32 KiB.
const MIN_WIDTH: u32 = 14;
/// Largest width field: the whole of 48 bits.
const MAX_WIDTH: u32 = 47;

/// A range of virtual addresses, both ends inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub first: u64,
    /// Last address.
    pub last: u64,
}

impl Region {
    /// Everything.
    pub const ALL: Region = Region {
        first: 0,
        last: u64::MAX,
    };

    /// Decodes LOCKADDR. The second value says whether the encoding is a legal one.
    pub fn decode(lockaddr: u64) -> (Self, bool) {
        let width = (lockaddr & 0x3f) as u32;
        let legal = (MIN_WIDTH..=MAX_WIDTH).contains(&width);
        let below = u64::MAX >> (63 - width.max(MIN_WIDTH));
        let first = lockaddr & !below;
        let region = Self {
            first,
            last: first | below,
        };
        (region, legal && first >> 48 == 0)
    }

    /// Whether an address lies in it.
    pub fn contains(&self, va: u64) -> bool {
        (self.first..=self.last).contains(&va)
    }

    /// Whether any byte of `[va, va + size)` lies in it.
    pub fn touches(&self, va: u64, size: u64) -> bool {
        va <= self.last && va.saturating_add(size - 1) >= self.first
    }

    /// Size in bytes, 0 for all of 64 bits.
    pub fn size(&self) -> u64 {
        (self.last - self.first).wrapping_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decode() {
        // 32 KiB at 0x12345_8000.
        let (region, legal) = Region::decode(0x1_2345_8000 | 14);
        assert!(legal);
        assert_eq!((region.first, region.last), (0x1_2345_8000, 0x1_2345_ffff));
        assert_eq!(region.size(), 0x8000);
        // One address bit below the size is ignored.
        let (region, legal) = Region::decode(0x1_0010_0000 | 20);
        assert!(legal);
        assert_eq!((region.first, region.size()), (0x1_0000_0000, 2 << 20));
        // All of 48 bits.
        let (region, legal) = Region::decode(47);
        assert!(legal);
        assert_eq!((region.first, region.last), (0, (1 << 48) - 1));
    }

    #[test]
    fn illegal_encodings() {
        let (region, legal) = Region::decode(0x8000 | 13);
        assert!(!legal);
        assert_eq!(region.size(), 0x8000);
        let (region, legal) = Region::decode(63);
        assert!(!legal);
        assert_eq!(region, Region::ALL);
        assert!(!Region::decode((1 << 48) | 14).1);
    }

    #[test]
    fn ends() {
        let region = Region {
            first: 0x8000,
            last: 0xffff,
        };
        assert!(region.contains(0x8000) && region.contains(0xffff));
        assert!(!region.contains(0x7fff) && !region.contains(0x1_0000));
        assert!(region.touches(0, 0x20_0000));
        assert!(!region.touches(0x7000, 0x1000));
        assert!(region.touches(0xf000, 0x1000));
    }
}
