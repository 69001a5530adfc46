// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The page walk: ARM_64_LPAE_S1 tables, granule 4 KiB, levels 0 to 3.

use super::fault::{Cause, Fault, Kind};
use crate::ram::GuestRam;

/// Bytes of a page.
pub const PAGE: u64 = 4096;
/// Bytes of a block.
pub const BLOCK: u64 = 2 << 20;

/// Bits of a descriptor.
mod desc {
    pub const VALID: u64 = 1 << 0;
    /// Table at levels 0 to 2, page at level 3.
    pub const TABLE: u64 = 1 << 1;
    /// AP[1]: access from unprivileged.
    pub const USER: u64 = 1 << 6;
    /// AP[2].
    pub const READ_ONLY: u64 = 1 << 7;
    pub const ACCESS: u64 = 1 << 10;
    /// UXN.
    pub const NO_EXEC: u64 = 1 << 54;
    /// Of tables: hierarchical UXN, AP[1] refused, AP[2].
    pub const TABLE_NO_EXEC: u64 = 1 << 60;
    pub const TABLE_NO_USER: u64 = 1 << 61;
    pub const TABLE_READ_ONLY: u64 = 1 << 62;
    pub const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
}

/// What a walk depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Physical address of the root table.
    pub root: u64,
    /// Bits of a virtual address.
    pub va_bits: u32,
    /// Bits of a physical address.
    pub pa_bits: u32,
    /// Attributes, a byte for each AttrIndx.
    pub memattr: u64,
    /// No fault when the access flag is clear.
    pub ignore_access_flag: bool,
}

impl Config {
    /// Tables looked at without an address space.
    pub fn of_root(root: u64, va_bits: u32, pa_bits: u32) -> Self {
        Self {
            root,
            va_bits,
            pa_bits,
            memattr: 0x8f8f_8f8f_8f8f_8f8f,
            ignore_access_flag: false,
        }
    }

    /// The attribute byte of an AttrIndx.
    fn attribute(&self, index: u8) -> u8 {
        (self.memattr >> (8 * u32::from(index))) as u8
    }
}

/// A valid page or block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// First virtual address.
    pub va: u64,
    /// First physical address.
    pub pa: u64,
    /// [`PAGE`] or [`BLOCK`].
    pub size: u64,
    /// AttrIndx.
    pub attr: u8,
    /// Attribute byte behind it.
    pub memattr: u8,
    /// Stores are refused.
    pub read_only: bool,
    /// Fetches are refused.
    pub no_exec: bool,
    /// All accesses are refused, since the GPU is unprivileged.
    pub no_user: bool,
}

impl Leaf {
    /// Level of the table that holds the entry.
    pub fn level(&self) -> u8 {
        if self.size == PAGE {
            3
        } else {
            2
        }
    }

    /// Whether stores stay in the L2 until it is cleaned.
    pub fn write_back(&self) -> bool {
        self.memattr >> 6 == 2
    }

    /// Whether the entry allows an access.
    pub fn check(&self, kind: Kind) -> Result<(), Fault> {
        let refused = self.no_user
            || match kind {
                Kind::Read => false,
                Kind::Write => self.read_only,
                Kind::Execute => self.no_exec,
            };
        if refused {
            return Err(Fault::new(Cause::Permission, self.level()));
        }
        Ok(())
    }
}

/// Walks the tables for one address. Changes nothing.
pub fn walk(ram: &GuestRam, config: &Config, va: u64) -> Result<Leaf, Fault> {
    if va >> config.va_bits != 0 {
        return Err(Fault::new(Cause::AddressSizeIn, 0));
    }
    let mut table = config.root;
    let (mut read_only, mut no_exec, mut no_user) = (false, false, false);
    for level in 0..4u8 {
        let shift = 39 - 9 * u32::from(level);
        let index = (va >> shift) & 0x1ff;
        let entry = ram
            .read_u64(table + 8 * index)
            .ok_or(Fault::new(Cause::Bus, level))?;
        if entry & desc::VALID == 0 {
            return Err(Fault::new(Cause::Translation, level));
        }
        let address = entry & desc::ADDRESS;
        if address >> config.pa_bits != 0 {
            return Err(Fault::new(Cause::AddressSizeOut, level));
        }
        let table_bit = entry & desc::TABLE != 0;
        if level < 3 && table_bit {
            read_only |= entry & desc::TABLE_READ_ONLY != 0;
            no_exec |= entry & desc::TABLE_NO_EXEC != 0;
            no_user |= entry & desc::TABLE_NO_USER != 0;
            table = address;
            continue;
        }
        let size = 1u64 << shift;
        // Blocks of 1 GiB and more, and level 3 entries of type 1, do not exist here.
        let known = matches!((level, table_bit), (2, false) | (3, true));
        if !known || address & (size - 1) != 0 {
            return Err(Fault::new(Cause::Translation, level).bad_descriptor());
        }
        if entry & desc::ACCESS == 0 && !config.ignore_access_flag {
            return Err(Fault::new(Cause::AccessFlag, level));
        }
        let attr = ((entry >> 2) & 7) as u8;
        let memattr = config.attribute(attr);
        if memattr >> 6 == 3 {
            return Err(Fault::new(Cause::MemoryAttribute, level));
        }
        return Ok(Leaf {
            va: va & !(size - 1),
            pa: address,
            size,
            attr,
            memattr,
            read_only: read_only || entry & desc::READ_ONLY != 0,
            no_exec: no_exec || entry & desc::NO_EXEC != 0,
            no_user: no_user || entry & desc::USER == 0,
        });
    }
    // Level 3 always ends above.
    Err(Fault::new(Cause::Translation, 3))
}
