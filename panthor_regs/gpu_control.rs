// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! GPU_CONTROL: identity, power, caches, reset, counters.

use kernel::{register, time::Delta};

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

/// Longest time of a cache flush or a soft reset.
pub(crate) const COMMAND_TIMEOUT: Delta = Delta::from_millis(100);

/// Longest time of a power transition.
pub(crate) const POWER_TIMEOUT: Delta = Delta::from_millis(20);

/// Time between two looks at a power transition.
pub(crate) const POWER_POLL: Delta = Delta::from_micros(100);

/// The L2 cache of the first core group, the only one in use.
pub(crate) const L2_FIRST: u64 = 1;

/// What a cache flush does to one kind of cache.
#[allow(dead_code)] // The description of the hardware is complete, the driver is not yet.
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
    /// Resets the GPU in an orderly way; ends with [`super::irq::gpu_irq::RESET_COMPLETED`].
    SoftReset,
    /// Flushes the L2, the load/store and the other caches; ends with
    /// [`super::irq::gpu_irq::CLEAN_CACHES_COMPLETED`].
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
