// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of whole jobs.

use crate::cs::env::{MemError, Memory};
use crate::cs::flat::Flat;
use crate::shader::job::{ComputeJob, JobError, JobFault, JobStats, Progress};
use crate::shader::Compute;
use std::collections::BTreeMap;

/// A program of ours as Mesa compiled it, with the descriptors that PanVK made for it, and memory.
///
/// The text is `job SRT FAU SPD TSD WORKGROUP OFFSET SIZE`, then lines of an address and words.
struct Bench {
    job: ComputeJob,
    pages: BTreeMap<u64, Box<[u8; 4096]>>,
    locked: bool,
    log: Vec<u64>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let mut bench = Self {
            job: ComputeJob::default(),
            pages: BTreeMap::new(),
            locked: false,
            log: Vec::new(),
        };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let hex = |word: &str| u64::from_str_radix(word, 16).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            if words[0] == "job" {
                let dim = |n: usize| [n, n + 1, n + 2].map(|n| words[n].parse().unwrap());
                bench.job = ComputeJob {
                    srt: hex(words[1]),
                    fau: hex(words[2]),
                    spd: hex(words[3]),
                    tsd: hex(words[4]),
                    workgroup: hex(words[5]) as u32,
                    offset: dim(6),
                    size: dim(9),
                    ..ComputeJob::default()
                };
            } else {
                for (n, word) in words[1..].iter().enumerate() {
                    bench.put(hex(words[0]) + n as u64 * 8, &hex(word).to_le_bytes());
                }
            }
        }
        bench
    }

    fn byte(&mut self, va: u64) -> &mut u8 {
        let page = self
            .pages
            .entry(va >> 12)
            .or_insert_with(|| Box::new([0; 4096]));
        &mut page[(va & 4095) as usize]
    }

    fn put(&mut self, va: u64, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            *self.byte(va + n as u64) = *byte;
        }
    }

    fn words(&mut self, va: u64, count: usize) -> Vec<u32> {
        (0..count as u64)
            .map(|n| u32::from_le_bytes([0, 1, 2, 3].map(|i| *self.byte(va + n * 4 + i))))
            .collect()
    }

    /// The buffer of a binding: in table 1, as PanVK has set 0.
    fn buffer(&mut self, binding: u64) -> u64 {
        let tables = self.job.srt & !0x3f;
        let table = self.load64(tables + 16).unwrap() & ((1 << 56) - 1);
        self.load64(table + binding * 32 + 8).unwrap()
    }

    fn fill(&mut self, binding: u64, words: &[u32]) {
        let va = self.buffer(binding);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(va, &bytes);
    }

    fn result(&mut self, binding: u64, count: usize) -> Vec<u32> {
        let va = self.buffer(binding);
        self.words(va, count)
    }

    fn run(&mut self) -> JobStats {
        let mut compute = Compute::new(&self.job);
        loop {
            // A small budget, so that jobs stop and go on everywhere.
            match compute.run(self, 100) {
                Ok(Progress::Done(stats)) => return stats,
                Ok(Progress::More) => {}
                Err(JobError::Memory(MemError::Locked)) => {}
                Err(error) => panic!("{error:x?}"),
            }
        }
    }
}

impl Memory for Bench {
    fn fetch(&mut self, va: u64) -> Result<u64, MemError> {
        self.load64(va)
    }
    fn load(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError> {
        for (n, byte) in to.iter_mut().enumerate() {
            *byte = *self.byte(va + n as u64);
        }
        Ok(())
    }
    fn store(&mut self, va: u64, from: &[u8]) -> Result<(), MemError> {
        // Every second store finds its region locked.
        self.locked = !self.locked;
        if self.locked {
            return Err(MemError::Locked);
        }
        self.log.push(va);
        self.put(va, from);
        Ok(())
    }
    fn atomic32(&mut self, va: u64, f: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemError> {
        self.locked = !self.locked;
        if self.locked {
            return Err(MemError::Locked);
        }
        let old = self.load32(va)?;
        self.put(va, &f(old).to_le_bytes());
        Ok(old)
    }
    fn atomic64(&mut self, va: u64, f: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemError> {
        let old = self.load64(va)?;
        self.put(va, &f(old).to_le_bytes());
        Ok(old)
    }
}

/// Words that depend on a seed.
fn random(seed: u32, count: usize) -> Vec<u32> {
    let mut state = u64::from(seed) << 32 | 0x9e37_79b9;
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 32) as u32
        })
        .collect()
}

