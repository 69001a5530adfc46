// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Probe and unbind, and what the driver keeps for each device.

use crate::{
    kernel_ext::drm::{Registration, UnregisteredDevice},
    PanthorDriver,
};
use kernel::{device::Core, devres::Devres, new_mutex, of, platform, prelude::*, sync::Mutex};

/// The driver's data in the DRM device.
#[pin_data]
pub(crate) struct PanthorData {}

/// The driver's data in the platform device.
#[pin_data]
pub(crate) struct PlatformData {
    /// The registration with user space; `None` once it was unplugged.
    #[pin]
    registration: Mutex<Option<Devres<Registration<PanthorDriver>>>>,
}

kernel::of_device_table!(
    OF_TABLE,
    <PanthorPlatformDriver as platform::Driver>::IdInfo,
    [
        (of::DeviceId::new(c"rockchip,rk3588-mali"), ()),
        (of::DeviceId::new(c"arm,mali-valhall-csf"), ()),
        (of::DeviceId::new(c"mediatek,mt8196-mali"), ())
    ]
);

/// The platform driver.
pub(crate) struct PanthorPlatformDriver;

impl platform::Driver for PanthorPlatformDriver {
    type IdInfo = ();
    type Data<'bound> = PlatformData;
    const OF_ID_TABLE: Option<of::IdTable<Self::IdInfo>> = Some(&OF_TABLE);

    fn probe<'bound>(
        pdev: &'bound platform::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let dev = UnregisteredDevice::<PanthorDriver>::new(
                pdev.as_ref(),
                try_pin_init!(PanthorData {}? Error),
            )?;
            let registration = Registration::new(pdev.as_ref(), dev)?;

            Ok(try_pin_init!(PlatformData {
                registration <- new_mutex!(Some(registration)),
            }? Error))
        })
    }

    fn unbind<'bound>(_pdev: &'bound platform::Device<Core<'_>>, this: Pin<&PlatformData>) {
        let registration = this.registration.lock().take();
        drop(registration);
    }
}
