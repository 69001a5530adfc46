// SPDX-License-Identifier: GPL-2.0 OR MIT
//! An open render node, and calls on it.

use crate::ktap::Res;
use crate::promise;
use crate::sys::{self, Errno, Map, Result};
use crate::uapi::*;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// An open render node of the device under test.
pub struct Dev {
    fd: OwnedFd,
}

/// A VM_BIND operation.
pub type Op = VmBindOp;

impl VmBindOp {
    /// Maps `size` bytes of a BO from `offset` at `va`.
    pub fn map(bo: u32, offset: u64, va: u64, size: u64) -> Op {
        Op {
            flags: OP_MAP,
            bo_handle: bo,
            bo_offset: offset,
            va,
            size,
            syncs: ObjArray::default(),
        }
    }

    /// Unmaps a range.
    pub fn unmap(va: u64, size: u64) -> Op {
        Op {
            flags: OP_UNMAP,
            va,
            size,
            ..Op::default()
        }
    }

    /// Maps a range onto nothing.
    pub fn sparse(va: u64, size: u64) -> Op {
        Op {
            flags: OP_MAP | MAP_SPARSE | MAP_NOEXEC,
            va,
            size,
            ..Op::default()
        }
    }

    /// With more flags.
    pub fn with(mut self, flags: u32) -> Op {
        self.flags |= flags;
        self
    }
}

/// The render nodes whose driver is named `panthor`.
pub fn nodes() -> Vec<PathBuf> {
    nodes_named("renderD")
}

/// All of a kind. A device that was bound again has another number than before where somebody still
/// had the old one open.
fn nodes_named(prefix: &str) -> Vec<PathBuf> {
    let mut v = Vec::new();
    if let Ok(d) = std::fs::read_dir("/dev/dri") {
        for e in d.flatten() {
            if e.file_name().to_string_lossy().starts_with(prefix) {
                v.push(e.path());
            }
        }
    }
    v.sort();
    v
}

impl Dev {
    /// Opens the device; `ENODEV` when there is none.
    pub fn open() -> Result<Dev> {
        Dev::open_one_of(nodes())
    }

    /// Opens its primary node, which has calls that render nodes do not; `ENODEV` as above.
    pub fn open_primary() -> Result<Dev> {
        Dev::open_one_of(nodes_named("card"))
    }

    fn open_one_of(nodes: Vec<PathBuf>) -> Result<Dev> {
        let mut r = Err(sys::ENODEV);
        for p in nodes {
            match std::fs::OpenOptions::new().read(true).write(true).open(&p) {
                Ok(f) => {
                    let d = Dev { fd: f.into() };
                    if d.version().is_ok_and(|(n, _, _)| n == "panthor") {
                        return Ok(d);
                    }
                }
                Err(e) => r = Err(e.into()),
            }
        }
        r
    }

    /// From a descriptor that came from elsewhere.
    pub fn from_fd(fd: OwnedFd) -> Dev {
        Dev { fd }
    }

    /// The descriptor.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Another descriptor of the same open file.
    pub fn dup(&self) -> Result<Dev> {
        Ok(Dev {
            fd: self.fd.try_clone()?,
        })
    }

    /// Any ioctl, once. The argument is updated even when it fails.
    pub fn call<T: Arg>(&self, arg: &mut T) -> Result<()> {
        // SAFETY: the code carries the size of the argument.
        unsafe { sys::ioctl_raw(self.fd(), T::CODE, std::ptr::from_mut(arg).cast()) }?;
        Ok(())
    }

    /// Any ioctl, repeated when a signal came.
    pub fn calli<T: Arg>(&self, arg: &mut T) -> Result<()> {
        loop {
            match self.call(arg) {
                Err(sys::EINTR | sys::EAGAIN) => {}
                r => return r,
            }
        }
    }

