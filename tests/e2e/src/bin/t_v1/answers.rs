// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What is answered, and to whom.

use e2e::child::{Child, End, Holder};
use e2e::debugfs::Gems;
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::*;

/// A claim that fails says so: here the cgroup has no room for what is to come back.
pub fn claim_errors_swallowed() -> Res {
    need()?;
    if !ktap::patched() {
        skip!("without the addition nothing is on swap");
    }
    let g = cgroup::Cgroup::need("e2e-v1")?;
    let mut c = Child::holder()?;
    ok!(g.add(c.pid));
    c.call("vm")?;
    c.call("bo 0x1000000 2 1 1")?;
    c.call("bind 1 0 0x100000000")?;
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    ok!(g.write("memory.max", "6M"));
    let r = claim(c.pid);
    ok!(g.write("memory.max", "max"));
    check!(r == Err(ENOMEM), "claim of 16 MiB into 6: {r:?}");
    eq!(c.resident()?, 0);
    ok!(claim(c.pid));
    eq!(c.resident()?, 16 * M);
    c.call("check 0")?;
    c.kill()?;
    Ok(())
}

/// No swap: ENOSPC, and nothing was torn down.
pub fn success_without_swap() -> Res {
    need()?;
    let mut c = target(M)?;
    {
        let _off = NoSwap::new()?;
        for _ in 0..3 {
            err!(reclaim(c.pid), ENOSPC);
        }
        eq!(c.resident()?, 8 * M);
        for g in Gems::read()?.of(c.pid).filter(|g| !g.label.is_empty()) {
            check!(g.evictions == 0 && g.resident == g.size, "{g:?}");
        }
        // Who may, and who is there, comes first; claiming nothing needs no swap.
        err!(reclaim(1), ESRCH);
        ok!(claim(c.pid));
        check_target(&mut c)?;
    }
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    check_target(&mut c)
}

/// Numbers are of the writer's PID namespace.
pub fn tgids_of_the_initial_namespace() -> Res {
    need()?;
    let mut outside = Child::holder()?;
    outside.call("bo 0x100000 2 0 1")?;
    let mut c = Child::spawn(|e: &mut End| {
        // Children of this one are in the new namespace; the first is its process 1.
        if ns::new_pid_ns().is_err() {
            return;
        }
        match fork() {
            Ok(0) => {
                let mut h = Holder::default();
                e.serve(|cmd| h.obey(cmd));
            }
            Ok(pid) => {
                let _ = waitpid(pid, 0);
            }
            Err(_) => {}
        }
    })?;
    c.call("open")?;
    c.call("bo 0x200000 2 0 1")?;
    eq!(c.call("pid")?, "1");
    // Its number outside: the child of our child.
    let kids = read_text(format!("/proc/{0}/task/{0}/children", c.pid)).unwrap_or_default();
    let real: Option<i32> = kids.split_whitespace().next().and_then(|s| s.parse().ok());
    let real = match real {
        Some(p) => p,
        // Without that file: the next number is the only one that fits.
        None => (c.pid + 1..c.pid + 50)
            .find(|p| proc::status_kb(*p, "PPid") == Some(c.pid as u64))
            .ok_or_else(|| Fail::Fail("the child's child is not found".into()))?,
    };
    // From outside by the outer number.
    ok!(sysfs::reclaim(real));
    eq!(c.resident()?, 0);
    ok!(sysfs::claim(real));
    eq!(c.resident()?, 2 * M);
    // From inside by the inner one; the outer numbers mean nothing there.
    eq!(c.call("reclaim 1")?, "ok");
    eq!(c.resident()?, 0);
    eq!(c.call("claim 1")?, "ok");
    eq!(c.resident()?, 2 * M);
    eq!(c.call(&format!("reclaim {real}"))?, "ESRCH");
    eq!(c.call(&format!("reclaim {}", outside.pid))?, "ESRCH");
    eq!(outside.resident()?, M);
    // The number 1 outside is init, without a file.
    err!(sysfs::reclaim(1), ESRCH);
    c.call("check 0")?;
    let _ = kill(real, libc::SIGKILL);
    Ok(())
}
