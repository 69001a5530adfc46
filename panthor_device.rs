// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Probe and unbind, and what the driver keeps for each device.

use crate::{
    kernel_ext::{
        drm::{DmaLimits, Registration, UnregisteredDevice},
        property, shrinker, sysfs,
    },
    panthor_fw::Fw,
    panthor_gem::{self, GemDevice},
    panthor_gpu::{Gpu, GpuInfo},
    panthor_irq,
    panthor_mmu::{slots::AsSlots, MmuDevice},
    panthor_power::Power,
    panthor_regs::{Regs, WINDOW_SIZE},
    panthor_sysfs, PanthorDevice, PanthorDriver,
};
use kernel::{
    clk::Hertz,
    device::{self, Bound, Core},
    devres::{self, Devres},
    dma::DmaMask,
    new_mutex, of, platform,
    prelude::*,
    sync::{aref::ARef, Arc, Mutex},
};

/// The driver's data in the DRM device.
///
/// It may live longer than the device is bound.
#[pin_data]
pub(crate) struct PanthorData {
    /// What the GPU is.
    pub(crate) info: GpuInfo,
    /// Registers; they are gone when the device was unbound.
    pub(crate) regs: Arc<Regs>,
    /// Caches, power, reset.
    pub(crate) gpu: Arc<Gpu>,
    /// Address spaces and their slots.
    #[pin]
    pub(crate) mmu: MmuDevice,
    /// Buffers.
    #[pin]
    pub(crate) gem: GemDevice,
    /// The microcontroller.
    pub(crate) fw: Arc<Fw>,
    /// Rates of the core clock.
    pub(crate) freq: Frequencies,
}

/// Rates of the core clock, which do not change without devfreq.
#[derive(Clone, Copy)]
pub(crate) struct Frequencies {
    /// Now.
    pub(crate) current: Hertz,
    /// At the fastest operating point.
    pub(crate) max: Hertz,
}

/// The driver's data in the platform device.
#[pin_data]
pub(crate) struct PlatformData {
    dev: ARef<PanthorDevice>,
    /// The registration with user space; `None` once it was unplugged.
    #[pin]
    registration: Mutex<Option<Devres<Registration<PanthorDriver>>>>,
    /// The attributes; `None` once they were removed.
    #[pin]
    attributes: Mutex<Option<Devres<sysfs::Group<ARef<PanthorDevice>>>>>,
    /// Gives memory up when the kernel is short of it; `None` once the device was unplugged.
    #[pin]
    shrinker: Mutex<Option<shrinker::Registration<PanthorDevice>>>,
}

/// What a device needs besides what all of them do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// A hash of addresses over the slices of the L2 cache, set before it has power, and the bitmap
    /// of shader cores that nvmem has. It has the compatible string of all others as well, so it is
    /// named here to be refused.
    HashAndFuses,
}

kernel::of_device_table!(
    OF_TABLE,
    <PanthorPlatformDriver as platform::Driver>::IdInfo,
    [
        (of::DeviceId::new(c"rockchip,rk3588-mali"), Needs::Nothing),
        (of::DeviceId::new(c"arm,mali-valhall-csf"), Needs::Nothing),
        (
            of::DeviceId::new(c"mediatek,mt8196-mali"),
            Needs::HashAndFuses
        )
    ]
);

/// The platform driver.
pub(crate) struct PanthorPlatformDriver;

/// A device that others know of, and what ends that when it is dropped.
struct Known {
    dev: ARef<PanthorDevice>,
    shrinker: shrinker::Registration<PanthorDevice>,
    attributes: Devres<sysfs::Group<ARef<PanthorDevice>>>,
    registration: Devres<Registration<PanthorDriver>>,
}

