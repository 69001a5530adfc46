// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The layer under the driver, with another driver on it: one that forgets all it can.

use kernel::prelude::*;

#[kunit_tests(panthor_layer)]
mod tests {
    use crate::kernel_ext::{
        drm::{
            self,
            debugfs::File as DebugfsFile,
            driver::{MmapKind, FEAT_GEM, FEAT_RENDER},
            gem::{self, Busy, DmaBufOps, Locked, Object, Pinned},
            gpuvm::{
                DriverGpuVm, EvictError, GpuVm, Keeper, MapRequest, MapStep, MappingsLocked, Op,
                RemapStep, Reserve,
            },
            ioctl, Device, DmaLimits, DriverInfo, Printer, Registration, UnregisteredDevice,
        },
        kunit::BoundDevice,
        mm_vma::{IoPage, MmapRequest},
        pid::Pid,
        shrinker::{Count, Scanned, Shrink, ShrinkControl},
    };
    use kernel::{
        dma::DmaMask,
        prelude::*,
        sync::{
            aref::ARef,
            atomic::{Atomic, Relaxed},
            Arc, ArcBorrow,
        },
    };

    struct Fake;

    /// How often the device was switched off, and what was to be seen then.
    struct Seen {
        power_offs: Atomic<u32>,
        could_enter: Atomic<bool>,
        resident: Atomic<u32>,
    }

    type FakeDevice = Device<Fake>;

    impl drm::Driver for Fake {
        type Module = crate::DriverModule;
        type Data = Arc<Seen>;
        type File = ();
        type Object = FakeObject;

        const INFO: DriverInfo = DriverInfo {
            major: 0,
            minor: 0,
            patchlevel: 0,
            name: c"panthor-kunit",
            desc: c"Driver of a KUnit test",
        };
        const FEATURES: u32 = FEAT_RENDER | FEAT_GEM;
        const IOCTLS: &'static [ioctl::Entry<Self>] = &[];
        const DEBUGFS_FILES: &'static [DebugfsFile<Self>] = &[];

        fn power_off(dev: &FakeDevice) {
            dev.power_offs.add(1, Relaxed);
            dev.could_enter.store(dev.enter().is_some(), Relaxed);
            dev.objects().for_each(|obj| {
                dev.resident.add(u32::from(obj.looks_resident()), Relaxed);
            });
        }

        fn open(_dev: &FakeDevice) -> Result<Arc<()>> {
            Err(EACCES)
        }

        fn opener(_file: &()) -> Option<&Pid> {
            None
        }

        fn postclose(_dev: &FakeDevice, _file: Arc<()>) {}

        fn show_fdinfo(_dev: &FakeDevice, _file: &drm::File<Self>, _p: &Printer<'_>) {}

        fn mmap(_: &FakeDevice, _: &drm::File<Self>, _: &MmapRequest<'_>) -> Result<MmapKind> {
            Err(EACCES)
        }

        fn io_page(_dev: &FakeDevice, _offset: u64) -> Result<IoPage> {
            Err(EACCES)
        }
    }

    impl Shrink for FakeDevice {
        const NAME: &'static CStr = c"panthor-kunit";

        fn count(&self, _control: ShrinkControl<'_>) -> Count {
            Count::Empty
        }

        fn scan(&self, _control: ShrinkControl<'_>) -> Scanned {
            Scanned::Stop
        }
    }

    struct FakeObject;

    static DMA_BUF_OPS: DmaBufOps<FakeObject> = DmaBufOps::new();

    impl gem::DriverObject for FakeObject {
        type Driver = Fake;
        type Vm = FakeVm;
        const DMA_BUF_OPS: &'static DmaBufOps<Self> = &DMA_BUF_OPS;

        fn for_import() -> impl PinInit<Self, Error> {
            Ok(Self)
        }

        fn open(_obj: ARef<Object<Self>>, _file: ArcBorrow<'_, ()>) -> Result {
            Ok(())
        }

        fn close(_obj: &Object<Self>, _file: ArcBorrow<'_, ()>) {}

        fn map_wc(_obj: &Object<Self>) -> bool {
            false
        }

        fn may_mmap(_obj: &Object<Self>) -> Result {
            Ok(())
        }

        fn may_export(_obj: &Object<Self>) -> Result {
            Ok(())
        }

        fn state_changed(_obj: &Locked<'_, Self>, _mappings: &MappingsLocked<'_, Self>) {}

        fn try_evict(obj: &Locked<'_, Self>, _busy: &mut Busy) -> Result<(), EvictError> {
            obj.try_evict()
        }
    }

    struct FakeVm;

