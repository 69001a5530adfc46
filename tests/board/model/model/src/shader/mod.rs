// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The shader cores: what RUN_COMPUTE and RUN_FRAGMENT start.
//!
//! [`Compute`] and [`Fragment`] are jobs in execution: plain data, which goes on whenever `run` is
//! called with the memory of its address space.

pub mod exec;
pub mod fragment;
pub mod fuzz;
pub mod isa;
pub mod job;
pub mod layout;
pub mod speed;

pub use exec::Compute;
pub use fragment::Fragment;
