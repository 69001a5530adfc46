// SPDX-License-Identifier: GPL-2.0 OR MIT
//! CPU reads and writes through mappings against reclaim and claim: contents are never wrong.

use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

/// Two threads change and check buffers of all kinds while a third disturbs.
fn reads_and_writes() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut maps = Vec::new();
    for i in 0..28u64 {
        // Small ones, large ones, and such as the CPU writes without cache.
        let (size, flags) = match i {
            0..16 => (64 * K, BO_WB_MMAP),
            16..22 => (2 * M + PAGE, BO_WB_MMAP),
            _ => (256 * K, 0),
        };
        let h = ok!(d.bo(size, flags, if i % 3 == 0 { vm } else { 0 }));
        if i % 4 < 2 {
            ok!(d.map(vm, h, 0, (i + 1) << 32, size));
        }
        let m = ok!(d.mmap(h, size));
        pattern::fill(&m, i << 32);
        maps.push(m);
    }
    let n = maps.len() as u64;
    let side = |half: u64| -> Side<'_> {
        let maps = &maps;
        Box::new(move |r: &Race| {
            let mut rng = pattern::Rng::new(half);
            let mut seeds: Vec<u64> = (0..n).map(|i| i << 32).collect();
            while r.on() {
                // Each thread has its own half.
                let i = (rng.below(n / 2) * 2 + half) as usize;
                let m = &maps[i];
                let wrong = |e| format!("buffer {i}: {e}");
                match rng.below(4) {
                    0 => {
                        seeds[i] = rng.draw();
                        pattern::fill(m, seeds[i]);
                        r.count("fills", 1);
                    }
                    1 => {
                        // One page.
                        let p = rng.below(m.len() as u64 / PAGE) * PAGE;
                        let seed = seeds[i].wrapping_add(p / 8);
                        pattern::check_at(m, p, PAGE, seed).map_err(wrong)?;
                        pattern::fill_at(m, p, PAGE, seed);
                        pattern::check_at(m, p, PAGE, seed).map_err(wrong)?;
                        r.count("pages", 1);
                    }
                    _ => {
                        pattern::check(m, seeds[i]).map_err(wrong)?;
                        r.count("checks", 1);
                    }
                }
            }
            for i in (half as usize..n as usize).step_by(2) {
                pattern::check(&maps[i], seeds[i]).map_err(|e| format!("buffer {i}, end: {e}"))?;
            }
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &disturbed(&["fills", "pages", "checks"]),
        vec![side(0), side(1), disturber(getpid(), &[])],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; reads_and_writes])
}
