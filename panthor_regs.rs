// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! The register window of the GPU, and every register of it.
//!
//! Offsets are in bytes from the start of the window. A 64-bit register is two words, the low one
//! first; it is only ever accessed as such.
//!
//! There is no public manual. Offsets, fields and values are those that the kernel's C driver uses
//! (`drivers/gpu/drm/panthor/panthor_{gpu,fw,mmu}_regs.h`); times are bounds of this driver.

pub(crate) mod gpu_control;
pub(crate) mod irq;
pub(crate) mod mmu_control;

use crate::kernel_ext::mm_vma::IoPage;
use kernel::{
    io::{
        mem::DevresIoMem,
        poll::read_poll_timeout,
        register::{FixedRegister, Register, RegisterArray, RegisterBase, RelativeRegister},
        resource::Resource,
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
    flush_id_page: IoPage,
}

impl Regs {
    /// Wraps the window, which `io` maps. `EINVAL` when it does not begin where a page does.
    pub(crate) fn new(io: DevresIoMem<WINDOW_SIZE>, window: &Resource) -> Result<Self> {
        Ok(Self {
            io,
            flush_id_page: IoPage::new(window, user::LATEST_FLUSH_ID::OFFSET as PhysAddr)?,
        })
    }

    /// The page that is mapped to user space, with `LATEST_FLUSH_ID`.
    pub(crate) fn flush_id_page(&self) -> IoPage {
        self.flush_id_page
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

/// MCU_CONTROL: the microcontroller.
pub(crate) mod mcu_control {
    use kernel::{register, time::Delta};

    /// `MCU_CONTROL`: be off.
    pub(crate) const MCU_DISABLE: u32 = 0;
    /// `MCU_CONTROL`: start when it is needed.
    pub(crate) const MCU_AUTO: u32 = 2;
    /// `MCU_STATUS`: off.
    pub(crate) const MCU_DISABLED: u32 = 0;
    /// `MCU_STATUS`: halted.
    pub(crate) const MCU_HALTED: u32 = 2;

    /// Longest time to halt.
    pub(crate) const HALT_TIMEOUT: Delta = Delta::from_secs(1);
    /// Longest time to be off.
    pub(crate) const DISABLE_TIMEOUT: Delta = Delta::from_millis(100);
    /// Time between two looks at the status.
    pub(crate) const STATUS_POLL: Delta = Delta::from_micros(10);

    /// The name of a value of `MCU_STATUS`.
    pub(crate) fn mcu_status_name(state: u32) -> &'static str {
        match state {
            0 => "disabled",
            1 => "enabled",
            2 => "halted",
            _ => "fatal error",
        }
    }

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
