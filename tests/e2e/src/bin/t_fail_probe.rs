// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Allocations of the driver's probe fail: the device stays without a driver, and the next bind
//! succeeds. What would be lost is for kmemleak to find: each fault point is hit once.

use e2e::fault::{self, setup};
use e2e::sys::*;
use e2e::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long to go on; with LONG=1 every fault point is tried.
const TIME: Duration = Duration::from_secs(40);

/// Caches that are left alone: the DRM core puts an error pointer when `drm_sysfs_minor_alloc()`
/// finds no memory, for a `struct device` (the large ones) or for its name (the small ones).
const CORE_BUG: &[&str] = &["kmalloc-8", "kmalloc-16", "kmalloc-1k", "kmalloc-2k"];

/// For the same reason pages are left alone where those caches get theirs.
const MIN_ORDER: &str = "1";

fn bound(dev: &str) -> bool {
    std::path::Path::new(sysfs::DRIVER).join(dev).exists()
}

fn bind() -> Res {
    ktap::only_rust("probe under memory failure")?;
    setup()?;
    for c in CORE_BUG {
        let _ = write_once(format!("/sys/kernel/slab/{c}/failslab"), b"0");
    }
    ok!(write_once(
        "/sys/kernel/debug/fail_page_alloc/min-order",
        MIN_ORDER.as_bytes()
    ));
    note!(
        "left alone, for a bug of the DRM core: {}, single pages",
        CORE_BUG.join(", ")
    );

    let dev = ok!(sysfs::device());
    let path = format!("{}/bind", sysfs::DRIVER);
    ok!(sysfs::unbind(&dev));
    let mut errors: BTreeMap<i32, u32> = BTreeMap::new();
    let (mut tried, mut failed, mut swallowed) = (0u64, 0u64, 0u64);
    let start = Instant::now();
    let mut n = 1;
    let last = loop {
        let (r, hit) = fault::nth(n, || write_once(&path, dev.as_bytes()))?;
        tried += 1;
        match r {
            Ok(_) => {
                check!(bound(&dev), "fault point {n}: success without a driver");
                swallowed += u64::from(hit);
                ok!(sysfs::unbind(&dev));
            }
            Err(e) => {
                check!(hit, "bind: {e} without a fault");
                check!(e == ENOMEM, "fault point {n}: {e}");
                check!(!bound(&dev), "fault point {n}: {e}, but bound");
                check!(drm::nodes().is_empty(), "fault point {n}: a node is left");
                *errors.entry(e.0).or_default() += 1;
                failed += 1;
            }
        }
        if !hit {
            break n;
        }
        // Not every one in a short run: the steps grow.
        n += match start.elapsed() > TIME / 2 && !ktap::long() {
            true => 1 + n / 16,
            false => 1,
        };
    };
    ok!(sysfs::bind(&dev));
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, 0, 0));
    ok!(d.map(vm, h, 0, M, M));
    drop(d);
    note!(
        "{tried} of about {last} fault points of the probe tried: {failed} make it fail, with \
         {swallowed} it goes on without; {:?}",
        errors
            .iter()
            .map(|(e, n)| (Errno(*e), *n))
            .collect::<Vec<_>>()
    );
    check!(failed > 10);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 100; bind])
}
