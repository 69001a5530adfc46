// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The register window of the GPU, and every register of it.
//!
//! Offsets are in bytes from the start of the window. A 64-bit register is two words, the low one
//! first; it is only ever accessed as such.

// The description of the hardware is complete, the driver is not yet.
#![allow(dead_code)]

use kernel::{
    io::{
        mem::DevresIoMem,
        poll::read_poll_timeout,
        register::{FixedRegister, Register, RegisterArray, RegisterBase, RelativeRegister},
        Io, PhysAddr,
    },
    prelude::*,
    sizes::SZ_2M,
    time::Delta,
};

/// Size of the register window in bytes.
pub(crate) const WINDOW_SIZE: usize = SZ_2M;

/// The register window. It can be kept longer than the device is bound; accesses then fail with
/// `ENODEV`.
pub(crate) struct Regs {
    io: DevresIoMem<WINDOW_SIZE>,
    phys: PhysAddr,
}

impl Regs {
    /// Wraps the mapped window, which starts at the physical address `phys`.
    pub(crate) fn new(io: DevresIoMem<WINDOW_SIZE>, phys: PhysAddr) -> Self {
        Self { io, phys }
    }

    /// The physical address of the page that is mapped to user space, with `LATEST_FLUSH_ID`.
    pub(crate) fn flush_id_page(&self) -> PhysAddr {
        self.phys
            .wrapping_add(user::LATEST_FLUSH_ID::OFFSET as PhysAddr)
    }

    /// Reads with `op` until `cond` holds, with pauses of `pause`; `ETIMEDOUT` when it does not
    /// within `limit`.
    pub(crate) fn wait_until<T>(
        &self,
        op: impl Fn(&Self) -> Result<T>,
        cond: impl Fn(&T) -> bool,
        pause: Delta,
        limit: Delta,
    ) -> Result {
        match read_poll_timeout(|| op(self), &cond, pause, limit) {
            Ok(_) => Ok(()),
            // We may have been put aside for so long between a look and the clock.
            Err(err) if err == ETIMEDOUT && cond(&op(self)?) => Ok(()),
            Err(err) => Err(err),
        }
    }

    fn read_word(&self, offset: usize) -> Result<u32> {
        self.io.try_access().ok_or(ENODEV)?.try_read32(offset)
    }

    fn write_word(&self, offset: usize, value: u32) -> Result {
        self.io
            .try_access()
            .ok_or(ENODEV)?
            .try_write32(value, offset)
    }

    fn read_words(&self, offset: usize) -> Result<u64> {
        let lo = self.read_word(offset)?;
        let hi = self.read_word(offset.wrapping_add(4))?;

        Ok(u64::from(hi) << 32 | u64::from(lo))
    }

    fn write_words(&self, offset: usize, value: u64) -> Result {
        // CAST: The two halves.
        self.write_word(offset, value as u32)?;
        self.write_word(offset.wrapping_add(4), (value >> 32) as u32)
    }

    /// Reads a register.
    pub(crate) fn read<R>(&self) -> Result<R>
    where
        R: FixedRegister<Storage = u32> + From<u32>,
    {
        Ok(self.read_word(R::OFFSET)?.into())
    }

    /// Writes a register.
    pub(crate) fn write<R>(&self, value: R) -> Result
    where
        R: FixedRegister<Storage = u32> + Into<u32>,
    {
        self.write_word(R::OFFSET, value.into())
    }

    /// Reads a register of two words.
    pub(crate) fn read64<R>(&self) -> Result<R>
    where
        R: FixedRegister<Storage = u64> + From<u64>,
    {
        Ok(self.read_words(R::OFFSET)?.into())
    }

    /// Writes a register of two words.
    pub(crate) fn write64<R>(&self, value: R) -> Result
    where
        R: FixedRegister<Storage = u64> + Into<u64>,
    {
        self.write_words(R::OFFSET, value.into())
    }

