// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `mem_reclaim` and `mem_claim`: what may be written, by whom, about whom.

use e2e::child::{Child, Holder};
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

type Write = fn(&[u8]) -> Result<usize>;

const BOTH: [(&str, Write); 2] = [
    ("mem_reclaim", sysfs::reclaim_raw),
    ("mem_claim", sysfs::claim_raw),
];

fn need() -> Res {
    sysfs::need("mem_reclaim")?;
    sysfs::need("mem_claim")?;
    Ok(())
}

/// Something to reclaim, in this process.
fn own(size: u64) -> Res<(Dev, Map)> {
    let d = Dev::open()?;
    let h = d.bo(size, BO_WB_MMAP, 0)?;
    let m = d.mmap(h, size)?;
    pattern::fill(&m, 1);
    Ok((d, m))
}

fn modes() -> Res {
    for (f, mode) in [
        ("mem_reclaim", 0o200),
        ("mem_claim", 0o200),
        ("mem_reclaim_mode", 0o444),
    ] {
        let p = sysfs::need(f)?;
        let m = std::fs::metadata(&p).map_err(|e| format!("{f}: {e}"))?;
        eq!(m.permissions().mode() & 0o777, mode);
    }
    Ok(())
}

fn mode_file() -> Res {
    let p = sysfs::need("mem_reclaim_mode")?;
    eq!(
        ok!(read_text(p)),
        if ktap::patched() { "swap\n" } else { "evict\n" }
    );
    Ok(())
}

/// Decimal, hexadecimal, octal; with and without one newline.
fn accepted() -> Res {
    need()?;
    let (d, m) = own(M)?;
    let pid = getpid();
    for s in [
        format!("{pid}"),
        format!("{pid}\n"),
        format!("0x{pid:x}"),
        format!("0x{pid:X}\n"),
        format!("0X{pid:x}\n"),
        format!("0{pid:o}"),
        format!("0{pid:o}\n"),
        format!("0x0000{pid:x}\n"),
    ] {
        for (name, f) in BOTH {
            let r = f(s.as_bytes());
            check!(r == Ok(s.len()), "{name} {s:?}: {r:?}");
        }
    }
    // It did something each time.
    ok!(sysfs::reclaim(pid));
    eq!(ok!(d.fdinfo()).resident(), 0);
    ok!(sysfs::claim(pid));
    eq!(ok!(d.fdinfo()).resident(), M);
    pattern::check(&m, 1)?;
    Ok(())
}

fn garbage() -> Res {
    need()?;
    let _own = own(PAGE)?;
    let pid = getpid();
    let mut v: Vec<Vec<u8>> = [
        "\n", " ", "  \n", "\t", "\n\n", "abc", "abc\n", "1 2", "1x", "1x\n", "x", "0x", "0x\n",
        "0xg", "-", "--1", "1.0", "1,2", "08", "0b1", "1e3", "\0", "one",
    ]
    .iter()
    .map(|s| s.as_bytes().to_vec())
    .collect();
    for s in [
        format!("{pid}\n\n"),
        format!("{pid}\n{pid}\n"),
        format!("{pid} {pid}"),
        format!("{pid} "),
        format!("{pid} \n"),
        format!(" {pid}"),
        format!("\n{pid}"),
        format!("{pid}x"),
        format!("{pid};"),
        format!("{pid}\nx"),
        format!("{pid}\0"),
        format!("{pid}\n\0"),
        format!("{pid}\0junk"),
    ] {
        v.push(s.into_bytes());
    }
    v.push(vec![b'1'; 3000]);
    v.push(vec![b' '; 4000]);
    v.push(vec![0xff; 10]);
    for s in &v {
        for (name, f) in BOTH {
            let r = f(s);
            // A number of 3000 digits fits nothing; anything else is no number.
            let want = if s.len() == 3000 { ERANGE } else { EINVAL };
            check!(
                r == Err(want),
                "{name} {:?}: {r:?}, want {want}",
                String::from_utf8_lossy(&s[..s.len().min(20)])
            );
        }
    }
    Ok(())
}

/// An empty write does not get as far as the driver.
fn empty() -> Res {
    need()?;
    for (name, f) in BOTH {
        let r = f(b"");
        check!(r == Ok(0) || r == Err(EINVAL), "{name}: {r:?}");
    }
    Ok(())
}

fn range() -> Res {
    need()?;
    for s in [
        "2147483648",
        "4294967295",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "0x80000000",
        "0xffffffffffffffffff",
        "040000000000",
        "-2147483649",
        "-9223372036854775809",
    ] {
        for (name, f) in BOTH {
            let r = f(s.as_bytes());
            check!(r == Err(ERANGE), "{name} {s}: {r:?}");
        }
    }
    // The largest that fits: just nobody's.
    for (name, f) in BOTH {
        let r = f(b"2147483647");
        check!(r == Err(ESRCH), "{name}: {r:?}");
    }
    Ok(())
}

