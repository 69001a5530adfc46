// SPDX-License-Identifier: GPL-2.0 OR MIT
//! The panthor uAPI, version 1.9, and the part of the DRM core's that goes with it.

/// `_IOWR('d', nr, size)`.
pub const fn iowr(nr: u32, size: usize) -> u64 {
    (3 << 30) | ((size as u64) << 16) | ((b'd' as u64) << 8) | nr as u64
}

/// `_IOW('d', nr, size)`.
pub const fn iow(nr: u32, size: usize) -> u64 {
    (1 << 30) | ((size as u64) << 16) | ((b'd' as u64) << 8) | nr as u64
}

/// Structures that are ioctl arguments: plain data, every bit pattern valid.
///
/// # Safety
/// The type must be `repr(C)`, without padding, and hold integers only.
pub unsafe trait Arg: Copy + Default {
    /// The request code.
    const CODE: u64;
}

macro_rules! args {
    ($($(#[$m:meta])* $name:ident = $dir:ident $nr:literal { $($f:ident: $t:ty),* $(,)? })*) => {$(
        $(#[$m])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct $name { $(pub $f: $t),* }
        // SAFETY: `repr(C)`, integers only; the sizes are checked against the uAPI in `t_version`.
        unsafe impl Arg for $name {
            const CODE: u64 = $dir($nr, core::mem::size_of::<$name>());
        }
    )*};
}

/// `struct drm_panthor_obj_array`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjArray {
    pub stride: u32,
    pub count: u32,
    pub array: u64,
}

impl ObjArray {
    /// The array that a slice makes.
    pub fn of<T>(s: &[T]) -> Self {
        ObjArray {
            stride: core::mem::size_of::<T>() as u32,
            count: s.len() as u32,
            array: s.as_ptr() as u64,
        }
    }
}

args! {
    DevQuery = iowr 0x40 { kind: u32, size: u32, pointer: u64 }
    VmCreate = iowr 0x41 { flags: u32, id: u32, user_va_range: u64 }
    VmDestroy = iowr 0x42 { id: u32, pad: u32 }
    VmBind = iowr 0x43 { vm_id: u32, flags: u32, ops: ObjArray }
    VmGetState = iowr 0x44 { vm_id: u32, state: u32 }
    BoCreate = iowr 0x45 { size: u64, flags: u32, exclusive_vm_id: u32, handle: u32, pad: u32 }
    BoMmapOffset = iowr 0x46 { handle: u32, pad: u32, offset: u64 }
    GroupCreate = iowr 0x47 {
        queues: ObjArray,
        max_compute_cores: u8,
        max_fragment_cores: u8,
        max_tiler_cores: u8,
        priority: u8,
        pad: u32,
        compute_core_mask: u64,
        fragment_core_mask: u64,
        tiler_core_mask: u64,
        vm_id: u32,
        group_handle: u32,
    }
    GroupDestroy = iowr 0x48 { group_handle: u32, pad: u32 }
    GroupSubmit = iowr 0x49 { group_handle: u32, pad: u32, queue_submits: ObjArray }
    GroupGetState = iowr 0x4a { group_handle: u32, state: u32, fatal_queues: u32, pad: u32 }
    TilerHeapCreate = iowr 0x4b {
        vm_id: u32,
        initial_chunk_count: u32,
        chunk_size: u32,
        max_chunks: u32,
        target_in_flight: u32,
        handle: u32,
        ctx_gpu_va: u64,
        first_chunk_gpu_va: u64,
    }
    TilerHeapDestroy = iowr 0x4c { handle: u32, pad: u32 }
    BoSetLabel = iowr 0x4d { handle: u32, pad: u32, label: u64 }
    SetUserMmioOffset = iowr 0x4e { offset: u64 }
    BoSync = iowr 0x4f { ops: ObjArray }
    BoQueryInfo = iowr 0x50 { handle: u32, extra_flags: u32, create_flags: u32, pad: u32 }
    /// `DRM_IOCTL_GEM_CLOSE`.
    GemClose = iow 0x09 { handle: u32, pad: u32 }
    /// `DRM_IOCTL_GEM_FLINK`.
    GemFlink = iowr 0x0a { handle: u32, name: u32 }
    /// `DRM_IOCTL_GEM_OPEN`.
    GemOpen = iowr 0x0b { name: u32, handle: u32, size: u64 }
    /// `DRM_IOCTL_GET_CAP`.
    GetCap = iowr 0x0c { capability: u64, value: u64 }
    /// `DRM_IOCTL_PRIME_HANDLE_TO_FD`.
    PrimeHandleToFd = iowr 0x2d { handle: u32, flags: u32, fd: i32 }
    /// `DRM_IOCTL_PRIME_FD_TO_HANDLE`.
    PrimeFdToHandle = iowr 0x2e { handle: u32, flags: u32, fd: i32 }
    /// `DRM_IOCTL_VERSION`.
    Version = iowr 0x00 {
        major: i32,
        minor: i32,
        patch: i32,
        pad: i32,
        name_len: u64,
        name: u64,
        date_len: u64,
        date: u64,
        desc_len: u64,
        desc: u64,
    }
    /// `DRM_IOCTL_SYNCOBJ_CREATE`.
    SyncobjCreate = iowr 0xbf { handle: u32, flags: u32 }
    /// `DRM_IOCTL_SYNCOBJ_DESTROY`.
    SyncobjDestroy = iowr 0xc0 { handle: u32, pad: u32 }
    /// `DRM_IOCTL_SYNCOBJ_WAIT`.
    SyncobjWait = iowr 0xc3 {
        handles: u64,
        timeout_nsec: i64,
        count_handles: u32,
        flags: u32,
        first_signaled: u32,
        pad: u32,
        deadline_nsec: u64,
    }
}

/// `struct drm_panthor_vm_bind_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmBindOp {
    pub flags: u32,
    pub bo_handle: u32,
    pub bo_offset: u64,
    pub va: u64,
    pub size: u64,
    pub syncs: ObjArray,
}

