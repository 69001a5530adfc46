// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Random contents of the control blocks of firmware, groups and streams, of rings and of suspend
//! buffers: nothing may panic, run without end, or change what no address space maps.
//!
//! Each case follows from its number. It is a device of its own with a group that a driver has set
//! up rightly, and [`ROUNDS`] rounds in which some of that is changed and the firmware is told.

use super::layout::{group_input, stream_input, Layout, Version, GLOBAL_INPUT};
use super::Mcu;
use crate::cs::fuzz::{corpus, likely};
use crate::cs::rng::Rng;
use crate::ram::PAGE;
use crate::testing::{leaf, Bench, RAM};
use std::collections::BTreeSet;

/// Rounds of a case.
pub const ROUNDS: u64 = 256;

/// In the address space of groups: two rings, then pages for data and code.
const RING: u64 = 0x100_0000;
const PAGES: u64 = 8;
/// In that of the firmware: pages for pointers, then suspend buffers of two groups.
const QUEUE: u32 = 0x0500_0000;
const SUSPEND: u32 = 0x0600_0000;
/// Bytes behind what is used that must stay zero.
const BEYOND: u64 = 256 << 10;

/// What the cases did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Rounds.
    pub rounds: u64,
    /// Requests to groups that were looked at.
    pub requests: u64,
    /// Groups started and resumed.
    pub starts: u64,
    /// Groups suspended and terminated.
    pub stops: u64,
    /// Pieces of streams run.
    pub pieces: u64,
    /// Violations.
    pub violations: u64,
}

/// Runs cases.
#[derive(Default)]
pub struct Fuzz {
    corpus: Vec<Vec<u64>>,
    /// What was done so far.
    pub totals: Totals,
}

/// A case.
struct Case<'a> {
    b: Bench,
    rng: Rng,
    layout: Layout,
    corpus: &'a [Vec<u64>],
    /// Pages of the groups' address space, in its order.
    pages: Vec<u64>,
    insert: [u64; 2],
}

