// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The instruction set of the shader cores: Valhall, architecture 10.

pub mod decode;
pub mod disasm;
pub mod fields;
pub mod op;
pub mod rows;
pub mod table;

#[cfg(test)]
mod tests;
