// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions that reach memory: lane by lane, so that they can go on where a lock stopped them.

use super::desc::{self, Buffer};
use super::image::known_fetch;
use super::int::part32;
use super::warp::{Row, Warp, LANES, REGISTERS};
use super::Context;
use crate::cs::env::{MemError, Memory};
use crate::shader::isa::decode::{Instr, Part};
use crate::shader::isa::fields as f;
use crate::shader::isa::op::Op;
use crate::shader::job::{JobError, JobFault};

/// Bytes of each access size.
const SIZES: [u8; 8] = [1, 2, 3, 4, 6, 8, 12, 16];

/// Top bits of the address that LEA_PKA gives for what is beyond its buffer. Accesses there have
/// no effect and read zeros: robust access to buffers.
pub const BEYOND: u64 = 0xffff << 48;

/// What a lane loads, before it is in registers.
fn extend(raw: [u8; 16], ins: &Instr, size: usize) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(raw.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    if f::UNSIGNED.get(ins.word) == 0 && size <= 4 {
        let part = match size {
            1 => Part::Byte(0),
            2 => Part::Half(0),
            _ => Part::All,
        };
        words[0] = part32(words[0], part, true);
        if ins.count == 2 {
            words[1] = (words[0] as i32 >> 31) as u32;
        }
    }
    words
}

/// Whether the model knows what a load does with its destination.
pub fn known_load(ins: &Instr, size: u8) -> bool {
    let Some(&bytes) = SIZES.get(usize::from(size)) else {
        return false;
    };
    let lane = f::LOAD_LANE[usize::from(size) & 7].get(ins.word);
    let words = bytes.div_ceil(4);
    let registers = match (size, lane) {
        // The low part of a register, or a whole one.
        (0, 0 | 6) | (1, 0 | 2) => 1,
        (0, 7) | (1, 3) | (3, 1) => 2,
        (0 | 1, _) => return false,
        _ => words,
    };
    // Sign extension of what is not a power of two is not known.
    let signed = f::UNSIGNED.get(ins.word) == 0;
    ins.count == registers && !(signed && (size > 1 && registers > words || size == 2))
}

