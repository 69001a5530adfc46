// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What each instruction means.

mod control;
mod errors;
mod heap;
mod jobs;
mod late;
mod suspend;
mod sync;

use super::flat::Flat;
use super::instr::Instr::{self, *};
use super::state::{Outcome, Ring, Stream};

/// Base of memory.
const BASE: u64 = 0x1000_0000;
/// The ring.
const RING: u64 = BASE;
/// Called blocks.
const CODE: u64 = BASE + 0x4000;
/// Data.
const DATA: u64 = BASE + 0x8000;

/// A stream, its ring and memory.
struct Bench {
    env: Flat,
    ring: Ring,
    stream: Stream,
}

impl Bench {
    fn new() -> Self {
        Self {
            env: Flat::new(BASE, 0x2_0000),
            ring: Ring {
                base: RING,
                size: 4096,
                insert: 0,
            },
            stream: Stream::new(0),
        }
    }

    /// Appends to the ring.
    fn ring(&mut self, code: &[Instr]) -> &mut Self {
        for instr in code {
            let at = RING + self.ring.insert % self.ring.size;
            self.env.put(at, &[instr.encode()]);
            self.ring.insert += 8;
        }
        self
    }

    /// Writes a block and gives its length.
    fn block(&mut self, va: u64, code: &[Instr]) -> u32 {
        let words: Vec<u64> = code.iter().map(|i| i.encode()).collect();
        self.env.put(va, &words);
        8 * code.len() as u32
    }

    fn run(&mut self) -> Outcome {
        self.stream.run(&mut self.env, &self.ring, 10_000)
    }

    /// Runs until something other than time is needed.
    fn said(&mut self) -> Outcome {
        for _ in 0..10_000 {
            match self.run() {
                Outcome::Waiting {
                    until: Some(until), ..
                } => self.env.time = self.env.time.max(until),
                Outcome::More => {}
                other => return other,
            }
        }
        panic!("no end: {:?}", self.stream);
    }

    /// Runs to the end of the ring, letting time pass.
    fn finish(&mut self) {
        assert_eq!(self.said(), Outcome::Idle);
    }
}

/// Moves a value into a pair.
fn mov(dest: u8, immediate: u64) -> Instr {
    Move48 { immediate, dest }
}

fn mov32(dest: u8, immediate: u32) -> Instr {
    Move32 { immediate, dest }
}

fn wait(mask: u8) -> Instr {
    Wait {
        mask,
        progress: false,
    }
}

fn load(base: u8, mask: u16, address: u8, offset: i16) -> Instr {
    LoadMultiple {
        offset,
        mask,
        address,
        base,
    }
}

fn store(base: u8, mask: u16, address: u8, offset: i16) -> Instr {
    StoreMultiple {
        offset,
        mask,
        address,
        base,
    }
}

fn call(address: u8, length: u8) -> Instr {
    Call { length, address }
}

fn add64(address: u8, data: u8) -> Instr {
    SyncAdd64 {
        propagate: true,
        scope: 0,
        wait: 0,
        data,
        address,
        signal: 0,
    }
}

fn wait64(address: u8, data: u8, condition: u8) -> Instr {
    SyncWait64 {
        reject: false,
        condition,
        data,
        address,
    }
}

/// A job as the kernel's C driver puts it into the ring.
fn kernel_job(code: u64, length: u32, object: u64) -> Vec<Instr> {
    let nop = Nop { ignored: 0 };
    vec![
        mov32(94, 0),
        FlushCache2 {
            l2: 3,
            lsc: 3,
            other: 2,
            wait: 0,
            flush_id: 94,
            signal: 0,
        },
        mov(92, code),
        mov32(94, length),
        wait(1),
        call(92, 94),
        mov(92, object),
        mov(94, 1),
        wait(0xff),
        add64(92, 94),
        ErrorBarrier {},
        nop,
        nop,
        nop,
        nop,
        nop,
    ]
}
