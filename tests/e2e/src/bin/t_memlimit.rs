// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Limits of cgroups that are hit in the middle of a call: of the process whose memory it is, and of
//! the one that asks. The answer is the one documented, nothing is lost, and with room again the
//! same call succeeds.

use e2e::cgroup::Cgroup;
use e2e::child::Child;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::tables::{label, Mapping, Tables};
use e2e::uapi::*;
use e2e::*;

fn need() -> Res {
    sysfs::need("mem_reclaim")?;
    if !ktap::patched() {
        skip!("without the addition to the kernel nothing is written");
    }
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    Ok(())
}

/// A process in a group, with `n` buffers of 1 MiB in a VM.
fn target(g: &Cgroup, n: u64) -> Res<Child> {
    let mut c = Child::holder()?;
    ok!(g.add(c.pid));
    c.call("vm")?;
    for i in 0..n {
        let label = label(c.pid, i);
        c.call(&format!("bo 0x100000 2 0 {} {label}", i + 1))?;
        c.call(&format!("bind 1 {i} {:#x}", (i + 1) << 32))?;
    }
    Ok(c)
}

fn check_all(c: &mut Child, n: u64) -> Res {
    for i in 0..n {
        c.call(&format!("check {i}"))?;
    }
    Ok(())
}

/// Bytes of a process that are resident, without asking it: it might not live through the answer.
fn resident(pid: i32) -> Res<u64> {
    Ok(debugfs::Gems::read()?.of(pid).map(|g| g.resident).sum())
}

/// A limit that leaves `bytes` above what the group has now.
fn limit(g: &Cgroup, bytes: u64) -> Res {
    let now: u64 = g.current()?;
    ok!(g.write("memory.max", &(now + bytes).to_string()));
    Ok(())
}

/// A process that writes the attributes from a group of its own.
fn writer(g: &Cgroup) -> Res<Child> {
    let mut w = Child::holder()?;
    ok!(g.add(w.pid));
    w.call("pid")?;
    Ok(w)
}

/// The target has no room: what fits comes back, and the rest when there is room.
fn claim_target() -> Res {
    need()?;
    let g = Cgroup::need("e2e-target")?;
    let mut c = target(&g, 16)?;
    let mut tables = Tables::of_row(c.pid, 16, M)?;
    tables.all_there()?;
    ok!(reclaim(c.pid));
    tables.all_gone()?;
    for room in [0, 4 * M, 10 * M] {
        limit(&g, room)?;
        let r = claim(c.pid);
        let there = resident(c.pid)?;
        let mapped = tables.half_way();
        ok!(g.write("memory.max", "max"));
        note!("{room} bytes of room for 16 MiB: {r:?}, {there} bytes came back");
        check!(r == Err(ENOMEM), "{r:?}");
        check!(there < 16 * M && there <= room);
        check!(mapped? as u64 * M <= there);
        if room == 4 * M {
            // It goes on from here, in either direction.
            ok!(claim(c.pid));
            eq!(c.resident()?, 16 * M);
            tables.all_there()?;
        }
        ok!(reclaim(c.pid));
        eq!(c.resident()?, 0);
        tables.all_gone()?;
    }
    ok!(claim(c.pid));
    eq!(c.resident()?, 16 * M);
    tables.all_there()?;
    check_all(&mut c, 16)
}