/// `struct drm_panthor_sync_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncOp {
    pub flags: u32,
    pub handle: u32,
    pub timeline_value: u64,
}

/// `struct drm_panthor_bo_sync_op`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BoSyncOp {
    pub handle: u32,
    pub kind: u32,
    pub offset: u64,
    pub size: u64,
}

/// `struct drm_panthor_queue_create`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCreate {
    pub priority: u8,
    pub pad: [u8; 3],
    pub ringbuf_size: u32,
}

/// `struct drm_panthor_queue_submit`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSubmit {
    pub queue_index: u32,
    pub stream_size: u32,
    pub stream_addr: u64,
    pub latest_flush: u32,
    pub pad: u32,
    pub syncs: ObjArray,
}

/// `struct drm_panthor_gpu_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GpuInfo {
    pub gpu_id: u32,
    pub gpu_rev: u32,
    pub csf_id: u32,
    pub l2_features: u32,
    pub tiler_features: u32,
    pub mem_features: u32,
    pub mmu_features: u32,
    pub thread_features: u32,
    pub max_threads: u32,
    pub thread_max_workgroup_size: u32,
    pub thread_max_barrier_size: u32,
    pub coherency_features: u32,
    pub texture_features: [u32; 4],
    pub as_present: u32,
    pub selected_coherency: u32,
    pub shader_present: u64,
    pub l2_present: u64,
    pub tiler_present: u64,
    pub core_features: u32,
    pub pad: u32,
    pub gpu_features: u64,
}

/// `struct drm_panthor_timestamp_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimestampInfo {
    pub frequency: u64,
    pub current: u64,
    pub offset: u64,
    pub flags: u32,
    pub duration_nsec: u32,
    pub cycle_count: u64,
    pub cpu_sec: u64,
    pub cpu_nsec: u64,
}

pub const QUERY_GPU_INFO: u32 = 0;
pub const QUERY_CSIF_INFO: u32 = 1;
pub const QUERY_TIMESTAMP_INFO: u32 = 2;
pub const QUERY_GROUP_PRIORITIES_INFO: u32 = 3;
pub const QUERY_MMU_INFO: u32 = 4;

pub const MAP_READONLY: u32 = 1 << 0;
pub const MAP_NOEXEC: u32 = 1 << 1;
pub const MAP_UNCACHED: u32 = 1 << 2;
pub const MAP_SPARSE: u32 = 1 << 3;
pub const OP_MAP: u32 = 0;
pub const OP_UNMAP: u32 = 1 << 28;
pub const OP_SYNC_ONLY: u32 = 2 << 28;

pub const BIND_ASYNC: u32 = 1;

pub const BO_NO_MMAP: u32 = 1;
pub const BO_WB_MMAP: u32 = 2;
pub const BO_IS_IMPORTED: u32 = 1;

pub const SYNC_FLUSH: u32 = 0;
pub const SYNC_FLUSH_INVALIDATE: u32 = 1;

pub const MMIO_OFFSET_32: u64 = 1 << 43;
pub const MMIO_OFFSET_64: u64 = 1 << 56;

pub const CAP_PRIME: u64 = 0x5;
pub const CAP_SYNCOBJ: u64 = 0x13;
pub const CAP_SYNCOBJ_TIMELINE: u64 = 0x14;