fn not_positive() -> Res {
    need()?;
    for s in ["0", "-1", "00", "0x0", "-0", "-2147483648", "-1000\n"] {
        for (name, f) in BOTH {
            let r = f(s.as_bytes());
            check!(r == Err(EINVAL), "{name} {s}: {r:?}");
        }
    }
    let s = format!("-{}", getpid());
    err!(sysfs::reclaim_raw(s.as_bytes()), EINVAL);
    Ok(())
}

fn nobody() -> Res {
    need()?;
    // No process at all.
    let mut c = Child::spawn(|e| while e.cmd().is_some() {})?;
    let pid = c.pid;
    // A process without an open file of the device.
    err!(sysfs::reclaim(pid), ESRCH);
    err!(sysfs::claim(pid), ESRCH);
    err!(sysfs::reclaim(1), ESRCH);
    err!(sysfs::reclaim(getpid()), ESRCH);
    err!(sysfs::claim(getpid()), ESRCH);
    c.kill()?;
    err!(sysfs::reclaim(pid), ESRCH);
    err!(sysfs::claim(pid), ESRCH);
    Ok(())
}

/// A process that closed its file, and one that died.
fn gone() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("bo 0x100000 2 0 1")?;
    ok!(sysfs::reclaim(c.pid));
    c.call("shut")?;
    err!(sysfs::reclaim(c.pid), ESRCH);
    err!(sysfs::claim(c.pid), ESRCH);
    c.call("open")?;
    ok!(sysfs::reclaim(c.pid));
    let pid = c.pid;
    c.kill()?;
    err!(sysfs::reclaim(pid), ESRCH);
    err!(sysfs::claim(pid), ESRCH);
    Ok(())
}

/// A thread's id is no TGID.
fn thread_ids() -> Res {
    need()?;
    let mut c = Child::holder()?;
    c.call("bo 0x100000 2 0 1")?;
    let tid = c.num("tid")? as i32;
    check!(tid != c.pid);
    err!(sysfs::reclaim(tid), ESRCH);
    err!(sysfs::claim(tid), ESRCH);
    eq!(c.resident()?, M);
    ok!(sysfs::reclaim(c.pid));
    eq!(c.resident()?, 0);
    Ok(())
}

