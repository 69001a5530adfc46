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
            gem::{self, Busy, DmaBufOps, Locked, Object},
            gpuvm::{DriverGpuVm, GpuVm, MapStep, MappingsLocked, Op, RemapStep, Reserve},
            ioctl, Device, DmaLimits, DriverInfo, Printer, Registration, UnregisteredDevice,
        },
        kunit::BoundDevice,
        mm_vma::{IoPage, MmapRequest},
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

        fn try_evict(obj: &Locked<'_, Self>, _busy: &mut Busy) -> bool {
            obj.try_evict().is_ok()
        }
    }

    struct FakeVm;

    #[derive(Default)]
    struct NoReserve;

    impl Reserve for NoReserve {
        fn len(&self) -> usize {
            0
        }

        fn fill(&mut self, _len: usize) -> Result {
            Ok(())
        }

        fn trim(&mut self) {}
    }

    impl DriverGpuVm for FakeVm {
        type Driver = Fake;
        type State = ();
        type Mapping = ();
        type Reserve = NoReserve;

        fn release(&self, _dev: &FakeDevice, _state: &mut ()) -> Option<ARef<GpuVm<Self>>> {
            None
        }

        fn demand_of_map(
            _state: &mut (),
            _step: &MapStep<'_, Self>,
            _reserve: &NoReserve,
        ) -> Result<usize> {
            Ok(0)
        }

        fn demand_of_cut(_state: &mut (), _addr: u64) -> usize {
            0
        }

        fn begin(_op: &mut Op<'_, Self>, _addr: u64, _range: u64) -> Result {
            Ok(())
        }

        fn end(_op: &mut Op<'_, Self>) -> Result {
            Ok(())
        }

        fn map(_op: &mut Op<'_, Self>, _step: &MapStep<'_, Self>) -> Result {
            Ok(())
        }

        fn unmap(_op: &mut Op<'_, Self>, _addr: u64, _range: u64) {}

        fn remap(_op: &mut Op<'_, Self>, _step: &RemapStep<'_, Self>) -> Result {
            Ok(())
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
}
