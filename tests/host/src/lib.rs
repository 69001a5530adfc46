// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Files of the driver that use nothing of the kernel, as they are, and what tests them here.

#![forbid(unsafe_code)]

#[allow(dead_code)] // What only the driver uses.
#[path = "../../../panthor_fw/image.rs"]
mod image;
#[allow(dead_code)]
#[path = "../../../panthor_fw/layout.rs"]
mod layout;
#[path = "../../../panthor_fw/request.rs"]
mod request;
#[allow(dead_code)]
#[path = "../../../panthor_fw/timer.rs"]
mod timer;

pub mod images;

#[cfg(test)]
mod image_tests;
#[cfg(test)]
mod layout_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod timer_tests;
