// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The register map.

use crate::irq::Line;

/// Bytes of the register window.
pub const WINDOW: u64 = 0x20_0000;
/// First address space block.
pub const AS_BASE: u32 = 0x2400;
/// Bytes of an address space block.
pub const AS_STRIDE: u32 = 0x40;
/// The page that user space may map.
pub const LATEST_FLUSH_ID: u32 = 0x1_0000;
/// First doorbell page.
pub const DOORBELL_BASE: u32 = 0x8_0000;
/// Bytes from one doorbell to the next.
pub const DOORBELL_STRIDE: u32 = 0x1_0000;

/// Registers below the address space blocks.
pub mod gpu {
    /// Command.
    pub const COMMAND: u32 = 0x030;
    /// Counter of cycles, two words.
    pub const CYCLE_COUNT: u32 = 0x090;
    /// System counter, two words.
    pub const TIMESTAMP: u32 = 0x098;
    /// Coherency protocol in use.
    pub const COHERENCY_PROTOCOL: u32 = 0x304;
    /// Start or stop the microcontroller.
    pub const MCU_CONTROL: u32 = 0x700;
    /// State of the microcontroller.
    pub const MCU_STATUS: u32 = 0x704;
    /// Event: reset is over.
    pub const INT_RESET_COMPLETED: u32 = 1 << 8;
    /// Events: one, and all, power transitions are over.
    pub const INT_POWER_CHANGED: u32 = (1 << 9) | (1 << 10);
    /// Event: caches are flushed.
    pub const INT_CLEAN_CACHES_COMPLETED: u32 = 1 << 17;
    /// Event: MCU_STATUS changed.
    pub const INT_MCU_STATUS_CHANGED: u32 = 1 << 19;
    /// Event of the JOB block: global interface.
    pub const JOB_INT_GLOBAL: u32 = 1 << 31;
}

/// Offsets in an address space block.
pub mod aspace {
    /// Root table, two words.
    pub const TRANSTAB: u32 = 0x00;
    /// Attributes, two words.
    pub const MEMATTR: u32 = 0x08;
    /// Region for LOCK, two words.
    pub const LOCKADDR: u32 = 0x10;
    /// Command.
    pub const COMMAND: u32 = 0x18;
    /// Code of the latched fault.
    pub const FAULTSTATUS: u32 = 0x1c;
    /// Address of the latched fault, two words.
    pub const FAULTADDRESS: u32 = 0x20;
    /// Bit 0: a command is active.
    pub const STATUS: u32 = 0x28;
    /// Configuration, two words.
    pub const TRANSCFG: u32 = 0x30;
    /// More about the fault, two words.
    pub const FAULTEXTRA: u32 = 0x38;
}

/// Offsets in an interrupt block.
pub mod irq {
    /// Latched events.
    pub const RAWSTAT: u32 = 0x0;
    /// Forget events.
    pub const CLEAR: u32 = 0x4;
    /// Enabled events.
    pub const MASK: u32 = 0x8;
    /// Latched and enabled events.
    pub const STAT: u32 = 0xc;
}

/// The interrupt block that an offset lies in.
pub fn irq_block(offset: u32) -> Option<Line> {
    match offset & !0xf {
        0x0020 => Some(Line::Gpu),
        0x1000 => Some(Line::Job),
        0x2000 => Some(Line::Mmu),
        _ => None,
    }
}

/// What a register allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Writes are a violation.
    ReadOnly,
    /// Reads give the last value written, or 0.
    Writable,
}

/// One register: offset of its first word, name, width in words, access.
#[derive(Clone, Copy, Debug)]
pub struct Reg {
    /// Offset in the window.
    pub offset: u32,
    /// Name.
    pub name: &'static str,
    /// One or two words.
    pub words: u32,
    /// Access.
    pub access: Access,
}

