// SPDX-License-Identifier: GPL-2.0 OR MIT
//! How the time of a call grows with what there is to do.

use e2e::reclaim::need;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;
use std::time::Duration;

/// The CPU time of a claim that restores the two parts of `cut` evicted mappings, which were cut in
/// the middle, beside `live` mappings of the same buffer that are not evicted. The best of two.
fn claim_of_parts(cut: u64, live: u64) -> Res<Duration> {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let bo = ok!(d.bo(3 * PAGE, 0, 0));
    let all = |n: u64, make: &dyn Fn(u64) -> drm::Op| -> Res {
        let ops: Vec<drm::Op> = (0..n).map(make).collect();
        d.bind(vm, &ops).map_err(|(e, i)| format!("{i}: {e}"))?;
        Ok(())
    };
    let at = |base: u64, i: u64| base + i * 4 * PAGE;
    let mut best = Duration::MAX;
    for _ in 0..2 {
        all(cut, &|i| drm::Op::map(bo, 0, at(1 << 32, i), 3 * PAGE))?;
        ok!(reclaim(getpid()));
        all(live, &|i| drm::Op::map(bo, 0, at(1 << 33, i), PAGE))?;
        all(cut, &|i| drm::Op::unmap(at(1 << 32, i) + PAGE, PAGE))?;
        let before = thread_cpu_time();
        ok!(claim(getpid()));
        best = best.min(thread_cpu_time() - before);
        ok!(d.unmap(vm, 0, 1 << 34));
    }
    Ok(best)
}

/// Bringing back a part of a mapping that was cut while it was evicted does not take longer when
/// the buffer has many mappings that are not evicted: restoring many of both is linear.
pub fn parts_are_linear() -> Res {
    need()?;
    let (cut, few, many) = (200, 10, 5_000);
    let a = claim_of_parts(cut, few)?;
    let b = claim_of_parts(cut, many)?;
    let growth = b.as_secs_f64() / a.as_secs_f64();
    note!(
        "{} parts beside {few} mappings: {} us, beside {many}: {} us, {growth:.2} times",
        2 * cut,
        a.as_micros(),
        b.as_micros()
    );
    check!(growth < 2.5, "{growth:.2} times the time");
    Ok(())
}