impl Case<'_> {
    /// A device, a group in slot 0, and which pages anybody may write to.
    fn new(seed: u64, corpus: &[Vec<u64>]) -> (Case<'_>, BTreeSet<u64>) {
        let mut rng = Rng::new(seed);
        let names = ["1.1", "1.5", "4.0", "4.1"];
        let name = names[rng.below(4) as usize];
        let layout = Layout {
            version: Version::of(name).unwrap_or(Version::V1_5),
            groups: 3 + rng.below(14) as u32,
            streams: 8 + rng.below(25) as u32,
        };
        let mut b = Bench::powered();
        b.gpu.mcu = Mcu::new(layout, seed);
        let firmware = b.load_firmware();
        let queue = (QUEUE..QUEUE + 0x4000).step_by(PAGE);
        let suspend = (SUSPEND..SUSPEND + 2 * layout.suspend_size()).step_by(PAGE);
        for va in queue.chain(suspend) {
            let page = b.page();
            b.map(firmware, va.into(), page, leaf::RW | leaf::XN);
        }
        b.start_mcu();
        let root = b.enable(1);
        let mut pages = Vec::new();
        for va in (RING..RING + PAGES * PAGE as u64).step_by(PAGE) {
            let page = b.page();
            b.map(root, va, page, leaf::RW);
            pages.push(page);
        }
        let writable = b.writable(firmware).into_iter().chain(b.writable(root));
        let writable = writable.collect();
        let mut case = Case {
            b,
            rng,
            layout,
            corpus,
            pages,
            insert: [0; 2],
        };
        case.set_up();
        (case, writable)
    }

    /// What a driver writes before it starts a group, all of it right.
    fn set_up(&mut self) {
        let (layout, b) = (self.layout, &mut self.b);
        b.fw_write(GLOBAL_INPUT + 0x80, 61);
        b.fw_write(GLOBAL_INPUT, 0x48e);
        for n in 0..2 {
            let (at, queue) = (layout.stream_input(0, n), QUEUE + n * 0x2000);
            for (offset, value) in [
                (stream_input::RING_BASE, RING as u32 + n * PAGE as u32),
                (stream_input::RING_SIZE, PAGE as u32),
                (stream_input::RING_INPUT, queue),
                (stream_input::RING_OUTPUT, queue + PAGE as u32),
                (stream_input::CONFIG, 1 << 8),
                (0, 0x501),
            ] {
                b.fw_write(at + offset, value);
            }
        }
        let at = layout.group_input(0);
        b.fw_write(at + group_input::SUSPEND_BUF, SUSPEND);
        b.fw_write(at + group_input::CONFIG, 1);
        b.fw_write(at, 1);
        b.fw_write(GLOBAL_INPUT + 8, 1);
    }

    /// A word that is likely to matter.
    fn value(&mut self, old: u32) -> u32 {
        let rng = &mut self.rng;
        match rng.below(8) {
            0 => rng.next() as u32,
            1 => rng.below(16) as u32,
            2 => QUEUE + 8 * rng.below(0x800) as u32,
            3 => SUSPEND + 64 * rng.below(0x400) as u32,
            4 => RING as u32 + 8 * rng.below(PAGES << 9) as u32,
            5 => 1 << rng.below(32),
            _ => old ^ 1 << rng.below(32),
        }
    }

    /// The block of a group or stream, or the global one; more often those that are in use.
    fn block(&mut self) -> u32 {
        let (layout, rng) = (self.layout, &mut self.rng);
        let few = |rng: &mut Rng, all: u32| {
            let of = if rng.below(4) == 0 { all } else { 2 };
            rng.below(of.into()) as u32
        };
        let group = few(rng, layout.groups);
        match rng.below(6) {
            0 => GLOBAL_INPUT,
            1 | 2 => layout.group_input(group),
            _ => {
                let stream = few(rng, layout.streams);
                layout.stream_input(group, stream)
            }
        }
    }

    /// Changes something.
    fn change(&mut self) {
        match self.rng.below(16) {
            // A word of a control block, rarely of its output.
            0..=5 => {
                let out = if self.rng.below(8) == 0 { 0x100 } else { 0 };
                let at = self.block() + out + 4 * self.rng.below(0x24) as u32;
                let old = self.b.fw_read(at);
                let value = self.value(old);
                self.b.fw_write(at, value);
            }
            // A request as a driver makes it: bits that differ from what was acknowledged.
            6 => {
                let at = self.block();
                let ack = self.b.fw_read(at + 0x100);
                let state = self.rng.below(4) as u32;
                let bits = self.rng.next() as u32 & self.rng.next() as u32 & !7;
                self.b.fw_write(at, (ack & !7 | state) ^ bits);
            }
            // The same with nothing wrong in it: the group starts, stops, goes on.
            7 | 8 => {
                let at = self.layout.group_input(0);
                let ack = self.b.fw_read(at + 0x100);
                let state = self.rng.below(4) as u32;
                self.b.fw_write(at, ack & !7 | state);
            }
            9 => self.set_up(),
            // More in a ring.
            10..=12 => {
                let n = self.rng.below(2) as usize;
                let mut words = Vec::new();
                for _ in 0..self.rng.below(6) {
                    words.push(likely(&mut self.rng));
                }
                if let Some(stream) = self.corpus.get(self.rng.below(64) as usize) {
                    words.extend(stream.iter().take(24));
                }
                for word in words {
                    let at = self.pages[n] + self.insert[n] % PAGE as u64;
                    self.b.put(at, word);
                    self.insert[n] += 8;
                }
                let at = QUEUE + n as u32 * 0x2000;
                let odd = if self.rng.below(16) == 0 {
                    self.rng.next()
                } else {
                    self.insert[n]
                };
                self.b.fw_write(at, odd as u32);
                self.b.fw_write(at + 4, (odd >> 32) as u32);
            }
            // A suspend buffer, or the pages with pointers.
            13 => {
                let from = [QUEUE, SUSPEND][self.rng.below(2) as usize];
                let at = from + 4 * self.rng.below(0x800) as u32;
                let old = self.b.fw_read(at);
                let value = self.value(old);
                self.b.fw_write(at, value);
            }
            // Memory of the group.
            14 => {
                let n = self.rng.below(PAGES) as usize;
                let at = self.pages[n] + 8 * self.rng.below(512);
                let word = likely(&mut self.rng);
                self.b.put(at, word);
            }
            // The firmware ends, or starts again.
            _ => {
                let value = self.rng.below(16) as u32;
                self.b.write(0x700, if value < 3 { value } else { 1 });
            }
        }
    }

    /// Tells the firmware, and lets it and the streams work for a while.
    fn ring(&mut self) {
        let bells = self.rng.next() as u32 & 7;
        let at = self.layout.group_input(self.rng.below(2) as u32) + 8;
        self.b.fw_write(at, bells);
        let served = self.b.fw_read(GLOBAL_INPUT + 0x108);
        self.b
            .fw_write(GLOBAL_INPUT + 8, served ^ (1 + self.rng.below(3) as u32));
        let page = self.rng.below(3);
        self.b.write(0x8_0000 + (page << 16), 1);
        for _ in 0..6 {
            if self.b.gpu.mcu.due(self.b.gpu.env.clock.now()) {
                self.b.gpu.run_mcu();
            }
            self.b.step();
            let time = self.rng.below(60_000);
            self.b.wait(time);
        }
    }
}

