// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Random and mutated shaders and descriptors.

use super::isa::decode::decode;
use super::isa::op::Op;
use super::isa::rows::TABLE;
use super::job::{ComputeJob, FragmentJob, JobError, Progress};
use super::{Compute, Fragment};
use crate::cs::env::Memory;
use crate::cs::flat::Flat;
use crate::cs::rng::Rng;
use std::sync::OnceLock;

const BASE: u64 = 0x1000_0000;
const SIZE: usize = 0x4000;
const CODE: u64 = BASE + 0x1000;
const TABLES: u64 = BASE + 0x400;
const DESCRIPTORS: u64 = BASE + 0x500;
const FAU: u64 = BASE + 0x800;
const DATA: u64 = BASE + 0x2000;

/// How the cases ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Cases.
    pub cases: u64,
    /// Jobs that came to their end.
    pub done: u64,
    /// Jobs that were still running when their budget was used.
    pub endless: u64,
    /// Accesses outside of the memory, which were refused.
    pub refused: u64,
    /// Jobs that ended with a fault of their own.
    pub faults: u64,
    /// Instructions of a thread.
    pub instructions: u64,
    /// Pixels.
    pub pixels: u64,
}

/// Runs cases.
#[derive(Debug, Default)]
pub struct Fuzz {
    /// What became of them.
    pub totals: Totals,
    flat: Option<Flat>,
}

/// Instructions that Mesa made, to mutate.
fn corpus() -> &'static [u64] {
    static CORPUS: OnceLock<Vec<u64>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        include_str!("vectors/disasm.txt")
            .lines()
            .filter_map(|line| u64::from_str_radix(line.split(' ').next()?, 16).ok())
            .collect()
    })
}

/// An instruction: random, one of the corpus, or a row of the table with random fields; often with
/// a bit or a source changed.
fn instruction(rng: &mut Rng) -> u64 {
    let corpus = corpus();
    let mut word = match rng.below(8) {
        0 => rng.next(),
        1..=4 => corpus
            .get(rng.below(corpus.len() as u64) as usize)
            .copied()
            .unwrap_or(0),
        _ => {
            let entry = &TABLE[rng.below(TABLE.len() as u64) as usize];
            let (at, mask, value) = entry.second;
            let known = super::isa::decode::known_bits(entry) & !(u64::from(mask) << at);
            let fields = rng.next() & known & !(0x1ff << 48);
            fields | u64::from(entry.opcode) << 48 | u64::from(value) << at
        }
    };
    if rng.below(3) == 0 {
        word ^= 1 << rng.below(64);
    }
    if rng.below(3) == 0 {
        // An address from the uniforms.
        word = word & !0xff | 0x80 | rng.below(8) * 2;
    }
    word
}

/// The same, but seldom one that ends the job at once.
fn likely(rng: &mut Rng) -> u64 {
    let mut word = instruction(rng);
    for _ in 0..8 {
        let executed = decode(word).is_some_and(|ins| ins.op != Op::Unsupported);
        if executed || rng.below(64) == 0 {
            break;
        }
        word = instruction(rng);
    }
    word
}

impl Fuzz {
    /// Runs one case.
    pub fn case(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut flat = self.flat.take().unwrap_or_else(|| {
            let mut flat = Flat::new(BASE, SIZE);
            flat.forget = true;
            flat
        });
        flat.memory.fill(0);
        self.totals.cases += 1;
        if rng.below(8) == 0 {
            self.fragment(&mut flat, &mut rng);
        } else {
            self.compute(&mut flat, &mut rng);
        }
        self.flat = Some(flat);
    }

