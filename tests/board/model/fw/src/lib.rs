// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The free firmware image of the simulated board: its file format (section 4 of the fact sheet)
//! and what the model's microcontroller expects to find in memory once a driver has loaded it.
//!
//! There is no Cortex-M7 code in it. The code section holds a header that lets the microcontroller
//! prove that the driver copied and mapped every section rightly.

#![forbid(unsafe_code)]

pub mod image;
pub mod payload;
