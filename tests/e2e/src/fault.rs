// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Fault injection: the n-th allocation of a call fails.

use crate::ktap::{Fail, Res};
use crate::sys::{self, Errno};

const DEBUG: &str = "/sys/kernel/debug";

/// Sets failslab and fail_page_alloc up for use by `fail-nth`: every allocation counts, nothing is
/// printed. Skips the case on a kernel without them.
pub fn setup() -> Res {
    for (dir, file, v) in [
        ("failslab", "ignore-gfp-wait", "N"),
        ("failslab", "verbose", "0"),
        ("fail_page_alloc", "ignore-gfp-wait", "N"),
        ("fail_page_alloc", "ignore-gfp-highmem", "N"),
        ("fail_page_alloc", "min-order", "0"),
        ("fail_page_alloc", "verbose", "0"),
    ] {
        let p = format!("{DEBUG}/{dir}/{file}");
        if !std::path::Path::new(&p).exists() {
            return Err(Fail::Skip(format!("the kernel has no {p}")));
        }
        sys::write_once(&p, v.as_bytes()).map_err(|e| format!("{p}: {e}"))?;
    }
    Ok(())
}

fn nth_path() -> String {
    format!("/proc/self/task/{}/fail-nth", sys::gettid())
}

/// Runs `f` with its `n`-th fault point failing; its result and whether that point was reached.
pub fn nth<T>(n: u32, f: impl FnOnce() -> T) -> Res<(T, bool)> {
    let p = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(nth_path())
        .map_err(|e| format!("fail-nth: {e}"))?;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    let text = n.to_string();
    // Nothing but the call stands between the two accesses.
    sys::write_fd(p.as_raw_fd(), text.as_bytes())?;
    let r = f();
    let mut b = [0u8; 32];
    let len = p.read_at(&mut b, 0).unwrap_or(0);
    let left: u32 = String::from_utf8_lossy(&b[..len])
        .trim()
        .parse()
        .unwrap_or(0);
    // Disarm: what is left would hit a later call.
    let _ = p.write_at(b"0", 0);
    Ok((r, left == 0))
}

/// Fails each allocation of a call in turn until it runs through untouched.
///
/// `call` makes the call; `undo(true)` takes a success back and `undo(false)` looks whether a
/// failure left no traces, so that every round starts from the same state. Every failure must be one of `allowed`. Returns how many fault points there were and how
/// many of them made the call fail.
pub fn each(
    what: &str,
    allowed: &[Errno],
    mut call: impl FnMut() -> Result<(), Errno>,
    mut undo: impl FnMut(bool) -> Res,
) -> Res<(u32, u32)> {
    let mut failed = 0;
    for n in 1..20_000 {
        let (r, hit) = nth(n, &mut call)?;
        match r {
            Ok(()) => undo(true)?,
            Err(e) if hit && allowed.contains(&e) => {
                failed += 1;
                undo(false)?;
            }
            Err(e) => {
                return Err(Fail::Fail(format!(
                    "{what}: fault point {n} ({}): {e}",
                    if hit { "hit" } else { "not reached" }
                )))
            }
        }
        if !hit {
            return Ok((n - 1, failed));
        }
    }
    Err(Fail::Fail(format!("{what}: no end of fault points")))
}
