// SPDX-License-Identifier: GPL-2.0 OR MIT
//! VM_CREATE, VM_DESTROY, VM_GET_STATE.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;

const FULL: u64 = 1 << 48;
const MIN_KERNEL: u64 = 256 * M;

fn create_destroy() -> Res {
    let d = ok!(Dev::open());
    let id = ok!(d.vm());
    eq!(id, 1);
    eq!(ok!(d.vm_state(id)), 0);
    ok!(d.vm_destroy(id));
    err!(d.vm_destroy(id), EINVAL);
    err!(d.vm_state(id), EINVAL);
    // The id is free again.
    eq!(ok!(d.vm()), 1);
    Ok(())
}

/// 32 VMs, then EBUSY; one less makes room for one.
fn limit() -> Res {
    let d = ok!(Dev::open());
    for i in 1..=32 {
        eq!(ok!(d.vm()), i);
    }
    err!(d.vm(), EBUSY);
    err!(d.vm(), EBUSY);
    ok!(d.vm_destroy(17));
    eq!(ok!(d.vm()), 17);
    err!(d.vm(), EBUSY);
    // Another file has its own.
    let e = ok!(Dev::open());
    eq!(ok!(e.vm()), 1);
    for i in 1..=32 {
        ok!(d.vm_destroy(i));
    }
    eq!(ok!(d.vm()), 1);
    Ok(())
}

fn default_range() -> Res {
    let d = ok!(Dev::open());
    let (_, r) = ok!(d.vm_range(0));
    // Half of 48 bits: a process has more than that for itself.
    eq!(r, 1 << 47);
    Ok(())
}

/// What is granted is at least what was asked, and the kernel's part is a power of two of at least
/// 256 MiB.
fn ranges() -> Res {
    let d = ok!(Dev::open());
    for ask in [
        1,
        PAGE,
        M,
        4096 * M,
        1 << 32,
        1 << 40,
        1 << 46,
        (1 << 47) - PAGE,
        1 << 47,
        (1 << 47) + PAGE,
        (1 << 47) + (1 << 46),
        FULL - 512 * M - 1,
        FULL - 512 * M,
        FULL - MIN_KERNEL,
    ] {
        let (id, got) = ok!(d.vm_range(ask));
        check!(got >= ask, "asked {ask:#x}, got {got:#x}");
        let kernel = FULL - got;
        check!(kernel.is_power_of_two(), "asked {ask:#x}, got {got:#x}");
        check!(kernel >= MIN_KERNEL, "asked {ask:#x}, got {got:#x}");
        // And no larger than it must be for that.
        check!(
            got == ask || FULL - kernel * 2 < ask || kernel == 1 << 47,
            "asked {ask:#x}, got {got:#x}"
        );
        ok!(d.vm_destroy(id));
    }
    Ok(())
}

fn range_too_large() -> Res {
    let d = ok!(Dev::open());
    for ask in [
        FULL - MIN_KERNEL + 1,
        FULL - 1,
        FULL,
        FULL + 1,
        1 << 63,
        u64::MAX,
    ] {
        check!(
            d.vm_range(ask) == Err(EINVAL),
            "{ask:#x}: {:?}",
            d.vm_range(ask)
        );
    }
    // Nothing was taken by the refusals.
    eq!(ok!(d.vm()), 1);
    Ok(())
}

/// The split is enforced: the last user page can be mapped, the one behind it cannot.
fn split() -> Res {
    let d = ok!(Dev::open());
    let bo = ok!(d.bo(2 * PAGE, 0, 0));
    for ask in [0, 1 << 32, FULL - MIN_KERNEL] {
        let (vm, end) = ok!(d.vm_range(ask));
        ok!(d.map(vm, bo, 0, end - PAGE, PAGE));
        ok!(d.map(vm, bo, 0, 0, PAGE));
        err!(d.map(vm, bo, 0, end, PAGE), EINVAL);
        err!(d.map(vm, bo, 0, end - PAGE, 2 * PAGE), EINVAL);
        err!(d.map(vm, bo, 0, FULL - PAGE, PAGE), EINVAL);
        err!(d.map(vm, bo, 0, FULL, PAGE), EINVAL);
        err!(d.map(vm, bo, 0, u64::MAX - PAGE + 1, PAGE), EINVAL);
        err!(d.unmap(vm, end, PAGE), EINVAL);
        err!(d.unmap(vm, end - PAGE, 2 * PAGE), EINVAL);
        ok!(d.unmap(vm, end - PAGE, PAGE));
    }
    Ok(())
}

