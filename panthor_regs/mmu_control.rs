// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! MMU_CONTROL: the address space slots.

use kernel::{register, time::Delta};

/// Number of slots that fit in the register window.
pub(crate) const MAX_SLOTS: usize = 16;

/// Longest time of a command.
pub(crate) const COMMAND_TIMEOUT: Delta = Delta::from_millis(100);

/// Time between two looks at a command.
pub(crate) const COMMAND_POLL: Delta = Delta::from_micros(10);

/// `AS_COMMAND`: take over `TRANSTAB`, `MEMATTR` and `TRANSCFG`.
pub(crate) const CMD_UPDATE: u32 = 1;
/// `AS_COMMAND`: stall accesses to the region in `LOCKADDR`.
pub(crate) const CMD_LOCK: u32 = 2;
/// `AS_COMMAND`: let them continue.
pub(crate) const CMD_UNLOCK: u32 = 3;

/// `TRANSCFG` of a slot without translation tables: every access faults.
pub(crate) const TRANSCFG_UNMAPPED: u64 = 1;
/// `TRANSCFG`: tables in the AArch64 format with 4 KiB pages.
pub(crate) const TRANSCFG_AARCH64_4K: u64 = 6;
/// `TRANSCFG`: tables are read through a write-back cache.
pub(crate) const TRANSCFG_WALK_WB: u64 = 2 << 24;
/// `TRANSCFG`: table reads are outer shareable.
pub(crate) const TRANSCFG_WALK_OUTER: u64 = 2 << 28;
/// `TRANSCFG`: table reads allocate in the cache.
pub(crate) const TRANSCFG_WALK_RA: u64 = 1 << 30;

/// `TRANSCFG` for input addresses of `va_bits` bits.
pub(crate) const fn transcfg_ina_bits(va_bits: u32) -> u64 {
    (55u32.saturating_sub(va_bits) as u64) << 6
}

register! {
    /// Physical address of the root table.
    pub(crate) TRANSTAB(u64)[16, stride = 0x40] @ 0x2400 {
        63:0    address;
    }

    /// Eight memory attributes of 8 bits, chosen by the page table entries.
    pub(crate) MEMATTR(u64)[16, stride = 0x40] @ 0x2408 {
        63:0    attributes;
    }

    /// The region of a lock command: its start, with the logarithm of half its size in the
    /// low 6 bits.
    pub(crate) LOCKADDR(u64)[16, stride = 0x40] @ 0x2410 {
        63:0    region;
    }

    /// Commands, `CMD_*`.
    pub(crate) COMMAND(u32)[16, stride = 0x40] @ 0x2418 {
        7:0     command;
    }

    /// Cause of a fault.
    pub(crate) FAULTSTATUS(u32)[16, stride = 0x40] @ 0x241c {
        /// What was wrong.
        7:0     exception;
        /// 0 atomic, 1 execute, 2 read, 3 write.
        9:8     access;
        /// The fault comes from a decoder, not from a slave.
        10:10   decoder => bool;
        /// Who made the access.
        31:16   source_id;
    }

    /// Virtual address of a fault.
    pub(crate) FAULTADDRESS(u64)[16, stride = 0x40] @ 0x2420 {
        63:0    address;
    }

    /// Whether a command runs.
    pub(crate) STATUS(u32)[16, stride = 0x40] @ 0x2428 {
        0:0     active => bool;
    }

    /// How translation works, `TRANSCFG_*`.
    pub(crate) TRANSCFG(u64)[16, stride = 0x40] @ 0x2430 {
        63:0    config;
    }

    /// More about a fault.
    pub(crate) FAULTEXTRA(u64)[16, stride = 0x40] @ 0x2438 {
        63:0    value;
    }
}
