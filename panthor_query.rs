// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What user space can ask about the device: `DEV_QUERY`.

use crate::{
    kernel_ext::{
        clock::{local_clock, system_counter_freq, Timespec},
        uaccess::{read_struct, write_struct, Versioned},
        uapi,
    },
    panthor_fw::layout::UNPRESERVED_REGISTERS,
    panthor_sched::allowed_priorities,
    PanthorDevice, PanthorDrmFile,
};
use core::mem::size_of;
use kernel::{interrupt::local_interrupt_disable, prelude::*};

/// Sizes of the pages that translation tables can hold, as a bitmap: 4 KiB and 2 MiB.
pub(crate) const PAGE_SIZES: u64 = 0x20_1000;

/// `DRM_IOCTL_PANTHOR_DEV_QUERY`
pub(crate) fn dev_query(
    dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_dev_query,
    file: &PanthorDrmFile,
) -> Result {
    match args.type_ {
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_GPU_INFO => {
            answer(args, |_| Ok(*dev.info.uapi()))
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_CSIF_INFO => {
            answer(args, |_| csif_info(dev))
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_TIMESTAMP_INFO => {
            answer(args, |args| {
                let asked: uapi::drm_panthor_timestamp_info = read_struct(args.pointer, args.size)?;

                timestamps(dev, asked.flags)
            })
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_GROUP_PRIORITIES_INFO => {
            answer(args, |_| {
                Ok(uapi::drm_panthor_group_priorities_info {
                    allowed_mask: allowed_priorities(file),
                    pad: [0; 3],
                })
            })
        }
        uapi::drm_panthor_dev_query_type_DRM_PANTHOR_DEV_QUERY_MMU_INFO => answer(args, |_| {
            Ok(uapi::drm_panthor_mmu_info {
                page_size_bitmap: PAGE_SIZES,
            })
        }),
        _ => Err(EINVAL),
    }
}

/// Answers a query: without a pointer with the size of what is asked for, else with the thing
/// itself.
fn answer<T: Versioned>(
    args: &mut uapi::drm_panthor_dev_query,
    value: impl FnOnce(&uapi::drm_panthor_dev_query) -> Result<T>,
) -> Result {
    if args.pointer == 0 {
        // CAST: The structures are small.
        args.size = size_of::<T>() as u32;
        return Ok(());
    }

    let value = value(args)?;
    write_struct(args.pointer, args.size, &value)
}

/// What the firmware has.
fn csif_info(dev: &PanthorDevice) -> Result<uapi::drm_panthor_csif_info> {
    let layout = dev.fw.layout()?;
    Ok(uapi::drm_panthor_csif_info {
        csg_slot_count: layout.groups,
        cs_slot_count: layout.streams,
        cs_reg_count: layout.stream_features.registers(),
        scoreboard_slot_count: layout.stream_features.scoreboards(),
        unpreserved_cs_reg_count: UNPRESERVED_REGISTERS,
        pad: 0,
    })
}

/// The CPU's clock that is to be read with those of the GPU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CpuClock {
    Monotonic,
    MonotonicRaw,
}

/// Which times are asked for.
///
/// # Invariants
///
/// There are no unknown flags.
#[derive(Clone, Copy)]
pub(crate) struct TimestampFlags {
    flags: u32,
    cpu: Option<CpuClock>,
}

impl TimestampFlags {
    const GPU: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU;
    const CPU_MASK: u32 =
        uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_TYPE_MASK;
    const CPU_NONE: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_NONE;
    const CPU_MONOTONIC: u32 =
        uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_MONOTONIC;
    const CPU_MONOTONIC_RAW: u32 =
        uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_CPU_MONOTONIC_RAW;
    const OFFSET: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU_OFFSET;
    const CYCLES: u32 =
        uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_GPU_CYCLE_COUNT;
    const FREQ: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_FREQ;
    const DURATION: u32 = uapi::drm_panthor_timestamp_info_flags_DRM_PANTHOR_TIMESTAMP_DURATION;

    /// What the structure held before there were flags.
    const DEFAULT: u32 = Self::GPU | Self::OFFSET | Self::FREQ;

    /// Checks the flags of the interface.
    pub(crate) fn new(flags: u32) -> Result<Self> {
        let flags = if flags == 0 { Self::DEFAULT } else { flags };
        let known = Self::DEFAULT | Self::CPU_MASK | Self::CYCLES | Self::DURATION;

        let cpu = match flags & Self::CPU_MASK {
            Self::CPU_NONE => None,
            Self::CPU_MONOTONIC => Some(CpuClock::Monotonic),
            Self::CPU_MONOTONIC_RAW => Some(CpuClock::MonotonicRaw),
            _ => return Err(EINVAL),
        };
        if flags & !known != 0 {
            return Err(EINVAL);
        }

        // INVARIANT: Checked above.
        Ok(Self { flags, cpu })
    }

    fn has(self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    /// Whether the times are to be read without anything in between: more than one is asked for,
    /// or how long it takes.
    fn is_precise(self) -> bool {
        let sources = [
            self.cpu.is_some(),
            self.has(Self::GPU),
            self.has(Self::CYCLES),
        ];

        self.has(Self::DURATION) || sources.iter().filter(|asked| **asked).count() >= 2
    }
}

/// Reads the times that are asked for; the others are 0.
fn timestamps(dev: &PanthorDevice, flags: u32) -> Result<uapi::drm_panthor_timestamp_info> {
    let asked = TimestampFlags::new(flags)?;
    let mut info = uapi::drm_panthor_timestamp_info {
        flags,
        ..Default::default()
    };

    if asked.has(TimestampFlags::FREQ) {
        info.timestamp_frequency = system_counter_freq().into();
    }
    if asked.has(TimestampFlags::OFFSET) {
        info.timestamp_offset = dev.gpu.timestamp_offset()?;
    }

    let cpu = {
        let _undisturbed = asked.is_precise().then(local_interrupt_disable);
        let start = local_clock();

        if asked.has(TimestampFlags::GPU) {
            info.current_timestamp = dev.gpu.timestamp()?;
        }
        let cpu = asked.cpu.map(|clock| match clock {
            CpuClock::Monotonic => Timespec::monotonic(),
            CpuClock::MonotonicRaw => Timespec::monotonic_raw(),
        });
        if asked.has(TimestampFlags::CYCLES) {
            info.cycle_count = dev.gpu.cycle_count()?;
        }
        if asked.has(TimestampFlags::DURATION) {
            // CAST: The interface has room for 4 seconds.
            info.duration_nsec = local_clock().wrapping_sub(start) as u32;
        }

        cpu
    };

    if let Some(time) = cpu.map(Timespec::in_time_namespace) {
        // CAST: Times since boot are not negative.
        info.cpu_timestamp_sec = time.sec as u64;
        info.cpu_timestamp_nsec = time.nsec as u64;
    }

    Ok(info)
}
