// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How fast shaders are executed.

use super::job::{ComputeJob, Progress};
use super::Compute;
use crate::cs::flat::Flat;
use crate::cs::instr::Instr;
use crate::cs::speed::{cpu_time, figure, Speed};
use std::time::{Duration, Instant};

const BASE: u64 = 0x1000_0000;

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

/// What is measured.
pub(crate) fn bodies() -> [(&'static str, Vec<u64>); 2] {
    let mixed = [&SUMS[..], &MEMORY[..]].concat();
    [
        ("arithmetic", SUMS.into()),
        ("arithmetic, a load and a store in nine", mixed),
    ]
}

/// The pages from `base` on of a program that loops over `body` for ever: descriptor and uniforms,
/// code, and a word of each thread.
pub(crate) fn pages(base: u64, body: &[u64]) -> [Vec<u64>; 3] {
    let back = -(body.len() as i64) - 1;
    let branch =
        10 << 59 | 0x1f << 48 | 0xc0 << 40 | 1 << 36 | (back as u64 & 0x7ff_ffff) << 8 | 0xc0;
    let mut code = vec![ADDRESS];
    code.extend(body);
    code.push(branch);
    // A program with r60 to r62 preloaded, and two pairs of uniforms.
    let mut head = vec![0x7000 << 32 | 1 << 4 | 8, base + 0x1000];
    head.resize(FAU / 8, 0);
    head.extend([0x3f80_0000, base + 0x2000]);
    [head, code, Vec::new()]
}

/// Offset of the uniforms.
const FAU: usize = 0x100;

/// A job of 256 threads that runs it.
fn job(base: u64) -> ComputeJob {
    ComputeJob {
        fau: 2 << 56 | (base + FAU as u64),
        spd: base,
        workgroup: 255,
        size: [1; 3],
        ..ComputeJob::default()
    }
}

/// A stream that does.
pub(crate) fn ring(base: u64) -> Vec<u64> {
    let job = job(base);
    let mut words = Vec::new();
    let mut word = |dest, immediate| words.push(Instr::Move32 { immediate, dest }.encode());
    for (dest, value) in [(8, job.fau), (16, job.spd)] {
        word(dest, value as u32);
        word(dest + 1, (value >> 32) as u32);
    }
    word(33, job.workgroup);
    for (dest, size) in (37..).zip(job.size) {
        word(dest, size);
    }
    let resource = Instr::ReqResource {
        compute: true,
        fragment: false,
        tiler: false,
        idvs: false,
    };
    let run = Instr::RunCompute {
        increment: 1,
        axis: 0,
        progress: false,
        srt: 0,
        spd: 0,
        tsd: 0,
        fau: 0,
    };
    words.extend([resource.encode(), run.encode()]);
    words
}

/// The job, in plain memory.
fn endless(body: &[u64]) -> (Flat, Compute) {
    let mut flat = Flat::new(BASE, 0x1_0000);
    for (at, words) in (BASE..).step_by(0x1000).zip(pages(BASE, body)) {
        flat.put(at, &words);
    }
    (flat, Compute::new(&job(BASE)))
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
    figure(what, compute.stats().instructions, start, cpu)
}

/// Instructions of a thread a second, in plain memory.
pub fn measure(time: Duration) -> Vec<Speed> {
    bodies()
        .iter()
        .map(|(what, body)| rate(what, body, time))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_jobs_compute_and_do_not_end() {
        for (what, body) in bodies() {
            let (mut flat, mut compute) = endless(&body);
            for _ in 0..3 {
                assert_eq!(
                    compute.run(&mut flat, 100_000),
                    Ok(Progress::More),
                    "{what}"
                );
            }
            let stores = body.len() > SUMS.len();
            assert_eq!(flat.get(BASE + 0x2000 + 8) != 0, stores, "{what}");
        }
    }
}
