// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Random and mutated streams, suspend images and answers of the host: nothing may panic, run
//! without end, or reach what is not mapped.
//!
//! Each case follows from its number, so that one that fails can be run alone.

use super::flat::Flat;
use super::instr::Instr;
use super::rng::Rng;
use super::state::{Outcome, Ring, Stream};
use super::suspend::IMAGE;

/// Where memory is.
const BASE: u64 = 0x4000_0000;
/// Bytes of it.
const LEN: usize = 16 << 10;
/// Instructions that a case may execute in one run.
const BUDGET: u32 = 400;

/// What the cases did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Cases.
    pub cases: u64,
    /// Instructions executed.
    pub instructions: u64,
    /// Ended with all executed.
    pub idle: u64,
    /// Ended for good.
    pub fatal: u64,
    /// Recoverable faults.
    pub faults: u64,
    /// Were waiting at the end.
    pub waiting: u64,
    /// Had more to execute at the end.
    pub endless: u64,
    /// Asked for heap memory.
    pub oom: u64,
    /// Suspended and resumed.
    pub suspends: u64,
    /// Bad images that were accepted and executed.
    pub images: u64,
}

/// Streams that Mesa made, to be mutated: words, one stream after the other, separated by an empty
/// line.
const CORPUS: &str = include_str!("corpus.txt");

/// The streams of the corpus.
pub fn corpus() -> Vec<Vec<u64>> {
    let text = CORPUS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect::<Vec<_>>();
    text.split(|line| line.is_empty())
        .map(|lines| {
            let words = lines.iter().flat_map(|line| line.split_whitespace());
            words
                .filter_map(|word| u64::from_str_radix(word, 16).ok())
                .collect()
        })
        .filter(|stream: &Vec<u64>| !stream.is_empty())
        .collect()
}

/// An address that is likely to matter.
fn address(rng: &mut Rng) -> u64 {
    match rng.below(16) {
        0 => rng.next(),
        1 => 0,
        2 => BASE + LEN as u64 - 8 * rng.below(8),
        3 => BASE + rng.below(LEN as u64),
        4 => u64::MAX - rng.below(64),
        _ => BASE + 64 * rng.below(LEN as u64 / 64),
    }
}

/// An instruction with fields that are likely to be executed.
pub(crate) fn likely(rng: &mut Rng) -> u64 {
    let even = |rng: &mut Rng| 2 * rng.below(8);
    match rng.below(8) {
        0 | 1 => 1 << 56 | even(rng) << 48 | address(rng) & 0xffff_ffff_ffff,
        2 => 2 << 56 | rng.below(16) << 48 | 8 * rng.below(32),
        3 => 3 << 56 | rng.below(256) << 16,
        4 => {
            // A branch, mostly short.
            let offset = rng.below(16).wrapping_sub(8) & 0xffff;
            22 << 56 | rng.below(16) << 40 | rng.below(8) << 28 | offset
        }
        _ => {
            let (op, _) = Instr::ALL[rng.below(Instr::ALL.len() as u64) as usize];
            let regs = even(rng) << 48 | even(rng) << 40 | even(rng) << 32;
            let low = match rng.below(3) {
                0 => rng.next() & 0xffff_ffff,
                1 => rng.below(256) << 16 | 4 * rng.below(16),
                _ => 4 * rng.below(16),
            };
            u64::from(op) << 56 | regs | low
        }
    }
}

/// A tiler context, the heap's descriptor, the heap context, and chunks, for [`tiling`].
const CONTEXT: u64 = BASE + 0x3000;
const DESC: u64 = BASE + 0x3100;
const HEAP: u64 = BASE + 0x3200;

/// Code that uses a heap.
fn tiling(rng: &mut Rng, code: &mut Vec<u64>) {
    let mov = |dest: u64, value: u64| 1 << 56 | dest << 48 | value;
    code.extend([mov(70, HEAP), 48 << 56 | 70 << 40, mov(40, CONTEXT)]);
    for _ in 0..rng.below(24) {
        let instr = match rng.below(8) {
            0 => 49 << 56 | rng.below(4) << 32 | rng.below(4) << 16 | 7 << 48,
            1 => 11 << 56 | 86 << 40 | 88 << 32 | rng.below(2),
            2 => 20 << 56 | 86 << 48 | 40 << 40 | 0xf << 16 | 40,
            3 => mov(
                86 + 2 * rng.below(2),
                BASE + (rng.below(4) << 12) | rng.below(3),
            ),
            4 => 25 << 56 | 2 * rng.below(4) << 40 | 94 << 32 | 2,
            5 => likely(rng),
            _ => 6 << 56,
        };
        code.push(instr);
    }
    code.push(3 << 56 | 0xff << 16);
}

