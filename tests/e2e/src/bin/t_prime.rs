// SPDX-License-Identifier: GPL-2.0 OR MIT
//! PRIME: dma-bufs out and in.

use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::os::fd::{AsFd, AsRawFd, RawFd};

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// Size of a dma-buf as `lseek` tells it.
fn size_of_buf(fd: RawFd) -> u64 {
    // SAFETY: no memory involved.
    unsafe { libc::lseek(fd, 0, libc::SEEK_END) as u64 }
}

/// `DMA_BUF_IOCTL_SYNC`.
fn buf_sync(fd: RawFd, flags: u64) -> Result<()> {
    let mut f = flags;
    // SAFETY: the argument of this request.
    unsafe {
        ioctl_raw(
            fd,
            (1 << 30) | (8 << 16) | ((b'b' as u64) << 8),
            std::ptr::from_mut(&mut f).cast(),
        )
    }
    .map(|_| ())
}

fn export_import_self() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(2 * M, BO_WB_MMAP, 0));
    ok!(d.label(h, "e2e-exported"));
    let m = ok!(d.mmap(h, 2 * M));
    pattern::fill(&m, 3);
    eq!(debugfs::gem("e2e-exported")?.state & 2, 0);
    let fd = ok!(d.export(h));
    eq!(size_of_buf(fd.as_raw_fd()), 2 * M);
    eq!(debugfs::gem("e2e-exported")?.state & 2, 2);
    // Back in the same file it is the same handle.
    eq!(ok!(d.import(fd.as_fd())), h);
    // Exported again it is the same dma-buf.
    let fd2 = ok!(d.export(h));
    eq!(ok!(d.import(fd2.as_fd())), h);
    // In another file it is the same memory, and not an imported one.
    let e = ok!(Dev::open());
    let g = ok!(e.import(fd.as_fd()));
    eq!(ok!(e.bo_info(g)), (0, BO_WB_MMAP));
    let n = ok!(e.mmap(g, 2 * M));
    pattern::check(&n, 3)?;
    n.set(17, 18);
    eq!(m.get(17), 18);
    ok!(d.close(h));
    drop(m);
    drop(d);
    drop(fd);
    drop(fd2);
    eq!(n.get(17), 18);
    Ok(())
}

fn shared_size() -> Res {
    let d = ok!(Dev::open());
    let e = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    eq!(ok!(d.fdinfo()).shared(), 0);
    let fd = ok!(d.export(h));
    let g = ok!(e.import(fd.as_fd()));
    eq!(ok!(d.fdinfo()).shared(), M);
    eq!(ok!(e.fdinfo()).shared(), M);
    ok!(e.close(g));
    eq!(ok!(e.fdinfo()).total(), 0);
    Ok(())
}

fn mmap_of_dma_buf() -> Res {
    let d = ok!(Dev::open());
    for flags in [0, BO_WB_MMAP] {
        let h = ok!(d.bo(M, flags, 0));
        let m = ok!(d.mmap(h, M));
        pattern::fill(&m, 9);
        let fd = ok!(d.export(h));
        let n = ok!(Map::new(fd.as_raw_fd(), 0, M, RW, libc::MAP_SHARED));
        ok!(buf_sync(fd.as_raw_fd(), 3));
        pattern::check(&n, 9)?;
        n.set(5, 6);
        ok!(buf_sync(fd.as_raw_fd(), 3 | 4));
        eq!(m.get(5), 6);
        check!(Map::new(fd.as_raw_fd(), 0, M + PAGE, RW, libc::MAP_SHARED).is_err());
        check!(Map::new(fd.as_raw_fd(), M, PAGE, RW, libc::MAP_SHARED).is_err());
        // The file can go, the mapping stays.
        ok!(d.close(h));
        drop(fd);
        drop(m);
        eq!(n.get(5), 6);
    }
    Ok(())
}

/// A dma-buf mapped from an offset shows the pages from there.
fn mmap_of_dma_buf_offset() -> Res {
    ktap::only_rust("C shows the pages from the start of the buffer")?;
    let d = ok!(Dev::open());
    let page = page_size();
    let h = ok!(d.bo(256 * page, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, 256 * page));
    pattern::fill(&m, 9);
    let fd = ok!(d.export(h));
    for i in [1, 5, 255] {
        let o = ok!(Map::new(
            fd.as_raw_fd(),
            i * page,
            page,
            RW,
            libc::MAP_SHARED
        ));
        pattern::check(&o, 9 + i * page / 8)?;
    }
    Ok(())
}

/// The dma-buf alone keeps the memory.
fn buf_outlives_file() -> Res {
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 4);
    let fd = ok!(d.export(h));
    drop(m);
    drop(d);
    let e = ok!(Dev::open());
    let g = ok!(e.import(fd.as_fd()));
    let n = ok!(e.mmap(g, M));
    pattern::check(&n, 4)?;
    Ok(())
}

fn refusals() -> Res {
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let x = ok!(d.bo(PAGE, 0, vm));
    err!(d.export(x), EINVAL);
    err!(d.export(1000), ENOENT);
    err!(d.export(0), ENOENT);
    let h = ok!(d.bo(PAGE, 0, 0));
    let mut a = PrimeHandleToFd {
        handle: h,
        flags: 0x4000_0000,
        fd: -1,
    };
    err!(d.call(&mut a), EINVAL);
    // What is no dma-buf.
    let f = ok!(memfd(PAGE));
    err!(d.import(f.as_fd()), EINVAL);
    let mut a = PrimeFdToHandle {
        handle: 0,
        flags: 0,
        fd: 999,
    };
    err!(d.call(&mut a), EBADF);
    Ok(())
}

