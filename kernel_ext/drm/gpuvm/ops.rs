// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Map and unmap operations.

use super::{
    super::{
        device::Enter,
        gem::{stable_segments, DriverObject, Object},
    },
    mappings::ObjectOf,
    prealloc::{Demand, Prealloc},
    vm::{GpuVm, Relation, VmBo},
    DriverGpuVm, MapStep, Op, Part, RemapStep, Reserve,
};
use crate::kernel_ext::bindings;
use core::{cell::Cell, ptr::NonNull};
use kernel::{
    error::{from_result, to_result},
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        lock::{mutex::MutexBackend, Guard},
    },
    types::Opaque,
};

/// A mapping.
///
/// # Invariants
///
/// `va` is at offset zero. `evicted` of a mapping that is linked is changed with the operation lock
/// and the reservation lock of the object held. In the list of a relation, evicted mappings come
/// before all others.
#[repr(C)]
pub(super) struct Va<T: DriverGpuVm> {
    va: Opaque<bindings::drm_gpuva>,
    /// Whether the translations are gone because the memory is.
    evicted: Atomic<bool>,
    mapping: Option<T::Mapping>,
    /// The next one in a chain of [`Removed`].
    next: Cell<Option<NonNull<Self>>>,
}

impl<T: DriverGpuVm> Va<T> {
    /// One that no address space knows.
    pub(super) fn unused() -> Self {
        Self {
            va: Opaque::zeroed(),
            evicted: Atomic::new(false),
            mapping: None,
            next: Cell::new(None),
        }
    }

    /// # Safety
    ///
    /// `va` is a mapping of an address space of `T`, whose operation lock is held during `'a`.
    pub(super) unsafe fn from_raw<'a>(va: *mut bindings::drm_gpuva) -> &'a Self {
        // SAFETY: All mappings are `Va<T>`, with `va` at offset zero.
        unsafe { &*va.cast() }
    }

    pub(super) fn addr(&self) -> u64 {
        // SAFETY: The mapping is initialised, and stable while the operation lock is held.
        unsafe { (*self.va.get()).va.addr }
    }

    pub(super) fn range(&self) -> u64 {
        // SAFETY: The mapping is initialised, and stable while the operation lock is held.
        unsafe { (*self.va.get()).va.range }
    }

    pub(super) fn offset(&self) -> u64 {
        // SAFETY: The mapping is initialised, and stable while the operation lock is held.
        unsafe { (*self.va.get()).gem.offset }
    }

    pub(super) fn mapping(&self) -> Result<T::Mapping> {
        self.mapping.ok_or(EINVAL)
    }

    /// Whether the translations are gone because the memory is.
    pub(super) fn is_evicted(&self) -> bool {
        self.evicted.load(Relaxed)
    }

    /// The translations are gone. Those of the mappings before this one are already.
    ///
    /// # Safety
    ///
    /// The operation lock and the reservation lock of the object are held.
    pub(super) unsafe fn set_evicted(&self) {
        // INVARIANT: The caller goes through the list from its front.
        self.evicted.store(true, Relaxed);
    }

    /// The translations are back: the mapping goes behind those that are evicted.
    ///
    /// # Safety
    ///
    /// `vm_bo` is the relation that the mapping is linked to; the operation lock, the reservation
    /// lock of the object and the lock of its list of mappings are held.
    pub(super) unsafe fn set_restored(&self, vm_bo: *mut bindings::drm_gpuvm_bo) {
        self.evicted.store(false, Relaxed);
        // INVARIANT: Nothing comes behind it.
        // SAFETY: Entry and head are valid and linked, as the caller promises.
        unsafe {
            bindings::kx_list_move_tail(
                &raw mut (*self.va.get()).gem.entry,
                &raw mut (*vm_bo).list.gpuva,
            )
        };
    }

    /// Puts the mapping into the list of its object. It takes a reference on `vm_bo` and belongs
    /// to the address space from now on.
    ///
    /// # Safety
    ///
    /// `vm_bo` is valid, and the address space knows the mapping; its operation lock is held.
    unsafe fn link(va: KBox<Self>, vm_bo: *mut bindings::drm_gpuvm_bo) {
        let is_evicted = va.is_evicted();
        let va = KBox::into_raw(va).cast::<bindings::drm_gpuva>();
        // SAFETY: Mapping, relation and object are valid.
        unsafe {
            let lock = &raw mut (*(*vm_bo).obj).gpuva.lock;
            bindings::mutex_lock(lock);
            bindings::drm_gpuva_link(va, vm_bo);
            if is_evicted {
                // INVARIANT: Before all others.
                bindings::kx_list_move(&raw mut (*va).gem.entry, &raw mut (*vm_bo).list.gpuva);
            }
            bindings::mutex_unlock(lock);
        }
    }