/// A file opened by a thread belongs to the process.
fn opened_by_thread() -> Res {
    need()?;
    let d = std::thread::spawn(Dev::open)
        .join()
        .map_err(|_| Fail::Fail("thread".into()))?;
    let d = ok!(d);
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    ok!(sysfs::reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    pattern::check(&m, 1)?;
    Ok(())
}

/// Without CAP_SYS_RESOURCE a process may reclaim its own, nothing else; and it learns nothing
/// about others.
fn capability() -> Res {
    need()?;
    let mut other = Child::holder()?;
    other.call("bo 0x100000 2 0 1")?;
    let mut c = Child::holder()?;
    c.call("bo 0x100000 2 0 1")?;
    let me = c.pid;
    // With it.
    eq!(c.call(&format!("reclaim {}", other.pid))?, "ok");
    eq!(other.resident()?, 0);
    eq!(c.call(&format!("claim {}", other.pid))?, "ok");
    eq!(other.resident()?, M);
    c.call("dropcap")?;
    // Foreign TGIDs, existing or not, with a file or not.
    for pid in [other.pid, 1, 2_000_000, getpid()] {
        eq!(c.call(&format!("reclaim {pid}"))?, "EPERM");
        eq!(c.call(&format!("claim {pid}"))?, "EPERM");
    }
    eq!(other.resident()?, M);
    // Itself: reclaim yes, claim no.
    eq!(c.call(&format!("reclaim {me}"))?, "ok");
    eq!(c.resident()?, 0);
    eq!(c.call(&format!("claim {me}"))?, "EPERM");
    eq!(c.resident()?, 0);
    c.call("check 0")?;
    // Without a file of its own it is simply not found.
    c.call("shut")?;
    eq!(c.call(&format!("reclaim {me}"))?, "ESRCH");
    other.call("check 0")?;
    Ok(())
}

/// Who is root in a user namespace of its own is nobody outside: what it may do there does not count,
/// neither with an attribute that it opens nor with one that was open before.
fn capability_in_a_user_namespace() -> Res {
    need()?;
    let mut other = Child::holder()?;
    other.call("bo 0x100000 2 0 1")?;
    let open = |name: &str| -> Res<std::fs::File> {
        Ok(std::fs::OpenOptions::new()
            .write(true)
            .open(sysfs::attr(name)?)
            .map_err(|e| e.to_string())?)
    };
    let (r, c) = (open("mem_reclaim")?, open("mem_claim")?);
    let mut c = Child::spawn(|e| {
        let mut h = Holder::default();
        e.serve(|cmd| {
            let w: Vec<&str> = cmd.split(' ').collect();
            match w[..] {
                ["userns"] => match ns::new_user_ns() {
                    Ok(()) => Ok(String::new()),
                    Err(e) => Err(e.to_string()),
                },
                ["open-before", what, pid] => {
                    let f = if what == "claim" { &c } else { &r };
                    let n = write_fd(f.as_raw_fd(), format!("{pid}\n").as_bytes());
                    Ok(child::said(n.map(|_| ())))
                }
                _ => h.obey(cmd),
            }
        });
    })?;
    c.call("open")?;
    c.call("bo 0x100000 2 0 1")?;
    let me = c.pid;
    // As root outside, which it is so far.
    eq!(c.call(&format!("open-before reclaim {}", other.pid))?, "ok");
    eq!(c.call(&format!("open-before claim {}", other.pid))?, "ok");
    eq!(other.resident()?, M);
    c.call("userns")?;
    for way in ["", "open-before "] {
        for pid in [other.pid, 1, 2_000_000, getpid()] {
            eq!(c.call(&format!("{way}reclaim {pid}"))?, "EPERM");
            eq!(c.call(&format!("{way}claim {pid}"))?, "EPERM");
        }
        eq!(other.resident()?, M);
        eq!(c.call(&format!("{way}reclaim {me}"))?, "ok");
        eq!(c.resident()?, 0);
        eq!(c.call(&format!("{way}claim {me}"))?, "EPERM");
        eq!(c.resident()?, 0);
        c.call("check 0")?;
    }
    other.call("check 0")?;
    Ok(())
}

/// Bad input is EINVAL or ERANGE also for those who may not.
fn capability_and_garbage() -> Res {
    need()?;
    ok!(ns::drop_cap(ns::CAP_SYS_RESOURCE));
    err!(sysfs::reclaim_raw(b"abc"), EINVAL);
    err!(sysfs::reclaim_raw(b"0"), EINVAL);
    err!(sysfs::reclaim_raw(b"4294967296"), ERANGE);
    err!(sysfs::claim_raw(b"abc"), EINVAL);
    err!(sysfs::claim_raw(b"0"), EINVAL);
    err!(sysfs::claim_raw(b"4294967296"), ERANGE);
    Ok(())
}

/// After fork the file stays with the parent until the child uses it.
fn forked() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let mut c = Child::spawn(|e| {
        e.serve(|_| {
            d.vm_state(1).err();
            Ok(String::new())
        })
    })?;
    err!(sysfs::reclaim(c.pid), ESRCH);
    ok!(sysfs::reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    ok!(sysfs::claim(getpid()));
    // The DRM core takes the file's user from its ioctls.
    c.call("ioctl")?;
    err!(sysfs::reclaim(getpid()), ESRCH);
    ok!(sysfs::reclaim(c.pid));
    eq!(ok!(d.fdinfo()).resident(), 0);
    err!(d.vm_state(1), EINVAL);
    ok!(sysfs::claim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), M);
    pattern::check(&m, 1)?;
    Ok(())
}

/// Passed over a socket it belongs to whoever uses it.
fn passed() -> Res {
    need()?;
    let (a, b) = ok!(socketpair());
    let mut c = Child::spawn(|e| {
        let mut dev = None;
        e.serve(|cmd| {
            let s = |e: Errno| e.to_string();
            match cmd {
                "take" => dev = Some(Dev::from_fd(recv_fd(b.as_raw_fd()).map_err(s)?)),
                "use" => {
                    let _ = dev.as_ref().ok_or("none")?.version().map_err(s)?;
                }
                _ => dev = None,
            }
            Ok(String::new())
        })
    })?;
    let (d, m) = own(M)?;
    ok!(send_fd(a.as_raw_fd(), d.fd()));
    c.call("take")?;
    err!(sysfs::reclaim(c.pid), ESRCH);
    c.call("use")?;
    ok!(sysfs::reclaim(c.pid));
    eq!(ok!(d.fdinfo()).resident(), 0);
    err!(sysfs::reclaim(getpid()), ESRCH);
    // Theirs no longer when they close it, ours when we use it.
    c.call("drop")?;
    ok!(d.version());
    ok!(sysfs::claim(getpid()));
    pattern::check(&m, 1)?;
    Ok(())
}