/// Of several VMs one is too large for the room: the others come back and stay, for as long as that
/// one does not come after them.
fn claim_large_beside_small() -> Res {
    need()?;
    let g = Cgroup::need("e2e-target")?;
    let (small, large) = (12usize, 32);
    // The order of VMs is by chance, anew for each process.
    let mut most = 0;
    for _ in 0..3 {
        let mut c = Child::holder()?;
        ok!(g.add(c.pid));
        c.call("vm")?;
        for _ in 0..small {
            c.call("vm")?;
        }
        let mut maps = Vec::new();
        let mut add = |vm: u64, i: u64, va: u64, size: u64, seed: u64| -> Res {
            let label = label(c.pid, i);
            c.call(&format!("bo {size:#x} 2 {vm} {seed} {label}"))?;
            c.call(&format!("bind {vm} {i} {va:#x}"))?;
            maps.push(Mapping {
                vm: vm as u32,
                label,
                va,
                size,
                seed,
            });
            Ok(())
        };
        for i in 0..large {
            add(1, i, (i + 1) << 32, 0x40000, i + 1)?;
        }
        for vm in 2..2 + small as u64 {
            add(vm, large + vm - 2, 1 << 32, 0x20000, vm)?;
        }
        let mut tables = Tables::of(c.pid, maps)?;
        ok!(reclaim(c.pid));
        limit(&g, 4 * M)?;
        let r = claim(c.pid);
        let bos = debugfs::Gems::read()?;
        let mapped = tables.half_way();
        ok!(g.write("memory.max", "max"));
        mapped?;
        let there = |size| {
            let of_size = |b: &&debugfs::Gem| b.size == size && b.resident > 0;
            bos.of(c.pid).filter(of_size).count()
        };
        let (of_small, of_large) = (there(0x20000), there(0x40000));
        note!("{r:?}: {of_small} of {small} small VMs are back, {of_large} of {large} buffers of the large one");
        most = most.max(of_small);
        check!(r == Err(ENOMEM), "{r:?}");
        // It goes on from here.
        ok!(claim(c.pid));
        tables.all_there()?;
        drop(tables);
        check_all(&mut c, small as u64 + large)?;
        c.kill()?;
    }
    check!(most >= small * 3 / 4, "what came back is gone");
    Ok(())
}

/// The writer has no room: the memory is charged to whose it was before, so all is done.
fn tight_writer() -> Res {
    need()?;
    let (g, wg) = (Cgroup::need("e2e-target")?, Cgroup::need("e2e-writer")?);
    let mut c = target(&g, 16)?;
    let mut w = writer(&wg)?;
    // Once in peace, so that its own pages are there.
    eq!(w.call(&format!("reclaim {}", c.pid))?, "ok");
    eq!(w.call(&format!("claim {}", c.pid))?, "ok");
    limit(&wg, 512 * K)?;
    for _ in 0..3 {
        eq!(w.call(&format!("reclaim {}", c.pid))?, "ok");
        eq!(c.resident()?, 0);
        eq!(w.call(&format!("claim {}", c.pid))?, "ok");
        eq!(c.resident()?, 16 * M);
    }
    let charged: u64 = g.current()?;
    check!(
        charged >= 16 * M,
        "the target is charged for {charged} bytes"
    );
    eq!(wg.key("memory.events", "oom_kill")?, 0);
    check_all(&mut c, 16)
}