/// What a message does for one lane: reads registers, gives up to four words back.
pub fn run<M: Memory + ?Sized>(
    memory: &mut M,
    context: &mut Context,
    warp: &mut Warp,
    ins: &Instr,
    pc: u64,
    mask: u16,
) -> Result<(), JobError> {
    let invalid = JobError::Fault(JobFault::InvalidEncoding { pc, word: ins.word });
    let (first, count) = (usize::from(ins.dest), usize::from(ins.count));
    if first + count > REGISTERS
        || usize::from(ins.target) + usize::from(ins.target_count) > REGISTERS
        || ins.target_count > 4
        || count > 4
    {
        return Err(invalid);
    }
    let sources = context.sources(warp, ins, pc).ok_or(invalid)?;
    let address = |lane: usize| desc::pair(sources.low[0][lane], sources.high[0][lane]);
    let registers = &warp.registers;
    let read = |n: usize, lane: usize| registers[(first + n) % REGISTERS][lane];
    let partial = &mut warp.partial;

    // Runs of words, which is what most accesses are, are one access.
    if let Op::Load(size @ (3 | 5 | 7)) | Op::Store(size @ (3 | 5 | 7)) = ins.op {
        let words = usize::from(SIZES[usize::from(size)] / 4);
        let start = address(0).wrapping_add(ins.imm as u64);
        let run = partial.done == 0
            && mask == u16::MAX
            && count == words
            && start >> 48 != 0xffff
            && f::LOAD_LANE[usize::from(size)].names
                [f::LOAD_LANE[usize::from(size)].get(ins.word) as usize]
                .is_empty()
            && (0..LANES).all(|lane| {
                let want = address(0).wrapping_add((lane * words * 4) as u64);
                address(lane) == want
            });
        if run {
            return fast(memory, warp, ins, start, words);
        }
    }

    let mut cached: Option<(u32, Buffer)> = None;
    for lane in 0..LANES {
        if mask >> lane & 1 == 0 || partial.done >> lane & 1 != 0 {
            continue;
        }
        let words = match ins.op {
            Op::Load(size) => {
                if !known_load(ins, size) {
                    return Err(invalid);
                }
                let bytes = usize::from(SIZES[usize::from(size)]);
                let mut raw = [0; 16];
                let va = address(lane).wrapping_add(ins.imm as u64);
                if va >> 48 != 0xffff {
                    memory.load(va, &mut raw[..bytes])?;
                }
                extend(raw, ins, bytes)
            }
            Op::Store(size) => {
                let bytes = usize::from(SIZES[usize::from(size)]);
                if count != bytes.div_ceil(4) {
                    return Err(invalid);
                }
                let mut raw = [0; 16];
                for (n, chunk) in raw.chunks_exact_mut(4).enumerate().take(count) {
                    chunk.copy_from_slice(&read(n, lane).to_le_bytes());
                }
                let va = address(lane).wrapping_add(ins.imm as u64);
                if va >> 48 != 0xffff {
                    memory.store(va, &raw[..bytes])?;
                }
                [0; 4]
            }
            Op::LoadBuffer(_) | Op::LeaBuffer => {
                let (offset, handle) = (sources.low[0][lane], sources.low[1][lane]);
                let buffer = match cached {
                    Some((known, buffer)) if known == handle => buffer,
                    _ => context.buffer(memory, handle)?,
                };
                cached = Some((handle, buffer));
                match ins.op {
                    Op::LoadBuffer(size) => {
                        if !known_load(ins, size) {
                            return Err(invalid);
                        }
                        let bytes = usize::from(SIZES[usize::from(size)]);
                        let mut raw = [0; 16];
                        let end = u64::from(offset) + bytes as u64;
                        if end <= u64::from(buffer.size) {
                            let va = buffer.address.wrapping_add(offset.into());
                            memory.load(va, &mut raw[..bytes])?;
                        }
                        extend(raw, ins, bytes)
                    }
                    _ => {
                        let va = if offset < buffer.size {
                            buffer.address.wrapping_add(offset.into())
                        } else {
                            BEYOND | u64::from(offset)
                        };
                        [va as u32, (va >> 32) as u32, 0, 0]
                    }
                }
            }
            Op::Atom { wide, .. } | Op::Atom1 { wide } => {
                let va = address(lane).wrapping_add(u64::from(ins.imm as u8));
                let data = [0, 1, 2, 3].map(|n| if n < count { read(n, lane) } else { 0 });
                let atom = Atom::new(ins, wide, data).ok_or(invalid)?;
                if va >> 48 == 0xffff {
                    [0; 4]
                } else if wide {
                    aligned(va, 8)?;
                    let old = memory.atomic64(va, &mut |old| atom.apply(old))?;
                    [old as u32, (old >> 32) as u32, 0, 0]
                } else {
                    aligned(va, 4)?;
                    let old = memory.atomic32(va, &mut |old| atom.apply(old.into()) as u32)?;
                    [old, 0, 0, 0]
                }
            }
            Op::TexFetch => {
                // Offset, sample and level of detail are in the high word.
                let (handle, detail) = (sources.low[0][lane], sources.high[0][lane]);
                if detail != 0 || !known_fetch(ins) {
                    return Err(invalid);
                }
                let image = context.image(memory, handle)?.ok_or(invalid)?;
                image.fetch(memory, read(0, lane), read(1, lane))?
            }
            _ => return Err(invalid),
        };
        for (row, word) in partial.data.iter_mut().zip(words) {
            row[lane] = word;
        }
        partial.done |= 1 << lane;
    }
    let data = partial.data;
    partial.done = 0;
    let written = match ins.op {
        Op::Load(_) | Op::LoadBuffer(_) | Op::LeaBuffer | Op::Atom1 { .. } => (ins.dest, ins.count),
        Op::Atom { returns: true, .. } | Op::TexFetch => (ins.target, ins.target_count),
        _ => (0, 0),
    };
    if written.1 != 0 {
        warp.defer(ins.slot, mask, written.0, written.1, &data);
    }
    Ok(())
}

