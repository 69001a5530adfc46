// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The VMs of the target: found, held, brought back.

use e2e::child::Child;
use e2e::debugfs::VmResident;
use e2e::model::Model;
use e2e::race::Side;
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;
use std::time::Duration;

/// The VMs of a file are looked for under the lock of their xarray: they may come and go meanwhile.
pub fn vm_xarray_without_its_lock() -> Res {
    need()?;
    let d = ok!(Dev::open());
    let me = getpid();
    let mut sides: Vec<Side<'_>> = Vec::new();
    for _ in 0..2 {
        sides.push(Box::new(|r| {
            while r.on() {
                let vms: Vec<u32> = (0..4).map(|_| d.vm()).collect::<Result<_>>()?;
                for vm in vms {
                    d.vm_destroy(vm)?;
                    r.count("VMs", 1);
                }
            }
            Ok(())
        }));
        sides.push(Box::new(|r| {
            while r.on() {
                // Two writers find each other's work under way.
                race::tally(r, "reclaims", reclaim(me), &[EBUSY])?;
                race::tally(r, "claims", claim(me), &[])?;
            }
            Ok(())
        }));
    }
    race::run(
        Duration::from_secs(4),
        &["VMs", "reclaims", "claims"],
        sides,
    )
}

/// A VM that is destroyed while its process is being reclaimed is not used any more by then.
pub fn vms_without_a_reference() -> Res {
    need()?;
    // The larger they are, the longer it takes: once they must go in the middle of it.
    let mut within = 0;
    for size in [8 * M, 8 * M, 16 * M, 24 * M, 32 * M] {
        if within > 0 && size > 8 * M {
            break;
        }
        let mut c = Child::holder()?;
        for vm in 1..=4u64 {
            c.call("vm")?;
            c.call(&format!("bo {size} 2 0 {vm}"))?;
            c.call(&format!("bind {vm} {} 0x100000000", vm - 1))?;
        }
        let total = c.resident()?;
        let pid = c.pid;
        let w = std::thread::spawn(move || reclaim(pid));
        let half = wait_for(Duration::from_secs(10), || {
            c.resident().is_ok_and(|r| r < total)
        });
        check!(half, "nothing is being reclaimed");
        for vm in 1..=4 {
            c.call(&format!("vmdel {vm}"))?;
        }
        let late = w.is_finished();
        within += u32::from(!late);
        note!(
            "4 VMs with {} MiB destroyed {} the end of the call",
            total / M,
            if late { "after" } else { "before" }
        );
        ok!(w.join().map_err(|_| "thread".to_string())?);
        eq!(c.resident()?, 0);
        // And the way back, which works with each VM.
        for vm in 1..=4u64 {
            c.call("vm")?;
            c.call(&format!("bind {vm} {} 0x100000000", vm - 1))?;
        }
        ok!(reclaim(pid));
        let w = std::thread::spawn(move || claim(pid));
        let half = wait_for(Duration::from_secs(10), || {
            c.resident().is_ok_and(|r| r > 0)
        });
        check!(half, "nothing is being claimed");
        for vm in 1..=4 {
            c.call(&format!("vmdel {vm}"))?;
        }
        ok!(w.join().map_err(|_| "thread".to_string())?);
        for i in 0..4 {
            c.call(&format!("check {i}"))?;
        }
    }
    check!(within > 0, "no VM was destroyed in the middle of a call");
    Ok(())
}

/// A claim brings buffers back that several VMs of the target share, in each of them.
pub fn shared_not_claimed() -> Res {
    need()?;
    let sw = VmResident::need()?;
    let mut model = Model::need()?;
    let d = ok!(Dev::open());
    let vms = [ok!(d.vm()), ok!(d.vm()), ok!(d.vm())];
    let h = ok!(d.bo(3 * M, BO_WB_MMAP, 0));
    pattern::fill(&ok!(d.mmap(h, 3 * M)), 8);
    for (i, vm) in vms.iter().enumerate() {
        ok!(d.map(*vm, h, 0, (i as u64 + 1) << 32, 3 * M));
    }
    ok!(reclaim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 0);
    ok!(claim(getpid()));
    eq!(ok!(d.fdinfo()).resident(), 3 * M);
    for (i, vm) in vms.iter().enumerate() {
        let root = sw.get(getpid(), *vm)?.root;
        for off in [0, 2 * M, 3 * M - PAGE] {
            let t = model.root(root, ((i as u64 + 1) << 32) + off, "r")?;
            check!(t.pa().is_some(), "VM {vm}: {off:#x}: {t:?}");
        }
    }
    Ok(())
}
