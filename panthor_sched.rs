// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Groups of queues.
//!
//! The microcontroller is not started yet, so that there are no queues and no groups. The calls
//! check their arguments and then answer as they do for a group, or a number of queues, that is
//! not there.

use crate::{
    kernel_ext::{
        task::{capable, Capability},
        uapi,
    },
    panthor_uapi::{check_zero, read_array},
    PanthorDevice, PanthorDrmFile,
};
use kernel::prelude::*;

/// Most queues that a group can be asked to have.
const MAX_QUEUES: u32 = 32;

/// The priorities of a group, from low to real time.
const PRIORITIES: core::ops::RangeInclusive<u8> =
    uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_LOW as u8
        ..=uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_REALTIME as u8;

/// Checks that somebody may use a group priority.
fn check_priority(file: &PanthorDrmFile, priority: u8) -> Result {
    if !PRIORITIES.contains(&priority) {
        return Err(EINVAL);
    }
    if u32::from(priority) <= uapi::drm_panthor_group_priority_PANTHOR_GROUP_PRIORITY_MEDIUM
        || capable(Capability::SysNice)
        || file.is_current_master()
    {
        return Ok(());
    }
    Err(EACCES)
}

/// The priorities that somebody may use, as a bitmap.
pub(crate) fn allowed_priorities(file: &PanthorDrmFile) -> u8 {
    PRIORITIES
        .filter(|priority| check_priority(file, *priority).is_ok())
        .fold(0, |mask, priority| {
            mask | 1u8.checked_shl(priority.into()).unwrap_or(0)
        })
}

/// `DRM_IOCTL_PANTHOR_GROUP_CREATE`
pub(crate) fn group_create(
    dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_group_create,
    file: &PanthorDrmFile,
) -> Result {
    if args.queues.count == 0 || args.queues.count > MAX_QUEUES {
        return Err(EINVAL);
    }

    let _queues = read_array::<uapi::drm_panthor_queue_create>(dev, &args.queues)?;
    check_priority(file, args.priority)?;
    check_zero(args.pad)?;

    let info = dev.info.uapi();
    let cores = [
        (
            args.compute_core_mask,
            args.max_compute_cores,
            info.shader_present,
        ),
        (
            args.fragment_core_mask,
            args.max_fragment_cores,
            info.shader_present,
        ),
        (
            args.tiler_core_mask,
            args.max_tiler_cores,
            info.tiler_present,
        ),
    ];
    if cores
        .iter()
        .any(|(mask, max, present)| mask & !present != 0 || mask.count_ones() < (*max).into())
    {
        return Err(EINVAL);
    }

    // More queues than there are.
    Err(EINVAL)
}

/// `DRM_IOCTL_PANTHOR_GROUP_DESTROY`
pub(crate) fn group_destroy(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_group_destroy,
    _file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    Err(EINVAL)
}

/// `DRM_IOCTL_PANTHOR_GROUP_SUBMIT`
pub(crate) fn group_submit(
    dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_group_submit,
    _file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;

    let jobs = read_array::<uapi::drm_panthor_queue_submit>(dev, &args.queue_submits)?;
    if jobs.is_empty() {
        // Nothing to do, and nobody looks for the group.
        return Ok(());
    }
    Err(EINVAL)
}

/// `DRM_IOCTL_PANTHOR_GROUP_GET_STATE`
pub(crate) fn group_get_state(
    _dev: &PanthorDevice,
    args: &mut uapi::drm_panthor_group_get_state,
    _file: &PanthorDrmFile,
) -> Result {
    check_zero(args.pad)?;
    Err(EINVAL)
}
