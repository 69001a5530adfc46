// SPDX-License-Identifier: GPL-2.0 OR MIT

//! CPU mappings of buffer objects: set up by `mmap()`, filled by page faults.

use super::{
    object::{Locked, Object},
    DriverObject,
};
use crate::kernel_ext::{
    bindings,
    drm::{Device, Driver},
    pid::Pid,
};
use core::marker::PhantomData;
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    sizes::{SZ_2M, SZ_64K},
    sync::aref::ARef,
};

/// Up to this size an object is brought in with the mmap lock held, as shmem does for its pages.
const QUICK_SWAP_IN: usize = SZ_64K;
/// And up to this one if its content is still to come: one huge page.
const QUICK_CLEAR: usize = SZ_2M;

const RETRY: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_RETRY;
const NOPAGE: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_NOPAGE;
const SIGBUS: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_SIGBUS;
const FALLBACK: bindings::vm_fault_t = bindings::vm_fault_reason_VM_FAULT_FALLBACK;

/// The operations of a CPU mapping.
pub(super) struct VmOps<T>(PhantomData<T>);

impl<T: DriverObject> VmOps<T> {
    pub(super) const OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        open: Some(open_callback::<T>),
        close: Some(close_callback::<T>),
        fault: Some(fault_callback::<T>),
        huge_fault: Some(huge_fault_callback::<T>),
        ..pin_init::zeroed()
    };
}

impl<D: Driver> Device<D> {
    /// Adds references on the objects that the CPU has mapped for the process `tgid`, and for which
    /// `wanted` is true, some of them several times. `ENOMEM`, `EINTR`.
    pub(crate) fn collect_cpu_mapped(
        &self,
        tgid: &Pid,
        list: &mut KVVec<ARef<Object<D::Object>>>,
        wanted: impl Fn(&Object<D::Object>) -> bool,
    ) -> Result {
        loop {
            // Nothing is allocated with the memory of another process locked: count, reserve, look
            // again.
            let start = list.len();
            let mut missing = 0usize;
            let mut found = |obj: &Object<D::Object>| {
                if wanted(obj) && list.push_within_capacity(obj.into()).is_err() {
                    missing += 1;
                }
            };
            self.for_each_cpu_mapping(tgid, &mut found)?;
            if missing == 0 {
                return Ok(());
            }
            let more = list.len() - start + missing;
            list.truncate(start);
            list.reserve(more, GFP_KERNEL)?;
        }
    }

    /// Calls `f` for the object of each mapping that the CPU has for a process. `mmap_lock` is held.
    fn for_each_cpu_mapping(&self, tgid: &Pid, f: &mut dyn FnMut(&Object<D::Object>)) -> Result {
        /// # Safety
        ///
        /// To be called for an object of the class of `D`, with what is passed in below.
        unsafe extern "C" fn callback<D: Driver>(
            f: *mut c_void,
            obj: *mut bindings::drm_gem_object,
        ) {
            // SAFETY: The caller promises both.
            unsafe {
                (*f.cast::<&mut dyn FnMut(&Object<D::Object>)>())(Object::from_raw(obj));
            }
        }

        let mut f = f;
        // SAFETY: Device and pid are valid. Mappings of files of the device are set up by
        // `mmap_callback()`, which leaves the object in their private data, with a reference, or by
        // `mmap` of the driver's files, which leaves nothing there.
        to_result(unsafe {
            bindings::kx_visit_cpu_mappings(
                self.as_raw(),
                tgid.as_raw(),
                Some(callback::<D>),
                (&raw mut f).cast(),
            )
        })
    }
}

