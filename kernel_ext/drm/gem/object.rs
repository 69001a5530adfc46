// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The buffer object: creation, handles, its reservation lock.

use super::{
    super::{device::Device, file::File, gpuvm::MappingsGuard},
    backing::Backing,
    lru::Listed,
    mmap, prime,
    resv::{Resv, ResvObject},
    users::Users,
    DriverObject,
};
use crate::kernel_ext::{bindings, registry};
use core::{cell::UnsafeCell, mem::ManuallyDrop, ops::Deref, ptr::NonNull};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Atomic, Relaxed},
    },
    types::{NotThreadSafe, Opaque},
};

/// The driver that objects with data `T` belong to.
pub(crate) type DriverOf<T> = <T as DriverObject>::Driver;

/// A buffer object with the driver's data.
///
/// Its memory is a shmem file, or, for an imported one, what another driver exported. Which pages
/// there are, and whether the device sees them, is the [`Backing`], owned by the reservation lock:
/// it is reached through [`Locked`] only.
///
/// # Invariants
///
/// * `obj` is initialised and the object is alive while its reference count is not zero.
/// * `backing` is accessed with the reservation lock held, or by the only owner left.
/// * `pins` goes from and to zero with the reservation lock held.
#[repr(C)]
#[pin_data]
pub(crate) struct Object<T: DriverObject> {
    #[pin]
    obj: Opaque<bindings::drm_gem_object>,
    pub(super) backing: UnsafeCell<Backing>,
    /// Its place in the lists of the device; none before it had pages.
    #[pin]
    pub(super) listed: Listed,
    /// How many need the pages to stay where they are.
    pub(super) pins: Users,
    /// How many CPU mappings there are.
    pub(super) cpu_maps: Users,
    /// How often the pages have been given up.
    pub(super) evictions: Atomic<u32>,
    /// Whether a dma-buf has been made of it.
    pub(super) exported: Atomic<bool>,
    /// Whether there is memory now, for those who look without the lock.
    pub(super) resident: Atomic<bool>,
    /// Kernel mapping of the pages, shared by all who ask for one.
    pub(super) vmap: UnsafeCell<super::backing::KernelMap>,
    /// The place in the list of all objects of the device.
    links: registry::Links<Self>,
    /// Keeps the object alive whose reservation lock this one uses. Goes before `dev`, as it must.
    shared_resv: Option<ARef<ResvObject>>,
    #[pin]
    data: T,
    /// The C side does not keep the device for an object without a file.
    dev: ARef<Device<DriverOf<T>>>,
}

impl<T: DriverObject> Object<T> {
    const FUNCS: bindings::drm_gem_object_funcs = bindings::drm_gem_object_funcs {
        free: Some(Self::free_callback),
        open: Some(Self::open_callback),
        close: Some(Self::close_callback),
        print_info: None,
        export: Some(prime::export_callback::<T>),
        pin: Some(prime::pin_callback::<T>),
        unpin: Some(prime::unpin_callback::<T>),
        get_sg_table: Some(prime::get_sg_table_callback::<T>),
        vmap: Some(prime::vmap_callback::<T>),
        vunmap: Some(prime::vunmap_callback::<T>),
        mmap: Some(mmap::mmap_callback::<T>),
        evict: None,
        status: None,
        rss: None,
        vm_ops: &mmap::VmOps::<T>::OPS,
    };

