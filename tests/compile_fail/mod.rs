// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! What a driver must not be able to write. `run` builds the driver with this in it, and looks
//! whether the compiler finds each line that ends with `//~` and the code of an error, and no other.

mod bound;
mod dma;
mod ioctls;
mod unbind;