fn flags() -> Res {
    let d = ok!(Dev::open());
    for flags in [1, 2, 0x8000_0000, u32::MAX] {
        let mut a = VmCreate {
            flags,
            ..VmCreate::default()
        };
        err!(d.call(&mut a), EINVAL);
    }
    eq!(ok!(d.vm()), 1);
    Ok(())
}

/// `id` is an output: what it holds before does not matter.
fn id_is_output() -> Res {
    let d = ok!(Dev::open());
    let mut a = VmCreate {
        id: 0xffff_fff0,
        ..VmCreate::default()
    };
    ok!(d.call(&mut a));
    eq!(a.id, 1);
    Ok(())
}

fn bad_ids() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    for id in [0, vm + 1, 32, 33, 0x1_0001, u32::MAX] {
        check!(d.vm_destroy(id) == Err(EINVAL), "destroy {id}");
        check!(d.vm_state(id) == Err(EINVAL), "state {id}");
        let r = d.bind(id, &[]);
        check!(r.map_err(|e| e.0) == Err(EINVAL), "bind {id}");
        check!(d.bo(PAGE, 0, id) == Err(EINVAL) || id == 0, "bo {id}");
    }
    // VMs of another file.
    let e = ok!(Dev::open());
    err!(e.vm_destroy(vm), EINVAL);
    err!(e.vm_state(vm), EINVAL);
    ok!(d.vm_destroy(vm));
    Ok(())
}

fn destroy_pad() -> Res {
    let d = ok!(Dev::open());
    let id = ok!(d.vm());
    for pad in [1, 0x8000_0000] {
        err!(d.call(&mut VmDestroy { id, pad }), EINVAL);
    }
    eq!(ok!(d.vm_state(id)), 0);
    Ok(())
}

/// The state of a usable VM is written, not left as passed in.
fn state_is_output() -> Res {
    let d = ok!(Dev::open());
    let vm_id = ok!(d.vm());
    let mut a = VmGetState {
        vm_id,
        state: 0xffff_ffff,
    };
    ok!(d.call(&mut a));
    eq!(a.state, 0);
    Ok(())
}

/// Destroying a VM with mappings gives its buffers back.
fn destroy_with_mappings() -> Res {
    let d = ok!(Dev::open());
    let gems = debugfs::Gems::read()?;
    let before = (gems.bos.len(), gems.size);
    for round in 0..20 {
        let vm = ok!(d.vm());
        for i in 0..8 {
            let bo = ok!(d.bo(64 * K, 0, if i % 2 == 0 { vm } else { 0 }));
            ok!(d.map(vm, bo, 0, i * M + round * PAGE, 64 * K));
            ok!(d.close(bo));
        }
        // Held by their mappings alone.
        eq!(
            debugfs::Gems::read()?
                .of(getpid())
                .filter(|b| b.size == 64 * K)
                .count(),
            8
        );
        ok!(d.vm_destroy(vm));
        let gone = wait_for(std::time::Duration::from_secs(5), || {
            debugfs::Gems::read().is_ok_and(|g| !g.of(getpid()).any(|b| b.size == 64 * K))
        });
        check!(gone, "round {round}: buffers outlive their VM");
    }
    drop(d);
    let g = debugfs::Gems::read()?;
    check!(
        g.bos.len() <= before.0 && g.size <= before.1,
        "{} BOs before, {} after",
        before.0,
        g.bos.len()
    );
    Ok(())
}