    /// Reads a running counter of two words.
    pub(crate) fn read_counter<R>(&self) -> Result<u64>
    where
        R: FixedRegister<Storage = u64> + From<u64>,
    {
        let mut hi = self.read_word(R::OFFSET.wrapping_add(4))?;

        loop {
            let lo = self.read_word(R::OFFSET)?;
            let hi_after = self.read_word(R::OFFSET.wrapping_add(4))?;

            if hi == hi_after {
                return Ok(u64::from(hi) << 32 | u64::from(lo));
            }
            hi = hi_after;
        }
    }

    /// Reads a register of the block `B`.
    pub(crate) fn read_of<B, R>(&self) -> Result<R>
    where
        R: RelativeRegister<Storage = u32> + From<u32>,
        B: RegisterBase<R::BaseFamily>,
    {
        Ok(self.read_word(B::BASE.wrapping_add(R::OFFSET))?.into())
    }

    /// Writes a register of the block `B`.
    pub(crate) fn write_of<B, R>(&self, value: R) -> Result
    where
        R: RelativeRegister<Storage = u32> + Into<u32>,
        B: RegisterBase<R::BaseFamily>,
    {
        self.write_word(B::BASE.wrapping_add(R::OFFSET), value.into())
    }

    /// Reads the register `index` of an array.
    pub(crate) fn read_at<R>(&self, index: usize) -> Result<R>
    where
        R: RegisterArray<Storage = u32> + From<u32>,
    {
        Ok(self.read_word(array_offset::<R>(index)?)?.into())
    }

    /// Writes the register `index` of an array.
    pub(crate) fn write_at<R>(&self, index: usize, value: R) -> Result
    where
        R: RegisterArray<Storage = u32> + Into<u32>,
    {
        self.write_word(array_offset::<R>(index)?, value.into())
    }

    /// Reads the register `index` of an array of registers of two words.
    pub(crate) fn read64_at<R>(&self, index: usize) -> Result<R>
    where
        R: RegisterArray<Storage = u64> + From<u64>,
    {
        Ok(self.read_words(array_offset::<R>(index)?)?.into())
    }

    /// Writes the register `index` of an array of registers of two words.
    pub(crate) fn write64_at<R>(&self, index: usize, value: R) -> Result
    where
        R: RegisterArray<Storage = u64> + Into<u64>,
    {
        self.write_words(array_offset::<R>(index)?, value.into())
    }
}

/// The offset of an element of an array of registers.
fn array_offset<R: RegisterArray>(index: usize) -> Result<usize> {
    if index >= R::SIZE {
        return Err(EINVAL);
    }

    index
        .checked_mul(R::STRIDE)
        .and_then(|offset| offset.checked_add(R::OFFSET))
        .ok_or(EINVAL)
}

/// GPU_CONTROL: identity, power, caches, reset, counters.
pub(crate) mod gpu_control {
    use kernel::register;

