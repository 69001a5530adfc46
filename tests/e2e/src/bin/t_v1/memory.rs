// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Which memory goes, where it goes, and how it is counted.

use e2e::child::Child;
use e2e::debugfs::{gem, Gems};
use e2e::proc::{swap_used, MemInfo};
use e2e::reclaim::*;
use e2e::sys::*;
use e2e::sysfs::{claim, reclaim};
use e2e::uapi::*;
use e2e::*;

/// What users are told.
const DOCUMENT: &str =
    include_str!("../../../../../Documentation/ABI/testing/sysfs-driver-panthor-mem");

/// Other processes keep what they have, also when there is nothing left at the target, or the GPU is
/// using all of it.
pub fn scan_spills_over() -> Res {
    need()?;
    let mut a = target(2 * M)?;
    let mut b = target(2 * M)?;
    let mut third = Child::holder()?;
    third.call("bo 0x400000 2 0 5 e2e-third")?;
    for _ in 0..5 {
        ok!(reclaim(a.pid));
    }
    eq!(a.resident()?, 0);
    eq!(b.resident()?, 16 * M);
    eq!(third.resident()?, 4 * M);
    for g in Gems::read()?.of(b.pid) {
        eq!(g.evictions, 0);
    }
    eq!(gem("e2e-third")?.evictions, 0);
    // Back, and in use.
    ok!(claim(a.pid));
    debugfs::busy(a.pid, true)?;
    for _ in 0..2 {
        err!(reclaim(a.pid), EBUSY);
    }
    eq!(a.resident()?, 16 * M);
    eq!(b.resident()?, 16 * M);
    eq!(third.resident()?, 4 * M);
    debugfs::busy(a.pid, false)?;
    // The other way round.
    ok!(reclaim(b.pid));
    eq!(b.resident()?, 0);
    eq!(a.resident()?, 16 * M);
    check_target(&mut a)?;
    check_target(&mut b)?;
    third.call("check 0")?;
    Ok(())
}

/// Everything of a plain process goes, and with the kernel's addition it is on swap and its memory
/// free when the write returns.
pub fn nothing_freed() -> Res {
    need()?;
    let mut c = target(4 * M)?;
    let (swap, mem) = (ok!(swap_used()), ok!(MemInfo::read()));
    ok!(reclaim(c.pid));
    eq!(c.resident()?, 0);
    eq!(c.num("total")?, 32 * M);
    let (swap2, mem2) = (ok!(swap_used()), ok!(MemInfo::read()));
    let went = swap2.saturating_sub(swap);
    note!(
        "{went} of {} bytes on swap, Shmem {} to {}",
        32 * M,
        mem.get("Shmem"),
        mem2.get("Shmem")
    );
    if ktap::patched() {
        check!(
            went >= 32 * M * 98 / 100,
            "{went} of {} bytes on swap",
            32 * M
        );
        check!(
            mem2.get("SwapCached") < 4 * M,
            "{} in the swap cache",
            mem2.get("SwapCached")
        );
        check!(
            mem2.get("Shmem") + 31 * M < mem.get("Shmem"),
            "the pages are still there"
        );
    } else {
        check!(went < 8 * M, "{went} bytes on swap without the addition");
    }
    for b in Gems::read()?.of(c.pid).filter(|b| !b.label.is_empty()) {
        eq!((b.resident, b.evictions, b.state & 4), (0, 1, 4));
    }
    check_target(&mut c)
}