    fn object(&self) -> *mut bindings::drm_gem_object {
        // SAFETY: As above.
        unsafe { (*self.va.get()).gem.obj }
    }
}

/// Mappings that no address leads to any more. Their object is still related to the address space
/// by them, which keeps its memory until the hardware knows that they are gone.
///
/// # Invariants
///
/// A chain of mappings that belong to us. Each is linked, and was removed from the tree of the
/// address space.
pub(super) struct Removed<T: DriverGpuVm>(Option<NonNull<Va<T>>>);

impl<T: DriverGpuVm> Removed<T> {
    /// None.
    fn new() -> Self {
        Self(None)
    }

    /// Adds one.
    ///
    /// # Safety
    ///
    /// `va` is a linked mapping that was just removed from the tree of its address space, whose
    /// operation lock is held.
    unsafe fn push(&mut self, va: NonNull<Va<T>>) {
        // SAFETY: The mapping is valid.
        unsafe { va.as_ref() }.next.set(self.0);
        // INVARIANT: The caller promises it.
        self.0 = Some(va);
    }

    /// Takes one out, which is not linked any more.
    ///
    /// # Safety
    ///
    /// The operation lock of the address space is held.
    unsafe fn pop(&mut self) -> Option<KBox<Va<T>>> {
        let va = self.0?;
        // INVARIANT: The rest of the chain.
        // SAFETY: The mapping is ours.
        self.0 = unsafe { va.as_ref() }.next.take();
        // SAFETY: As above, by the type invariants.
        Some(unsafe { unlink(va.as_ptr().cast()) })
    }
}

/// A mapping to make.
pub(crate) struct MapRequest<'a, T>
where
    T: DriverGpuVm,
{
    /// First address.
    pub(crate) addr: u64,
    /// Number of bytes.
    pub(crate) range: u64,
    /// Where in the object the first byte is.
    pub(crate) offset: u64,
    /// The driver's data.
    pub(crate) mapping: T::Mapping,
    /// The object, related to the address space.
    pub(crate) relation: &'a Relation<T>,
}

/// Looks at what the C side takes for granted: it would take an empty mapping for one that ends
/// before it begins, at address zero for one that covers everything.
fn check_range(addr: u64, range: u64) -> Result {
    match addr.checked_add(range) {
        Some(_) if range != 0 => Ok(()),
        _ => Err(EINVAL),
    }
}

impl<T: DriverGpuVm> GpuVm<T> {
    /// Makes a mapping, in place of whatever is in its range. `EINVAL` for a range that is empty or
    /// has no end. An error of [`DriverGpuVm::demand_of_map`] changes nothing.
    ///
    /// `bound` is a section of the device of the address space.
    pub(crate) fn map(&self, req: &MapRequest<'_, T>, bound: &Enter<'_, T::Driver>) -> Result {
        let Relation { vm_bo, pinned } = req.relation;
        // SAFETY: The entry is valid, as `vm_bo` holds a reference.
        let (vm, obj) = unsafe { ((*vm_bo.0.as_ptr()).vm, (*vm_bo.0.as_ptr()).obj) };
        if vm != self.as_raw() {
            return Err(EINVAL);
        }
        check_range(req.addr, req.range)?;
        self.check_section(bound)?;
        let step = MapStep::<T> {
            addr: req.addr,
            range: req.range,
            offset: T::offset(req.mapping, req.addr, req.offset),
            mapping: req.mapping,
            // SAFETY: The device is there, and the object pinned.
            segments: unsafe { stable_segments(pinned.object()) }.ok_or(ENODEV)?,
        };
        let mut prealloc = Prealloc::new();
        let owned = self.lock_with(&mut prealloc, |state, prealloc| {
            let new = Demand {
                vas: 1,
                reserve: T::demand_of_map(state, &step, &prealloc.reserve)?,
            };
            Ok(self.demand_with_cuts(new, prealloc, state, req.addr, req.range))
        })?;
        let c_req = bindings::drm_gpuvm_map_req {
            map: bindings::drm_gpuva_op_map {
                va: bindings::drm_gpuva_op_map__bindgen_ty_1 {
                    addr: req.addr,
                    range: req.range,
                },
                gem: bindings::drm_gpuva_op_map__bindgen_ty_2 {
                    offset: req.offset,
                    obj,
                },
            },
        };
        self.run(
            owned,
            (req.addr, req.range),
            Some((vm_bo, step)),
            Some(bound),
            &mut prealloc,
            // SAFETY: The address space is valid, its operation lock is held, and `ctx` is what
            // the callbacks expect.
            |vm, ctx| to_result(unsafe { bindings::drm_gpuvm_sm_map(vm, ctx, &c_req) }),
        )
    }

