// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The feature words of the simulated GPU.

/// Address space register blocks in the register map.
pub const AS_BLOCKS: usize = 16;

/// COHERENCY_PROTOCOL of a system without one.
pub const COHERENCY_NONE: u32 = 31;

/// What the identification registers say.
#[derive(Clone, Debug)]
pub struct Identity {
    /// GPU_ID.
    pub gpu_id: u32,
    /// REVIDR.
    pub revidr: u32,
    /// CSF_ID.
    pub csf_id: u32,
    /// L2_FEATURES.
    pub l2_features: u32,
    /// CORE_FEATURES.
    pub core_features: u32,
    /// TILER_FEATURES.
    pub tiler_features: u32,
    /// MEM_FEATURES.
    pub mem_features: u32,
    /// Bits of a virtual address.
    pub va_bits: u32,
    /// Bits of a physical address.
    pub pa_bits: u32,
    /// AS_PRESENT.
    pub as_present: u32,
    /// GPU_FEATURES.
    pub gpu_features: u64,
    /// THREAD_MAX_THREADS.
    pub max_threads: u32,
    /// THREAD_MAX_WORKGROUP_SIZE.
    pub max_workgroup: u32,
    /// THREAD_MAX_BARRIER_SIZE.
    pub max_barrier: u32,
    /// THREAD_FEATURES.
    pub thread_features: u32,
    /// TEXTURE_FEATURES.
    pub texture_features: [u32; 4],
    /// SHADER_PRESENT.
    pub shader_present: u64,
    /// TILER_PRESENT.
    pub tiler_present: u64,
    /// L2_PRESENT.
    pub l2_present: u64,
    /// COHERENCY_FEATURES.
    pub coherency_features: u32,
    /// Ticks of TIMESTAMP in a second.
    pub timestamp_hz: u64,
    /// Ticks of CYCLE_COUNT in a second.
    pub cycle_hz: u64,
}

impl Default for Identity {
    /// A Mali-G610 MP4 as on RK3588.
    fn default() -> Self {
        Self {
            gpu_id: 0xa867_0005,
            revidr: 0,
            csf_id: 0x040a_0412,
            l2_features: 0x0712_0306,
            core_features: 0,
            tiler_features: 0x809,
            mem_features: 0x301,
            va_bits: 48,
            pa_bits: 40,
            as_present: 0xff,
            gpu_features: 0,
            max_threads: 0x800,
            max_workgroup: 0x400,
            max_barrier: 0x400,
            thread_features: 0x0401_0000,
            texture_features: [0xc1ff_ff9e, 0, 0, 0],
            shader_present: 0x5_0005,
            tiler_present: 1,
            l2_present: 1,
            coherency_features: 0,
            // The generic timer of QEMU's cortex-a76.
            timestamp_hz: 62_500_000,
            cycle_hz: 1_000_000_000,
        }
    }
}

impl Identity {
    /// COHERENCY_PROTOCOL after a reset: what the SoC was built with, so that a driver that never
    /// writes it is right.
    pub fn coherency_at_reset(&self) -> u32 {
        match self.coherency_features {
            0 => COHERENCY_NONE,
            features => features.trailing_zeros(),
        }
    }

    /// MMU_FEATURES.
    pub fn mmu_features(&self) -> u32 {
        (self.pa_bits << 8) | self.va_bits
    }
}