    const TABLES_OF_A_MAPPING: usize = 3;

    /// How many tables are set aside.
    #[derive(Default)]
    struct Tables(usize);

    impl Tables {
        fn take(&mut self, count: usize) -> Result {
            self.0 = self.0.checked_sub(count).ok_or(ENOMEM)?;
            Ok(())
        }
    }

    impl Reserve for Tables {
        fn len(&self) -> usize {
            self.0
        }

        fn fill(&mut self, len: usize) -> Result {
            self.0 = self.0.max(len);
            Ok(())
        }

        fn trim(&mut self) {
            self.0 = self.0.min(1);
        }
    }

    impl DriverGpuVm for FakeVm {
        type Driver = Fake;
        type State = ();
        type Mapping = ();
        type Reserve = Tables;

        fn release(&self, _dev: &FakeDevice, _state: &mut ()) -> Option<ARef<GpuVm<Self>>> {
            None
        }

        fn demand_of_map(_step: &MapStep<'_, Self>) -> Result<usize> {
            Ok(TABLES_OF_A_MAPPING)
        }

        fn may_map(_op: &mut Op<'_, Self>) -> Result {
            Ok(())
        }

        fn begin(_op: &mut Op<'_, Self>, _addr: u64, _range: u64) -> Result {
            Ok(())
        }

        fn end(_op: &mut Op<'_, Self>) -> Result {
            Ok(())
        }

        fn map(op: &mut Op<'_, Self>, _step: &MapStep<'_, Self>) -> Result {
            op.reserve.take(TABLES_OF_A_MAPPING)
        }

        fn unmap(_op: &mut Op<'_, Self>, _addr: u64, _range: u64) {}

        fn remap(op: &mut Op<'_, Self>, step: &RemapStep<'_, Self>) -> Result {
            let ends = usize::from(step.prev.is_some()) + usize::from(step.next.is_some());
            op.reserve.take(ends)
        }
    }

