// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The driver is unbound while a process is being reclaimed and claimed, and another one uses the
//! device: the write ends, the calls end, the unbind ends.

use e2e::child::Child;
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::time::{Duration, Instant};

/// Calls of all kinds until the device is gone; how many there were.
fn use_until_gone() -> std::result::Result<String, String> {
    let mut n = 0;
    let mut round = || -> Result<()> {
        let d = Dev::open()?;
        n += 1;
        for _ in 0..3 {
            let vm = d.vm()?;
            let h = d.bo(64 * K, BO_WB_MMAP, vm)?;
            d.map(vm, h, 0, M, 64 * K)?;
            d.unmap(vm, M, 4 * K)?;
            d.vm_destroy(vm)?;
            d.close(h)?;
            n += 6;
        }
        Ok(())
    };
    loop {
        match round() {
            Ok(()) => {}
            // Of a file that was open, and of a node that is not there.
            Err(ENODEV | ENOENT | ENXIO) => return Ok(n.to_string()),
            Err(x) => return Err(x.to_string()),
        }
    }
}

fn unbind() -> Res {
    need_swap()?;
    let dev = sysfs::device()?;
    let ours = has_reclaim();
    let mut bytes = Bytes::start()?;
    let start = Instant::now();
    let (mut cycles, mut writes, mut nodev, mut calls) = (0, 0, 0, 0);
    let mut rng = pattern::Rng::new(5);
    while start.elapsed() < ktap::race_time() {
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
                            // The device is gone under an open attribute, or before it is looked for.
                            Err(ENODEV) => return Ok(format!("{n} ENODEV")),
                            // The attribute goes between the two.
                            Err(ENOENT) => return Ok(format!("{n} gone")),
                            // What debugfs says of a file that is gone.
                            Err(EIO) if !ours => return Ok(format!("{n} gone")),
                            Err(x) => return Err(x.to_string()),
                        }
                    }
                }
            })
        })?;
        let mut u = Child::spawn(|e| e.serve(|_| use_until_gone()))?;
        w.send("go")?;
        u.send("go")?;
        std::thread::sleep(Duration::from_micros(rng.below(150_000)));
        let t = Instant::now();
        ok!(sysfs::unbind(&dev));
        let took = t.elapsed();
        let r = w.recv(Duration::from_secs(30));
        let c = u.recv(Duration::from_secs(30));
        let b = sysfs::bind(&dev);
        match r? {
            Ok(s) => {
                writes += s
                    .split(' ')
                    .next()
                    .and_then(|n| n.parse::<u64>().ok())
                    .unwrap_or(0);
                nodev += u64::from(s.ends_with("ENODEV"));
            }
            Err(e) => fail!("the writer: {e}"),
        }
        match c? {
            Ok(n) => calls += n.parse::<u64>().unwrap_or(0),
            Err(e) => fail!("the user: {e}"),
        }
        ok!(b);
        check!(took < Duration::from_secs(10), "the unbind took {took:?}");
        drop((w, u));
        drop(d);
        drop(maps);
        let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
        check!(there, "no render node after bind");
        cycles += 1;
        bytes.take();
    }
    let mut must = vec!["unbinds", "pairs of writes", "calls of others"];
    if ours {
        must.extend(["ended by ENODEV", OUT]);
    }
    finish(
        start,
        ktap::race_time(),
        &must,
        &[
            ("unbinds", cycles),
            ("pairs of writes", writes),
            ("ended by ENODEV", nodev),
            ("calls of others", calls),
            bytes.out(),
            bytes.back(),
        ],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; unbind])
}