/// Memory that [`tiling`] uses.
fn heap(rng: &mut Rng, env: &mut Flat) {
    let mut put = |va: u64, value: u64| {
        let at = (va - BASE) as usize;
        env.memory[at..at + 8].copy_from_slice(&value.to_le_bytes());
    };
    put(
        CONTEXT + 24,
        if rng.below(8) == 0 {
            address(rng)
        } else {
            DESC
        },
    );
    put(DESC, rng.below(4) << 44);
    for (n, at) in [8, 16, 24].into_iter().enumerate() {
        let value = match rng.below(4) {
            0 => address(rng),
            1 => 0,
            _ => BASE + 0x2000 + 0x800 * n as u64,
        };
        put(DESC + at, value);
    }
    for at in [0, 8, 16, 24] {
        if rng.below(4) == 0 {
            put(HEAP + at, address(rng));
        }
    }
}

fn mutate(rng: &mut Rng, stream: &[u64], code: &mut Vec<u64>) {
    let from = rng.below(stream.len() as u64) as usize;
    let len = 1 + rng.below(96) as usize;
    code.extend(stream.iter().skip(from).take(len));
    for _ in 0..rng.below(6) {
        let at = rng.below(code.len() as u64) as usize;
        match rng.below(4) {
            0 => code[at] ^= 1 << rng.below(64),
            1 => code[at] = likely(rng),
            2 => code.insert(at, likely(rng)),
            _ => drop(code.remove(at)),
        }
        if code.is_empty() {
            code.push(0);
        }
    }
}

/// The words of a case.
fn program(rng: &mut Rng, corpus: &[Vec<u64>], code: &mut Vec<u64>) {
    code.clear();
    let kind = rng.below(8);
    if kind < 3 && !corpus.is_empty() {
        let n = rng.below(corpus.len() as u64) as usize;
        return mutate(rng, &corpus[n], code);
    }
    if kind == 3 {
        return tiling(rng, code);
    }
    for _ in 0..=rng.below(48) {
        code.push(match kind {
            7 => rng.next(),
            6 => {
                let (op, _) = Instr::ALL[rng.below(Instr::ALL.len() as u64) as usize];
                u64::from(op) << 56 | rng.next() >> 8
            }
            _ => likely(rng),
        });
    }
}

/// Everything that a case needs, made once.
pub struct Fuzz {
    env: Flat,
    corpus: Vec<Vec<u64>>,
    code: Vec<u64>,
    /// What was done so far.
    pub totals: Totals,
}

impl Default for Fuzz {
    fn default() -> Self {
        let mut env = Flat::new(BASE, LEN);
        env.forget = true;
        Self {
            env,
            corpus: corpus(),
            code: Vec::new(),
            totals: Totals::default(),
        }
    }
}