    register! {
        /// Identity of the GPU.
        pub(crate) GPU_ID(u32) @ 0x0 {
            3:0     version_status;
            11:4    version_minor;
            15:12   version_major;
            19:16   product;
            23:20   arch_rev;
            27:24   arch_minor;
            31:28   arch_major;
        }

        /// Features of the L2 cache.
        pub(crate) L2_FEATURES(u32) @ 0x4 {
            /// Logarithm of the size of a line in bytes.
            7:0     line_size_log2;
        }

        /// Features of the shader cores, only reported.
        pub(crate) CORE_FEATURES(u32) @ 0x8 {
            31:0    value;
        }

        /// Features of the tiler, only reported.
        pub(crate) TILER_FEATURES(u32) @ 0xc {
            31:0    value;
        }

        /// Features of the memory system.
        pub(crate) MEM_FEATURES(u32) @ 0x10 {
            /// Core groups are coherent through the L2 caches.
            0:0     coherent_core_groups => bool;
        }

        /// Features of the MMU.
        pub(crate) MMU_FEATURES(u32) @ 0x14 {
            /// Bits of a GPU virtual address.
            7:0     va_bits;
            /// Bits of a physical address.
            15:8    pa_bits;
        }

        /// One bit for each address space slot.
        pub(crate) AS_PRESENT(u32) @ 0x18 {
            31:0    slots;
        }

        /// Versions of the command stream hardware and of the microcontroller.
        pub(crate) CSF_ID(u32) @ 0x1c {
            3:0     mcu_rev;
            9:4     mcu_minor;
            15:10   mcu_major;
            19:16   cs_rev;
            25:20   cs_minor;
            31:26   cs_major;
        }

        /// Commands, see [`GpuCommand`].
        pub(crate) GPU_CMD(u32) @ 0x30 {
            7:0     kind;
            31:8    payload;
        }

        /// What the GPU is doing.
        pub(crate) GPU_STATUS(u32) @ 0x34 {
            0:0     active => bool;
            1:1     power_active => bool;
            4:4     page_fault => bool;
            7:7     protected_mode => bool;
            8:8     debug => bool;
        }

        /// Cause of a GPU fault.
        pub(crate) GPU_FAULT_STATUS(u32) @ 0x3c {
            7:0     exception;
        }

        /// Address of a GPU fault.
        pub(crate) GPU_FAULT_ADDR(u64) @ 0x40 {
            63:0    address;
        }

        /// Configuration of the L2 cache, from architecture 11 on.
        pub(crate) L2_CONFIG(u32) @ 0x48 {
            24:24   asn_hash => bool;
        }

        /// Unlocks the power overrides with 0x2968a819.
        pub(crate) PWR_KEY(u32) @ 0x50 {
            31:0    key;
        }

        /// Power overrides.
        pub(crate) PWR_OVERRIDE(u32)[2] @ 0x54 {
            31:0    value;
        }

        /// Further features, from architecture 11 on; reads as 0 before.
        pub(crate) GPU_FEATURES(u64) @ 0x60 {
            2:2     ray_intersection => bool;
            5:5     ray_traversal => bool;
        }

        /// Offset of the GPU's time to the system counter, in ticks.
        pub(crate) TIMESTAMP_OFFSET(u64) @ 0x88 {
            63:0    ticks;
        }

        /// GPU clock cycles since power up, a running counter.
        pub(crate) CYCLE_COUNT(u64) @ 0x90 {
            63:0    cycles;
        }

        /// Ticks of the system counter, a running counter.
        pub(crate) TIMESTAMP(u64) @ 0x98 {
            63:0    ticks;
        }

        /// Threads in a core.
        pub(crate) THREAD_MAX_THREADS(u32) @ 0xa0 {
            31:0    value;
        }

        /// Threads in a workgroup.
        pub(crate) THREAD_MAX_WORKGROUP_SIZE(u32) @ 0xa4 {
            31:0    value;
        }

        /// Threads in a workgroup that uses barriers.
        pub(crate) THREAD_MAX_BARRIER_SIZE(u32) @ 0xa8 {
            31:0    value;
        }

        /// Features of threads, only reported.
        pub(crate) THREAD_FEATURES(u32) @ 0xac {
            31:0    value;
        }

        /// Texture formats, only reported.
        pub(crate) TEXTURE_FEATURES(u32)[4] @ 0xb0 {
            31:0    value;
        }

        /// Bitmap of the shader cores.
        pub(crate) SHADER_PRESENT(u64) @ 0x100 {
            63:0    cores;
        }

        /// Bitmap of the tilers.
        pub(crate) TILER_PRESENT(u64) @ 0x110 {
            63:0    tilers;
        }

        /// Bitmap of the L2 caches.
        pub(crate) L2_PRESENT(u64) @ 0x120 {
            63:0    caches;
        }

        /// Shader cores that are powered.
        pub(crate) SHADER_READY(u64) @ 0x140 {
            63:0    cores;
        }

        /// Tilers that are powered.
        pub(crate) TILER_READY(u64) @ 0x150 {
            63:0    tilers;
        }

        /// L2 caches that are powered.
        pub(crate) L2_READY(u64) @ 0x160 {
            63:0    caches;
        }

        /// Powers shader cores up.
        pub(crate) SHADER_PWRON(u64) @ 0x180 {
            63:0    cores;
        }

        /// Powers tilers up.
        pub(crate) TILER_PWRON(u64) @ 0x190 {
            63:0    tilers;
        }

        /// Powers L2 caches up.
        pub(crate) L2_PWRON(u64) @ 0x1a0 {
            63:0    caches;
        }

        /// Powers shader cores down.
        pub(crate) SHADER_PWROFF(u64) @ 0x1c0 {
            63:0    cores;
        }

        /// Powers tilers down.
        pub(crate) TILER_PWROFF(u64) @ 0x1d0 {
            63:0    tilers;
        }

        /// Powers L2 caches down.
        pub(crate) L2_PWROFF(u64) @ 0x1e0 {
            63:0    caches;
        }

        /// Shader cores in transition between power states.
        pub(crate) SHADER_PWRTRANS(u64) @ 0x200 {
            63:0    cores;
        }

        /// Tilers in transition between power states.
        pub(crate) TILER_PWRTRANS(u64) @ 0x210 {
            63:0    tilers;
        }

        /// L2 caches in transition between power states.
        pub(crate) L2_PWRTRANS(u64) @ 0x220 {
            63:0    caches;
        }

        /// Shader cores that are active.
        pub(crate) SHADER_PWRACTIVE(u64) @ 0x240 {
            63:0    cores;
        }

        /// Tilers that are active.
        pub(crate) TILER_PWRACTIVE(u64) @ 0x250 {
            63:0    tilers;
        }

        /// L2 caches that are active.
        pub(crate) L2_PWRACTIVE(u64) @ 0x260 {
            63:0    caches;
        }

        /// Revision of the implementation.
        pub(crate) REVIDR(u32) @ 0x280 {
            31:0    value;
        }

        /// Hash of addresses over slices, from architecture 11 on.
        pub(crate) ASN_HASH(u32)[3] @ 0x2c0 {
            31:0    value;
        }

        /// Coherency protocols that the GPU knows.
        pub(crate) COHERENCY_FEATURES(u32) @ 0x300 {
            0:0     ace_lite => bool;
            1:1     ace => bool;
            31:31   none => bool;
        }

        /// The coherency protocol in use: its bit number in [`COHERENCY_FEATURES`].
        pub(crate) COHERENCY_PROTOCOL(u32) @ 0x304 {
            31:0    protocol;
        }
    }