    /// Name, major, minor.
    pub fn version(&self) -> Result<(String, i32, i32)> {
        let mut name = [0u8; 64];
        let mut v = Version {
            name_len: name.len() as u64,
            name: name.as_mut_ptr() as u64,
            ..Version::default()
        };
        self.call(&mut v)?;
        let n = (v.name_len as usize).min(name.len());
        Ok((
            String::from_utf8_lossy(&name[..n]).into_owned(),
            v.major,
            v.minor,
        ))
    }

    /// `GET_CAP`.
    pub fn cap(&self, capability: u64) -> Result<u64> {
        let mut a = GetCap {
            capability,
            value: 0,
        };
        self.call(&mut a)?;
        Ok(a.value)
    }

    /// DEV_QUERY with a structure of ours.
    pub fn query<T: Copy>(&self, kind: u32, out: &mut T) -> Result<()> {
        let mut q = DevQuery {
            kind,
            size: std::mem::size_of::<T>() as u32,
            pointer: std::ptr::from_mut(out) as u64,
        };
        self.call(&mut q)
    }

    /// Creates a VM with the default split; the id.
    pub fn vm(&self) -> Result<u32> {
        Ok(self.vm_range(0)?.0)
    }

    /// Creates a VM with a user range; the id and the range granted.
    pub fn vm_range(&self, user_va_range: u64) -> Result<(u32, u64)> {
        let mut a = VmCreate {
            user_va_range,
            ..VmCreate::default()
        };
        self.call(&mut a)?;
        Ok((a.id, a.user_va_range))
    }

    /// Destroys a VM.
    pub fn vm_destroy(&self, id: u32) -> Result<()> {
        self.call(&mut VmDestroy { id, pad: 0 })
    }

    /// State of a VM: 0 usable, 1 unusable.
    pub fn vm_state(&self, vm_id: u32) -> Result<u32> {
        let mut a = VmGetState {
            vm_id,
            state: 0xdead,
        };
        self.call(&mut a)?;
        Ok(a.state)
    }

    /// Creates a BO; `vm` 0: for any VM.
    pub fn bo(&self, size: u64, flags: u32, vm: u32) -> Result<u32> {
        let mut a = BoCreate {
            size,
            flags,
            exclusive_vm_id: vm,
            ..BoCreate::default()
        };
        self.call(&mut a)?;
        Ok(a.handle)
    }

    /// Closes a handle.
    pub fn close(&self, handle: u32) -> Result<()> {
        self.call(&mut GemClose { handle, pad: 0 })
    }

    /// The fake offset of a BO.
    pub fn offset(&self, handle: u32) -> Result<u64> {
        let mut a = BoMmapOffset {
            handle,
            ..BoMmapOffset::default()
        };
        self.call(&mut a)?;
        Ok(a.offset)
    }

    /// Maps a BO for the CPU, aligned for huge pages when it is large.
    pub fn mmap(&self, handle: u32, len: u64) -> Result<Map> {
        let align = if len >= crate::BLOCK {
            crate::BLOCK
        } else {
            crate::PAGE
        };
        Map::aligned(self.fd(), self.offset(handle)?, len, align)
    }

    /// VM_BIND of several operations; on failure the error and what `ops.count` says then.
    pub fn bind(&self, vm_id: u32, ops: &[Op]) -> std::result::Result<(), (Errno, u32)> {
        let mut a = VmBind {
            vm_id,
            flags: 0,
            ops: ObjArray::of(ops),
        };
        self.call(&mut a).map_err(|e| (e, a.ops.count))
    }

    /// One VM_BIND operation.
    pub fn bind1(&self, vm_id: u32, op: Op) -> Result<()> {
        self.bind(vm_id, &[op]).map_err(|(e, _)| e)
    }

    /// Maps part of a BO, executable, read-write, cached.
    pub fn map(&self, vm: u32, bo: u32, offset: u64, va: u64, size: u64) -> Result<()> {
        self.bind1(vm, Op::map(bo, offset, va, size))
    }

    /// Unmaps a range.
    pub fn unmap(&self, vm: u32, va: u64, size: u64) -> Result<()> {
        self.bind1(vm, Op::unmap(va, size))
    }

