// SPDX-License-Identifier: GPL-2.0 OR MIT
//! fdinfo: the memory keys.

use e2e::uapi::*;
use e2e::*;

fn keys() -> Res {
    let d = ok!(Dev::open());
    let i = ok!(d.fdinfo());
    eq!(i.text("drm-driver"), Some("panthor"));
    check!(
        i.text("drm-client-id")
            .is_some_and(|s| s.parse::<u64>().is_ok()),
        "{i:?}"
    );
    for k in ["drm-maxfreq-panthor", "drm-curfreq-panthor"] {
        check!(i.text(k).is_some_and(|s| s.ends_with(" Hz")), "{k}: {i:?}");
    }
    for k in [
        "panthor-resident-memory",
        "panthor-active-memory",
        "drm-total-memory",
        "drm-shared-memory",
    ] {
        check!(i.bytes(k).is_some(), "{k}: {i:?}");
        eq!(i.bytes(k), Some(0));
    }
    if ktap::driver() == ktap::Driver::Rust {
        for k in MEMORY {
            eq!(i.bytes(k), Some(0));
        }
    }
    // In this order.
    let at = |k: &str| i.keys().iter().position(|x| *x == k).unwrap_or(usize::MAX);
    let order = [
        "drm-driver",
        "drm-client-id",
        "drm-maxfreq-panthor",
        "drm-curfreq-panthor",
        "panthor-resident-memory",
        "panthor-active-memory",
        "drm-total-memory",
        "drm-shared-memory",
    ];
    for w in order.windows(2) {
        check!(
            at(w[0]) < at(w[1]),
            "{} before {}: {:?}",
            w[0],
            w[1],
            i.keys()
        );
    }
    Ok(())
}

/// All keys that tell of buffers, in their order.
const MEMORY: [&str; 4] = [
    "drm-total-memory",
    "drm-shared-memory",
    "drm-active-memory",
    "drm-resident-memory",
];

/// They are there at all times, once each: tools take a line that is missing for a driver that does
/// not know.
fn keys_stay() -> Res {
    ktap::only_rust("the C driver leaves out what is zero")?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let all = |what: &str, want: [u64; 4]| {
        let i = ok!(d.fdinfo());
        let keys = i.keys();
        let shown: Vec<&str> = keys
            .iter()
            .filter(|k| k.starts_with("drm-") && k.ends_with("-memory"))
            .copied()
            .collect();
        check!(shown == MEMORY, "{what}: {keys:?}");
        let values = MEMORY.map(|k| i.bytes(k).unwrap_or(u64::MAX));
        check!(values == want, "{what}: {values:?}, want {want:?}");
        Ok(())
    };
    all("empty", [0; 4])?;
    let h = ok!(d.bo(2 * M, BO_WB_MMAP, 0));
    let p = ok!(d.bo(M, BO_WB_MMAP, vm));
    all("untouched", [3 * M, 0, 0, 0])?;
    ok!(d.map(vm, h, 0, M, 2 * M));
    all("resident", [3 * M, 0, 0, 2 * M])?;
    ok!(d.map(vm, p, 0, 8 * M, M));
    let fd = ok!(d.export(h));
    all("shared", [3 * M, 2 * M, 0, 3 * M])?;
    drop(fd);
    debugfs::busy(sys::getpid(), true)?;
    let r = all("busy", [3 * M, 2 * M, 3 * M, 3 * M]);
    debugfs::busy(sys::getpid(), false)?;
    r?;
    if !ok!(proc::swaps()).is_empty() {
        ok!(debugfs::shrink(1 << 20));
        all("evicted", [3 * M, 2 * M, 0, 0])?;
    }
    ok!(d.close(h));
    ok!(d.close(p));
    all("closed", [0; 4])
}

fn client_ids() -> Res {
    let a = ok!(Dev::open());
    let b = ok!(Dev::open());
    let ids = (
        ok!(a.fdinfo()).text("drm-client-id").map(str::to_string),
        ok!(b.fdinfo()).text("drm-client-id").map(str::to_string),
    );
    check!(ids.0 != ids.1, "{ids:?}");
    let c = ok!(a.dup());
    eq!(
        ok!(c.fdinfo()).text("drm-client-id").map(str::to_string),
        ids.0
    );
    Ok(())
}

fn frequencies() -> Res {
    let d = ok!(Dev::open());
    let i = ok!(d.fdinfo());
    let hz = |k| {
        i.text(k)
            .and_then(|s| s.strip_suffix(" Hz")?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let (cur, max) = (hz("drm-curfreq-panthor"), hz("drm-maxfreq-panthor"));
    check!(max > 0 && cur <= max, "current {cur}, maximum {max}");
    Ok(())
}

fn total_and_resident() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(3 * M, BO_WB_MMAP, 0));
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (3 * M, 0)
    );
    let m = ok!(d.mmap(h, 3 * M));
    m.set(0, 1);
    // A buffer is resident as a whole.
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (3 * M, 3 * M)
    );
    let g = ok!(d.bo(M, BO_NO_MMAP, 0));
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (4 * M, 3 * M)
    );
    let vm = ok!(d.vm());
    ok!(d.map(vm, g, 0, 0, M));
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (4 * M, 4 * M)
    );
    ok!(d.close(g));
    eq!(ok!(d.fdinfo()).total(), 3 * M);
    drop(m);
    ok!(d.close(h));
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (0, 0)
    );
    Ok(())
}

/// Another process can read it.
fn of_others() -> Res {
    let mut c = child::Child::spawn(|e| {
        let d = Dev::open();
        let h = d.as_ref().map(|d| d.bo(M, 0, 0));
        e.serve(|_| match (&d, &h) {
            (Ok(d), Ok(Ok(_))) => Ok(d.fd().to_string()),
            _ => Err("no device".to_string()),
        })
    })?;
    let fd = c.num("fd")? as i32;
    let i = ok!(proc::FdInfo::read(c.pid, fd));
    eq!(i.text("drm-driver"), Some("panthor"));
    eq!(i.total(), M);
    Ok(())
}

fn evicted_is_not_resident() -> Res {
    let page = sys::page_size();
    let d = ok!(Dev::open());
    if ok!(proc::swaps()).is_empty() {
        skip!("no swap");
    }
    let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 4 * M));
    pattern::fill(&m, 1);
    eq!(ok!(d.fdinfo()).resident(), 4 * M);
    check!(ok!(debugfs::shrink(1 << 20)) >= 4 * M / page);
    eq!(
        (ok!(d.fdinfo()).total(), ok!(d.fdinfo()).resident()),
        (4 * M, 0)
    );
    pattern::check(&m, 1)?;
    eq!(ok!(d.fdinfo()).resident(), 4 * M);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        keys,
        keys_stay,
        client_ids,
        frequencies,
        total_and_resident,
        of_others,
        evicted_is_not_resident,
    ])
}