impl Fuzz {
    /// With streams of Mesa's for the rings.
    pub fn new() -> Self {
        Self {
            corpus: corpus(),
            totals: Totals::default(),
        }
    }

    /// Runs one case.
    ///
    /// # Panics
    ///
    /// If the device does what it must not.
    pub fn case(&mut self, seed: u64) {
        use crate::counters::Counter as C;
        let (mut case, writable) = Case::new(seed, &self.corpus);
        let others = case.b.others(&writable);
        for _ in 0..ROUNDS {
            for _ in 0..=case.rng.below(3) {
                case.change();
            }
            case.ring();
        }
        assert_eq!(case.b.others(&writable), others, "case {seed}");
        let end = case.b.end();
        let mut beyond = vec![0; BEYOND as usize];
        case.b.gpu.env.ram.read(end, &mut beyond);
        assert!(beyond.iter().all(|byte| *byte == 0), "case {seed}");
        let (t, env) = (&mut self.totals, &case.b.gpu.env);
        let count = |counter| env.counters.get(counter);
        t.rounds += ROUNDS;
        t.requests += count(C::GroupRequest);
        t.starts += count(C::GroupStart) + count(C::GroupResume);
        t.stops += count(C::GroupSuspend) + count(C::GroupTerminate);
        t.pieces += count(C::StreamRun);
        t.violations += env.violations.total();
    }
}

impl Bench {
    /// The pages that a root table maps.
    fn writable(&self, root: u64) -> Vec<u64> {
        let (mut tables, mut pages) = (vec![root], Vec::new());
        for level in 0..4 {
            let mut below = Vec::new();
            for table in tables {
                for n in 0..512 {
                    let entry = self.gpu.env.ram.read_u64(table + 8 * n).unwrap_or(0);
                    if entry & 1 != 0 {
                        let to = if level == 3 { &mut pages } else { &mut below };
                        to.push(entry & 0xffff_ffff_f000);
                    }
                }
            }
            tables = below;
        }
        pages
    }

    /// What is in the pages in use that are not among these: the tables.
    fn others(&self, writable: &BTreeSet<u64>) -> Vec<Vec<u8>> {
        (RAM..self.end())
            .step_by(PAGE)
            .filter(|page| !writable.contains(page))
            .map(|page| {
                let mut bytes = vec![0; PAGE];
                self.gpu.env.ram.read(page, &mut bytes);
                bytes
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_run() {
        let mut fuzz = Fuzz::new();
        for seed in 0..20 {
            fuzz.case(seed);
        }
        let t = fuzz.totals;
        assert!(t.starts > 10 && t.stops > 10 && t.pieces > 100, "{t:?}");
        assert!(t.violations > 100, "{t:?}");
    }
}
