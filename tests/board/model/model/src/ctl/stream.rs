// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a command stream or a shader in memory says.

use crate::cs::disasm;
use crate::device::Gpu;
use crate::mmu::fault::Kind;
use crate::shader::isa::disasm::instruction;

/// Largest piece of a stream, in bytes: a ring.
pub const MAX_STREAM: u64 = 64 << 10;

/// Reads double words, without any effect on the device.
fn words(gpu: &Gpu, n: usize, va: u64, len: u64) -> Result<Vec<u64>, String> {
    let mut words = Vec::new();
    for at in (va..va.saturating_add(len)).step_by(8) {
        let (leaf, _) = gpu
            .mmu
            .peek(&gpu.env, n, at, Kind::Read)
            .map_err(|fault| format!("fault {:#x} va {at:#x}", fault.code()))?;
        let pa = leaf.pa + (at - leaf.va);
        words.push(gpu.env.ram.read_u64(pa).ok_or("outside memory")?);
    }
    Ok(words)
}

/// A line for each instruction of `len` bytes of a stream at `va`.
pub fn stream(gpu: &Gpu, n: usize, va: u64, len: u64) -> Result<String, String> {
    let words = words(gpu, n, va, len)?;
    let mut out = String::new();
    for line in disasm::lines(va, &words) {
        out += &line;
        out.push('\n');
    }
    Ok(out)
}

/// A line for each instruction of a shader at `va`: up to a word of zeros, at most `len` bytes.
pub fn shader(gpu: &Gpu, n: usize, va: u64, len: u64) -> Result<String, String> {
    let words = words(gpu, n, va, len)?;
    let mut out = String::new();
    for (at, word) in (va..).step_by(8).zip(&words) {
        if *word == 0 {
            break;
        }
        out += &format!("{at:012x} {word:016x} {}\n", instruction(*word));
    }
    Ok(out)
}