/// `mmap` of `struct drm_gem_object_funcs`.
///
/// # Safety
///
/// Called by the GEM core for a live object of ours, with a reference for the mapping taken, and
/// with a `vma` that is being set up.
pub(super) unsafe extern "C" fn mmap_callback<T: DriverObject>(
    obj: *mut bindings::drm_gem_object,
    vma: *mut bindings::vm_area_struct,
) -> c_int {
    // SAFETY: The GEM core passes a live object of ours.
    let this = unsafe { Object::<T>::from_raw(obj) };
    from_result(|| {
        T::may_mmap(this)?;

        if this.is_imported() {
            // SAFETY: `vma` is ours alone. The exporter sets what it needs and takes a reference
            // of its own: the one for this mapping goes back, after which `this` may be gone.
            unsafe {
                (*vma).vm_private_data = core::ptr::null_mut();
                (*vma).vm_ops = core::ptr::null();
                to_result(bindings::dma_buf_mmap((*obj).dma_buf, vma, 0))?;
                bindings::drm_gem_object_put(obj);
            }
            return Ok(0);
        }

        // Changes to a private mapping would go to a copy that the GPU never sees.
        // SAFETY: `vma` is valid.
        if unsafe { bindings::kx_vma_is_cow_mapping(vma) } {
            return Err(EINVAL);
        }
        if !this.cpu_maps.join() {
            // Nobody expects EINTR of mmap(): it is made again when the signal was handled.
            let locked = this.lock_interruptible().map_err(|_| ERESTARTNOINTR)?;
            if !this.cpu_maps.join() {
                this.cpu_maps.begin();
                locked.update_state();
            }
        }
        // SAFETY: `vma` is ours alone.
        unsafe { bindings::kx_vma_init_pfnmap(vma, T::map_wc(this)) };
        Ok(0)
    })
}

/// Returns the object that a CPU mapping is of.
///
/// # Safety
///
/// `vma` was set up by [`mmap_callback`], and lives longer than `'a`.
unsafe fn object_of<'a, T: DriverObject>(vma: *mut bindings::vm_area_struct) -> &'a Object<T> {
    // SAFETY: The mapping holds a reference on the object in its private data.
    unsafe { Object::from_raw((*vma).vm_private_data.cast()) }
}

/// `open` of a CPU mapping.
///
/// # Safety
///
/// To be called by the mm core only.
unsafe extern "C" fn open_callback<T: DriverObject>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The mm core calls this for a copy of a mapping of ours, which has counted already.
    unsafe {
        object_of::<T>(vma).cpu_maps.join_another();
        bindings::drm_gem_vm_open(vma);
    }
}

/// `close` of a CPU mapping.
///
/// # Safety
///
/// To be called by the mm core only.
unsafe extern "C" fn close_callback<T: DriverObject>(vma: *mut bindings::vm_area_struct) {
    // SAFETY: The mm core calls this once for every mapping of ours.
    let this = unsafe { object_of::<T>(vma) };
    if !this.cpu_maps.leave() {
        let locked = this.lock();
        if this.cpu_maps.end() {
            locked.update_state();
        }
    }
    // SAFETY: The mapping gives its reference back.
    unsafe { bindings::drm_gem_object_put(this.as_raw()) };
}

/// `fault` of a CPU mapping.
///
/// # Safety
///
/// To be called by the mm core only.
// What each fault runs stands together with the C functions that it calls, see KX_FAST there.
#[link_section = ".text.kx_fast"]
unsafe extern "C" fn fault_callback<T: DriverObject>(
    vmf: *mut bindings::vm_fault,
) -> bindings::vm_fault_t {
    // SAFETY: The mm core calls this for a fault in a mapping of ours.
    unsafe { Fault::<T>::new(vmf, 0) }.handle()
}

/// `huge_fault` of a CPU mapping.
///
/// # Safety
///
/// To be called by the mm core only.
unsafe extern "C" fn huge_fault_callback<T: DriverObject>(
    vmf: *mut bindings::vm_fault,
    order: c_uint,
) -> bindings::vm_fault_t {
    if order != bindings::KX_PMD_ORDER {
        return FALLBACK;
    }
    // SAFETY: The mm core calls this for a fault in a mapping of ours.
    unsafe { Fault::<T>::new(vmf, order) }.handle()
}

/// A page fault of the CPU.
///
/// # Invariants
///
/// `vmf` is a fault in a mapping of `obj`.
struct Fault<'a, T: DriverObject> {
    vmf: *mut bindings::vm_fault,
    obj: &'a Object<T>,
    order: c_uint,
    /// Index of the page in the object.
    index: usize,
}

