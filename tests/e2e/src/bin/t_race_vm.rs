// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_CREATE and VM_DESTROY, BO_CREATE and GEM_CLOSE, in the target of a reclaim.

use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

fn create_destroy() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let keep = ok!(d.bo(2 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(keep, 2 * M));
    pattern::fill(&m, 1);
    let side = |n: u64| -> Side<'_> {
        let d = &d;
        Box::new(move |r| {
            let mut rng = pattern::Rng::new(n);
            while r.on() {
                let vm = ok!(d.vm());
                let h = ok!(d.bo(64 * K, BO_WB_MMAP, vm));
                ok!(d.map(vm, h, 0, M, 64 * K));
                ok!(d.map(vm, keep, 0, 1 << 32, 2 * M));
                if rng.below(2) == 0 {
                    let m = ok!(d.mmap(h, 64 * K));
                    pattern::fill(&m, vm as u64);
                    pattern::check(&m, vm as u64)?;
                }
                if rng.below(2) == 0 {
                    ok!(d.close(h));
                    ok!(d.vm_destroy(vm));
                } else {
                    ok!(d.vm_destroy(vm));
                    ok!(d.close(h));
                }
                r.count("VMs", 1);
            }
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &disturbed(&["VMs"]),
        vec![side(1), side(2), disturber(getpid(), &[EBUSY])],
    )?;
    pattern::check(&m, 1)?;
    let gone = wait_for(std::time::Duration::from_secs(5), || {
        debugfs::Gems::read().is_ok_and(|g| !g.of(getpid()).any(|b| b.size == 64 * K))
    });
    check!(gone, "buffers are left");
    Ok(())
}

/// Numbers that another thread destroys: EINVAL at worst.
fn same_numbers() -> Res {
    need_swap()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let side = |n: u64| -> Side<'_> {
        let d = &d;
        Box::new(move |r| {
            let mut rng = pattern::Rng::new(n);
            let fine = |x: Result<()>| -> Res {
                match x {
                    Ok(()) | Err(EINVAL | EBUSY) => Ok(()),
                    Err(e) => fail!("{e}"),
                }
            };
            while r.on() {
                let vm = rng.below(4) as u32 + 1;
                match rng.below(5) {
                    0 | 1 => fine(d.vm().map(|_| ()))?,
                    2 => fine(d.vm_destroy(vm))?,
                    3 => fine(d.map(vm, h, 0, (rng.below(4) + 1) * M, M))?,
                    _ => fine(d.unmap(vm, 0, 8 * M))?,
                }
                r.count("calls", 1);
            }
            Ok(())
        })
    };
    run(
        ktap::race_time(),
        &disturbed(&["calls"]),
        vec![side(1), side(2), disturber(getpid(), &[EBUSY])],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; create_destroy, same_numbers])
}