/// Closing the file gives everything back too.
fn close_with_mappings() -> Res {
    let count = || -> Res<usize> { Ok(debugfs::Gems::read()?.of(getpid()).count()) };
    let before = count()?;
    for _ in 0..10 {
        let d = ok!(Dev::open());
        let vm = ok!(d.vm());
        let bo = ok!(d.bo(M, 0, vm));
        ok!(d.map(vm, bo, 0, M, M));
        let m = ok!(d.mmap(bo, M));
        pattern::fill(&m, 1);
        drop(d);
        // The CPU mapping is still good.
        pattern::check(&m, 1)?;
    }
    let gone = wait_for(std::time::Duration::from_secs(5), || {
        count().is_ok_and(|n| n <= before)
    });
    check!(gone, "{} BOs left, {before} before", count()?);
    Ok(())
}

/// Memory of page tables comes back: of those that an unmap empties, of those that are kept for the
/// next operation when a VM goes, and of those in use then.
fn tables_come_back() -> Res {
    /// Pages of tables that a mapping here needs: 16 of the last level, 2 above.
    const TABLES: u64 = 18;
    const ROUNDS: u64 = 100;
    // Less than one table in each round.
    const MOST: u64 = ROUNDS / 2;
    /// The kernel adds up what a group is charged for every two seconds.
    const ADDED_UP: std::time::Duration = std::time::Duration::from_millis(2100);

    let g = cgroup::Cgroup::need("e2e-tables")?;
    ok!(g.add(getpid()));
    let d = ok!(Dev::open());
    let h = ok!(d.bo(32 * M + PAGE, BO_NO_MMAP, 0));
    // With pages, because of the offset.
    let map = |vm| d.map(vm, h, PAGE, 1 << 32, 32 * M);
    let unmap = |vm| d.unmap(vm, 1 << 32, 32 * M);
    let pages = || Ok::<u64, Fail>(g.key("memory.stat", "kernel")? / page_size());

    let vm = ok!(d.vm());
    let unmapped = || -> Res {
        ok!(map(vm));
        ok!(unmap(vm));
        Ok(())
    };
    let kept = || -> Res {
        let vm = ok!(d.vm());
        ok!(map(vm));
        ok!(unmap(vm));
        ok!(d.vm_destroy(vm));
        Ok(())
    };
    let in_use = || -> Res {
        let vm = ok!(d.vm());
        ok!(map(vm));
        ok!(d.vm_destroy(vm));
        Ok(())
    };
    // That they are counted.
    let settled = || {
        std::thread::sleep(ADDED_UP);
        pages()
    };
    let without = settled()?;
    ok!(map(vm));
    let with = settled()?;
    ok!(unmap(vm));
    if with < without + TABLES {
        ok!(cgroup::Cgroup::leave(getpid()));
        check!(
            ktap::driver() == ktap::Driver::C,
            "{without} pages, with a mapping {with}"
        );
        skip!("the driver's page tables are not charged to who maps");
    }

    let rounds: [(&str, &dyn Fn() -> Res); 3] = [
        ("unmapped", &unmapped),
        ("kept", &kept),
        ("in use", &in_use),
    ];
    for (_, round) in rounds {
        round()?;
    }
    let mut before = settled()?;
    for (what, round) in rounds {
        for _ in 0..ROUNDS {
            round()?;
        }
        let mut after = settled()?;
        if after >= before + MOST {
            // What is freed later than that.
            after = settled()?;
        }
        note!("{what}: {before} pages before {ROUNDS} rounds, {after} after");
        check!(after < before + MOST, "tables that were {what} are lost");
        before = after;
    }
    ok!(cgroup::Cgroup::leave(getpid()));
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        create_destroy,
        limit,
        default_range,
        ranges,
        range_too_large,
        split,
        flags,
        id_is_output,
        bad_ids,
        destroy_pad,
        state_is_output,
        destroy_with_mappings,
        close_with_mappings,
        tables_come_back,
    ])
}