    fn new_device(bus: &BoundDevice) -> Result<(UnregisteredDevice<Fake>, Arc<Seen>)> {
        let seen = Arc::new(
            Seen {
                power_offs: Atomic::new(0),
                could_enter: Atomic::new(false),
                resident: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;
        let limits = DmaLimits {
            mask: DmaMask::new::<32>(),
            max_segment: u32::MAX,
        };
        let dev = UnregisteredDevice::new(bus.device(), limits, Ok::<_, Error>(seen.clone()))?;
        Ok((dev, seen))
    }

    fn new_object(dev: &FakeDevice) -> Result<ARef<Object<FakeObject>>> {
        Object::new(
            dev,
            kernel::page::PAGE_SIZE,
            None,
            Ok::<_, Error>(FakeObject),
        )
    }

    #[test]
    fn entered_while_registered() -> Result {
        let bus = BoundDevice::new(c"panthor-kunit-registered")?;
        let (unregistered, _) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        assert!(dev.enter().is_none());
        Registration::add(bus.device(), unregistered)?;
        assert!(dev.enter().is_some());
        drop(bus);
        assert!(dev.enter().is_none());
        Ok(())
    }

    #[test]
    fn not_entered_if_never_registered() -> Result {
        let bus = BoundDevice::new(c"panthor-kunit-given-up")?;
        let (unregistered, seen) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        drop(unregistered);
        assert!(dev.enter().is_none());
        drop(bus);
        assert!(dev.enter().is_none());
        assert_eq!(seen.power_offs.load(Relaxed), 1);
        Ok(())
    }

    #[test]
    fn registered_below_its_own_device() -> Result {
        let bus = BoundDevice::new(c"panthor-kunit-bus")?;
        let other = BoundDevice::new(c"panthor-kunit-other")?;
        let (unregistered, _) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        assert_eq!(Registration::add(other.device(), unregistered), Err(EINVAL));
        assert!(dev.enter().is_none());
        Ok(())
    }

    #[test]
    fn unbind_takes_what_is_left() -> Result {
        let bus = BoundDevice::new(c"panthor-kunit-unbind")?;
        let (unregistered, seen) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        Registration::add(bus.device(), unregistered)?;

        let used = new_object(&dev)?;
        used.lock().dma_map()?;
        assert!(used.looks_resident());
        let unused = new_object(&dev)?;

        drop(bus);
        // Once, after the last section and before the memory went.
        assert_eq!(seen.power_offs.load(Relaxed), 1);
        assert!(!seen.could_enter.load(Relaxed));
        assert_eq!(seen.resident.load(Relaxed), 1);
        assert!(!used.looks_resident());
        for obj in [used, unused] {
            assert_eq!(obj.lock().dma_map(), Err(ENODEV));
        }
        // Those that come too late get none.
        assert_eq!(new_object(&dev)?.lock().dma_map(), Err(ENODEV));
        Ok(())
    }
    /// What the scan found in the list of those that are not mapped has been mapped since, and the GPU
    /// uses it.
    #[cfg(CONFIG_DRM_PANTHOR_RS_TEST)]
    #[test]
    fn mapped_since_it_was_listed() -> Result {
        use crate::kernel_ext::test_fence::TestFence;

        let bus = BoundDevice::new(c"panthor-kunit-listed")?;
        let (unregistered, _) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        Registration::add(bus.device(), unregistered)?;
        let obj = new_object(&dev)?;
        let busy = TestFence::new()?;
        obj.lock().add_fence(&busy)?;

        // Somebody else's with the same lock, as far as this one is concerned.
        obj.lock().dma_map()?;
        assert_eq!(obj.lock().try_evict_idle(&mut Busy::Unmapped), Ok(()));
        assert!(!obj.looks_resident());

        let vm = GpuVm::new(&dev, c"panthor-kunit", 1 << 32, (), Ok::<_, Error>(FakeVm))?;
        let vm = Keeper::new(vm);
        let relation = vm.relate(Pinned::new(obj.clone())?)?;
        let req = MapRequest {
            addr: 1 << 20,
            range: kernel::page::PAGE_SIZE as u64,
            offset: 0,
            mapping: (),
            relation,
        };
        let mut op = vm.prepare_map(req, &dev.enter().ok_or(ENODEV)?)?;
        vm.commit(&mut op, &dev.enter().ok_or(ENODEV)?)?;
        drop(op);
        vm.clean_up();
        let evict = || obj.lock().try_evict_idle(&mut Busy::Unmapped);
        assert_eq!(evict(), Err(EvictError::Busy));
        assert!(obj.looks_resident());
        drop(busy);
        assert_eq!(evict(), Ok(()));
        assert!(!obj.looks_resident());
        vm.unmap_all();
        Ok(())
    }
    /// What was prepared is enough, whoever commits it and whatever is mapped by then.
    #[test]
    fn prepared_long_before() -> Result {
        const PAGE: u64 = kernel::page::PAGE_SIZE as u64;

        fn for_any_thread<T: Send>(op: T) -> T {
            op
        }

        let bus = BoundDevice::new(c"panthor-kunit-prepared")?;
        let (unregistered, _) = new_device(&bus)?;
        let dev = unregistered.device().clone();
        Registration::add(bus.device(), unregistered)?;
        let enter = dev.enter().ok_or(ENODEV)?;
        let size = 8 * kernel::page::PAGE_SIZE;
        let obj = Object::new(&dev, size, None, Ok::<_, Error>(FakeObject))?;
        let new_vm = || GpuVm::new(&dev, c"panthor-kunit", 1 << 32, (), Ok::<_, Error>(FakeVm));
        let vm = Keeper::new(new_vm()?);
        let other = Keeper::new(new_vm()?);
        let map = |page: u64, pages: u64| {
            let req = MapRequest {
                addr: page * PAGE,
                range: pages * PAGE,
                offset: 0,
                mapping: (),
                relation: vm.relate(Pinned::new(obj.clone())?)?,
            };
            vm.prepare_map(req, &enter).map(for_any_thread)
        };

        // The later ones cut what the first one makes, at both ends or at one.
        let mut ops = KVec::new();
        ops.push(map(10, 8)?, GFP_KERNEL)?;
        ops.push(map(12, 2)?, GFP_KERNEL)?;
        ops.push(map(9, 2)?, GFP_KERNEL)?;
        ops.push(vm.prepare_unmap(15 * PAGE, PAGE)?, GFP_KERNEL)?;
        let mut all = map(0, 8)?;
        assert_eq!(other.commit(&mut all, &enter), Err(EINVAL));
        for op in &mut ops {
            vm.commit(op, &enter)?;
        }
        vm.commit(&mut all, &enter)?;

        let mut mapped = 0;
        vm.lock().for_each_object(|_| {
            mapped += 1;
            true
        });
        // 0 to 7; 9 and 10; 11, 14, 16 and 17 of the first one; 12 and 13.
        assert_eq!(mapped, 6);
        assert!(vm.prepare_unmap(PAGE, 0).is_err());
        assert!(vm.prepare_unmap(u64::MAX, 2).is_err());
        drop((ops, all));
        vm.clean_up();
        vm.unmap_all();
        Ok(())
    }
}