    fn alloc(
        dev: &Device<DriverOf<T>>,
        shared_resv: Option<ARef<ResvObject>>,
        backing: Backing,
        data: impl PinInit<T, Error>,
    ) -> Result<Pin<KBox<Self>>> {
        let this = KBox::try_pin_init(
            try_pin_init!(Self {
                obj: Opaque::zeroed(),
                backing: UnsafeCell::new(backing),
                listed <- Listed::new(),
                pins: Users::new(),
                cpu_maps: Users::new(),
                evictions: Atomic::new(0),
                exported: Atomic::new(false),
                resident: Atomic::new(false),
                vmap: UnsafeCell::new(super::backing::KernelMap::Unmapped),
                links: registry::Links::new(),
                shared_resv,
                data <- data,
                dev: dev.into(),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )?;
        // SAFETY: Nobody else knows the object yet.
        unsafe { (*this.obj.get()).funcs = &Self::FUNCS };
        Ok(this)
    }

    /// Creates an object of `size` bytes (a multiple of `PAGE_SIZE`, not zero); the memory comes
    /// when it is used. With `private_to` it is private to the address space that has this lock,
    /// which must be of the same device (`EINVAL`).
    pub(crate) fn new(
        dev: &Device<DriverOf<T>>,
        size: usize,
        private_to: Option<Resv<'_, DriverOf<T>>>,
        data: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>> {
        if size == 0 || size % kernel::page::PAGE_SIZE != 0 {
            return Err(EINVAL);
        }
        let shared_resv = match private_to {
            Some(resv) if resv.dev.as_raw() != dev.as_raw() => return Err(EINVAL),
            Some(resv) => Some(resv.obj.clone()),
            None => None,
        };
        let resv = shared_resv.as_ref().map(|obj| obj.resv());
        let this = Self::alloc(dev, shared_resv, Backing::Empty, data)?;
        let raw = this.as_raw();

        // SAFETY: `raw` is zeroed memory for an object of this device, not published yet.
        let ret = unsafe { bindings::drm_gem_object_init(dev.as_raw(), raw, size) };
        if let Err(e) = to_result(ret) {
            // SAFETY: The function leaves an object that can be released.
            unsafe { bindings::drm_gem_object_release(raw) };
            // What shmem says when there is no memory for an inode. Space it has: its mount has no limit.
            return Err(if e == ENOSPC { ENOMEM } else { e });
        }

        if let Some(resv) = resv {
            // SAFETY: The object is not published; `shared_resv` keeps the lock alive.
            unsafe { (*raw).resv = resv };
        }
        // SAFETY: The object has a shmem file, see `drm_gem_object_init()`.
        unsafe { bindings::kx_drm_gem_mapping_init(raw) };
        let this = Self::into_ref(this);
        // SAFETY: It is new, complete, and referenced.
        unsafe { this.publish() };
        Ok(this)
    }

    /// Makes an object of what another driver exported. It is not complete before the GEM core has
    /// set its attachment and its reservation lock: the caller calls [`Self::publish`] then.
    pub(super) fn import(
        dev: &Device<DriverOf<T>>,
        size: usize,
        sgt: NonNull<bindings::sg_table>,
        data: impl PinInit<T, Error>,
    ) -> Result<ARef<Self>> {
        let this = Self::alloc(dev, None, Backing::Imported(sgt), data)?;
        let raw = this.as_raw();

        // SAFETY: `raw` is zeroed memory for an object of this device, not published yet.
        unsafe { bindings::drm_gem_private_object_init(dev.as_raw(), raw, size) };
        this.resident.store(true, Relaxed);
        Ok(Self::into_ref(this))
    }

    /// Hands the allocation to its reference count.
    fn into_ref(this: Pin<KBox<Self>>) -> ARef<Self> {
        // SAFETY: The object does not move: its memory is freed by `free_callback()` only.
        let ptr = KBox::into_raw(unsafe { Pin::into_inner_unchecked(this) });
        // SAFETY: The count is one since the initialisation, and it is ours.
        unsafe { ARef::from_raw(NonNull::new_unchecked(ptr)) }
    }

    /// Tells the device of the object.
    ///
    /// # Safety
    ///
    /// The object is complete, and was not published before.
    pub(super) unsafe fn publish(&self) {
        // SAFETY: It is in no registry yet, and `free_callback()` removes it.
        unsafe { self.dev().objects().insert(self) };
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::drm_gem_object {
        self.obj.get()
    }

    /// # Safety
    ///
    /// `ptr` is the `obj` of an `Object<T>` that outlives `'a`.
    pub(crate) unsafe fn from_raw<'a>(ptr: *mut bindings::drm_gem_object) -> &'a Self {
        // SAFETY: `obj` is at offset zero (`repr(C)`), and alive as the caller promises.
        unsafe { &*ptr.cast() }
    }

    /// The device of the object.
    pub(crate) fn dev(&self) -> &ARef<Device<DriverOf<T>>> {
        &self.dev
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        // SAFETY: The object is initialised; its size never changes.
        unsafe { (*self.as_raw()).size }
    }

    /// The offset to give to `mmap()`, which the object has from now on. `ENOMEM`, `ENOSPC`.
    pub(crate) fn create_mmap_offset(&self) -> Result<u64> {
        // SAFETY: The object is initialised. The function may be called several times, and by
        // several threads.
        to_result(unsafe { bindings::drm_gem_create_mmap_offset(self.as_raw()) })?;
        Ok(self.mmap_offset())
    }

    /// The offset to give to `mmap()`; zero when nobody has asked for one.
    pub(crate) fn mmap_offset(&self) -> u64 {
        // SAFETY: The object is initialised.
        unsafe { bindings::drm_vma_node_offset_addr(&raw mut (*self.as_raw()).vma_node) }
    }

    /// Whether the memory is another driver's.
    pub(crate) fn is_imported(&self) -> bool {
        // SAFETY: The object is initialised.
        unsafe { bindings::kx_drm_gem_is_imported(self.as_raw()) }
    }

    /// The number of references; for people to look at.
    pub(crate) fn ref_count(&self) -> u32 {
        // SAFETY: The object is initialised; the count is read as the C side does.
        let count = unsafe { &raw const (*self.as_raw()).refcount.refcount.refs.counter };
        // SAFETY: As above, for a racy read of an aligned word.
        unsafe { count.read_volatile() }.unsigned_abs()
    }

    /// Whether the object uses the reservation lock `resv`: it is private to the address space that
    /// `resv` belongs to.
    pub(crate) fn is_private_to(&self, resv: Resv<'_, DriverOf<T>>) -> bool {
        self.resv() == resv.obj.resv()
    }

    /// Whether the object is private to some address space.
    pub(crate) fn is_private(&self) -> bool {
        self.shared_resv.is_some()
    }

    pub(crate) fn resv(&self) -> *mut bindings::dma_resv {
        // SAFETY: The object is initialised; `resv` does not change once it has a handle.
        unsafe { (*self.as_raw()).resv }
    }

    /// How often the pages have been given up.
    pub(crate) fn evictions(&self) -> u32 {
        self.evictions.load(Relaxed)
    }

    /// Whether something needs the pages to stay where they are.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.any()
    }

    /// Whether the CPU has the object mapped.
    pub(crate) fn is_cpu_mapped(&self) -> bool {
        self.cpu_maps.any()
    }

    /// Whether pages are there now; without the lock, for people to look at.
    pub(crate) fn looks_resident(&self) -> bool {
        self.resident.load(Relaxed)
    }

    /// How many bytes of the shmem file are in memory, as pages of the page cache.
    pub(crate) fn cached_pages(&self) -> usize {
        // SAFETY: The object is initialised.
        unsafe { bindings::kx_gem_nr_cached_pages(self.as_raw()) as usize }
    }

    /// Swaps out the pages `start..=end` of an object that has been evicted; pages that somebody
    /// uses again stay. Returns how many were freed: zero where the kernel cannot do it, see
    /// [`can_swap_out`]. `EIO` when the swap device did not take some of them. No lock may be held.
    ///
    /// [`can_swap_out`]: super::can_swap_out
    pub(crate) fn swap_out(&self, start: usize, end: usize) -> Result<usize> {
        // SAFETY: The object is initialised. The call takes references on what it uses.
        let ret = unsafe { bindings::kx_gem_reclaim_range(self.as_raw(), start, end) };
        if ret < 0 {
            return Err(Error::from_errno(c_int::try_from(ret)?));
        }
        Ok(ret.unsigned_abs())
    }

    /// Waits until the GPU does not use the object any more, at most `jiffies`. Returns what is
    /// left of them, zero when the time is over; `EINTR` when a signal comes first.
    ///
    /// Without the reservation lock it may be used again the moment after.
    pub(crate) fn wait_idle(&self, jiffies: usize, interruptible: bool) -> Result<usize> {
        // SAFETY: The object is initialised. No lock is needed to wait.
        let left = unsafe {
            bindings::dma_resv_wait_timeout(
                self.resv(),
                bindings::dma_resv_usage_DMA_RESV_USAGE_BOOKKEEP,
                interruptible,
                jiffies,
            )
        };
        if left < 0 {
            // The wait knows one error: a signal.
            return Err(EINTR);
        }
        Ok(left.unsigned_abs())
    }

    /// Takes the reservation lock.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        let resv = self.resv();
        // SAFETY: The object is initialised.
        unsafe { bindings::kx_dma_resv_lock(resv) };
        // SAFETY: The lock is held now.
        unsafe { Guard::new(self, resv) }
    }

    /// Takes the reservation lock; a signal ends the wait with `EINTR`.
    pub(crate) fn lock_interruptible(&self) -> Result<Guard<'_, T>> {
        let resv = self.resv();
        // SAFETY: The object is initialised.
        to_result(unsafe { bindings::kx_dma_resv_lock_interruptible(resv) })?;
        // SAFETY: The lock is held now.
        Ok(unsafe { Guard::new(self, resv) })
    }

    /// Takes the reservation lock; the wait ends with `EINTR` when the task is being killed.
    pub(in super::super) fn lock_killable(&self) -> Result<Guard<'_, T>> {
        let resv = self.resv();
        // SAFETY: The object is initialised.
        to_result(unsafe { bindings::kx_dma_resv_lock_killable(resv) })?;
        // SAFETY: The lock is held now.
        Ok(unsafe { Guard::new(self, resv) })
    }