/// The writer has no room for page tables, which are its own: ENOMEM, and nobody is killed. With room
/// the same call goes on.
fn writer_without_room() -> Res {
    need()?;
    let wg = Cgroup::need("e2e-writer")?;
    // Each of these mappings needs a table of its own, as what it leads to cannot be a block; they
    // are more than the CPUs keep charged in advance, which is 256 KiB each.
    let n = 400;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(BLOCK + PAGE, BO_WB_MMAP, 0));
    let label = label(getpid(), 0);
    ok!(d.label(h, &label));
    let m = ok!(d.mmap(h, BLOCK + PAGE));
    pattern::fill(&m, 7);
    let mut maps = Vec::new();
    for i in 0..n {
        let va = (1 << 32) + i * BLOCK;
        ok!(d.map(vm, h, PAGE, va, BLOCK));
        if i % 20 == 0 {
            maps.push(Mapping {
                vm,
                label: label.clone(),
                va,
                size: BLOCK,
                seed: 7 + PAGE / 8,
            });
        }
    }
    let looked_at = maps.len();
    let mut tables = Tables::of(getpid(), maps)?;
    tables.all_there()?;
    // All that the writer needs is there before it has no room: the file, the text, a place for the
    // answer.
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let answer = ok!(Map::new(-1, 0, PAGE, rw, shared));
    let path = ok!(sysfs::attr("mem_claim"));
    let text = format!("{}\n", getpid());
    let mut w = Child::spawn(|e| {
        use std::os::fd::AsRawFd;
        let f = std::fs::OpenOptions::new().write(true).open(path);
        let Ok(f) = f else { return };
        e.serve(|_| {
            let r = write_fd(f.as_raw_fd(), text.as_bytes());
            answer.set(0, r.map_or_else(|e| e.0 as u64, |_| 0) + 1);
            Ok(String::new())
        });
    })?;
    ok!(wg.add(w.pid));
    let mut ask = |room: Option<u64>| -> Res<Result<()>> {
        answer.set(0, 0);
        if let Some(room) = room {
            ok!(wg.write("memory.swap.max", "0"));
            limit(&wg, room)?;
        }
        w.send("go")?;
        let answered = wait_for(std::time::Duration::from_secs(30), || answer.get(0) != 0);
        ok!(wg.write("memory.max", "max"));
        check!(answered, "the writer does not come back");
        ok!(w.recv(std::time::Duration::from_secs(10))?);
        Ok(match answer.get(0) - 1 {
            0 => Ok(()),
            e => Err(Errno(e as i32)),
        })
    };
    // Once in peace, so that its own pages are there.
    ok!(ask(None)?);
    for room in [0, 64 * K] {
        ok!(reclaim(getpid()));
        tables.all_gone()?;
        let r = ask(Some(room))?;
        let there = tables.half_way()?;
        note!("{room} bytes of room for {n} page tables: {r:?}, {there} of {looked_at} mappings are back");
        check!(r == Err(ENOMEM), "{r:?}");
        check!(there < looked_at);
        eq!(wg.key("memory.events", "oom_kill")?, 0);
    }
    ok!(ask(None)?);
    tables.all_there()?;
    pattern::check(&m, 7)?;
    Ok(())
}

/// The target is at its limit while its memory goes: that needs none of it.
fn reclaim_target() -> Res {
    need()?;
    let g = Cgroup::need("e2e-target")?;
    let mut c = target(&g, 16)?;
    let mut tables = Tables::of_row(c.pid, 16, M)?;
    limit(&g, 0)?;
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    tables.all_gone()?;
    ok!(g.write("memory.max", "max"));
    check_all(&mut c, 16)
}

/// Its limit of swap is reached: what fits goes, the rest stays ordinary memory, and none of it is
/// lost.
fn swap_limit() -> Res {
    need()?;
    let g = Cgroup::need("e2e-target")?;
    let mut c = target(&g, 16)?;
    let mut tables = Tables::of_row(c.pid, 16, M)?;
    for room in [0, 4 * M] {
        ok!(g.write("memory.swap.max", &room.to_string()));
        let before = ok!(proc::swap_used());
        let r = reclaim(c.pid);
        let went = ok!(proc::swap_used()).saturating_sub(before);
        note!(
            "memory.swap.max {room}: {r:?}, {} bytes resident, {went} on swap",
            c.resident()?
        );
        check!(r == Err(EBUSY), "{r:?}");
        // A few pages may be on their way for others.
        check!(went >= room * 9 / 10 && went <= room + M, "{went} bytes");
        tables.half_way()?;
        check_all(&mut c, 16)?;
        ok!(claim(c.pid));
        tables.all_there()?;
    }
    err!(reclaim(c.pid), EBUSY);
    tables.half_way()?;
    ok!(g.write("memory.swap.max", "max"));
    // It goes on from there.
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    tables.all_gone()?;
    check_all(&mut c, 16)
}

