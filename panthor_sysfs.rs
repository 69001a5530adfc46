// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Attributes of the platform device: parsing and calling, nothing else.
//!
//! | attribute | |
//! | --- | --- |
//! | `mem_reclaim` | write a TGID: its GPU memory is given up |
//! | `mem_claim` | write a TGID: its GPU memory is brought back |
//! | `mem_reclaim_mode` | `swap` or `evict`, what the former can do on this kernel |

use crate::{
    kernel_ext::{
        pid::Pid,
        sysfs::{parse_int, Attribute, Group},
        task::{capable, Capability},
    },
    panthor_reclaim::{self, ReclaimMode},
    PanthorDevice,
};
use core::fmt::Write;
use kernel::{
    device::{self, Bound},
    prelude::*,
    str::Formatter,
    sync::aref::ARef,
};

/// The attributes.
const ATTRIBUTES: &[Attribute<ARef<PanthorDevice>>] = &[
    Attribute::write_only(c"mem_reclaim", mem_reclaim),
    Attribute::write_only(c"mem_claim", mem_claim),
    Attribute::read_only(c"mem_reclaim_mode", mem_reclaim_mode),
];

/// Adds the attributes to the platform device, until it is unbound.
pub(crate) fn add(parent: &device::Device<Bound>, dev: ARef<PanthorDevice>) -> Result {
    Group::add(parent, ATTRIBUTES, dev)
}

/// Reads the number of a process.
///
/// `EINVAL` if it cannot be one, `ERANGE` if it does not fit.
pub(crate) fn parse_tgid(text: &CStr) -> Result<i32> {
    match parse_int(text)? {
        nr if nr > 0 => Ok(nr),
        _ => Err(EINVAL),
    }
}

/// Whose memory a process may ask for without `CAP_SYS_RESOURCE`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unprivileged {
    /// Its own.
    Own,
    /// Nobody's.
    None,
}

/// Finds the process that was written, by its number in the PID namespace of the writer.
///
/// Who may not ask for a process does not learn whether there is one: `EPERM` comes before
/// `ESRCH`.
fn find_target(text: &CStr, unprivileged: Unprivileged) -> Result<ARef<Pid>> {
    let pid = Pid::find_vpid(parse_tgid(text)?);
    let is_own = pid.as_ref().is_some_and(|pid| pid.is_current_tgid());
    let allowed = is_own && unprivileged == Unprivileged::Own;

    if !allowed && !capable(Capability::SysResource) {
        return Err(EPERM);
    }

    // The number of a thread that is not the first of its process names nobody.
    pid.filter(|pid| pid.is_tgid()).ok_or(ESRCH)
}

/// `mem_reclaim` is written.
fn mem_reclaim(dev: &ARef<PanthorDevice>, text: &CStr) -> Result {
    panthor_reclaim::reclaim(dev, &*find_target(text, Unprivileged::Own)?)
}

/// `mem_claim` is written.
fn mem_claim(dev: &ARef<PanthorDevice>, text: &CStr) -> Result {
    panthor_reclaim::claim(dev, &*find_target(text, Unprivileged::None)?)
}

/// `mem_reclaim_mode` is read.
fn mem_reclaim_mode(_dev: &ARef<PanthorDevice>, out: &mut Formatter<'_>) -> Result {
    Ok(writeln!(out, "{}", ReclaimMode::current().name())?)
}