    /// Takes the reservation lock if it is free.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
        let resv = self.resv();
        // SAFETY: The object is initialised.
        if unsafe { bindings::kx_dma_resv_trylock(resv) } {
            // SAFETY: The lock is held now.
            Some(unsafe { Guard::new(self, resv) })
        } else {
            None
        }
    }

    /// Creates a handle for a file of the same device, which from then on holds a reference.
    pub(crate) fn create_handle(&self, file: &File<DriverOf<T>>) -> Result<u32> {
        if file.device().as_raw() != self.dev.as_raw() {
            return Err(EINVAL);
        }
        let mut handle = 0;
        // SAFETY: File and object are valid.
        to_result(unsafe {
            bindings::drm_gem_handle_create(file.as_raw(), self.as_raw(), &mut handle)
        })?;
        Ok(handle)
    }

    /// Returns the object behind a handle; `ENOENT` where there is none.
    pub(crate) fn lookup(file: &File<DriverOf<T>>, handle: u32) -> Result<ARef<Self>> {
        // SAFETY: The file is valid.
        let ptr = unsafe { bindings::drm_gem_object_lookup(file.as_raw(), handle) };
        let ptr = NonNull::new(ptr).ok_or(ENOENT)?;
        // SAFETY: All objects with handles of this driver are of this class, and the look-up
        // returned a reference.
        Ok(unsafe { ARef::from_raw(ptr.cast()) })
    }

    /// `free` of `struct drm_gem_object_funcs`.
    ///
    /// # Safety
    ///
    /// To be called by the GEM core only.
    unsafe extern "C" fn free_callback(obj: *mut bindings::drm_gem_object) {
        let this = obj.cast::<Self>();

        // SAFETY: The last reference is gone, so that the object is ours alone. The shrinker may
        // have dropped it, which must not wait for the reservation lock: it is not needed here.
        unsafe {
            Locked::new(&*this).move_to_list(None);
            Locked::new(&*this).release_backing();
            registry::Registry::remove(&*this);
            bindings::drm_gem_object_release(obj);
            drop(KBox::from_raw(this));
        }
    }

    /// `open` of `struct drm_gem_object_funcs`.
    ///
    /// # Safety
    ///
    /// To be called by the GEM core only.
    unsafe extern "C" fn open_callback(
        obj: *mut bindings::drm_gem_object,
        file: *mut bindings::drm_file,
    ) -> c_int {
        // SAFETY: The DRM core passes a live object of ours and an open file of its device.
        let (this, file) = unsafe { (Self::from_raw(obj), File::<DriverOf<T>>::from_raw(file)) };
        let this: ARef<Self> = this.into();
        kernel::error::from_result(|| {
            T::open(this, file.driver())?;
            Ok(0)
        })
    }

    /// `close` of `struct drm_gem_object_funcs`.
    ///
    /// # Safety
    ///
    /// To be called by the GEM core only.
    unsafe extern "C" fn close_callback(
        obj: *mut bindings::drm_gem_object,
        file: *mut bindings::drm_file,
    ) {
        // SAFETY: The DRM core passes a live object of ours and a file of its device.
        let (this, file) = unsafe { (Self::from_raw(obj), File::<DriverOf<T>>::from_raw(file)) };
        T::close(this, file.driver());
    }
}