/// A buffer from elsewhere: all that can be done with it.
fn use_foreign(fd: std::os::fd::BorrowedFd<'_>, size: u64) -> Res {
    let d = ok!(Dev::open());
    let n = ok!(Map::new(fd.as_raw_fd(), 0, size, RW, libc::MAP_SHARED));
    pattern::fill(&n, 77);
    let h = ok!(d.import(fd));
    eq!(ok!(d.import(fd)), h);
    eq!(ok!(d.bo_info(h)), (BO_IS_IMPORTED, 0));
    // The CPU sees it through us too.
    let m = ok!(d.mmap(h, size));
    pattern::check(&m, 77)?;
    m.set(100, 200);
    eq!(n.get(100), 200);
    drop(m);
    // On the GPU, also in parts and several times.
    let vm = ok!(d.vm());
    ok!(d.map(vm, h, 0, M, size));
    ok!(d.map(vm, h, PAGE, 64 * M, size - PAGE));
    err!(d.map(vm, h, PAGE, 128 * M, size), EINVAL);
    ok!(d.unmap(vm, M + PAGE, PAGE));
    ok!(d.unmap(vm, 0, 256 * M));
    ok!(d.map(vm, h, 0, M, size));
    ok!(d.label(h, "e2e-foreign"));
    err!(d.sync(h, SYNC_FLUSH, 0, size), EINVAL);
    // It can be passed on, and comes back as the same.
    let again = ok!(d.export(h));
    eq!(size_of_buf(again.as_raw_fd()), size);
    eq!(ok!(d.import(again.as_fd())), h);
    // Never evicted.
    let before = ok!(d.fdinfo()).resident();
    let _ = debugfs::shrink(1 << 20);
    eq!(ok!(d.fdinfo()).resident(), before);
    // Mapped, it outlives its handle.
    ok!(d.close(h));
    eq!(n.get(100), 200);
    ok!(d.vm_destroy(vm));
    eq!(n.get(100), 200);
    // And it can come in again.
    let h = ok!(d.import(fd));
    let m = ok!(d.mmap(h, size));
    eq!(m.get(100), 200);
    Ok(())
}

fn import_udmabuf() -> Res {
    let (fd, _mem) = ok!(drm::udmabuf(64 * K));
    use_foreign(fd.as_fd(), 64 * K)
}

fn import_heap() -> Res {
    let fd = drm::need_heap_buf(64 * K)?;
    use_foreign(fd.as_fd(), 64 * K)
}

/// Large enough for 2 MiB blocks, and split in the middle of one.
fn import_large() -> Res {
    ktap::only_rust("C follows a null pointer when it splits a large imported mapping")?;
    let fd = drm::need_heap_buf(8 * M)?;
    let d = ok!(Dev::open());
    let h = ok!(d.import(fd.as_fd()));
    let vm = ok!(d.vm());
    ok!(d.map(vm, h, 0, 8 * M, 8 * M));
    ok!(d.unmap(vm, 11 * M, PAGE));
    ok!(d.unmap(vm, 9 * M + PAGE, 2 * M));
    ok!(d.map(vm, h, 0, 8 * M, 8 * M));
    Ok(())
}

/// What another process changes is seen here.
fn between_processes() -> Res {
    let (a, b) = ok!(socketpair());
    let d = ok!(Dev::open());
    let h = ok!(d.bo(M, BO_WB_MMAP, 0));
    let m = ok!(d.mmap(h, M));
    pattern::fill(&m, 1);
    let mut c = child::Child::spawn(|e| {
        let mut held = None;
        e.serve(|cmd| {
            let s = |e: Errno| e.to_string();
            match cmd {
                "take" => {
                    let fd = recv_fd(b.as_raw_fd()).map_err(s)?;
                    let d = Dev::open().map_err(s)?;
                    let h = d.import(fd.as_fd()).map_err(s)?;
                    let m = d.mmap(h, M).map_err(s)?;
                    pattern::check(&m, 1)?;
                    held = Some((d, m));
                }
                _ => pattern::fill(&held.as_ref().ok_or("nothing")?.1, 2),
            }
            Ok(String::new())
        })
    })?;
    let fd = ok!(d.export(h));
    ok!(send_fd(a.as_raw_fd(), fd.as_raw_fd()));
    c.call("take")?;
    c.call("fill")?;
    pattern::check(&m, 2)?;
    c.kill()?;
    pattern::check(&m, 2)?;
    Ok(())
}

/// Export and close in a loop leaves nothing behind.
fn no_leak() -> Res {
    let d = ok!(Dev::open());
    let count = || -> Res<usize> { Ok(debugfs::Gems::read()?.bos.len()) };
    let before = count()?;
    for _ in 0..200 {
        let h = ok!(d.bo(4 * PAGE, 0, 0));
        let fd = ok!(d.export(h));
        let e = ok!(Dev::open());
        ok!(e.import(fd.as_fd()));
        ok!(d.close(h));
    }
    let gone = wait_for(std::time::Duration::from_secs(5), || {
        count().is_ok_and(|n| n <= before)
    });
    check!(gone, "{before} BOs before, {} after", count()?);
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        export_import_self,
        shared_size,
        mmap_of_dma_buf,
        mmap_of_dma_buf_offset,
        buf_outlives_file,
        refusals,
        import_udmabuf,
        import_heap,
        import_large,
        between_processes,
        no_leak,
    ])
}
