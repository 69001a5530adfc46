// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults of the MMU and their codes.

use crate::violations::Violation;

/// Why the GPU touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Instruction fetch.
    Execute,
    /// Load.
    Read,
    /// Store.
    Write,
}

impl Kind {
    /// Access type of FAULTSTATUS.
    fn bits(self) -> u32 {
        match self {
            Self::Execute => 1,
            Self::Read => 2,
            Self::Write => 3,
        }
    }
}

/// What went wrong. The level is that of the table in which the walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No valid entry.
    Translation,
    /// The entry does not allow it.
    Permission,
    /// The entry has no access flag.
    AccessFlag,
    /// The virtual address is too large.
    AddressSizeIn,
    /// The physical address is too large.
    AddressSizeOut,
    /// The attribute of the entry is none.
    MemoryAttribute,
    /// Nothing answers at the physical address.
    Bus,
}

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub cause: Cause,
    /// Level of the table in which it did, 0 to 3.
    pub level: u8,
    /// How it is counted.
    pub violation: Violation,
}

impl Fault {
    /// A fault with the violation that belongs to its cause.
    pub fn new(cause: Cause, level: u8) -> Self {
        let violation = match cause {
            Cause::Translation => Violation::InvalidAccess,
            Cause::Permission => Violation::PermissionFault,
            Cause::AccessFlag => Violation::AccessFlagFault,
            Cause::AddressSizeIn => Violation::AddressSize,
            Cause::AddressSizeOut | Cause::MemoryAttribute => Violation::BadDescriptor,
            Cause::Bus => Violation::OutsideRam,
        };
        Self {
            cause,
            level,
            violation,
        }
    }

    /// The same fault, because of a descriptor that makes no sense.
    pub fn bad_descriptor(mut self) -> Self {
        self.violation = Violation::BadDescriptor;
        self
    }

    /// Exception code.
    pub fn code(self) -> u8 {
        match self.cause {
            Cause::Translation => 0xc0 + self.level,
            Cause::Permission => 0xc8 + self.level,
            Cause::AccessFlag => 0xd8 + self.level,
            Cause::AddressSizeIn => 0xe0,
            Cause::AddressSizeOut => 0xe4 + self.level,
            Cause::MemoryAttribute => 0xe8 + self.level,
            Cause::Bus => 0x80,
        }
    }

    /// Value of FAULTSTATUS.
    pub fn status(self, kind: Kind) -> u32 {
        u32::from(self.code()) | (kind.bits() << 8)
    }
}

/// Fault registers of an address space.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRegs {
    /// FAULTSTATUS.
    pub status: u32,
    /// FAULTADDRESS.
    pub address: u64,
    /// Later faults do not change the registers until the interrupt is cleared.
    pub latched: bool,
}