macro_rules! program {
    ($name:literal) => {
        Bench::new(include_str!(concat!("../vectors/", $name, ".txt")))
    };
}

#[test]
fn vector_addition() {
    let mut bench = program!("vadd");
    let floats = |seed| -> Vec<f32> {
        random(seed, 1024)
            .iter()
            .map(|x| *x as i32 as f32 / 65536.0)
            .collect()
    };
    let (a, b) = (floats(1), floats(2));
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    bench.fill(0, &bits(&a));
    bench.fill(1, &bits(&b));
    let stats = bench.run();
    assert_eq!((stats.workgroups, stats.threads), (2, 128));
    // c = a * 0.5 + b, for the 128 threads of the job.
    let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.mul_add(0.5, *b)).collect();
    assert_eq!(bench.result(2, 128), bits(&want[..128]));
    assert_eq!(bench.result(2, 129)[128], 0);
}

#[test]
fn reduction_with_workgroup_memory_and_an_atomic() {
    let mut bench = program!("reduce");
    let a = random(3, 4096);
    bench.fill(0, &a);
    bench.run();
    let sum = a[..1000].iter().fold(0u32, |sum, x| sum.wrapping_add(*x));
    let out = bench.result(1, 3);
    assert_eq!(out[0], sum);
    assert_eq!(out[1].wrapping_add(out[2]), sum);
}

#[test]
fn prefix_sums() {
    let mut bench = program!("scan");
    let a = random(4, 1024);
    bench.fill(0, &a);
    bench.run();
    let mut want = Vec::new();
    for block in a.chunks(512) {
        let mut sum = 0u32;
        for x in block {
            want.push(sum);
            sum = sum.wrapping_add(*x);
        }
    }
    assert_eq!(bench.result(1, 1024), want);
}

#[test]
fn matrix_product() {
    let mut bench = program!("matmul");
    let floats = |seed| -> Vec<f32> {
        random(seed, 4096)
            .iter()
            .map(|x| (*x % 17) as f32 - 8.0)
            .collect()
    };
    let (a, b) = (floats(5), floats(6));
    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
    bench.fill(0, &bits(&a));
    bench.fill(1, &bits(&b));
    bench.run();
    let mut want = Vec::new();
    for y in 0..64 {
        for x in 0..64 {
            let sum: f32 = (0..64).map(|k| a[y * 64 + k] * b[k * 64 + x]).sum();
            want.push(sum.to_bits());
        }
    }
    assert_eq!(bench.result(2, 4096), want);
}

#[test]
fn sorting() {
    let mut bench = program!("sort");
    let a = random(7, 1024);
    bench.fill(0, &a);
    bench.run();
    let mut want = Vec::new();
    for block in a.chunks(512) {
        let mut block: Vec<i32> = block.iter().map(|x| *x as i32).collect();
        block.sort_unstable();
        want.extend(block.iter().map(|x| *x as u32));
    }
    assert_eq!(bench.result(0, 1024), want);
}

#[test]
fn divergence() {
    let mut bench = program!("diverge");
    let a: Vec<u32> = random(8, 128).iter().map(|x| x % 10000 + 1).collect();
    bench.fill(0, &a);
    bench.run();
    let want: Vec<u32> = a.iter().map(|a| collatz(*a)).collect();
    assert_eq!(bench.result(1, 128), want);
}

/// What `diverge` computes.
fn collatz(a: u32) -> u32 {
    let (mut x, mut n) = (a, 0u32);
    while x != 1 && n < 1000 {
        if x & 1 == 0 {
            x >>= 1;
        } else {
            x = 3 * x + 1;
            if x > 0x1000_0000 {
                break;
            }
        }
        n += 1;
    }
    match a & 7 {
        0 => n + 10,
        1 => (n * 3) ^ 0x55,
        2 => n ^ 0x55,
        5 if n > 20 => 77,
        5 => 5,
        _ => n.wrapping_sub(1),
    }
}

