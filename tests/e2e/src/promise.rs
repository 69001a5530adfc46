// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the launcher says that the board has, in `PANTHOR_PROMISED`: a case that does not find it
//! fails, where it would be skipped on any other board.

use crate::ktap::Fail;
use crate::{debugfs, model, proc, sys};
use std::path::Path;

type Promise = (&'static str, fn() -> bool);

/// What can be promised, and whether it is there.
const ALL: &[Promise] = &[
    ("swap", || proc::swaps().is_ok_and(|s| !s.is_empty())),
    ("model", || model::port().is_ok()),
    ("switches", switches),
    ("faults", faults),
    ("heaps", || Path::new("/dev/dma_heap/system").exists()),
    ("cgroup", || {
        sys::read_text("/sys/fs/cgroup/cgroup.controllers")
            .is_ok_and(|s| s.split_whitespace().any(|c| c == "memory"))
    }),
];

/// The debugfs switches of our driver; those of a device without a driver are not asked for.
fn switches() -> bool {
    debugfs::dir().map_or(true, |d| {
        ["vm_resident", "bo_busy"]
            .iter()
            .all(|f| d.join(f).exists())
    })
}

/// Fault injection.
fn faults() -> bool {
    ["failslab", "fail_page_alloc", "fail_make_request"]
        .iter()
        .all(|d| Path::new("/sys/kernel/debug").join(d).exists())
}

fn promised(what: &str) -> bool {
    std::env::var("PANTHOR_PROMISED").is_ok_and(|s| s.split_whitespace().any(|w| w == what))
}

/// What a case ends with that does not find `what`: it fails where that was promised, and is
/// skipped elsewhere.
pub fn missing(what: &str, why: impl Into<String>) -> Fail {
    let why = why.into();
    match promised(what) {
        true => Fail::Fail(format!("{why}, but the launcher promised: {what}")),
        false => Fail::Skip(why),
    }
}

/// The first promise that does not hold now.
pub fn broken() -> Option<&'static str> {
    ALL.iter()
        .find(|(what, there)| promised(what) && !there())
        .map(|(what, _)| *what)
}
