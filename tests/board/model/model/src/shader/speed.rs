// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How fast shaders are executed.

use super::job::{ComputeJob, Progress};
use super::Compute;
use crate::cs::env::Memory;
use crate::cs::flat::Flat;
use crate::cs::speed::{cpu_time, Speed};
use std::time::{Duration, Instant};

const BASE: u64 = 0x1000_0000;
const CODE: u64 = BASE + 0x1000;
const FAU: u64 = BASE + 0x2000;
const DATA: u64 = BASE + 0x3000;

/// r10:r11 = u2:u3 + 4 * r60: a word of each thread.
const ADDRESS: u64 = 0x1a3 << 48 | 0xca << 40 | 8 << 26 | 2 << 20 | 7 << 16 | 60 << 8 | 0x82;
/// Arithmetic: IADD_IMM, FMA, LSHIFT_XOR, ICMP_OR, IMUL, CSEL.
const SUMS: [u64; 6] = [
    0x110 << 48 | 0xc2 << 40 | 1 << 8 | 2,
    0xb2 << 48 | 0xc3 << 40 | 3 << 16 | 0x80 << 8 | 2,
    0xb4 << 48 | 0xc4 << 40 | 1 << 32 | 4 << 26 | 2 << 24 | 3 << 16 | 0xc8 << 8 | 2,
    0xf0 << 48 | 0xc5 << 40 | 4 << 32 | 2 << 30 | 0xc0 << 16 | 4 << 8 | 2,
    0xa0 << 48 | 0xc6 << 40 | 0xa << 16 | 2 << 8 | 4,
    0x150 << 48 | 0xc7 << 40 | 4 << 32 | 6 << 24 | 3 << 16 | 4 << 8 | 2,
];
/// LOAD.i32 of r8 and STORE.i32 of r7 at r10:r11.
const MEMORY: [u64; 2] = [
    1 << 59 | 0x60 << 48 | 0x88 << 40 | 1 << 39 | 1 << 33 | 3 << 27 | 10,
    2 << 59 | 0x61 << 48 | 0x47 << 40 | 1 << 33 | 1 << 30 | 3 << 27 | 10,
];

/// A job of 256 threads that loops over `body` for ever.
fn endless(body: &[u64]) -> (Flat, Compute) {
    let mut flat = Flat::new(BASE, 0x1_0000);
    let back = -(body.len() as i64) - 1;
    let branch =
        10 << 59 | 0x1f << 48 | 0xc0 << 40 | 1 << 36 | (back as u64 & 0x7ff_ffff) << 8 | 0xc0;
    let mut code = vec![ADDRESS];
    code.extend(body);
    code.push(branch);
    for (n, word) in code.iter().enumerate() {
        let _ = flat.store64(CODE + n as u64 * 8, *word);
    }
    // A program with r60 to r62 preloaded, and two pairs of uniforms.
    let _ = flat.store64(BASE, 0x7000 << 32 | 1 << 4 | 8);
    let _ = flat.store64(BASE + 8, CODE);
    let _ = flat.store64(FAU, 0x3f80_0000);
    let _ = flat.store64(FAU + 8, DATA);
    let job = ComputeJob {
        fau: 2 << 56 | FAU,
        spd: BASE,
        workgroup: 255,
        size: [1; 3],
        ..ComputeJob::default()
    };
    (flat, Compute::new(&job))
}

/// Runs a job for some time.
fn rate(what: &'static str, body: &[u64], time: Duration) -> Speed {
    let (mut flat, mut compute) = endless(body);
    let (start, cpu) = (Instant::now(), cpu_time());
    while start.elapsed() < time {
        if !matches!(compute.run(&mut flat, 1_000_000), Ok(Progress::More)) {
            break;
        }
    }
    let done = compute.stats().instructions as f64;
    Speed {
        what,
        rate: done / start.elapsed().as_secs_f64(),
        cpu_rate: done / (cpu_time() - cpu).max(1e-9),
    }
}

/// Instructions of a thread a second: arithmetic, and with a load and a store in eight.
pub fn measure(time: Duration) -> Vec<Speed> {
    let mixed = [&SUMS[..], &MEMORY[..]].concat();
    vec![
        rate("arithmetic", &SUMS, time),
        rate("arithmetic, a load and a store in nine", &mixed, time),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_job_computes_and_does_not_end() {
        let mixed = [&SUMS[..], &MEMORY[..]].concat();
        let (mut flat, mut compute) = endless(&mixed);
        for _ in 0..3 {
            assert_eq!(compute.run(&mut flat, 100_000), Ok(Progress::More));
        }
        assert_ne!(flat.load32(DATA + 15 * 4), Ok(0));
    }
}