#[test]
fn atomics() {
    let mut bench = program!("atomics");
    let a = random(9, 128);
    bench.fill(0, &a);
    let mut b = vec![0; 1024];
    for n in [1, 3, 10, 11] {
        b[n] = u32::MAX;
    }
    bench.fill(1, &b);
    bench.run();
    let out = bench.result(1, 256);
    let fold = |first: u32, f: fn(u32, u32) -> u32| a.iter().fold(first, |x, y| f(x, *y));
    assert_eq!(out[0], fold(0, u32::wrapping_add));
    assert_eq!(out[1], fold(u32::MAX, u32::min));
    assert_eq!(out[2], fold(0, u32::max));
    assert_eq!(out[3], fold(u32::MAX, |x, y| x & y));
    assert_eq!(out[4], fold(0, |x, y| x | y));
    assert_eq!(out[5], fold(0, |x, y| x ^ y));
    assert_eq!((out[6], out[7]), (128, 128));
    assert!(a.contains(&out[8]));
    assert_eq!(
        out[9],
        fold(0, u32::wrapping_add),
        "compare and exchange in a loop"
    );
    // In workgroup memory first, then added up over both workgroups.
    let parts = |first: u32, f: fn(u32, u32) -> u32| {
        a.chunks(64)
            .map(|part| part.iter().fold(first, |x, y| f(x, *y)))
            .fold(0, u32::wrapping_add)
    };
    assert_eq!(out[16], parts(0, u32::wrapping_add));
    assert_eq!(out[17], parts(0, u32::max));
    assert_eq!(out[18], parts(u32::MAX, u32::min));
    assert_eq!(out[19], parts(0, |x, y| x | y));
    assert_eq!(out[20], parts(0, |x, y| x ^ y));
    assert_eq!(out[21], parts(u32::MAX, |x, y| x & y));
    assert_eq!((out[22], out[23]), (128, 14));
    let mut tickets = out[64..192].to_vec();
    tickets.sort_unstable();
    assert_eq!(tickets, (0..128).collect::<Vec<u32>>());
}

#[test]
fn fill_copy_and_update_kernels_of_panvk() {
    let mut bench = program!("fill");
    bench.run();
    let first = bench.log.iter().copied().min().unwrap();
    assert_eq!(
        bench.words(first, 1025)[..],
        [vec![0xdead_beef; 1024], vec![0]].concat()
    );

    let mut bench = program!("update");
    bench.run();
    let first = bench.log.iter().copied().min().unwrap();
    let want: Vec<u8> = (0..1024u32).map(|n| (n * 7) as u8).collect();
    let got: Vec<u8> = (0..1024).map(|n| *bench.byte(first + n)).collect();
    assert_eq!(got, want);

    let mut bench = program!("copy");
    let fau = bench.job.fau & ((1 << 48) - 1);
    let from = bench.load64(fau + 16).unwrap();
    let to = bench.load64(fau + 24).unwrap();
    let a = random(10, 1024);
    for (n, word) in a.iter().enumerate() {
        bench.put(from + n as u64 * 4, &word.to_le_bytes());
    }
    bench.run();
    assert_eq!(bench.words(to, 1024), a);
}

#[test]
fn what_is_not_known_ends_the_job() {
    // FPCLASS.f32 r0, r0: the disassembler knows it, nobody else does.
    let mut flat = Flat::new(0x1000, 0x1000);
    let put = |flat: &mut Flat, va: u64, word: u64| flat.store64(va, word).unwrap();
    put(&mut flat, 0x1000, 8 | 1 << 4);
    put(&mut flat, 0x1008, 0x1800);
    put(&mut flat, 0x1800, 0x009c_c000_000a_0000);
    let job = ComputeJob {
        spd: 0x1000,
        size: [1, 1, 1],
        ..ComputeJob::default()
    };
    let word = 0x009c_c000_000a_0000;
    let want = JobFault::InvalidEncoding { pc: 0x1800, word };
    assert_eq!(
        Compute::new(&job).run(&mut flat, 1000),
        Err(JobError::Fault(want))
    );
    assert_eq!((want.code(), want.info()), (0x51, 0x1800));
    assert_eq!(want.name(), "job-not-executed-FPCLASS.f32");
}