/// VM_BIND of more than there is room for: ENOMEM, nothing is mapped, nobody is killed.
fn vm_bind() -> Res {
    let g = Cgroup::need("e2e-bind")?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(16 * M, BO_WB_MMAP, 0));
    let p = ok!(d.bo(PAGE, 0, 0));
    let marker = (1 << 46) + getpid() as u64 * PAGE;
    ok!(d.map(vm, p, 0, marker, PAGE));
    ok!(g.add(getpid()));
    limit(&g, 4 * M)?;
    for _ in 0..3 {
        let r = d.map(vm, h, 0, M, 16 * M);
        if r != Err(ENOMEM) {
            ok!(g.write("memory.max", "max"));
        }
        check!(r == Err(ENOMEM), "{r:?}");
        eq!(debugfs::vas_of(marker)?, []);
    }
    let kills = g.key("memory.events", "oom_kill")?;
    ok!(g.write("memory.max", "max"));
    ok!(d.map(vm, h, 0, M, 16 * M));
    eq!(debugfs::vas_of(marker)?.len(), 1);
    pattern::zero_at(&ok!(d.mmap(h, 16 * M)), 0, 16 * M)?;
    ok!(Cgroup::leave(getpid()));
    eq!(kills, 0);
    // What it was charged for goes with the buffer.
    ok!(d.vm_destroy(vm));
    ok!(d.close(h));
    Ok(())
}

/// How a process ends that touches 16 MiB with 4 MiB of room.
fn touch(g: &Cgroup, m: &Map) -> Res<Access> {
    limit(g, 4 * M)?;
    let r = try_access(|| {
        // 0: this process.
        if g.add(0).is_err() {
            return;
        }
        for i in 0..m.len() / 8 / 512 {
            m.set(i * 512, m.get(i * 512));
        }
    });
    ok!(g.write("memory.max", "max"));
    Ok(ok!(r))
}

/// The CPU touches more than there is room for. Ordinary shmem is the OOM killer's; a buffer, which
/// is brought in as a whole, may be SIGBUS. Either way nobody else is hit and nothing is wrong
/// afterwards.
fn cpu_fault() -> Res {
    let g = Cgroup::need("e2e-touch")?;
    let memfd = ok!(memfd(16 * M));
    use std::os::fd::AsRawFd;
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    let shmem = ok!(Map::new(memfd.as_raw_fd(), 0, 16 * M, rw, libc::MAP_SHARED));
    // Nothing may be pushed out instead.
    ok!(g.write("memory.swap.max", "0"));
    let plain = touch(&g, &shmem)?;
    drop(shmem);
    drop(memfd);
    let d = ok!(Dev::open());
    for flags in [0, BO_WB_MMAP] {
        let h = ok!(d.bo(16 * M, flags, 0));
        let m = ok!(d.mmap(h, 16 * M));
        let ours = touch(&g, &m)?;
        note!("flags {flags}: shmem {plain:?}, a buffer {ours:?}");
        eq!(plain, Access::Signal(libc::SIGKILL));
        check!(
            matches!(ours, Access::Signal(libc::SIGKILL | libc::SIGBUS)),
            "{ours:?}"
        );
        // With room, from here.
        pattern::fill(&m, 4);
        pattern::check(&m, 4)?;
        drop(m);
        ok!(d.close(h));
    }
    Ok(())
}

/// The same with memory that is on swap, and charged to the group again when it comes back: the
/// content survives who could not have it.
fn cpu_fault_evicted() -> Res {
    need()?;
    let g = Cgroup::need("e2e-touch")?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(16 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 16 * M));
    let filled = ok!(try_access(|| {
        if g.add(0).is_ok() {
            pattern::fill(&m, 4);
        }
    }));
    eq!(filled, Access::Done);
    for _ in 0..3 {
        ok!(reclaim(getpid()));
        eq!(resident(getpid())?, 0);
        let r = touch(&g, &m)?;
        note!(
            "a buffer on swap: {r:?}, {} bytes came back",
            resident(getpid())?
        );
        check!(
            matches!(r, Access::Signal(libc::SIGKILL | libc::SIGBUS)),
            "{r:?}"
        );
        pattern::check(&m, 4)?;
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 90;
        claim_target,
        claim_large_beside_small,
        tight_writer,
        writer_without_room,
        reclaim_target,
        swap_limit,
        vm_bind,
        cpu_fault,
        cpu_fault_evicted,
    ])
}
