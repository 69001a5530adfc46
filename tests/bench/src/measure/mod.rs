// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What measures, in the guest. Every figure is a line on standard output; `crate::read` reads
//! them.

pub mod calls;
pub mod clock;
pub mod drivers;