fn aligned(va: u64, to: u64) -> Result<(), JobError> {
    if va % to == 0 {
        return Ok(());
    }
    let what = "unaligned atomic";
    Err(JobError::Fault(JobFault::Descriptor { va, what }))
}

/// Sixteen lanes with consecutive words.
fn fast<M: Memory + ?Sized>(
    memory: &mut M,
    warp: &mut Warp,
    ins: &Instr,
    start: u64,
    words: usize,
) -> Result<(), JobError> {
    let mut raw = [0; 256];
    let bytes = &mut raw[..LANES * words * 4];
    if let Op::Load(_) = ins.op {
        memory.load(start, bytes)?;
        let mut data: [Row; 4] = [[0; LANES]; 4];
        for (lane, chunk) in bytes.chunks_exact(words * 4).enumerate() {
            for (n, word) in chunk.chunks_exact(4).enumerate() {
                data[n][lane] = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            }
        }
        warp.defer(ins.slot, u16::MAX, ins.dest, ins.count, &data);
    } else {
        for (lane, chunk) in bytes.chunks_exact_mut(words * 4).enumerate() {
            for (n, word) in chunk.chunks_exact_mut(4).enumerate() {
                let register = (usize::from(ins.dest) + n) % REGISTERS;
                word.copy_from_slice(&warp.registers[register][lane].to_le_bytes());
            }
        }
        memory.store(start, bytes)?;
    }
    Ok(())
}

/// An atomic operation and its operands.
#[derive(Clone, Copy, Debug)]
struct Atom {
    kind: u32,
    wide: bool,
    operand: u64,
    compare: Option<u64>,
}

impl Atom {
    fn new(ins: &Instr, wide: bool, data: [u32; 4]) -> Option<Self> {
        let one = matches!(ins.op, Op::Atom1 { .. });
        let width = 1 + u8::from(wide);
        let compare =
            matches!(ins.op, Op::Atom { returns: true, .. }) && f::COMPARE.get(ins.word) != 0;
        let (kind, operand) = if one {
            let kinds = [2, 16, 11, 9, 13];
            let kind = *kinds.get(f::ATOM1.get(ins.word) as usize)?;
            (kind, 1)
        } else {
            (
                f::ATOM.get(ins.word),
                desc::pair(data[0], if wide { data[1] } else { 0 }),
            )
        };
        let counts = if one {
            ins.count == 0 || ins.count == width
        } else {
            ins.count == width * (1 + u8::from(compare))
        };
        let returned = match ins.op {
            Op::Atom { returns: true, .. } => ins.target_count == width,
            _ => true,
        };
        if !counts || !returned || compare && kind != 15 {
            return None;
        }
        Some(Self {
            kind,
            wide,
            operand,
            compare: compare.then(|| {
                if wide {
                    desc::pair(data[2], data[3])
                } else {
                    data[1].into()
                }
            }),
        })
    }

    fn apply(&self, old: u64) -> u64 {
        let sign = |x: u64| {
            if self.wide {
                x as i64
            } else {
                i64::from(x as u32 as i32)
            }
        };
        let x = self.operand;
        match self.kind {
            2 => old.wrapping_add(x),
            16 => old.wrapping_sub(x),
            8 if sign(x) < sign(old) => x,
            9 if sign(x) > sign(old) => x,
            8 | 9 => old,
            10 => old.min(x),
            11 => old.max(x),
            12 => old & x,
            13 => old | x,
            14 => old ^ x,
            _ => match self.compare {
                Some(want) if want != old => old,
                _ => x,
            },
        }
    }
}

/// Whether an access may be tried again.
pub fn again(error: &JobError) -> bool {
    matches!(error, JobError::Memory(MemError::Locked))
}