impl<T: DriverObject> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

// SAFETY: The reference count of a GEM object is atomic; the object dies with it.
unsafe impl<T: DriverObject> AlwaysRefCounted for Object<T> {
    fn inc_ref(&self) {
        // SAFETY: A shared reference shows that the count is not zero.
        unsafe { bindings::drm_gem_object_get(self.as_raw()) };
    }

    unsafe fn dec_ref(obj: NonNull<Self>) {
        // SAFETY: The caller gives up a reference it owns.
        unsafe { bindings::drm_gem_object_put(obj.cast().as_ptr()) };
    }
}

// SAFETY: The C side gives the reference only while the count is not zero.
unsafe impl<T: DriverObject> registry::Registered for Object<T> {
    unsafe fn get_unless_zero(ptr: NonNull<Self>) -> Option<ARef<Self>> {
        // SAFETY: The caller promises valid memory.
        unsafe { bindings::kx_drm_gem_object_get_unless_zero(ptr.cast().as_ptr()) }
            // SAFETY: We own the reference just taken.
            .then(|| unsafe { ARef::from_raw(ptr) })
    }

    fn links(&self) -> &registry::Links<Self> {
        &self.links
    }
}

// SAFETY: Nothing in an object belongs to a thread; `T` is `Send`.
unsafe impl<T: DriverObject> Send for Object<T> {}
// SAFETY: What is not atomic is under a lock: that of the reservation, of the registry (`links`), of
// a list (`listed`). `T` is `Sync`.
unsafe impl<T: DriverObject> Sync for Object<T> {}