/// Sizes are in pages of the CPU, which need not be those of the GPU: in fdinfo, debugfs, the
/// tracepoints, and what goes to swap. With 4 KiB pages this says little.
pub fn sizes_in_gpu_pages() -> Res {
    need()?;
    let page = page_size();
    note!("pages of {page} bytes");
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let me = getpid();
    // Three GPU pages, and 8 MiB with one more.
    let mut want = 0;
    for (i, size) in [3 * PAGE, 8 * M + PAGE].into_iter().enumerate() {
        let h = ok!(d.bo(size, BO_WB_MMAP, vm));
        let size = size.next_multiple_of(page);
        ok!(d.label(h, &format!("e2e-pages-{i}")));
        eq!(gem(&format!("e2e-pages-{i}"))?.size, size);
        pattern::fill(&ok!(d.mmap(h, size)), 1 + i as u64);
        ok!(d.map(vm, h, 0, va(i as u64), size));
        want += size;
    }
    let trace = Trace::on()?;
    for round in 0..2 {
        eq!(ok!(d.fdinfo()).resident(), want);
        let gems = Gems::read()?;
        eq!(gems.of(me).map(|b| b.resident).sum::<u64>(), want);
        let swap = ok!(swap_used());
        if round == 1 {
            // Given up by the shrinker before, which counts in pages too.
            let mut pages = 0;
            while ok!(d.fdinfo()).resident() > 0 {
                let n = ok!(debugfs::shrink(1 << 20));
                check!(n > 0, "the shrinker finds nothing");
                pages += n;
            }
            eq!(pages * page, want);
        }
        ok!(reclaim(me));
        eq!(ok!(d.fdinfo()).resident(), 0);
        let done = trace.last("mem_reclaim", me)?;
        let went = ok!(swap_used()).saturating_sub(swap);
        note!("{done:?}, {went} bytes went to swap");
        if ktap::patched() {
            eq!((done.buffers_done, done.bytes_done), (2, want));
            // Others may get theirs back meanwhile.
            check!(
                went >= want * 98 / 100 && went <= want + M,
                "{went} of {want}"
            );
        }
        eq!((done.buffers_skipped, done.bytes_skipped), (0, 0));
        ok!(claim(me));
        let done = trace.last("mem_claim", me)?;
        eq!((done.buffers_done, done.bytes_done), (2, want));
    }
    Ok(())
}

/// Each plain kind goes, by itself, so that a complaint says which; and the document says which go.
pub fn shared_and_unmapped_left_out() -> Res {
    need()?;
    let text = DOCUMENT.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "private to a VM of the process",
        "shared between several VMs of the process",
        "mapped by the CPU only",
        "not mapped at all",
        "another process has mapped",
        "exported as a dma-buf",
        "imported",
        "Buffers shared with other processes are included",
    ] {
        check!(
            text.contains(words),
            "the ABI document does not say: {words}"
        );
    }
    let d = ok!(Dev::open());
    let (v1, v2) = (ok!(d.vm()), ok!(d.vm()));
    type Setup = fn(&Dev, u32, u32, u32) -> Result<()>;
    let list: [(&str, u32, bool, bool, Setup); 9] = [
        ("private to a VM", BO_WB_MMAP, true, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)
        }),
        ("in one VM", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)
        }),
        ("in two VMs", BO_WB_MMAP, false, true, |d, a, b, h| {
            d.map(a, h, 0, M, M)?;
            d.map(b, h, 0, M, M)
        }),
        ("twice in one VM", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)?;
            d.map(a, h, 0, 64 * M, M)
        }),
        ("in part", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, PAGE, M, PAGE)
        }),
        ("read-only", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.bind1(a, Op::map(h, 0, M, M).with(MAP_READONLY))
        }),
        ("no longer mapped", BO_WB_MMAP, false, true, |d, a, _, h| {
            d.map(a, h, 0, M, M)?;
            d.unmap(a, M, M)
        }),
        ("CPU-mapped only", BO_WB_MMAP, false, true, |_, _, _, _| {
            Ok(())
        }),
        (
            "not CPU-mapped any more",
            BO_WB_MMAP,
            false,
            false,
            |_, _, _, _| Ok(()),
        ),
    ];
    for (i, (what, flags, excl, keep, setup)) in list.into_iter().enumerate() {
        let h = ok!(d.bo(M, flags, if excl { v1 } else { 0 }));
        let label = format!("e2e-kind-{i}");
        ok!(d.label(h, &label));
        let mut m = Some(ok!(d.mmap(h, M)));
        if let Some(m) = &m {
            pattern::fill(m, i as u64);
        }
        setup(&d, v1, v2, h).map_err(|e| format!("{what}: {e}"))?;
        if !keep {
            m = None;
        }
        eq!(gem(&label)?.resident, M);
        ok!(reclaim(getpid()));
        let g = gem(&label)?;
        check!(
            g.resident == 0 && g.evictions == 1,
            "{what}: {} resident, {} evictions",
            g.resident,
            g.evictions
        );
        ok!(claim(getpid()));
        let m = match m {
            Some(m) => m,
            None => ok!(d.mmap(h, M)),
        };
        pattern::check(&m, i as u64).map_err(|e| format!("{what}: {e}"))?;
        drop(m);
        ok!(d.unmap(v1, 0, 1 << 40));
        ok!(d.unmap(v2, 0, 1 << 40));
        ok!(d.close(h));
    }
    Ok(())
}