const fn ro(offset: u32, name: &'static str) -> Reg {
    reg(offset, name, 1, Access::ReadOnly)
}
const fn ro64(offset: u32, name: &'static str) -> Reg {
    reg(offset, name, 2, Access::ReadOnly)
}
const fn rw(offset: u32, name: &'static str) -> Reg {
    reg(offset, name, 1, Access::Writable)
}
const fn rw64(offset: u32, name: &'static str) -> Reg {
    reg(offset, name, 2, Access::Writable)
}
const fn reg(offset: u32, name: &'static str, words: u32, access: Access) -> Reg {
    Reg {
        offset,
        name,
        words,
        access,
    }
}

/// Registers outside the address space blocks and doorbells, by offset.
pub const TABLE: &[Reg] = &[
    ro(0x000, "GPU_ID"),
    ro(0x004, "L2_FEATURES"),
    ro(0x008, "CORE_FEATURES"),
    ro(0x00c, "TILER_FEATURES"),
    ro(0x010, "MEM_FEATURES"),
    ro(0x014, "MMU_FEATURES"),
    ro(0x018, "AS_PRESENT"),
    ro(0x01c, "CSF_ID"),
    ro(0x020, "GPU_INT_RAWSTAT"),
    rw(0x024, "GPU_INT_CLEAR"),
    rw(0x028, "GPU_INT_MASK"),
    ro(0x02c, "GPU_INT_STAT"),
    rw(0x030, "GPU_COMMAND"),
    ro(0x034, "GPU_STATUS"),
    ro(0x03c, "GPU_FAULT_STATUS"),
    ro64(0x040, "GPU_FAULT_ADDRESS"),
    rw(0x048, "L2_CONFIG"),
    rw(0x050, "PWR_KEY"),
    rw(0x054, "PWR_OVERRIDE0"),
    rw(0x058, "PWR_OVERRIDE1"),
    ro64(0x060, "GPU_FEATURES"),
    ro64(0x088, "TIMESTAMP_OFFSET"),
    ro64(0x090, "CYCLE_COUNT"),
    ro64(0x098, "TIMESTAMP"),
    ro(0x0a0, "THREAD_MAX_THREADS"),
    ro(0x0a4, "THREAD_MAX_WORKGROUP_SIZE"),
    ro(0x0a8, "THREAD_MAX_BARRIER_SIZE"),
    ro(0x0ac, "THREAD_FEATURES"),
    ro(0x0b0, "TEXTURE_FEATURES_0"),
    ro(0x0b4, "TEXTURE_FEATURES_1"),
    ro(0x0b8, "TEXTURE_FEATURES_2"),
    ro(0x0bc, "TEXTURE_FEATURES_3"),
    ro64(0x100, "SHADER_PRESENT"),
    ro64(0x110, "TILER_PRESENT"),
    ro64(0x120, "L2_PRESENT"),
    ro64(0x140, "SHADER_READY"),
    ro64(0x150, "TILER_READY"),
    ro64(0x160, "L2_READY"),
    rw64(0x180, "SHADER_PWRON"),
    rw64(0x190, "TILER_PWRON"),
    rw64(0x1a0, "L2_PWRON"),
    rw64(0x1c0, "SHADER_PWROFF"),
    rw64(0x1d0, "TILER_PWROFF"),
    rw64(0x1e0, "L2_PWROFF"),
    ro64(0x200, "SHADER_PWRTRANS"),
    ro64(0x210, "TILER_PWRTRANS"),
    ro64(0x220, "L2_PWRTRANS"),
    ro64(0x240, "SHADER_PWRACTIVE"),
    ro64(0x250, "TILER_PWRACTIVE"),
    ro64(0x260, "L2_PWRACTIVE"),
    ro(0x280, "REVIDR"),
    ro(0x300, "COHERENCY_FEATURES"),
    rw(0x304, "COHERENCY_PROTOCOL"),
    rw(0x700, "MCU_CONTROL"),
    ro(0x704, "MCU_STATUS"),
    ro(0x1000, "JOB_INT_RAWSTAT"),
    rw(0x1004, "JOB_INT_CLEAR"),
    rw(0x1008, "JOB_INT_MASK"),
    ro(0x100c, "JOB_INT_STAT"),
    ro(0x2000, "MMU_INT_RAWSTAT"),
    rw(0x2004, "MMU_INT_CLEAR"),
    rw(0x2008, "MMU_INT_MASK"),
    ro(0x200c, "MMU_INT_STAT"),
    ro(0x1_0000, "LATEST_FLUSH_ID"),
];

