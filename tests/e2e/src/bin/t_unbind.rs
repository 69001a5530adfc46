// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The driver is unbound, bound, unloaded and loaded while it is in use.

use e2e::child::Child;
use e2e::sys::*;
use e2e::sysfs::Bound;
use e2e::uapi::*;
use e2e::*;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Something of everything works.
fn works() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, vm));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    ok!(d.map(vm, h, 0, M, M));
    let f = ok!(Map::new(
        d.fd(),
        MMIO_OFFSET_64,
        PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED
    ));
    f.get(0);
    let mut g = GpuInfo::default();
    ok!(d.query(QUERY_GPU_INFO, &mut g));
    eq!(g.gpu_id >> 16, 0xa867);
    pattern::check(&m, 1)?;
    ok!(d.unmap(vm, M, M));
    Ok(())
}

/// Reading a mapping after the end of its device: the right data or SIGBUS, nothing else.
fn look(what: &str, m: &Map, seed: u64) -> Res {
    let r = try_access(|| {
        if pattern::check(m, seed).is_err() {
            // SAFETY: ends the child.
            unsafe { libc::abort() };
        }
    });
    check!(
        matches!(r, Ok(Access::Done | Access::Signal(libc::SIGBUS))),
        "{what}: {r:?}"
    );
    note!("{what}: {:?}", r?);
    Ok(())
}

fn idle() -> Res {
    let b = Bound::new()?;
    for _ in 0..5 {
        b.unbind()?;
        b.bind()?;
    }
    works()
}

/// Every ioctl on an open file says ENODEV.
fn files_open() -> Res {
    let b = Bound::new()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, vm));
    let s = ok!(d.bo(M, 0, 0));
    let off = ok!(d.offset(h));
    ok!(d.map(vm, h, 0, M, M));
    ok!(d.map(vm, s, 0, 8 * M, M));
    b.unbind()?;
    err!(d.vm(), ENODEV);
    err!(d.vm_state(vm), ENODEV);
    err!(d.vm_destroy(vm), ENODEV);
    err!(d.bo(M, 0, 0), ENODEV);
    err!(d.offset(h), ENODEV);
    err!(d.map(vm, h, 0, 16 * M, M), ENODEV);
    err!(d.unmap(vm, M, M), ENODEV);
    err!(d.sync(h, SYNC_FLUSH, 0, M), ENODEV);
    err!(d.label(h, "x"), ENODEV);
    err!(d.bo_info(h), ENODEV);
    err!(d.close(h), ENODEV);
    err!(d.export(s), ENODEV);
    err!(d.version(), ENODEV);
    let mut g = GpuInfo::default();
    err!(d.query(QUERY_GPU_INFO, &mut g), ENODEV);
    err!(
        d.call(&mut SetUserMmioOffset {
            offset: MMIO_OFFSET_64
        }),
        ENODEV
    );
    err!(
        d.call(&mut GroupDestroy {
            group_handle: 1,
            pad: 0
        }),
        ENODEV
    );
    let rw = libc::PROT_READ | libc::PROT_WRITE;
    err!(
        Map::new(d.fd(), off, M, rw, libc::MAP_SHARED).map(|_| ()),
        ENODEV
    );
    err!(
        Map::new(
            d.fd(),
            MMIO_OFFSET_64,
            PAGE,
            libc::PROT_READ,
            libc::MAP_SHARED
        )
        .map(|_| ()),
        ENODEV
    );
    // Bound again it is another device; the old file stays what it is.
    b.bind()?;
    err!(d.vm(), ENODEV);
    works()?;
    err!(d.vm(), ENODEV);
    drop(d);
    works()
}

/// Of a new device nobody has the first offset, whose low 32 bits are zero: programs that keep it in
/// an `int` take that for none.
fn first_offset() -> Res {
    ktap::only_rust("the C driver gives it to the first buffer")?;
    let b = Bound::new()?;
    b.unbind()?;
    b.bind()?;
    let d = ok!(Dev::open());
    for size in [page_size(), M] {
        let h = ok!(d.bo(size, BO_WB_MMAP, 0));
        let offset = ok!(d.offset(h));
        check!(offset > 1 << 32, "{offset:#x}");
        check!(offset as u32 != 0, "{offset:#x}");
        let m = ok!(d.mmap(h, size));
        pattern::fill(&m, 1);
        pattern::check(&m, 1)?;
    }
    // Nothing is there.
    err!(
        Map::new(
            d.fd(),
            1 << 32,
            page_size(),
            libc::PROT_READ,
            libc::MAP_SHARED
        )
        .map(|_| ()),
        EINVAL
    );
    Ok(())
}