    /// Takes all mappings out of a range. `EINVAL` for one that is empty or has no end.
    ///
    /// `bound` is a section of the device of the address space.
    pub(crate) fn unmap(&self, addr: u64, range: u64, bound: &Enter<'_, T::Driver>) -> Result {
        check_range(addr, range)?;
        self.check_section(bound)?;
        self.unmap_in(addr, range, Some(bound))
    }

    /// [`Self::unmap`]; without a section for a range that cuts no mapping only: the memory for what
    /// would stay of it may be gone.
    pub(super) fn unmap_in(
        &self,
        addr: u64,
        range: u64,
        bound: Option<&Enter<'_, T::Driver>>,
    ) -> Result {
        let mut prealloc = Prealloc::new();
        let owned = self.lock_with(&mut prealloc, |state, prealloc| {
            Ok(self.demand_with_cuts(Demand::NOTHING, prealloc, state, addr, range))
        })?;
        self.run(
            owned,
            (addr, range),
            None,
            bound,
            &mut prealloc,
            |vm, ctx| {
                // SAFETY: As above.
                to_result(unsafe { bindings::drm_gpuvm_sm_unmap(vm, ctx, addr, range) })
            },
        )
    }

    /// Whether a section is one of our device.
    fn check_section(&self, bound: &Enter<'_, T::Driver>) -> Result {
        if bound.as_raw() != self.dev().as_raw() {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Takes the operation lock, with all that an operation needs in `prealloc`, which is empty.
    // Each has two callers, and more arguments than a call is worth.
    #[inline(always)]
    fn lock_with(
        &self,
        prealloc: &mut Prealloc<T>,
        demand: impl Fn(&mut T::State, &Prealloc<T>) -> Result<Demand>,
    ) -> Result<Guard<'_, Owned<T>, MutexBackend>> {
        let mut owned = self.owned.lock();
        core::mem::swap(prealloc, &mut owned.spare);
        loop {
            let demand = demand(&mut owned.state, prealloc)?;
            if prealloc.has(demand) {
                return Ok(owned);
            }
            drop(owned);
            prealloc.fill(demand)?;
            owned = self.owned.lock();
        }
    }

    /// `demand`, with what it takes to cut the mappings at the ends of a range.
    ///
    /// Who they are is not looked at where there is enough for any, which is the case if there was an
    /// operation before: then what is returned is less than that.
    // See `lock_with()`.
    #[inline(always)]
    fn demand_with_cuts(
        &self,
        mut demand: Demand,
        prealloc: &Prealloc<T>,
        state: &mut T::State,
        addr: u64,
        range: u64,
    ) -> Demand {
        if prealloc.has(demand.plus(Demand::TWO_CUTS)) {
            return demand;
        }
        for at in [addr, addr.saturating_add(range)] {
            // SAFETY: The operation lock is held, as `state` is under it.
            let is_cut = unsafe {
                let va = bindings::drm_gpuva_find_first(self.as_raw(), at, 1);
                !va.is_null() && (*va).va.addr < at
            };
            if is_cut {
                demand.vas += 1;
                demand.reserve += T::demand_of_cut(state, at);
            }
        }
        demand
    }

    // See `lock_with()`.
    #[inline(always)]
    fn run(
        &self,
        mut owned: Guard<'_, Owned<T>, MutexBackend>,
        (addr, range): (u64, u64),
        map: Option<(&VmBo<T>, MapStep<'_, T>)>,
        bound: Option<&Enter<'_, T::Driver>>,
        prealloc: &mut Prealloc<T>,
        f: impl FnOnce(*mut bindings::drm_gpuvm, *mut c_void) -> Result,
    ) -> Result {
        let Owned {
            state,
            spare,
            removed,
        } = &mut *owned;
        let mut ctx = Context {
            op: Op {
                vm: self,
                state,
                reserve: &mut prealloc.reserve,
            },
            vas: &mut prealloc.vas,
            map,
            bound,
            removed,
        };
        let ret = T::begin(&mut ctx.op, addr, range).and_then(|()| {
            let ret = f(self.as_raw(), (&raw mut ctx).cast());
            let ended = T::end(&mut ctx.op);
            // What an earlier operation left goes as well: if the hardware does its part now, it
            // is because there is none any more.
            // SAFETY: The operation lock is held.
            while let Some(va) = ended.ok().and_then(|()| unsafe { ctx.removed.pop() }) {
                Prealloc::put_va(ctx.vas, va);
            }
            ret.and(ended)
        });
        prealloc.reserve.trim();
        // What another one left meanwhile is freed by the caller, without the lock.
        core::mem::swap(prealloc, spare);
        ret
    }
}

/// What the operation lock of an address space owns.
pub(super) struct Owned<T: DriverGpuVm> {
    /// The driver's page tables.
    pub(super) state: T::State,
    /// What operations left of what they set aside, for the next ones.
    spare: Prealloc<T>,
    /// Mappings of operations that did not end as they should.
    removed: Removed<T>,
}

impl<T: DriverGpuVm> Owned<T> {
    pub(super) fn new(state: T::State) -> Self {
        Self {
            state,
            spare: Prealloc::new(),
            removed: Removed::new(),
        }
    }
}

/// The operation lock of an address space, held until it is dropped.
pub(crate) struct OpGuard<'a, T: DriverGpuVm> {
    pub(super) vm: &'a GpuVm<T>,
    pub(super) owned: Guard<'a, Owned<T>, MutexBackend>,
}

/// What the callbacks of one operation work on.
struct Context<'a, T: DriverGpuVm> {
    op: Op<'a, T>,
    vas: &'a mut [Option<KBox<Va<T>>>; 3],
    /// The mapping to make.
    map: Option<(&'a VmBo<T>, MapStep<'a, T>)>,
    /// The device is there. Without it no mapping is cut, as objects lose their memory at any time.
    bound: Option<&'a Enter<'a, T::Driver>>,
    /// Mappings that are gone when the operation has ended.
    removed: &'a mut Removed<T>,
}

