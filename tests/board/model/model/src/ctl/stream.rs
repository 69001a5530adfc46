// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a command stream in memory says.

use crate::cs::disasm;
use crate::device::Gpu;
use crate::mmu::fault::Kind;

/// Largest piece of a stream, in bytes: a ring.
pub const MAX_STREAM: u64 = 64 << 10;

/// A line for each instruction of `len` bytes at `va`, without any effect on the device.
pub fn stream(gpu: &Gpu, n: usize, va: u64, len: u64) -> Result<String, String> {
    let mut words = Vec::new();
    for at in (va..va.saturating_add(len)).step_by(8) {
        let (leaf, _) = gpu
            .mmu
            .peek(&gpu.env, n, at, Kind::Read)
            .map_err(|fault| format!("fault {:#x} va {at:#x}", fault.code()))?;
        let pa = leaf.pa + (at - leaf.va);
        words.push(gpu.env.ram.read_u64(pa).ok_or("outside memory")?);
    }
    let mut out = String::new();
    for line in disasm::lines(va, &words) {
        out += &line;
        out.push('\n');
    }
    Ok(out)
}