/// Mapped for the CPU, and touched afterwards.
fn memory_mapped() -> Res {
    let b = Bound::new()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let mut v = Vec::new();
    for (i, flags) in [0, BO_WB_MMAP].into_iter().enumerate() {
        let h = ok!(d.bo(3 * M, flags, if i == 0 { vm } else { 0 }));
        let m = ok!(d.mmap(h, 3 * M));
        pattern::fill(&m, i as u64);
        ok!(d.map(vm, h, 0, (i as u64 + 1) << 32, 3 * M));
        v.push(m);
    }
    // One that was never touched.
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let never = ok!(d.mmap(h, M));
    let flush = ok!(Map::new(
        d.fd(),
        MMIO_OFFSET_64,
        PAGE,
        libc::PROT_READ,
        libc::MAP_SHARED
    ));
    flush.get(0);
    b.unbind()?;
    for (i, m) in v.iter().enumerate() {
        look("touched before", m, i as u64)?;
    }
    let r = ok!(try_access(|| never.set(0, 1)));
    check!(
        matches!(r, Access::Done | Access::Signal(libc::SIGBUS)),
        "never touched: {r:?}"
    );
    // The page is not inherited by the child that tries: look whether it is gone here, by a system
    // call that reports instead of a signal.
    // SAFETY: a valid range; the kernel answers EFAULT where a read would be SIGBUS.
    let n = unsafe {
        let (r, w) = ok!(pipe());
        let n = libc::write(w.as_raw_fd(), flush.ptr().cast(), 4);
        drop(r);
        n
    };
    check!(
        n == -1,
        "the flush page of a device that is gone can be read"
    );
    b.bind()?;
    works()?;
    for (i, m) in v.iter().enumerate() {
        look("after the new device came", m, i as u64)?;
    }
    drop(d);
    for (i, m) in v.iter().enumerate() {
        look("after its file was closed", m, i as u64)?;
    }
    drop(v);
    works()
}

/// Held by dma-bufs alone.
fn dma_bufs() -> Res {
    let b = Bound::new()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let fd = ok!(d.export(h));
    let (buf, _mem) = ok!(drm::udmabuf(64 * K));
    let i = ok!(d.import(buf.as_fd()));
    ok!(d.map(vm, i, 0, M, 64 * K));
    b.unbind()?;
    drop(m);
    drop(d);
    b.bind()?;
    // A new device sees the old one's buffer as a foreign one, or refuses it.
    let e = ok!(Dev::open());
    match e.import(fd.as_fd()) {
        Ok(h) => {
            note!("a buffer of the device before came in");
            eq!(ok!(e.bo_info(h)).0, BO_IS_IMPORTED);
        }
        Err(x) => note!("a buffer of the device before: {x}"),
    }
    drop(fd);
    drop(e);
    works()
}

/// Evicted memory, on swap, of a device that goes.
fn evicted() -> Res {
    let b = Bound::new()?;
    if proc::swaps()?.is_empty() {
        skip!("no swap");
    }
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(4 * M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 4 * M));
    pattern::fill(&m, 1);
    ok!(d.map(vm, h, 0, M, 4 * M));
    ok!(debugfs::shrink(1 << 20));
    b.unbind()?;
    look("evicted", &m, 1)?;
    b.bind()?;
    drop(d);
    drop(m);
    works()
}

/// The processes that held something are killed while there is no device.
fn holders_die() -> Res {
    let b = Bound::new()?;
    let mut v = Vec::new();
    for _ in 0..4 {
        let mut c = Child::holder()?;
        c.call("vm")?;
        c.call("bo 0x200000 2 1 1")?;
        c.call("bo 0x200000 0 0 2")?;
        c.call("bind 1 0 0x100000000")?;
        c.call("bind 1 1 0x200000000")?;
        v.push(c);
    }
    b.unbind()?;
    v[0].kill()?;
    v[1].end()?;
    b.bind()?;
    v[2].kill()?;
    v[3].end()?;
    works()
}

/// Unbound while others are busy on it.
fn busy() -> Res {
    let b = Bound::new()?;
    for _ in 0..6 {
        let mut c = Child::spawn(|e| {
            e.serve(|_| {
                let mut n = 0u64;
                loop {
                    let r = (|| -> Result<()> {
                        let d = Dev::open()?;
                        let vm = d.vm()?;
                        let h = d.bo(M, BO_WB_MMAP, vm)?;
                        d.map(vm, h, 0, M, M)?;
                        d.sync(h, SYNC_FLUSH, 0, M)?;
                        d.unmap(vm, M, PAGE)?;
                        d.vm_destroy(vm)
                    })();
                    match r {
                        Ok(()) => n += 1,
                        Err(ENODEV) => return Ok(n.to_string()),
                        Err(x) => return Err(x.to_string()),
                    }
                }
            })
        })?;
        c.send("go")?;
        std::thread::sleep(Duration::from_millis(300));
        ok!(sysfs::unbind(&b.0));
        let n = match c.recv(Duration::from_secs(20))? {
            Ok(n) => n,
            // The node vanished under the search for it.
            Err(e) if e == "ENOENT" || e == "ENXIO" => "some".to_string(),
            Err(e) => fail!("the busy process: {e}"),
        };
        note!("{n} rounds before the device went");
        b.bind()?;
    }
    works()
}