/// All files of a process count.
fn several_files() -> Res {
    need()?;
    let mut v = Vec::new();
    for _ in 0..10 {
        v.push(own(256 * K)?);
    }
    ok!(sysfs::reclaim(getpid()));
    for (d, _) in &v {
        eq!(ok!(d.fdinfo()).resident(), 0);
    }
    ok!(sysfs::claim(getpid()));
    for (d, m) in &v {
        eq!(ok!(d.fdinfo()).resident(), 256 * K);
        pattern::check(m, 1)?;
    }
    Ok(())
}

/// One write is one request, whatever the file position.
fn repeated_writes() -> Res {
    need()?;
    let (d, _m) = own(M)?;
    let p = ok!(sysfs::attr("mem_reclaim"));
    let f = std::fs::OpenOptions::new()
        .write(true)
        .open(p)
        .map_err(|e| e.to_string())?;
    let s = format!("{}\n", getpid());
    for _ in 0..3 {
        eq!(ok!(write_fd(f.as_raw_fd(), s.as_bytes())), s.len());
        eq!(ok!(d.fdinfo()).resident(), 0);
        ok!(sysfs::claim(getpid()));
        eq!(ok!(d.fdinfo()).resident(), M);
    }
    err!(read_text(ok!(sysfs::attr("mem_reclaim"))), EACCES);
    Ok(())
}

/// A signal ends a call; what was done stays done, and nothing is lost.
fn signals() -> Res {
    need()?;
    ok!(catch_signal(libc::SIGUSR1));
    let mut c = Child::holder()?;
    for i in 0..32 {
        c.call(&format!("bo 0x100000 2 0 {}", i + 1))?;
    }
    let total = 32 * M;
    // SAFETY: no memory involved.
    let me = unsafe { libc::pthread_self() };
    // Of mem_reclaim and mem_claim.
    let (mut interrupted, mut between) = ([0; 2], [0; 2]);
    let write = |name: &str, pid: i32, delay: u64| -> Res<Result<usize>> {
        let f = std::fs::OpenOptions::new()
            .write(true)
            .open(ok!(sysfs::attr(name)))
            .map_err(|e| e.to_string())?;
        let s = format!("{pid}\n");
        let t = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(delay));
            // SAFETY: the thread waits for us, its handle is valid.
            unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
        });
        let r = write_fd(f.as_raw_fd(), s.as_bytes());
        let _ = t.join();
        Ok(r)
    };
    let start = Instant::now();
    let mut delays = [100; 2];
    for round in 0..60 {
        if start.elapsed() > Duration::from_secs(12) {
            break;
        }
        let which = round % 2;
        let name = BOTH[which].0;
        let delay = &mut delays[which];
        match write(name, c.pid, *delay)? {
            Ok(n) => {
                eq!(n, c.pid.to_string().len() + 1);
                eq!(c.resident()?, if which == 0 { 0 } else { total });
                *delay = if *delay > 400 { *delay / 3 } else { 50_000 };
            }
            Err(EINTR) => {
                interrupted[which] += 1;
                let r = c.resident()?;
                if r > 0 && r < total {
                    between[which] += 1;
                }
                *delay = *delay * 5 / 3;
            }
            Err(e) => fail!("{name}: {e}"),
        }
    }
    for (i, (name, _)) in BOTH.iter().enumerate() {
        let (n, half) = (interrupted[i], between[i]);
        note!("{n} calls of {name} interrupted, {half} of them half way");
        check!(n > 0, "no {name} was interrupted");
        check!(half > 0, "no {name} was interrupted half way");
    }
    // It can be finished.
    ok!(sysfs::reclaim(c.pid));
    eq!(c.resident()?, 0);
    ok!(sysfs::claim(c.pid));
    eq!(c.resident()?, total);
    for i in 0..32 {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

/// A signal that is already there.
fn signal_pending() -> Res {
    need()?;
    let (d, m) = own(M)?;
    ok!(catch_signal(libc::SIGUSR1));
    // A timer fires again and again during many writes.
    let t = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 300,
        },
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: 300,
        },
    };
    ok!(catch_signal(libc::SIGALRM));
    // SAFETY: valid places.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &t, std::ptr::null_mut()) };
    for _ in 0..60 {
        for r in [sysfs::reclaim(getpid()), sysfs::claim(getpid())] {
            check!(matches!(r, Ok(()) | Err(EINTR)), "{r:?}");
        }
    }
    let t = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
    };
    // SAFETY: valid places.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &t, std::ptr::null_mut()) };
    ok!(sysfs::reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    pattern::check(&m, 1)?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        modes,
        mode_file,
        accepted,
        garbage,
        empty,
        range,
        not_positive,
        nobody,
        gone,
        thread_ids,
        opened_by_thread,
        capability,
        capability_in_a_user_namespace,
        capability_and_garbage,
        forked,
        passed,
        several_files,
        repeated_writes,
        signals,
        signal_pending,
    ])
}