#[test]
fn sha256_of_one_block_each() {
    let mut bench = program!("sha256");
    let mut message = random(11, 128 * 16);
    // "abc", padded: a digest that everybody knows.
    message[..16].fill(0);
    message[0] = u32::from_le_bytes(*b"abc\x80");
    message[15] = 24u32.swap_bytes();
    bench.fill(0, &message);
    bench.run();
    let out = bench.result(1, 128 * 8);
    let digest: Vec<String> = out[..8]
        .iter()
        .map(|x| format!("{:08x}", x.swap_bytes()))
        .collect();
    assert_eq!(
        digest.concat(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_ne!(out[8..16], out[16..24]);
}

#[test]
fn spilled_registers_in_local_memory() {
    let mut bench = program!("spill");
    let a = random(12, 1024);
    bench.fill(0, &a);
    bench.run();
    let want: Vec<u32> = (0..64)
        .map(|i: usize| {
            let mut t: Vec<u32> = (0..64)
                .map(|k| a[i].wrapping_mul(k).wrapping_add(1))
                .collect();
            for k in 0..64 {
                let j = ((t[k] ^ a[i + 1]) & 63) as usize;
                t[j] = t[j].wrapping_add(t[(j * 7 + 3) & 63]);
            }
            t.iter()
                .fold(0, |s: u32, x| s.wrapping_mul(31).wrapping_add(*x))
        })
        .collect();
    assert_eq!(bench.result(1, 64), want);
}

#[test]
fn integer_functions() {
    let mut bench = program!("misc");
    let a = random(13, 1024);
    bench.fill(0, &a);
    bench.run();
    let out = bench.result(1, 128 * 32);
    for i in 0..128 {
        let got = &out[i * 32..];
        for (n, want) in integers(a[2 * i], a[2 * i + 1]).into_iter().enumerate() {
            assert_eq!(got[n], want, "thread {i}, value {n}");
        }
    }
}

/// What `misc` computes of two words.
fn integers(x: u32, y: u32) -> Vec<u32> {
    let (sx, sy) = (x as i32, y as i32);
    let odd = y | 1;
    let msb = |x: u32| {
        if x == 0 {
            u32::MAX
        } else {
            31 - x.leading_zeros()
        }
    };
    let wide = u64::from(x) * u64::from(y);
    let q = u64::from(x) << 32 | u64::from(y);
    let r = q.wrapping_mul(0x0123_4567_89ab_cdef).wrapping_add(q >> 7);
    let bytes = |x: u32| x.to_le_bytes();
    let halves = |x: u32| [x as u16, (x >> 16) as u16];
    let sum: Vec<u8> = bytes(x)
        .iter()
        .zip(bytes(y))
        .map(|(a, b)| a.wrapping_add(b))
        .collect();
    let [low, high] = halves(x);
    let product = |a: u16, b: u16| u32::from(a.wrapping_mul(b));
    vec![
        x.count_ones(),
        x.reverse_bits(),
        msb(x),
        if x == 0 { u32::MAX } else { x.trailing_zeros() },
        msb(if sx < 0 { !x } else { x }),
        x >> 5 & 0x7ff,
        ((x << 16) as i32 >> 21) as u32,
        x & !(0x1ff << 7) | (y & 0x1ff) << 7,
        (wide >> 32) as u32,
        wide as u32,
        ((i64::from(sx) * i64::from(sy)) >> 32) as u32,
        x / odd,
        x % odd,
        sx.wrapping_div(odd as i32) as u32,
        // The sign is that of the divisor.
        floor_mod(sx, odd as i32) as u32,
        x >> (y & 31),
        (sx >> (y & 31)) as u32,
        x << (y & 31),
        sx.wrapping_abs() as u32,
        sx.signum() as u32,
        x.min(y),
        sx.max(sy) as u32,
        r as u32,
        (r >> 32) as u32,
        u32::from((q as i64) < r as i64),
        u32::from(q > r),
        u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]),
        product(low, halves(y)[0]) | product(high, halves(y)[1]) << 16,
        u32::from(low) << 3 ^ u32::from(high >> 2),
        u32::from((low as i16) < high as i16),
        bytes(x)[1] as i8 as u32,
        x ^ !y,
    ]
}

fn floor_mod(a: i32, b: i32) -> i32 {
    let rest = a.wrapping_rem(b);
    if rest != 0 && (rest < 0) != (b < 0) {
        rest + b
    } else {
        rest
    }
}

#[test]
fn float_functions() {
    let mut bench = program!("fmath");
    let a: Vec<f32> = random(14, 256)
        .iter()
        .map(|x| *x as i32 as f32 / 3e8)
        .collect();
    let bits: Vec<u32> = a.iter().map(|x| x.to_bits()).collect();
    bench.fill(0, &bits);
    bench.run();
    let out = bench.result(1, 128 * 32);
    for i in 0..128 {
        let (x, y) = (a[2 * i], a[2 * i + 1]);
        let got: Vec<f32> = out[i * 32..][..32]
            .iter()
            .map(|x| f32::from_bits(*x))
            .collect();
        for (n, (want, tolerance)) in floats(x, y).into_iter().enumerate() {
            let error = (got[n] - want).abs();
            let good = got[n] == want || error <= tolerance * want.abs().max(1.0);
            assert!(good, "thread {i}, value {n} of {x} {y}: {} {want}", got[n]);
        }
    }
}

