// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Probe and unbind, and what the driver keeps for each device.

use crate::{
    kernel_ext::{
        drm::{DmaLimits, Registration, UnregisteredDevice},
        property,
    },
    panthor_fw::Fw,
    panthor_gem::{self, GemDevice},
    panthor_gpu::{Gpu, GpuInfo},
    panthor_irq,
    panthor_mmu::{slots::AsSlots, MmuDevice},
    panthor_power::Power,
    panthor_regs::{Regs, WINDOW_SIZE},
    panthor_sysfs, PanthorDriver,
};
use kernel::{clk::Hertz, device::Core, devres, dma::DmaMask, of, platform, prelude::*, sync::Arc};

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

impl PanthorPlatformDriver {
    /// Switches the device on, finds out what it is, and makes it known. All of it ends in the opposite
    /// order when the device is unbound, or something fails.
    fn bring_up(pdev: &platform::Device<Core<'_>>) -> Result {
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

        let fw = Arc::pin_init(Fw::new(dev.into(), regs.clone()), GFP_KERNEL)?;

        // Before there is a device: interrupts are there until it is switched off.
        panthor_irq::request(pdev, c"gpu", c"panthor-gpu", gpu.clone())?;
        panthor_irq::request(pdev, c"job", c"panthor-job", fw.clone())?;
        panthor_irq::request(pdev, c"mmu", c"panthor-mmu", slots.clone())?;

        let coherent = info.is_coherent();
        let unregistered = UnregisteredDevice::<PanthorDriver>::new(
            dev,
            limits,
            try_pin_init!(PanthorData {
                info,
                regs,
                gpu,
                mmu: MmuDevice { slots },
                gem <- GemDevice::new(coherent),
                fw,
                freq,
            }? Error),
        )?;
        panthor_gem::use_huge_pages(&unregistered);
        let data = unregistered.device().clone();
        data.gpu.resume()?;
        data.mmu.slots.resume()?;
        data.fw.start(&unregistered.enter(dev)?)?;

        // User space comes last. It goes first: writes to attributes that wait for something end
        // when there is no device any more.
        panthor_sysfs::add(dev, data)?;
        Registration::add(dev, unregistered)
    }
}

impl PanthorData {
    /// Leaves the GPU without power and silent.
    pub(crate) fn switch_off(&self) {
        // It may not answer any more. With its L2 cache off, or after a reset, the GPU does not
        // write to memory; clocks and supplies go next in any case.
        self.fw.stop();
        let flushed = self.mmu.slots.suspend().is_ok();
        let _ = self.gpu.suspend(flushed);
        self.mmu.slots.powered_off();
        self.fw.unload();
    }
}

impl platform::Driver for PanthorPlatformDriver {
    type IdInfo = Needs;
    type Data<'bound> = Self;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        needs: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        if needs == Some(&Needs::HashAndFuses) {
            dev_err!(
                pdev,
                "GPUs with an ASN hash and a shader-present cell are not supported\n"
            );
            return Err(EOPNOTSUPP);
        }
        Self::bring_up(pdev).map(|()| Self)
    }
}
