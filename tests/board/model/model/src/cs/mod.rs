// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Command streams: instructions, their execution, and what of it outlives a slot.

pub mod disasm;
pub mod env;
mod exec;
pub mod flat;
pub mod fuzz;
pub mod instr;
pub mod rng;
pub mod scoreboard;
pub mod speed;
pub mod state;
pub mod suspend;

pub use exec::settle;
pub use state::{Outcome, Ring, Stream};

#[cfg(test)]
mod tests;