impl<'a, T: DriverGpuVm> OpGuard<'a, T> {
    pub(super) fn new(vm: &'a GpuVm<T>, owned: Guard<'a, Owned<T>, MutexBackend>) -> Self {
        Self { vm, owned }
    }

    /// What the lock owns.
    pub(crate) fn state(&mut self) -> &mut T::State {
        &mut self.owned.state
    }

    /// Calls `f` for the object of every mapping, in the order of addresses, until it returns
    /// false; an object with several mappings comes several times.
    pub(crate) fn for_each_object(&self, mut f: impl FnMut(&Object<ObjectOf<T>>) -> bool) {
        const ENTRY: usize = core::mem::offset_of!(bindings::drm_gpuva, rb)
            + core::mem::offset_of!(bindings::drm_gpuva__bindgen_ty_3, entry);

        // SAFETY: The address space is valid, and its list stable while the lock is held.
        let head = unsafe { &raw mut (*self.vm.as_raw()).rb.list };
        // SAFETY: As above.
        let mut pos = unsafe { (*head).next };
        while pos != head {
            // SAFETY: All entries of the list are the `rb.entry` of a `drm_gpuva`.
            let va = unsafe { pos.byte_sub(ENTRY) }.cast::<bindings::drm_gpuva>();
            // SAFETY: As above; a mapping holds a reference on its object.
            let obj = unsafe { Object::from_raw((*va).gem.obj) };
            if !f(obj) {
                return;
            }
            // SAFETY: As above.
            pos = unsafe { (*pos).next };
        }
    }
}

