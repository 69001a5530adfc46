// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The driver is unbound while a process is being reclaimed and claimed: the write ends, the unbind
//! ends.

use e2e::child::Child;
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::time::Duration;

fn unbind() -> Res {
    need_swap()?;
    let dev = sysfs::device()?;
    let ours = sysfs::attr("mem_reclaim").is_ok_and(|p| p.exists());
    let end = std::time::Instant::now() + ktap::race_time();
    let (mut cycles, mut writes, mut nodev) = (0u64, 0u64, 0u64);
    let mut rng = pattern::Rng::new(5);
    while std::time::Instant::now() < end {
        let d = ok!(Dev::open());
        let vm = ok!(d.vm());
        let mut maps = Vec::new();
        for i in 0..8u64 {
            let h = ok!(d.bo(512 * K, BO_WB_MMAP, if i % 2 == 0 { vm } else { 0 }));
            let m = ok!(d.mmap(h, 512 * K));
            pattern::fill(&m, i);
            ok!(d.map(vm, h, 0, (i + 1) << 32, 512 * K));
            maps.push(m);
        }
        let pid = getpid();
        let mut w = Child::spawn(move |e| {
            e.serve(|_| {
                let mut n = 0;
                loop {
                    let (a, b) = if ours {
                        (sysfs::reclaim(pid), sysfs::claim(pid))
                    } else {
                        (debugfs::shrink(1000).map(|_| ()), Ok(()))
                    };
                    n += 1;
                    for x in [a, b] {
                        match x {
                            Ok(()) => {}
                            // Gone: the attribute, or the device under an open one.
                            Err(ENODEV) => return Ok(format!("{n} ENODEV")),
                            Err(ENOENT | EIO | ESRCH) => return Ok(format!("{n} gone")),
                            Err(x) => return Err(x.to_string()),
                        }
                    }
                }
            })
        })?;
        w.send("go")?;
        std::thread::sleep(Duration::from_micros(rng.below(150_000)));
        let t = std::time::Instant::now();
        ok!(sysfs::unbind(&dev));
        let took = t.elapsed();
        let r = w.recv(Duration::from_secs(30));
        let b = sysfs::bind(&dev);
        match r? {
            Ok(s) => {
                writes += s
                    .split(' ')
                    .next()
                    .and_then(|n| n.parse().ok())
                    .unwrap_or(0);
                nodev += u64::from(s.ends_with("ENODEV"));
            }
            Err(e) => fail!("the writer: {e}"),
        }
        ok!(b);
        check!(took < Duration::from_secs(10), "the unbind took {took:?}");
        drop(w);
        drop(d);
        drop(maps);
        let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
        check!(there, "no render node after bind");
        cycles += 1;
    }
    note!("{cycles} cycles, {writes} pairs of writes, {nodev} of them ended with ENODEV");
    check!(cycles > 3 && writes > 0, "{cycles} cycles, {writes} writes");
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; unbind])
}
