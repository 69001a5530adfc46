// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Regions of an address space that are locked while their translations change.

/// Logarithm of the smallest region that can be locked, 32 KiB.
const MIN_BITS: u32 = 15;

/// A range of addresses that is not empty.
///
/// # Invariants
///
/// `first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LockRegion {
    first: u64,
    last: u64,
}

impl LockRegion {
    /// The range of `size` bytes at `start`; `None` if it is empty or leaves the address space.
    pub(crate) fn new(start: u64, size: u64) -> Option<Self> {
        // INVARIANT: The size is at least 1.
        Some(Self {
            first: start,
            last: start.checked_add(size.checked_sub(1)?)?,
        })
    }

    /// The smallest range that holds both.
    pub(crate) fn union(self, other: Self) -> Self {
        // INVARIANT: Each of the two has it.
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    /// Logarithm of the size of the smallest naturally aligned block that holds the range and can
    /// be locked.
    fn bits(self) -> u32 {
        // The highest bit that differs is the highest one inside the block.
        let differing = u64::BITS - (self.first ^ self.last).leading_zeros();

        differing.max(MIN_BITS)
    }

    /// The value of the `LOCKADDR` register that locks the range: the address of that block, and
    /// the logarithm of half its size in the low bits.
    pub(crate) fn lockaddr(self) -> u64 {
        let bits = self.bits();
        let base = self.first & !u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);

        // A block is at least 32 KiB, so that its address leaves the low bits free.
        base | u64::from(bits - 1)
    }
}