impl Fuzz {
    /// Runs one case.
    ///
    /// # Panics
    ///
    /// If a stream does what it must not.
    pub fn case(&mut self, seed: u64) {
        let mut rng = Rng::new(seed);
        program(&mut rng, &self.corpus, &mut self.code);
        let env = &mut self.env;
        env.memory.fill(0);
        env.time = 0;
        env.off = false;
        env.delay = rng.below(500);
        env.spread = rng.below(5_000);
        env.rng = Rng::new(seed ^ 0x55);
        env.tiler_bytes = rng.next() as u32 >> rng.below(28);
        env.locked = 0..0;
        env.read_only = match rng.below(4) {
            0 => BASE + 0x2000..BASE + 0x2000 + rng.below(4096),
            _ => 0..0,
        };
        heap(&mut rng, env);
        // Half of the cases are called, the others are the ring itself.
        let called = rng.below(2) == 0;
        let at = if called { BASE + 0x1000 } else { BASE };
        for (n, word) in self.code.iter().take(512).enumerate() {
            let offset = (at - BASE) as usize + 8 * n;
            env.memory[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
        }
        let mut ring = Ring {
            base: BASE,
            size: 4096,
            insert: 8 * self.code.len().min(512) as u64,
        };
        let mut stream = Stream::new(0);
        for n in 0..96 {
            let value = if rng.below(3) == 0 {
                rng.next()
            } else {
                address(&mut rng)
            };
            stream.set_reg(n, (value >> (32 * (n % 2))) as u32);
        }
        if called {
            let [low, high] = [at as u32, (at >> 32) as u32];
            stream.set_reg(92, low);
            stream.set_reg(93, high);
            stream.set_reg(94, ring.insert as u32);
            let call = (32_u64 << 56 | 92 << 40 | 94 << 32).to_le_bytes();
            env.memory[..8].copy_from_slice(&call);
            ring.insert = 8;
        }
        self.play(&mut rng, stream, ring);
        self.totals.cases += 1;
    }

    /// Runs a stream, with a host that does what it likes.
    fn play(&mut self, rng: &mut Rng, mut stream: Stream, mut ring: Ring) {
        let (env, totals) = (&mut self.env, &mut self.totals);
        let mut last = Outcome::More;
        for _ in 0..6 {
            let before = stream.executed();
            last = stream.run(env, &ring, BUDGET);
            let executed = stream.executed() - before;
            totals.instructions += executed;
            assert!(executed <= u64::from(BUDGET), "more than the budget");
            assert!(stream.extract() <= ring.insert, "past the end of the ring");
            let _ = stream.status(&ring);
            match last {
                Outcome::Fatal(_) => break,
                Outcome::Fault(_) => totals.faults += 1,
                Outcome::Idle if rng.below(2) == 0 => break,
                Outcome::Idle => ring.insert += 8 * rng.below(3),
                Outcome::TilerOom(_) => {
                    totals.oom += 1;
                    stream.answer_oom(match rng.below(3) {
                        0 => 0,
                        1 => address(rng),
                        _ => address(rng) & !0xfff | 1,
                    });
                }
                Outcome::Waiting { until, .. } => {
                    env.time = until.unwrap_or(env.time).max(env.time);
                }
                Outcome::More | Outcome::Locked | Outcome::Off => {}
            }
            super::settle([&mut stream]);
            env.locked = match rng.below(8) {
                0 => {
                    let start = BASE + rng.below(LEN as u64);
                    start..start + rng.below(4096)
                }
                _ => 0..0,
            };
            env.off = rng.below(64) == 0;
            if rng.below(6) == 0 {
                if let Some(mut image) = stream.save(env.time) {
                    assert!(image.len() <= IMAGE, "image too large");
                    totals.suspends += 1;
                    if rng.below(4) == 0 {
                        super::suspend::spoil(&mut image, rng);
                    }
                    match Stream::load(&image, env.time) {
                        Some(loaded) => {
                            totals.images += 1;
                            stream = loaded;
                            // A spoiled one may stand anywhere.
                            ring.insert = ring.insert.max(stream.extract());
                        }
                        None => break,
                    }
                }
            }
        }
        match last {
            Outcome::Idle => totals.idle += 1,
            Outcome::Fatal(_) => totals.fatal += 1,
            Outcome::Waiting { .. } => totals.waiting += 1,
            _ => totals.endless += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run() {
        let mut fuzz = Fuzz::default();
        for case in 0..5_000 {
            fuzz.case(case);
        }
        let t = fuzz.totals;
        // All ends are seen, or the cases would not be worth much.
        for (what, n) in [
            ("idle", t.idle),
            ("fatal", t.fatal),
            ("faults", t.faults),
            ("waiting", t.waiting),
            ("endless", t.endless),
            ("oom", t.oom),
            ("suspends", t.suspends),
            ("images", t.images),
        ] {
            assert!(n > 20, "{what}: {t:?}");
        }
        assert!(t.instructions > 20 * t.cases, "{t:?}");
    }

    #[test]
    fn the_corpus_is_what_mesa_makes() {
        let corpus = corpus();
        assert!(corpus.len() >= 10);
        for word in corpus.iter().flatten() {
            let instr = Instr::decode(*word).unwrap_or_else(|| panic!("{word:#x}"));
            assert_eq!(instr.encode(), *word);
        }
    }
}
