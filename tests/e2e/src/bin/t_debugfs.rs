// SPDX-License-Identifier: GPL-2.0 OR MIT
//! debugfs: `gems`, `gpuvas`, `shrink`.

use e2e::debugfs::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

fn files() -> Res {
    let p = ok!(dir());
    for (f, mode) in [("gems", 0o444), ("gpuvas", 0o444), ("shrink", 0o600)] {
        let m = std::fs::metadata(p.join(f)).map_err(|e| format!("{f}: {e}"))?;
        eq!(m.permissions().mode() & 0o777, mode);
    }
    Ok(())
}

fn gems_lines() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let a = ok!(d.bo(M, BO_WB_MMAP, vm));
    let b = ok!(d.bo(2 * M, 0, 0));
    ok!(d.label(a, "e2e first"));
    ok!(d.label(b, "e2e second"));
    ok!(d.map(vm, a, 0, 0, M));
    let g = Gems::read()?;
    let (x, y) = (g.by_label("e2e first")?, g.by_label("e2e second")?);
    eq!((x.size, x.resident, x.evictions), (M, M, 0));
    eq!((y.size, y.resident, y.evictions), (2 * M, 0, 0));
    for l in [x, y] {
        eq!(l.tgid, getpid());
        check!(l.comm.starts_with("t_debugfs"), "{}", l.comm);
        eq!((l.state, l.usage), (0, 0));
        check!(l.refs > 0);
    }
    // A mapping is a reference.
    check!(x.refs > y.refs, "{} {}", x.refs, y.refs);
    Ok(())
}

fn gems_totals() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(5 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 5 * M));
    let before = Gems::read()?;
    m.set(0, 1);
    let g = Gems::read()?;
    eq!(g.size, g.bos.iter().map(|b| b.size).sum::<u64>());
    eq!(g.resident, g.bos.iter().map(|b| b.resident).sum::<u64>());
    eq!(g.size, before.size);
    eq!(g.resident, before.resident + 5 * M);
    eq!(g.reclaimable, before.reclaimable + 5 * M);
    Ok(())
}

fn gems_states() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-state"));
    let m = ok!(d.mmap(h, M));
    m.set(0, 1);
    let fd = ok!(d.export(h));
    eq!(gem("e2e-state")?.state, 2);
    drop(fd);
    let (fd, _mem) = ok!(drm::udmabuf(64 * K));
    let i = ok!(d.import(fd.as_fd()));
    ok!(d.label(i, "e2e-imported"));
    // Shown or not, it must not be wrong.
    if let Ok(g) = gem("e2e-imported") {
        eq!(g.state & 1, 1);
        eq!(g.state & 4, 0);
        eq!(g.size, 64 * K);
    }
    Ok(())
}

/// An exported and a private buffer are both evicted by the shrinker; marked, counted, and back at
/// the first touch.
fn shrink_evicts() -> Res {
    let page = page_size();
    if ok!(proc::swaps()).is_empty() {
        skip!("no swap");
    }
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut v = Vec::new();
    for (i, x) in [0, vm, 0].into_iter().enumerate() {
        let h = ok!(d.bo(2 * M, BO_WB_MMAP, x));
        ok!(d.label(h, &format!("e2e-shrink-{i}")));
        let m = ok!(d.mmap(h, 2 * M));
        pattern::fill(&m, i as u64 + 100);
        if i < 2 {
            ok!(d.map(vm, h, 0, i as u64 * 4 * M, 2 * M));
        }
        v.push(m);
    }
    let n = ok!(shrink(1 << 20));
    check!(n >= 6 * M / page, "{n} pages");
    for (i, m) in v.iter().enumerate() {
        let g = gem(&format!("e2e-shrink-{i}"))?;
        eq!((g.resident, g.evictions, g.state & 4), (0, 1, 4));
        pattern::check(m, i as u64 + 100)?;
        let g = gem(&format!("e2e-shrink-{i}"))?;
        eq!((g.resident, g.evictions, g.state & 4), (2 * M, 1, 0));
    }
    Ok(())
}

/// A scan stops when it has what was asked for.
fn shrink_amount() -> Res {
    if ok!(proc::swaps()).is_empty() {
        skip!("no swap");
    }
    let d = ok!(Dev::open());
    let mut v = Vec::new();
    for _ in 0..16 {
        let h = ok!(d.bo(M, BO_WB_MMAP, 0));
        let m = ok!(d.mmap(h, M));
        pattern::fill(&m, 5);
        v.push(m);
    }
    // Clear the way: what other programs left.
    let all = ok!(d.fdinfo()).resident();
    eq!(all, 16 * M);
    let n = ok!(shrink(M / PAGE));
    let left = ok!(d.fdinfo()).resident();
    check!(
        (M / PAGE..=3 * M / PAGE).contains(&n),
        "{n} pages for {}",
        M / PAGE
    );
    check!(left >= 12 * M, "{left} bytes left");
    for m in &v {
        pattern::check(m, 5)?;
    }
    Ok(())
}

fn shrink_nothing() -> Res {
    // Nothing of ours is left to take.
    ok!(shrink(1 << 20));
    eq!(ok!(shrink(1 << 20)), 0);
    let p = ok!(dir()).join("shrink");
    err!(write_once(&p, b"abc\n"), EINVAL);
    let t = ok!(read_text(&p));
    check!(t.starts_with("0x") && t.len() == 11, "{t:?}");
    Ok(())
}