/// Unbound in the middle of a call: it ends, and says why.
fn during_reclaim() -> Res {
    reclaim::need()?;
    let b = Bound::new()?;
    let mut inside = 0;
    for round in 0..4 {
        let mut c = Child::holder()?;
        for i in 0..6 {
            c.call(&format!("bo 0x600000 2 0 {}", i + 1))?;
        }
        let total = c.resident()?;
        let pid = c.pid;
        let w = std::thread::spawn(move || sysfs::reclaim(pid));
        let begun = wait_for(Duration::from_secs(10), || {
            c.resident().is_ok_and(|r| r < total)
        });
        check!(begun, "nothing is being reclaimed");
        let left = c.resident()?;
        b.unbind()?;
        let r = w.join().map_err(|_| "thread".to_string())?;
        if left > 0 {
            check!(r == Err(ENODEV), "round {round}: {r:?}");
            inside += 1;
        }
        drop(c);
        b.bind()?;
    }
    note!("{inside} calls were cut off");
    check!(inside > 0, "all calls had ended before");
    works()
}

/// The attributes go with the driver.
fn attributes() -> Res {
    let b = Bound::new()?;
    let dev = format!("/sys/devices/platform/{}", b.0);
    let list = |n: &str| std::path::Path::new(&format!("{}/{n}", sysfs::DRIVER)).exists();
    check!(list(&b.0));
    let attr = ok!(sysfs::attr("power"));
    let real = std::fs::canonicalize(attr.parent().unwrap_or(&attr)).map_err(|e| e.to_string())?;
    let _ = dev;
    let has = |n: &str| real.join(n).exists();
    let mem = has("mem_reclaim");
    b.unbind()?;
    check!(!list(&b.0));
    for n in ["mem_reclaim", "mem_claim", "mem_reclaim_mode", "profiling"] {
        check!(!has(n), "{n} stays after unbind");
    }
    b.bind()?;
    eq!(has("mem_reclaim"), mem);
    Ok(())
}

/// Unloaded and loaded; not while a file is open.
fn module() -> Res {
    let (name, file) = match ktap::driver() {
        ktap::Driver::Rust => ("panthor_rs", "/lib/modules/panthor_rs.ko"),
        ktap::Driver::C => ("panthor", "/lib/modules/panthor.ko"),
        ktap::Driver::None => skip!("no driver"),
    };
    if !std::path::Path::new(file).exists() {
        skip!("no {file}");
    }
    let d = ok!(Dev::open());
    err!(rmmod(name), EAGAIN);
    ok!(d.vm());
    // A dma-buf holds it too.
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let fd = ok!(d.export(h));
    drop(d);
    err!(rmmod(name), EAGAIN);
    drop(fd);
    for _ in 0..3 {
        let r = wait_for(Duration::from_secs(5), || rmmod(name).is_ok());
        check!(r, "the module cannot be unloaded");
        ok!(insmod(file));
        let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
        check!(there, "no render node after insmod");
        works()?;
    }
    Ok(())
}

/// Unbound with a file open, then unloaded when it is closed.
fn module_after_unbind() -> Res {
    let (name, file) = match ktap::driver() {
        ktap::Driver::Rust => ("panthor_rs", "/lib/modules/panthor_rs.ko"),
        ktap::Driver::C => ("panthor", "/lib/modules/panthor.ko"),
        ktap::Driver::None => skip!("no driver"),
    };
    let b = Bound::new()?;
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    b.unbind()?;
    err!(rmmod(name), EAGAIN);
    drop(d);
    // A mapping is a use of the file.
    err!(rmmod(name), EAGAIN);
    drop(m);
    reload(name, file)
}

/// Nothing keeps the module any more: it goes, and works when it is back.
fn reload(name: &str, file: &str) -> Res {
    let r = wait_for(Duration::from_secs(5), || rmmod(name).is_ok());
    check!(r, "the module cannot be unloaded");
    ok!(insmod(file));
    let there = wait_for(Duration::from_secs(10), || Dev::open().is_ok());
    check!(there, "no render node after insmod");
    works()
}

/// An open debugfs file keeps the module, as its operations are called until it is closed: also after
/// its device is gone.
fn module_debugfs() -> Res {
    if ktap::driver() != ktap::Driver::Rust {
        skip!("such files of others are those of the DRM core");
    }
    let (name, file) = ("panthor_rs", "/lib/modules/panthor_rs.ko");
    let b = Bound::new()?;
    let path = ok!(debugfs::dir()).join("gems");
    let mut gems = std::fs::File::open(&path).map_err(|e| format!("gems: {e}"))?;
    err!(rmmod(name), EAGAIN);
    b.unbind()?;
    let r = gems.read(&mut [0; 64]).map_err(|e| e.raw_os_error());
    eq!(r, Err(Some(libc::EIO)));
    err!(rmmod(name), EAGAIN);
    drop(gems);
    reload(name, file)
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        idle,
        first_offset,
        files_open,
        memory_mapped,
        dma_bufs,
        evicted,
        holders_die,
        busy,
        during_reclaim,
        attributes,
        module,
        module_after_unbind,
        module_debugfs,
    ])
}