    /// Longest time of a cache flush or a soft reset, in milliseconds.
    pub(crate) const COMMAND_TIMEOUT_MS: u32 = 100;

    /// Longest time of a power transition, in milliseconds.
    pub(crate) const POWER_TIMEOUT_MS: i64 = 20;

    /// Time between two looks at a power transition, in microseconds.
    pub(crate) const POWER_POLL_US: i64 = 100;

    /// The L2 cache of the first core group, the only one in use.
    pub(crate) const L2_FIRST: u64 = 1;

    /// What a cache flush does to one kind of cache.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[repr(u32)]
    pub(crate) enum FlushMode {
        /// Nothing.
        None = 0,
        /// Writes back.
        Clean = 1,
        /// Drops.
        Invalidate = 2,
        /// Writes back and drops.
        CleanInvalidate = 3,
    }

    /// A command for [`GPU_CMD`].
    #[derive(Clone, Copy)]
    pub(crate) enum GpuCommand {
        /// Resets the GPU in an orderly way; ends with [`super::gpu_irq::RESET_COMPLETED`].
        SoftReset,
        /// Flushes the L2, the load/store and the other caches; ends with
        /// [`super::gpu_irq::CLEAN_CACHES_COMPLETED`].
        FlushCaches(FlushMode, FlushMode, FlushMode),
    }

    impl From<GpuCommand> for GPU_CMD {
        fn from(cmd: GpuCommand) -> Self {
            let (kind, payload) = match cmd {
                GpuCommand::SoftReset => (1, 1),
                GpuCommand::FlushCaches(l2, lsc, other) => {
                    (4, l2 as u32 | (lsc as u32) << 4 | (other as u32) << 8)
                }
            };

            Self::from(payload << 8 | kind)
        }
    }
}

/// Bits of the GPU interrupt block.
pub(crate) mod gpu_irq {
    use kernel::bits::bit_u32;

