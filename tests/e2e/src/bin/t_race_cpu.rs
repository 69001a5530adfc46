// SPDX-License-Identifier: GPL-2.0 OR MIT
//! CPU reads and writes through mappings against reclaim and claim: contents are never wrong.

use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

/// A process that changes and checks `n` buffers, with two threads, while the parent disturbs it.
fn reads_and_writes(n: u64, size: u64, flags: u32) -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut maps = Vec::new();
    for i in 0..n {
        let h = ok!(d.bo(size, flags, if i % 3 == 0 { vm } else { 0 }));
        if i % 2 == 0 {
            ok!(d.map(vm, h, 0, (i + 1) << 32, size));
        }
        let m = ok!(d.mmap(h, size));
        pattern::fill(&m, i << 32);
        maps.push(m);
    }
    let side = |half: u64| -> Side<'_> {
        let maps = &maps;
        Box::new(move |r: &Race| {
            let mut rng = pattern::Rng::new(half);
            let mut seeds: Vec<u64> = (0..n).map(|i| i << 32).collect();
            while r.on() {
                // Each thread has its own half.
                let i = (rng.below(n / 2) * 2 + half) as usize;
                match rng.below(4) {
                    0 => {
                        seeds[i] = rng.draw();
                        pattern::fill(&maps[i], seeds[i]);
                        r.count("fills", 1);
                    }
                    1 => {
                        // One page.
                        let p = rng.below(size / PAGE) * PAGE;
                        pattern::fill_at(&maps[i], p, PAGE, seeds[i].wrapping_add(p / 8));
                        pattern::check_at(&maps[i], p, PAGE, seeds[i].wrapping_add(p / 8))?;
                    }
                    _ => {
                        pattern::check(&maps[i], seeds[i])
                            .map_err(|e| format!("buffer {i}: {e}"))?;
                        r.count("checks", 1);
                    }
                }
            }
            for i in (half..n).step_by(2) {
                pattern::check(&maps[i as usize], seeds[i as usize])
                    .map_err(|e| format!("buffer {i}, end: {e}"))?;
            }
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &["fills", "checks", disturbances()],
        vec![side(0), side(1), disturber(getpid(), &[])],
    )
}

fn small() -> Res {
    reads_and_writes(32, 64 * K, BO_WB_MMAP)
}

fn large() -> Res {
    reads_and_writes(8, 4 * M, BO_WB_MMAP)
}

fn write_combined() -> Res {
    reads_and_writes(8, 512 * K, 0)
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; small, large, write_combined])
}