    fn compute(&mut self, flat: &mut Flat, rng: &mut Rng) {
        let mut put = |va: u64, word: u64| {
            // Everything is inside.
            let _ = flat.store64(va, word);
        };
        for n in 0..8 + rng.below(24) {
            put(CODE + n * 8, likely(rng));
        }
        put(BASE, rng.next() << 32 | (rng.below(4) << 17) | 1 << 4 | 8);
        put(BASE + 8, CODE);
        put(
            BASE + 64,
            rng.below(8) | rng.below(8) << 40 | rng.below(6) << 32,
        );
        put(BASE + 72, DATA >> 8 | 1 << 60);
        put(BASE + 80, DATA);
        put(TABLES + 16, DESCRIPTORS | 1 << 56);
        put(TABLES + 24, 96);
        for n in 0..3 {
            put(DESCRIPTORS + n * 32, 0x19 | rng.below(0x800) << 32);
            put(DESCRIPTORS + n * 32 + 8, DATA + n * 0x100);
        }
        for n in 0..8 {
            let word = match rng.below(3) {
                0 => DATA + rng.below(0x1000),
                1 => rng.below(4) | 1 << 24,
                _ => rng.next(),
            };
            put(FAU + n * 8, word);
        }
        let mut job = ComputeJob {
            srt: TABLES | 2,
            fau: 8 << 56 | FAU,
            spd: BASE,
            tsd: BASE + 64,
            workgroup: rng.below(40) as u32,
            size: [1 + rng.below(3) as u32, 1, 1],
            ..ComputeJob::default()
        };
        // Sometimes a descriptor or a register is anything.
        if rng.below(4) == 0 {
            let va = BASE + rng.below(0xa00 / 8) * 8;
            let _ = flat.store64(va, rng.next());
        }
        if rng.below(16) == 0 {
            match rng.below(5) {
                0 => job.srt = rng.next(),
                1 => job.fau = rng.next(),
                2 => job.tsd = rng.next(),
                3 => job.workgroup = rng.next() as u32,
                _ => job.size = [rng.next() as u32; 3],
            }
        }
        let mut compute = Compute::new(&job);
        let mut result = Ok(Progress::More);
        for _ in 0..4 {
            result = compute.run(flat, 200);
            if result != Ok(Progress::More) {
                break;
            }
        }
        self.totals.instructions += compute.stats().instructions;
        self.count(&result);
    }

    fn fragment(&mut self, flat: &mut Flat, rng: &mut Rng) {
        for n in 0..48 {
            let word = if rng.below(2) == 0 {
                rng.next() as u32
            } else {
                0
            };
            let _ = flat.store32(BASE + n * 4, word);
        }
        if rng.below(2) == 0 {
            // One that writes something.
            let put = |flat: &mut Flat, at: u64, word: u64| {
                let _ = flat.store32(BASE + at, word as u32);
            };
            put(flat, 0, 0);
            put(flat, 0x80, 1 << 26);
            put(
                flat,
                0x84,
                1 | 19 << 3 | (1 + rng.below(2)) << 8 | 0x688 << 16 | 1 << 31,
            );
            put(flat, 0xa0, DATA);
            put(flat, 0xa4, 0);
        }
        let job = FragmentJob {
            framebuffer: BASE | 1 | rng.below(32) << 1,
            min: rng.next() as u32 & 0x001f_001f,
            max: rng.next() as u32 & 0x00ff_00ff,
            tile_enable_map: rng.below(8) == 0,
            tile_order: 0,
        };
        let mut fragment = Fragment::new(&job);
        let mut result = Ok(Progress::More);
        for _ in 0..8 {
            result = fragment.run(flat, 500);
            if result != Ok(Progress::More) {
                break;
            }
        }
        self.totals.pixels += fragment.stats().pixels;
        self.count(&result);
    }

    fn count(&mut self, result: &Result<Progress, JobError>) {
        let total = match result {
            Ok(Progress::Done(_)) => &mut self.totals.done,
            Ok(Progress::More) => &mut self.totals.endless,
            Err(JobError::Memory(_)) => &mut self.totals.refused,
            Err(JobError::Fault(_)) => &mut self.totals.faults,
        };
        *total += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run() {
        let mut fuzz = Fuzz::default();
        for case in 0..20_000 {
            fuzz.case(case);
        }
        let t = fuzz.totals;
        assert_eq!(t.done + t.endless + t.refused + t.faults, t.cases);
        // All ways out are taken.
        for count in [t.done, t.endless, t.refused, t.faults, t.pixels] {
            assert!(count > 0, "{t:?}");
        }
    }
}
