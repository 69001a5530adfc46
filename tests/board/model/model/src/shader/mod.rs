// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The shader cores: what RUN_COMPUTE and RUN_FRAGMENT start.

pub mod exec;
pub mod isa;
pub mod job;

pub use exec::Compute;
