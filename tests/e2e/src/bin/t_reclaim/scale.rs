// SPDX-License-Identifier: GPL-2.0 OR MIT
//! How the time of a call grows with what there is to do.

use e2e::reclaim::need;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;
use std::time::Duration;

/// The CPU time of a claim that restores the two parts of `cut` evicted mappings, which were cut in
/// the middle, beside `live` mappings of the same buffer that are not evicted. The best of three.
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
    for _ in 0..3 {
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
///
/// What is done once for each live mapping is not of interest, so this is about what more parts
/// cost, beside few and beside many.
pub fn parts_are_linear() -> Res {
    need()?;
    let cut = [100, 500];
    let mut took = [Duration::ZERO; 2];
    for (more, live) in took.iter_mut().zip([10, 5_000]) {
        let [a, b] = [claim_of_parts(cut[0], live)?, claim_of_parts(cut[1], live)?];
        *more = b.saturating_sub(a);
        note!(
            "beside {live} mappings {} parts take {} us, {} take {} us: {} us more",
            2 * cut[0],
            a.as_micros(),
            2 * cut[1],
            b.as_micros(),
            more.as_micros()
        );
    }
    // A machine with other things to do may take as long for the fewer ones.
    let least = Duration::from_millis(1);
    let growth = took[1].as_secs_f64() / took[0].max(least).as_secs_f64();
    note!("{growth:.2} times");
    check!(growth < 3.0, "{growth:.2} times the time");
    Ok(())
}