impl<T: DriverObject> Fault<'_, T> {
    /// # Safety
    ///
    /// `vmf` is a fault in a mapping set up by [`mmap_callback`], and valid until the handler
    /// gives the mmap lock away.
    unsafe fn new(vmf: *mut bindings::vm_fault, order: c_uint) -> Self {
        // SAFETY: The caller promises a valid fault.
        unsafe {
            let obj: &Object<T> = object_of((*vmf).__bindgen_anon_1.vma);
            // Not from the start of the mapping, which may be what is left of a larger one.
            let start = obj.mmap_offset() >> kernel::page::PAGE_SHIFT;
            let pgoff = (*vmf).__bindgen_anon_1.pgoff as u64;
            // INVARIANT: The caller promises it.
            Self {
                vmf,
                obj,
                order,
                index: pgoff.wrapping_sub(start) as usize,
            }
        }
    }

    #[link_section = ".text.kx_fast"]
    fn handle(self) -> bindings::vm_fault_t {
        // CAST: As above, where a page before the start is beyond the end.
        if self.index >= self.obj.size() / kernel::page::PAGE_SIZE {
            return SIGBUS;
        }
        // Without a section, which unplugging would wait for: whoever comes too late finds nothing,
        // as taking the device away from the object is under the reservation lock, and removes
        // what was mapped until then.
        if self.obj.dev().is_unplugged() {
            return SIGBUS;
        }

        // SAFETY: `vmf` is valid.
        let nowait = unsafe { bindings::kx_vmf_nowait(self.vmf) };
        // The way most faults go: nobody has the lock, the pages are there, or come in no time.
        if let Some(locked) = self.obj.try_lock() {
            if let Some(ret) = self.insert(&locked) {
                return ret;
            }
            if self.is_quick() && !nowait {
                return self.populate_and_insert(&locked);
            }
        }

        // SAFETY: As above.
        if !unsafe { bindings::kx_vmf_may_retry(self.vmf) } {
            return self.wait_and_insert();
        }
        if nowait {
            return RETRY;
        }
        // Swap-in takes long. The rest of the process need not wait for it: give the mmap lock
        // away, and with it the right to touch `vmf`; the mm core comes back with a new fault.
        let obj: ARef<Object<T>> = self.obj.into();
        // SAFETY: The fault may be retried, so that the lock is ours to release.
        unsafe { bindings::kx_vmf_release_mmap_lock(self.vmf) };
        if let Ok(locked) = obj.lock_interruptible() {
            // An error is found again, and reported, by the retry.
            let _ = locked.prepare_cpu_map();
        }
        RETRY
    }

    /// Maps the page if it is there.
    fn insert(&self, locked: &Locked<'_, T>) -> Option<bindings::vm_fault_t> {
        let pages = locked.pages()?;
        if T::map_wc(self.obj) && locked.own_table().is_none() {
            // Somebody else brought them in: they may be dirty in the caches still.
            return None;
        }
        // SAFETY: `pages` are all pages of the object, of which `index` is one; the reservation
        // lock keeps them there.
        Some(unsafe {
            bindings::kx_vmf_insert_page(self.vmf, self.order, *pages.as_ptr().add(self.index))
        })
    }

    fn wait_and_insert(&self) -> bindings::vm_fault_t {
        let Ok(locked) = self.obj.lock_interruptible() else {
            // The signal is handled first, then the access is tried again.
            return NOPAGE;
        };
        self.populate_and_insert(&locked)
    }

    /// Whether all pages come in the time that a fault of ordinary memory may take, which holds the
    /// mmap lock as well: a few from swap, or a huge page that is only to be cleared.
    fn is_quick(&self) -> bool {
        let size = self.obj.size();
        size <= QUICK_SWAP_IN || (size <= QUICK_CLEAR && self.obj.evictions() == 0)
    }

    #[link_section = ".text.kx_fast"]
    fn populate_and_insert(&self, locked: &Locked<'_, T>) -> bindings::vm_fault_t {
        match locked.prepare_cpu_map() {
            Ok(()) => self.insert(locked).unwrap_or(SIGBUS),
            Err(e) if e == EINTR => NOPAGE,
            Err(_) => SIGBUS,
        }
    }
}