impl PanthorPlatformDriver {
    /// Switches the device on, finds out what it is, and makes it known.
    fn bring_up(pdev: &platform::Device<Core<'_>>) -> Result<Known> {
        let dev = pdev.as_ref();
        let power = Power::new(dev)?;
        let freq = Frequencies {
            current: power.current_freq(),
            max: power.max_freq(),
        };
        // What follows goes before it, the interrupts too: others on their lines, and
        // CONFIG_DEBUG_SHIRQ, have the handlers read registers up to the end.
        devres::register(dev, power, GFP_KERNEL)?;

        let window = pdev.resource_by_index(0).ok_or(ENODEV)?;
        let io = pdev
            .io_request_by_index(0)
            .ok_or(ENODEV)?
            .iomap_sized::<WINDOW_SIZE>()?
            .into_devres()?;
        let regs = Arc::new(Regs::new(io, window)?, GFP_KERNEL)?;

        let mut info = GpuInfo::read(&regs)?;
        info.log(dev);
        info.select_coherency(property::is_dma_coherent(dev))
            .inspect_err(|_| dev_err!(dev, "The GPU cannot be coherent, as the bus wants it\n"))?;

        let limits = DmaLimits {
            mask: DmaMask::try_new(info.pa_bits())?,
            max_segment: u32::MAX,
        };
        let gpu = Arc::pin_init(Gpu::new(dev.into(), regs.clone(), &info), GFP_KERNEL)?;
        let slots = Arc::pin_init(
            AsSlots::new(
                dev.into(),
                regs.clone(),
                gpu.clone(),
                info.uapi().as_present,
            ),
            GFP_KERNEL,
        )?;

        let coherent = info.is_coherent();
        let shrinker = shrinker::Unregistered::new()?;
        let of_lists = &shrinker;
        let fw = Arc::pin_init(Fw::new(regs.clone()), GFP_KERNEL)?;
        let drm_dev = UnregisteredDevice::<PanthorDriver>::new(
            dev,
            limits,
            try_pin_init!(PanthorData {
                info,
                regs,
                gpu,
                mmu <- MmuDevice::new(slots),
                gem <- GemDevice::new(coherent, of_lists),
                fw,
                freq,
            }? Error),
        )?;
        let data = drm_dev.device().clone();
        panthor_gem::use_huge_pages(&drm_dev);

        panthor_irq::request(pdev, c"gpu", c"panthor-gpu", data.gpu.clone())?;
        panthor_irq::request(pdev, c"job", c"panthor-job", data.fw.clone())?;
        panthor_irq::request(pdev, c"mmu", c"panthor-mmu", data.mmu.slots.clone())?;

        Self::make_known(dev, data.clone(), drm_dev, shrinker).inspect_err(|_| take_apart(&data))
    }

    /// Powers the GPU up and tells everybody about it; user space comes last.
    fn make_known(
        parent: &device::Device<Bound>,
        dev: ARef<PanthorDevice>,
        unregistered: UnregisteredDevice<PanthorDriver>,
        shrinker: shrinker::Unregistered<PanthorDevice>,
    ) -> Result<Known> {
        dev.gpu.resume()?;
        dev.mmu.slots.resume()?;

        let shrinker = shrinker.register(dev.clone());
        let attributes = panthor_sysfs::add(parent, dev.clone())?;
        let registration = Registration::new(parent, unregistered)?;

        Ok(Known {
            dev,
            shrinker,
            attributes,
            registration,
        })
    }
}

/// Ends all that the device does for address spaces and buffers, and switches it off. Nobody may
/// enter any more.
fn take_apart(dev: &PanthorDevice) {
    if let Err(err) = dev.detach_memory(|| dev.switch_off()) {
        dev_err!(dev.parent(), "Memory stays mapped for DMA: {err:?}\n");
    }
}

impl PanthorData {
    /// Leaves the GPU without power and silent.
    fn switch_off(&self) {
        // It may not answer any more. With its L2 cache off, or after a reset, the GPU does not
        // write to memory; clocks and supplies go next in any case.
        let _ = self.mmu.slots.suspend();
        let _ = self.gpu.suspend();
        self.mmu.slots.powered_off();
    }
}

impl platform::Driver for PanthorPlatformDriver {
    type IdInfo = Needs;
    type Data<'bound> = PlatformData;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        needs: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            if needs == Some(&Needs::HashAndFuses) {
                dev_err!(
                    pdev,
                    "GPUs with an ASN hash and a shader-present cell are not supported\n"
                );
                return Err(EOPNOTSUPP);
            }
            let known = Self::bring_up(pdev)?;

            Ok(try_pin_init!(PlatformData {
                dev: known.dev,
                attributes <- new_mutex!(Some(known.attributes)),
                registration <- new_mutex!(Some(known.registration)),
                shrinker <- new_mutex!(Some(known.shrinker)),
            }? Error))
        })
    }

    fn unbind<'bound>(_pdev: &'bound platform::Device<Core<'_>>, this: Pin<&PlatformData>) {
        // First nobody may enter any more; the lock is not held while those inside leave.
        let registration = this.registration.lock().take();
        drop(registration);

        // Writes to them that wait for something end when there is no device any more.
        let attributes = this.attributes.lock().take();
        drop(attributes);

        // No buffer may be given up while all are taken apart.
        drop(this.shrinker.lock().take());
        take_apart(&this.dev);
    }
}