/// An object whose reservation lock the current thread holds, whoever took it.
///
/// # Invariants
///
/// The lock is held for as long as this lives, or nobody else has a reference on the object.
pub(crate) struct Locked<'a, T: DriverObject> {
    obj: &'a Object<T>,
    _not_send: NotThreadSafe,
}

impl<'a, T: DriverObject> Locked<'a, T> {
    /// # Safety
    ///
    /// The invariant of the type holds.
    pub(crate) unsafe fn new(obj: &'a Object<T>) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            obj,
            _not_send: NotThreadSafe,
        }
    }

    /// The object, for longer than the lock.
    pub(crate) fn object(&self) -> &'a Object<T> {
        self.obj
    }

    pub(super) fn backing_ptr(&self) -> *mut Backing {
        self.obj.backing.get()
    }
}

impl<T: DriverObject> Deref for Locked<'_, T> {
    type Target = Object<T>;

    fn deref(&self) -> &Object<T> {
        self.obj
    }
}

/// The reservation lock of one object, held until it is dropped.
///
/// # Invariants
///
/// `resv` is the lock that was taken.
#[must_use]
pub(crate) struct Guard<'a, T: DriverObject> {
    locked: ManuallyDrop<Locked<'a, T>>,
    resv: *mut bindings::dma_resv,
}

impl<'a, T: DriverObject> Guard<'a, T> {
    /// # Safety
    ///
    /// The current thread holds the lock of the object, which is `resv`, and gives it to the guard.
    unsafe fn new(obj: &'a Object<T>, resv: *mut bindings::dma_resv) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            // SAFETY: The caller promises it, and the guard keeps the lock while it lives.
            locked: ManuallyDrop::new(unsafe { Locked::new(obj) }),
            resv,
        }
    }
}

impl<'a, T: DriverObject> Deref for Guard<'a, T> {
    type Target = Locked<'a, T>;

    fn deref(&self) -> &Locked<'a, T> {
        &self.locked
    }
}

impl<T: DriverObject> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: The guard holds this lock.
        unsafe { bindings::kx_dma_resv_unlock(self.resv) };
    }
}

impl<T: DriverObject> Locked<'_, T> {
    /// Tells the driver that something changed on which the reclaim state of the object depends.
    #[inline(never)]
    #[link_section = ".text.kx_fast"]
    pub(crate) fn update_state(&self) {
        T::state_changed(self, &MappingsGuard::new(self));
    }
}

/// Converts what a C function of the GEM core returned.
pub(super) fn from_gem_ptr<P>(ptr: *mut P) -> Result<NonNull<P>> {
    NonNull::new(from_err_ptr(ptr)?).ok_or(ENOMEM)
}