/// What `fmath` computes of two numbers, and how far off it may be.
fn floats(x: f32, y: f32) -> Vec<(f32, f32)> {
    let size = x.abs();
    let smooth = x.clamp(0.0, 1.0);
    let exponent = size.log2().floor() + 1.0;
    vec![
        (x + y, 0.0),
        (x * y, 0.0),
        (x / y, 1e-6),
        (size.sqrt(), 1e-6),
        (1.0 / size.sqrt(), 1e-6),
        (x.exp2(), 2e-6),
        (size.log2(), 2e-6),
        (x.sin(), 2e-4),
        (x.cos(), 2e-4),
        (size.powf(y), 1e-4),
        (x.floor(), 0.0),
        (x.ceil(), 0.0),
        (x.trunc(), 0.0),
        (x.round_ties_even(), 0.0),
        (x - x.floor(), 1e-6),
        (x - y * (x / y).floor(), 1e-4),
        (x.min(y), 0.0),
        (x.max(y), 0.0),
        (x.clamp(-1.0, 1.0), 0.0),
        (x.signum(), 0.0),
        (x.trunc(), 0.0),
        (size.trunc(), 0.0),
        (if x < y { 1.0 } else { 2.0 }, 0.0),
        (x.atan2(y), 1e-3),
        (x * 8.0, 0.0),
        (x / exponent.exp2(), 0.0),
        (exponent, 0.0),
        (x, 1e-3),
        (0.0, 0.0),
        (smooth * smooth * (3.0 - 2.0 * smooth), 1e-6),
        (x.tanh(), 1e-5),
        (x, 0.0),
    ]
}

#[test]
fn subgroup_operations() {
    let mut bench = program!("subgroup");
    let a = random(15, 1024);
    bench.fill(0, &a);
    bench.run();
    let out = bench.result(1, 128 * 16);
    for i in 0..128 {
        let lane = i % 16;
        let warp = &a[i / 16 * 16..][..16];
        let add = |part: &[u32]| part.iter().fold(0u32, |x, y| x.wrapping_add(*y));
        let branch = |yes: bool| warp.iter().copied().filter(move |x| (x & 3 == 1) == yes);
        let ballot = (0..16).fold(0, |mask, n| mask | (warp[n] & 1) << n);
        let all = warp.iter().all(|x| *x > 100);
        let want = [
            16,
            lane as u32,
            add(warp),
            warp.iter().copied().min().unwrap(),
            add(&warp[..lane]),
            warp[..=lane].iter().copied().max().unwrap(),
            ballot,
            warp[0],
            warp[15 - lane],
            warp[lane ^ 5],
            u32::from(lane == 0),
            u32::from(warp.iter().any(|x| *x > 100)),
            u32::from(all),
            if a[i] & 3 == 1 {
                branch(true).fold(0, u32::wrapping_add)
            } else {
                branch(false).max().unwrap()
            },
            4,
            (i as u32 % 64) / 16,
        ];
        assert_eq!(out[i * 16..][..16], want, "thread {i}");
    }
}

#[test]
fn image_to_buffer_kernel_of_panvk() {
    // 70x50 pixels of four bytes, in rows of 320 bytes.
    let mut bench = program!("image");
    let fau = bench.job.fau & ((1 << 48) - 1);
    let to = bench.load64(fau + 16).unwrap();
    let tables = bench.job.srt & !0x3f;
    let texture = bench.load64(tables + 16).unwrap() & ((1 << 56) - 1);
    let plane = bench.load64(texture + 16).unwrap();
    let from = bench.load64(plane + 8).unwrap();
    let pixels = random(16, 80 * 50);
    for (n, word) in pixels.iter().enumerate() {
        bench.put(from + n as u64 * 4, &word.to_le_bytes());
    }
    bench.run();
    for (y, row) in pixels.chunks(80).enumerate() {
        assert_eq!(bench.words(to + y as u64 * 280, 70), row[..70], "row {y}");
    }
}