/// Registers of an address space block.
pub const AS_TABLE: &[Reg] = &[
    rw64(aspace::TRANSTAB, "TRANSTAB"),
    rw64(aspace::MEMATTR, "MEMATTR"),
    rw64(aspace::LOCKADDR, "LOCKADDR"),
    rw(aspace::COMMAND, "COMMAND"),
    ro(aspace::FAULTSTATUS, "FAULTSTATUS"),
    ro64(aspace::FAULTADDRESS, "FAULTADDRESS"),
    ro(aspace::STATUS, "STATUS"),
    rw64(aspace::TRANSCFG, "TRANSCFG"),
    ro64(aspace::FAULTEXTRA, "FAULTEXTRA"),
];

/// Where an offset lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A register of [`TABLE`], and which of its words.
    Plain(Access),
    /// A register of an address space block: number of the block, offset in it.
    As(usize, u32, Access),
    /// A doorbell.
    Doorbell(u32),
    /// Nothing.
    Nothing,
}

fn lookup(table: &[Reg], offset: u32) -> Option<Access> {
    let index = table
        .partition_point(|r| r.offset <= offset)
        .checked_sub(1)?;
    let reg = &table[index];
    (offset < reg.offset + 4 * reg.words).then_some(reg.access)
}

/// Whether an offset lies in the page of [`LATEST_FLUSH_ID`].
pub fn user_page(offset: u64) -> bool {
    (0x1_0000..0x1_1000).contains(&offset)
}

/// Finds what is at a word-aligned offset.
pub fn place(offset: u32) -> Place {
    let as_end = AS_BASE + AS_STRIDE * crate::identity::AS_BLOCKS as u32;
    if (AS_BASE..as_end).contains(&offset) {
        let n = ((offset - AS_BASE) / AS_STRIDE) as usize;
        let inner = (offset - AS_BASE) % AS_STRIDE;
        return match lookup(AS_TABLE, inner) {
            Some(access) => Place::As(n, inner, access),
            None => Place::Nothing,
        };
    }
    if offset >= DOORBELL_BASE && (offset - DOORBELL_BASE) % DOORBELL_STRIDE == 0 {
        return Place::Doorbell((offset - DOORBELL_BASE) / DOORBELL_STRIDE);
    }
    lookup(TABLE, offset).map_or(Place::Nothing, Place::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_do_not_overlap() {
        for table in [TABLE, AS_TABLE] {
            for pair in table.windows(2) {
                assert!(pair[0].offset + 4 * pair[0].words <= pair[1].offset);
            }
        }
    }

    #[test]
    fn places() {
        assert_eq!(place(0), Place::Plain(Access::ReadOnly));
        assert_eq!(place(0x1a4), Place::Plain(Access::Writable));
        assert_eq!(place(0x1a8), Place::Nothing);
        assert_eq!(place(0x2418), Place::As(0, 0x18, Access::Writable));
        assert_eq!(place(0x27e8), Place::As(15, 0x28, Access::ReadOnly));
        assert_eq!(place(0x2800), Place::Nothing);
        assert_eq!(place(0x8_0000), Place::Doorbell(0));
        assert_eq!(place(0x9_0000), Place::Doorbell(1));
        assert_eq!(place(0x9_0004), Place::Nothing);
        assert_eq!(place(0x1_0004), Place::Nothing);
    }
}