/// Runs a callback of the C side with its arguments in the form of this file.
///
/// # Safety
///
/// `ctx` is the context that [`GpuVm::run`] passed in.
unsafe fn with_context<T: DriverGpuVm>(
    ctx: *mut c_void,
    f: impl FnOnce(&mut Context<'_, T>) -> Result,
) -> c_int {
    // SAFETY: The caller promises it; nobody else uses the context during a callback.
    let ctx = unsafe { &mut *ctx.cast::<Context<'_, T>>() };
    from_result(|| {
        f(ctx)?;
        Ok(0)
    })
}

/// Takes back a mapping that the address space does not know any more.
///
/// # Safety
///
/// `va` is a `Va<T>` that was linked and has been removed.
unsafe fn unlink<T: DriverGpuVm>(va: *mut bindings::drm_gpuva) -> KBox<Va<T>> {
    // SAFETY: The caller promises it. The reference on the relation is given up later.
    unsafe {
        bindings::drm_gpuva_unlink_defer(va);
        KBox::from_raw(va.cast::<Va<T>>())
    }
}

/// `sm_step_map` of `struct drm_gpuvm_ops`.
///
/// # Safety
///
/// To be called by the GPUVM core only.
pub(super) unsafe extern "C" fn step_map_callback<T>(
    op: *mut bindings::drm_gpuva_op,
    ctx: *mut c_void,
) -> c_int
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The core calls this during `GpuVm::map()`, for a step of the kind map.
    unsafe {
        with_context::<T>(ctx, |ctx| {
            let op = &mut (*op).__bindgen_anon_1.map;
            // There is one such step, for all of the mapping.
            let (vm_bo, step) = ctx.map.as_ref().ok_or(EINVAL)?;
            op.gem.offset = step.offset;

            let mut va = Prealloc::take_va(ctx.vas)?;
            va.mapping = Some(step.mapping);
            T::map(&mut ctx.op, step)?;
            bindings::drm_gpuva_map(ctx.op.vm.as_raw(), va.va.get(), op);
            Va::link(va, vm_bo.0.as_ptr());
            Ok(())
        })
    }
}

/// The part of a mapping that a step of the kind remap keeps at one side.
///
/// # Safety
///
/// `op` is null or valid.
unsafe fn part<T: DriverGpuVm>(
    op: *mut bindings::drm_gpuva_op_map,
    mapping: T::Mapping,
) -> Option<Part> {
    // SAFETY: The caller promises it.
    let op = unsafe { op.as_mut() }?;
    op.gem.offset = T::offset(mapping, op.va.addr, op.gem.offset);
    Some(Part {
        addr: op.va.addr,
        range: op.va.range,
        offset: op.gem.offset,
    })
}

/// `sm_step_remap` of `struct drm_gpuvm_ops`.
///
/// # Safety
///
/// To be called by the GPUVM core only.
pub(super) unsafe extern "C" fn step_remap_callback<T>(
    op: *mut bindings::drm_gpuva_op,
    ctx: *mut c_void,
) -> c_int
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The core calls this during an operation, for a step of the kind remap.
    unsafe {
        with_context::<T>(ctx, |ctx| {
            let op = &(*op).__bindgen_anon_1.remap;
            let old_ptr = (*op.unmap).va;
            let old = Va::<T>::from_raw(old_ptr);
            let mapping = old.mapping()?;
            let prev = part::<T>(op.prev, mapping);
            let next = part::<T>(op.next, mapping);

            let mut new_prev = match prev {
                Some(_) => Some(Prealloc::take_va(ctx.vas)?),
                None => None,
            };
            let mut new_next = match next {
                Some(_) => Some(Prealloc::take_va(ctx.vas)?),
                None => None,
            };

            if !old.is_evicted() {
                ctx.bound.ok_or(ENODEV)?;
                let start = prev.map_or(old.addr(), |p| p.addr + p.range);
                let end = next.map_or(old.addr() + old.range(), |p| p.addr);
                // Not evicted, the operation lock is held and the device there: the memory stays.
                let obj = Object::<ObjectOf<T>>::from_raw(old.object());
                T::remap(
                    &mut ctx.op,
                    &RemapStep {
                        addr: start,
                        range: end - start,
                        prev,
                        next,
                        mapping,
                        segments: stable_segments(obj).ok_or(ENODEV)?,
                    },
                )?;
            }

            for va in [&mut new_prev, &mut new_next].into_iter().flatten() {
                va.mapping = Some(mapping);
                va.evicted.store(old.is_evicted(), Relaxed);
            }
            let raw = |va: &mut Option<KBox<Va<T>>>| {
                va.as_mut().map_or(core::ptr::null_mut(), |va| va.va.get())
            };
            let vm_bo = (*old.va.get()).vm_bo;
            bindings::drm_gpuva_remap(raw(&mut new_prev), raw(&mut new_next), op);
            for va in [new_prev, new_next].into_iter().flatten() {
                Va::link(va, vm_bo);
            }
            Prealloc::put_va(ctx.vas, unlink(old_ptr));
            Ok(())
        })
    }
}

/// `sm_step_unmap` of `struct drm_gpuvm_ops`.
///
/// # Safety
///
/// To be called by the GPUVM core only.
pub(super) unsafe extern "C" fn step_unmap_callback<T>(
    op: *mut bindings::drm_gpuva_op,
    ctx: *mut c_void,
) -> c_int
where
    T: DriverGpuVm,
    ObjectOf<T>: DriverObject<Vm = T>,
{
    // SAFETY: The core calls this during an operation, for a step of the kind unmap.
    unsafe {
        with_context::<T>(ctx, |ctx| {
            let op = &(*op).__bindgen_anon_1.unmap;
            let old = Va::<T>::from_raw(op.va);
            if !old.is_evicted() {
                T::unmap(&mut ctx.op, old.addr(), old.range());
            }
            bindings::drm_gpuva_unmap(op);
            ctx.removed.push(NonNull::new_unchecked(op.va).cast());
            Ok(())
        })
    }
}