    /// A fault, described by `GPU_FAULT_STATUS` and `GPU_FAULT_ADDR`.
    pub(crate) const FAULT: u32 = bit_u32(0);
    /// A fault in protected mode.
    pub(crate) const PROTM_FAULT: u32 = bit_u32(1);
    /// A soft reset has ended.
    pub(crate) const RESET_COMPLETED: u32 = bit_u32(8);
    /// A power transition has ended.
    pub(crate) const POWER_CHANGED: u32 = bit_u32(9);
    /// All power transitions have ended.
    pub(crate) const POWER_CHANGED_ALL: u32 = bit_u32(10);
    /// A cache flush has ended.
    pub(crate) const CLEAN_CACHES_COMPLETED: u32 = bit_u32(17);
    /// A doorbell was rung while its slot was not there.
    pub(crate) const DOORBELL_MIRROR: u32 = bit_u32(18);
    /// The microcontroller's status has changed.
    pub(crate) const MCU_STATUS_CHANGED: u32 = bit_u32(19);

    /// The interrupts the driver listens to.
    pub(crate) const ENABLED: u32 = FAULT | PROTM_FAULT | RESET_COMPLETED | CLEAN_CACHES_COMPLETED;
}

/// The four words of every interrupt block.
pub(crate) mod irq {
    use kernel::{io::register::RegisterBase, register};

    /// A place where an interrupt block is.
    pub(crate) struct IrqBase;

    /// The block of the GPU interrupt.
    pub(crate) struct GpuIrq;
    impl RegisterBase<IrqBase> for GpuIrq {
        const BASE: usize = 0x20;
    }

    /// The block of the JOB interrupt: bit n is an event of group slot n, bit 31 a global one.
    pub(crate) struct JobIrq;
    impl RegisterBase<IrqBase> for JobIrq {
        const BASE: usize = 0x1000;
    }

    /// The block of the MMU interrupt: bit n is a fault in slot n, bit 16 + n the end of a command
    /// there.
    pub(crate) struct MmuIrq;
    impl RegisterBase<IrqBase> for MmuIrq {
        const BASE: usize = 0x2000;
    }

    register! {
        /// Events that have happened, whether they are enabled or not.
        pub(crate) RAWSTAT(u32) @ IrqBase + 0x0 {
            31:0    events;
        }

        /// Clears events: write 1 to the bits of [`RAWSTAT`].
        pub(crate) CLEAR(u32) @ IrqBase + 0x4 {
            31:0    events;
        }

        /// Events that raise the interrupt.
        pub(crate) MASK(u32) @ IrqBase + 0x8 {
            31:0    events;
        }

        /// [`RAWSTAT`] & [`MASK`]; the line is asserted while it is not 0.
        pub(crate) STAT(u32) @ IrqBase + 0xc {
            31:0    events;
        }
    }
}

/// MCU_CONTROL: the microcontroller.
pub(crate) mod mcu_control {
    use kernel::register;

    register! {
        /// What the microcontroller is to do: 0 be off, 1 be on, 2 start when it is needed.
        pub(crate) MCU_CONTROL(u32) @ 0x700 {
            1:0     mode;
        }

        /// What it does: 0 disabled, 1 enabled, 2 halted, 3 fatal error.
        pub(crate) MCU_STATUS(u32) @ 0x704 {
            1:0     state;
        }
    }
}

/// MMU_CONTROL: the address space slots.
pub(crate) mod mmu_control {
    use kernel::register;

    /// Number of slots that fit in the register window.
    pub(crate) const MAX_SLOTS: usize = 16;

    /// Longest time of a command, in milliseconds.
    pub(crate) const COMMAND_TIMEOUT_MS: i64 = 100;

    /// Time between two looks at a command, in microseconds.
    pub(crate) const COMMAND_POLL_US: i64 = 10;

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
}

/// The page that user space maps.
pub(crate) mod user {
    use kernel::register;

    register! {
        /// Count of cache flushes, 24 bits.
        pub(crate) LATEST_FLUSH_ID(u32) @ 0x10000 {
            23:0    id;
        }
    }
}

/// Doorbells.
pub(crate) mod doorbell {
    use kernel::register;

    register! {
        /// Number 0 is the global one, number n + 1 the one of group slot n.
        pub(crate) DOORBELL(u32)[24, stride = 0x10000] @ 0x80000 {
            0:0     ring;
        }
    }
}
