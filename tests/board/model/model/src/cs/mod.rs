// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command streams: instructions, their execution, and what of it outlives a slot.

pub mod env;
pub mod instr;
pub mod rng;