    /// Names a BO.
    pub fn label(&self, handle: u32, s: &str) -> Result<()> {
        let c = std::ffi::CString::new(s).map_err(|_| sys::EINVAL)?;
        self.call(&mut BoSetLabel {
            handle,
            pad: 0,
            label: c.as_ptr() as u64,
        })
    }

    /// Exports a BO as a dma-buf.
    pub fn export(&self, handle: u32) -> Result<OwnedFd> {
        let mut a = PrimeHandleToFd {
            handle,
            flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
            fd: -1,
        };
        self.call(&mut a)?;
        Ok(sys::own(a.fd as i64))
    }

    /// Imports a dma-buf.
    pub fn import(&self, fd: BorrowedFd<'_>) -> Result<u32> {
        let mut a = PrimeFdToHandle {
            handle: 0,
            flags: 0,
            fd: fd.as_raw_fd(),
        };
        self.call(&mut a)?;
        Ok(a.handle)
    }

    /// Flags of a BO: extra flags, creation flags.
    pub fn bo_info(&self, handle: u32) -> Result<(u32, u32)> {
        let mut a = BoQueryInfo {
            handle,
            extra_flags: 0xdead,
            create_flags: 0xdead,
            pad: 0xdead,
        };
        self.call(&mut a)?;
        if a.pad != 0 {
            return Err(Errno(1000));
        }
        Ok((a.extra_flags, a.create_flags))
    }

    /// BO_SYNC of one range.
    pub fn sync(&self, handle: u32, kind: u32, offset: u64, size: u64) -> Result<()> {
        self.sync_ops(&[BoSyncOp {
            handle,
            kind,
            offset,
            size,
        }])
    }

    /// BO_SYNC.
    pub fn sync_ops(&self, ops: &[BoSyncOp]) -> Result<()> {
        self.call(&mut BoSync {
            ops: ObjArray::of(ops),
        })
    }

    /// The fdinfo of this file.
    pub fn fdinfo(&self) -> Result<crate::proc::FdInfo> {
        crate::proc::FdInfo::own(self.fd())
    }
}

/// Makes a dma-buf of another origin: a udmabuf over a new memfd.
pub fn udmabuf(size: u64) -> Result<(OwnedFd, OwnedFd)> {
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }
    let mem = sys::memfd(size)?;
    let dev = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/udmabuf")?;
    let mut c = Create {
        memfd: mem.as_raw_fd() as u32,
        flags: 1,
        offset: 0,
        size,
    };
    let code =
        (1 << 30) | ((std::mem::size_of::<Create>() as u64) << 16) | ((b'u' as u64) << 8) | 0x42;
    // SAFETY: the argument of UDMABUF_CREATE.
    let fd = unsafe { sys::ioctl_raw(dev.as_raw_fd(), code, std::ptr::from_mut(&mut c).cast()) }?;
    Ok((sys::own(fd), mem))
}

/// A dma-buf of the system heap; the case is skipped where the kernel has none.
pub fn need_heap_buf(size: u64) -> Res<OwnedFd> {
    match heap_buf(size) {
        Err(e) if e == sys::ENOENT => Err(promise::missing("heaps", "no dma-buf heaps")),
        other => Ok(other?),
    }
}

/// Makes a dma-buf of another origin: from the system heap.
pub fn heap_buf(size: u64) -> Result<OwnedFd> {
    #[repr(C)]
    struct Alloc {
        len: u64,
        fd: u32,
        fd_flags: u32,
        heap_flags: u64,
    }
    let heap = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/dma_heap/system")?;
    let mut a = Alloc {
        len: size,
        fd: 0,
        fd_flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
        heap_flags: 0,
    };
    let code = (3 << 30) | ((std::mem::size_of::<Alloc>() as u64) << 16) | ((b'H' as u64) << 8);
    // SAFETY: the argument of DMA_HEAP_IOCTL_ALLOC.
    unsafe { sys::ioctl_raw(heap.as_raw_fd(), code, std::ptr::from_mut(&mut a).cast()) }?;
    Ok(sys::own(a.fd as i64))
}
