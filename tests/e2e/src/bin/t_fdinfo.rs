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
        client_ids,
        frequencies,
        total_and_resident,
        of_others,
        evicted_is_not_resident,
    ])
}