fn gpuvas_lines() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, 0, vm));
    let va = (1 << 45) + getpid() as u64 * PAGE;
    ok!(d.map(vm, h, PAGE, va, 2 * PAGE));
    ok!(d.map(vm, h, 0, 3 * M, M));
    let v = vas_of(va)?;
    eq!(v.len(), 1);
    eq!((v[0].start, v[0].range, v[0].offset), (3 * M, M, 0));
    // As many VMs as there are.
    let count = || -> Res<usize> {
        Ok(gpuvas()?
            .iter()
            .filter(|s| s.name == "panthor-GPU-VM")
            .count())
    };
    let n = count()?;
    let b = ok!(d.vm());
    eq!(count()?, n + 1);
    ok!(d.vm_destroy(b));
    ok!(d.vm_destroy(vm));
    let gone = wait_for(std::time::Duration::from_secs(2), || {
        count().is_ok_and(|c| c == n - 1)
    });
    check!(gone, "{} VMs, want {}", count()?, n - 1);
    Ok(())
}

/// What one open file gives, in reads of `len` bytes.
fn read_in(name: &str, len: usize) -> Res<Vec<u8>> {
    use std::io::Read;
    let mut f = ok!(std::fs::File::open(ok!(dir()).join(name)));
    let (mut all, mut buf) = (Vec::new(), vec![0; len]);
    loop {
        match ok!(f.read(&mut buf)) {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

/// A table is written row by row as it is read: its beginning does not take the time of all of it,
/// which is also how a reader can be killed.
fn row_by_row() -> Res {
    use std::os::unix::fs::FileExt;
    ktap::only_rust("the C driver writes all of it for the first byte")?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let long = "x".repeat(4000);
    let mut h = 0;
    for i in 0..3000u64 {
        h = ok!(d.bo(PAGE, 0, 0));
        if i % 10 == 0 {
            ok!(d.label(h, &long));
        }
    }
    for i in 0..3000 {
        ok!(d.map(vm, h, 0, i * 2 * PAGE, PAGE));
    }
    for name in ["gems", "gpuvas"] {
        let f = ok!(std::fs::File::open(ok!(dir()).join(name)));
        let start = thread_cpu_time();
        let mut first = [0; 64];
        eq!(ok!(f.read_at(&mut first, 0)), 64);
        let beginning = thread_cpu_time() - start;
        // A reader has a reference on what it has come to, which others count.
        drop(f);
        let start = thread_cpu_time();
        let all = read_in(name, 64 << 10)?;
        let whole = thread_cpu_time() - start;
        note!(
            "figure: {name}: the first 64 bytes take {} us, {} KiB {} us",
            beginning.as_micros(),
            all.len() >> 10,
            whole.as_micros()
        );
        check!(beginning < whole / 4, "{name}: {beginning:?} of {whole:?}");
        check!(all.starts_with(&first));
        // The same, however it is read.
        for len in [1000, 4096] {
            check!(read_in(name, len)? == all, "{name} in reads of {len}");
        }
        let f = ok!(std::fs::File::open(ok!(dir()).join(name)));
        let mut some = [0; 500];
        for at in [100_000, 10, 200_000, 4096, all.len() - 500] {
            ok!(f.read_exact_at(&mut some, at as u64));
            check!(some == all[at..at + 500], "{name} at {at}");
        }
        eq!(ok!(f.read_at(&mut some, all.len() as u64)), 0);
    }
    eq!(Gems::read()?.of(getpid()).count(), 3000);
    Ok(())
}

/// What a reader has come to goes away before it reads on, and so does the driver.
fn reader_stays() -> Res {
    use std::io::Read;
    let b = sysfs::Bound::new()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut hs = Vec::new();
    for i in 0..200u64 {
        let h = ok!(d.bo(PAGE, 0, 0));
        ok!(d.map(vm, h, 0, i * 2 * PAGE, PAGE));
        hs.push(h);
    }
    for name in ["gems", "gpuvas"] {
        let mut f = ok!(std::fs::File::open(ok!(dir()).join(name)));
        let mut buf = [0; 4096];
        ok!(f.read(&mut buf));
        for (i, h) in hs.drain(..).enumerate() {
            ok!(d.unmap(vm, i as u64 * 2 * PAGE, PAGE));
            ok!(d.close(h));
        }
        let mut rest = Vec::new();
        ok!(f.read_to_end(&mut rest));
        check!(rest.len() < 64 << 10, "{name}: {} bytes", rest.len());
    }
    let mut f = ok!(std::fs::File::open(ok!(dir()).join("gems")));
    let mut buf = [0; 100];
    ok!(f.read(&mut buf));
    b.unbind()?;
    check!(f.read(&mut [0; 100]).is_err(), "read after unbind");
    drop(f);
    b.bind()
}

/// Readers and users at the same time.
fn readers() -> Res {
    let d = ok!(Dev::open());
    race::run(
        std::time::Duration::from_secs(2),
        &["reads", "changes"],
        vec![
            Box::new(|r| {
                while r.on() {
                    Gems::read()?;
                    match gpuvas() {
                        // C shows VMs before they are complete.
                        Err(Fail::Fail(m))
                            if ktap::driver() == ktap::Driver::C && m.contains("ENODEV") => {}
                        g => {
                            g?;
                        }
                    }
                    r.count("reads", 1);
                }
                Ok(())
            }),
            Box::new(|r| {
                while r.on() {
                    let vm = ok!(d.vm());
                    let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
                    ok!(d.label(h, "e2e-readers"));
                    ok!(d.map(vm, h, 0, M, 64 * K));
                    ok!(d.mmap(h, 64 * K)).set(0, 1);
                    ok!(d.unmap(vm, M + PAGE, PAGE));
                    ok!(d.close(h));
                    ok!(d.vm_destroy(vm));
                    r.count("changes", 1);
                }
                Ok(())
            }),
        ],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        files,
        gems_lines,
        gems_totals,
        gems_states,
        shrink_evicts,
        shrink_amount,
        shrink_nothing,
        gpuvas_lines,
        row_by_row,
        reader_stays,
        readers,
    ])
}
