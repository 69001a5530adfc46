// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a driver must not do, counted by name.

use std::collections::{BTreeMap, VecDeque};

/// Texts kept of the last violations.
const LOG_LINES: usize = 256;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A kind of violation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Violation { $($(#[$doc])* $variant,)* }

        impl Violation {
            /// Every kind.
            pub const ALL: &'static [Violation] = &[$(Violation::$variant,)*];

            /// The name that the control socket uses.
            pub fn name(self) -> &'static str {
                match self { $(Violation::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// Register access that is not at a multiple of four bytes.
    UnalignedAccess = "unaligned-access",
    /// Register access of another width than 32 bits.
    AccessWidth = "access-width",
    /// No register there.
    UnknownRegister = "unknown-register",
    /// Write to a register that can only be read.
    WriteReadOnly = "write-read-only",
    /// Access that needs the L2 powered, while it is off.
    L2Off = "l2-off",
    /// L2 switched off or reset under the running microcontroller.
    L2OffWithMcu = "l2-off-with-mcu",
    /// L2 switched off while it holds data written through an address space.
    L2OffDirty = "l2-off-dirty",
    /// L2 switched while its last transition is not over.
    L2Transition = "l2-transition",
    /// Power command for cores that are not present.
    PowerNotPresent = "power-not-present",
    /// L2 switched on with a coherency protocol that the GPU does not have.
    CoherencyProtocol = "coherency-protocol",
    /// Unknown GPU command.
    GpuCommand = "gpu-command",
    /// Cache flush while one is running.
    FlushWhileActive = "flush-while-active",
    /// Register access while a reset is running.
    AccessInReset = "access-in-reset",
    /// Register of an address space that is not present.
    AsNotPresent = "as-not-present",
    /// Unknown address space command.
    AsCommand = "as-command",
    /// Address space command while one is active.
    AsCommandActive = "as-command-active",
    /// UPDATE with a configuration that the MMU cannot use.
    AsConfig = "as-config",
    /// Two enabled address spaces with the same root table.
    AsSharedRoot = "as-shared-root",
    /// Address space disabled or given another table while the L2 holds data written through it.
    AsDirty = "as-dirty",
    /// LOCK of a region smaller than 32 KiB or otherwise wrong.
    LockRegion = "lock-region",
    /// UNLOCK of an address space without a lock.
    UnlockWithoutLock = "unlock-without-lock",
    /// UNLOCK without a completed L2 clean and invalidate since the LOCK.
    UnlockWithoutFlush = "unlock-without-flush",
    /// A stale TLB entry was used for an access.
    MissingFlush = "missing-flush",
    /// A page table entry behind a TLB entry was changed while its region was not locked.
    PteChangedUnlocked = "pte-changed-unlocked",
    /// Access through an invalid page table entry or a disabled address space.
    InvalidAccess = "invalid-access",
    /// Write to a read-only page, fetch from a no-execute page.
    PermissionFault = "permission-fault",
    /// Access through an entry without the access flag.
    AccessFlagFault = "access-flag-fault",
    /// Descriptor with a type, address or attribute that the MMU does not know.
    BadDescriptor = "bad-descriptor",
    /// Virtual address beyond the address space.
    AddressSize = "address-size",
    /// Table or page outside the guest's memory.
    OutsideRam = "outside-ram",
    /// Doorbell page that belongs to no slot.
    DoorbellNoSlot = "doorbell-no-slot",
    /// Doorbell while the microcontroller does not run.
    DoorbellMcuOff = "doorbell-mcu-off",
    /// Unknown value in MCU_CONTROL.
    McuControl = "mcu-control",
    /// Microcontroller started while it runs.
    McuStartTwice = "mcu-start-twice",
    /// Firmware sections missing or changed when the microcontroller starts.
    FirmwareImage = "firmware-image",
    /// Request to the firmware that the interface does not allow.
    FirmwareRequest = "firmware-request",
    /// Event acknowledged that was not raised.
    EventAck = "event-ack",
    /// Configuration of a group changed without a request.
    GroupConfig = "group-config",
    /// Group started with an address space that is not enabled, or that of the firmware.
    GroupSpace = "group-space",
    /// Address space disabled or changed under a group that runs in it.
    SpaceUnderGroup = "space-under-group",
    /// Doorbell that no running stream listens to.
    DoorbellStopped = "doorbell-stopped",
    /// Stream started with a ring that is not mapped, or of a wrong size.
    RingConfig = "ring-config",
    /// Insert pointer behind the ring's size, or going back.
    RingInsert = "ring-insert",
    /// Suspend buffer that is too small, not mapped, or was written over.
    SuspendBuffer = "suspend-buffer",
    /// Tiler heap in use whose context, or a chunk of which, is not mapped any more.
    HeapGone = "heap-gone",
}

/// Counts and the last texts.
#[derive(Debug, Default)]
pub struct Violations {
    counts: BTreeMap<Violation, u64>,
    log: VecDeque<String>,
    /// Print each one to the standard error too.
    pub verbose: bool,
}

impl Violations {
    /// Counts one.
    pub fn add(&mut self, kind: Violation, text: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        // A guest in a loop must not make the model slow.
        if *count > 1000 {
            return;
        }
        let line = format!("{}: {}", kind.name(), text());
        if self.verbose {
            eprintln!("mali-model: violation: {line}");
        }
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    /// How often this kind was seen.
    pub fn count(&self, kind: Violation) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Sum over all kinds.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Kinds seen at least once.
    pub fn iter(&self) -> impl Iterator<Item = (Violation, u64)> + '_ {
        self.counts.iter().map(|(k, n)| (*k, *n))
    }

    /// The last texts, oldest first.
    pub fn log(&self) -> impl Iterator<Item = &str> {
        self.log.iter().map(String::as_str)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.log.clear();
    }
}
