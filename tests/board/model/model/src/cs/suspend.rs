// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The image of a stream in a suspend buffer.
//!
//! Everything that a stream is, and nothing of where it ran: times are kept as what remains of
//! them. A checksum finds an image that was written over; since the guest could make a right one,
//! every value is checked too.

use super::env::{FlushModes, Scope};
use super::scoreboard::{Entry, Op, Phase, SyncOp, Tiling, TilingStage, ENTRIES};
use super::state::{
    Block, Failure, Handler, Oom, OomRequest, Stream, BLOCKS, CALL_DEPTH, REGISTERS, SLOTS,
};
use crate::shader::job::{ComputeJob, FragmentJob};

/// Largest image, in bytes.
pub const IMAGE: usize = 4096;

const MAGIC: u32 = 0x5343_3130;

/// Bytes before what the checksum is made over: magic, length, checksum.
const HEADER: usize = 16;

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Writes values one after the other.
struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(value.into())
    }
    fn u16(&mut self, value: u16) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    fn words(&mut self, words: &[u32]) -> &mut Self {
        words.iter().fold(self, |out, word| out.u32(*word))
    }
    fn failure(&mut self, value: Option<Failure>) -> &mut Self {
        let failure = value.unwrap_or(Failure { code: 0, info: 0 });
        self.flag(value.is_some())
            .u8(failure.code)
            .u64(failure.info)
    }
}

/// Reads them back. Nothing comes after the end, or of a value that cannot be.
struct In<'a>(&'a [u8]);

impl In<'_> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
    fn u8(&mut self) -> Option<u8> {
        self.bytes::<1>().map(|b| b[0])
    }
    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
    fn u16(&mut self) -> Option<u16> {
        self.bytes().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.bytes().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
    fn failure(&mut self) -> Option<Option<Failure>> {
        let there = self.flag()?;
        let (code, info) = (self.u8()?, self.u64()?);
        Some(there.then_some(Failure { code, info }))
    }
}

fn write_tiling(out: &mut Out, tiling: &Tiling) {
    out.u64(tiling.context).u32(tiling.bytes);
    match tiling.stage {
        TilingStage::Look => out.u8(0),
        TilingStage::Retire {
            base,
            size,
            next,
            before,
        } => out.u8(1).u64(base).u32(size).u64(next).u64(before),
        TilingStage::Find { next } => out.u8(2).u64(next),
        TilingStage::Install { chunk, cut } => out.u8(3).u64(chunk).flag(cut),
    };
}

fn read_tiling(from: &mut In<'_>) -> Option<Tiling> {
    Some(Tiling {
        context: from.u64()?,
        bytes: from.u32()?,
        stage: match from.u8()? {
            0 => TilingStage::Look,
            1 => TilingStage::Retire {
                base: from.u64()?,
                size: from.u32()?,
                next: from.u64()?,
                before: from.u64()?,
            },
            2 => TilingStage::Find { next: from.u64()? },
            3 => TilingStage::Install {
                chunk: from.u64()?,
                cut: from.flag()?,
            },
            _ => return None,
        },
    })
}

fn write_op(out: &mut Out, op: &Op) {
    match op {
        Op::Load { va, base, mask } => {
            out.u8(0).u64(*va).u8(*base).u16(*mask);
        }
        Op::Store { va, mask, data } => {
            out.u8(1).u64(*va).u16(*mask);
            out.words(data);
        }
        Op::Flush { modes, id } => {
            out.u8(2).u8(modes.l2).u8(modes.lsc).u8(modes.other);
            out.u32(*id);
        }
        Op::Sync(sync) => {
            out.u8(3).flag(sync.add).flag(sync.wide);
            out.flag(sync.propagate).flag(sync.scope == Scope::System);
            out.u64(sync.va).u64(sync.data);
        }
        Op::State { va, state } => {
            out.u8(4).u64(*va).u8(*state);
        }
        Op::Heap { heap, operation } => {
            out.u8(5).u64(*heap).u8(*operation);
        }
        Op::FinishFragment {
            heap,
            first,
            last,
            increment,
            given,
        } => {
            out.u8(6).u64(*heap).u64(*first).u64(*last);
            out.flag(*increment).flag(*given);
        }
        Op::Nothing => {
            out.u8(7);
        }
        Op::Tiling(tiling) => write_tiling(out.u8(8), tiling),
        Op::Compute(job) => {
            out.u8(9).u64(job.srt).u64(job.fau).u64(job.spd);
            out.u64(job.tsd)
                .u32(job.attribute_offset)
                .u32(job.workgroup);
            out.words(&job.offset).words(&job.size);
            out.u8(job.task_axis).u32(job.task_increment);
        }
        Op::Fragment(job) => {
            out.u8(10).u64(job.framebuffer).u32(job.min).u32(job.max);
            out.flag(job.tile_enable_map).u8(job.tile_order);
        }
    }
}

fn read_op(from: &mut In<'_>) -> Option<Op> {
    Some(match from.u8()? {
        0 => Op::Load {
            va: from.u64()?,
            base: from.u8()?,
            mask: from.u16()?,
        },
        1 => {
            let (va, mask) = (from.u64()?, from.u16()?);
            let mut data = [0; 16];
            for word in &mut data {
                *word = from.u32()?;
            }
            Op::Store { va, mask, data }
        }
        2 => Op::Flush {
            modes: FlushModes {
                l2: from.u8()?,
                lsc: from.u8()?,
                other: from.u8()?,
            },
            id: from.u32()?,
        },
        3 => Op::Sync(SyncOp {
            add: from.flag()?,
            wide: from.flag()?,
            propagate: from.flag()?,
            scope: if from.flag()? {
                Scope::System
            } else {
                Scope::Group
            },
            va: from.u64()?,
            data: from.u64()?,
        }),
        4 => Op::State {
            va: from.u64()?,
            state: from.u8()?,
        },
        5 => Op::Heap {
            heap: from.u64()?,
            operation: from.u8()?,
        },
        6 => Op::FinishFragment {
            heap: from.u64()?,
            first: from.u64()?,
            last: from.u64()?,
            increment: from.flag()?,
            given: from.flag()?,
        },
        7 => Op::Nothing,
        8 => Op::Tiling(read_tiling(from)?),
        9 => {
            let mut job = ComputeJob {
                srt: from.u64()?,
                fau: from.u64()?,
                spd: from.u64()?,
                tsd: from.u64()?,
                attribute_offset: from.u32()?,
                workgroup: from.u32()?,
                ..ComputeJob::default()
            };
            for word in job.offset.iter_mut().chain(&mut job.size) {
                *word = from.u32()?;
            }
            job.task_axis = from.u8()?;
            job.task_increment = from.u32()?;
            Op::Compute(Box::new(job))
        }
        10 => Op::Fragment(Box::new(FragmentJob {
            framebuffer: from.u64()?,
            min: from.u32()?,
            max: from.u32()?,
            tile_enable_map: from.flag()?,
            tile_order: from.u8()?,
        })),
        _ => return None,
    })
}

fn read_entry(from: &mut In<'_>, now: u64) -> Option<Entry> {
    let (slot, wait, progress) = (from.u8()?, from.u16()?, from.flag()?);
    let phase = if from.flag()? {
        Phase::Deferred
    } else {
        Phase::Running {
            due: now.saturating_add(from.u64()?),
            after: from.u64()?,
        }
    };
    (slot < SLOTS && wait >> SLOTS == 0).then_some(())?;
    Some(Entry {
        slot,
        wait,
        progress,
        phase,
        op: read_op(from)?,
    })
}

/// Changes values of an image at random, with a right checksum: for fuzzing.
pub(super) fn spoil(image: &mut [u8], rng: &mut super::rng::Rng) {
    let len = image.len() as u64;
    if len <= HEADER as u64 {
        return;
    }
    for _ in 0..=rng.below(3) {
        let at = HEADER as u64 + rng.below(len - HEADER as u64);
        image[at as usize] = rng.next() as u8;
    }
    let sum = checksum(&image[HEADER..]).to_le_bytes();
    image[8..16].copy_from_slice(&sum);
}

impl Stream {
    /// The image of the stream, of at most [`IMAGE`] bytes. There is none while a job is being
    /// executed ([`Stream::busy`]): run on, and ask again.
    ///
    /// A request for heap memory that was not answered is not in it: it is made again after a
    /// resume.
    pub fn save(&self, now: u64) -> Option<Vec<u8>> {
        if self.busy() {
            return None;
        }
        let mut out = Out(Vec::with_capacity(IMAGE));
        out.u32(MAGIC).u32(0).u64(0);
        out.words(&self.regs);
        out.u64(self.extract).u8(self.depth);
        for block in self.blocks.iter().take(usize::from(self.depth) + 1) {
            out.u64(block.ip).u64(block.start).u64(block.end);
        }
        out.u8(self.sb_endpoint).u8(self.sb_other);
        out.failure(self.error).failure(self.fatal);
        out.flag(self.tell_error);
        out.u64(self.handler.address).u32(self.handler.length);
        out.flag(self.handler_known).u8(self.handler_depth);
        out.flag(self.handler_due).flag(self.handler_done);
        out.u64(match self.oom {
            Oom::Answered(chunk) => chunk,
            _ => 0,
        });
        let passes = self.passes;
        out.u64(passes.heap).u32(passes.vt_start).u32(passes.vt_end);
        out.u32(passes.frag_end).u64(self.heap);
        out.u8(self.resources).u64(self.progress);
        let resources_in = self.resources_at.map_or(0, |at| at.saturating_sub(now));
        out.flag(self.resources_at.is_some()).u64(resources_in);
        let entries = &self.sb.entries;
        out.u8(entries.len() as u8);
        for entry in entries {
            out.u8(entry.slot).u16(entry.wait).flag(entry.progress);
            match entry.phase {
                Phase::Deferred => out.flag(true),
                Phase::Running { due, after } => out
                    .flag(false)
                    .u64(due.saturating_sub(now))
                    .u64(after.saturating_sub(self.executed)),
                Phase::Working | Phase::Starved => out.flag(false).u64(0).u64(0),
            };
            write_op(&mut out, &entry.op);
        }
        let mut bytes = out.0;
        let len = (bytes.len() as u32).to_le_bytes();
        let sum = checksum(&bytes[HEADER..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&len);
        bytes[8..16].copy_from_slice(&sum);
        Some(bytes)
    }

    /// The stream of an image, which may be followed by other bytes. Nothing comes of one that was
    /// written over.
    pub fn load(bytes: &[u8], now: u64) -> Option<Self> {
        let mut head = In(bytes);
        let (magic, len, sum) = (head.u32()?, head.u32()? as usize, head.u64()?);
        let body = bytes.get(HEADER..len)?;
        if magic != MAGIC || len > IMAGE || sum != checksum(body) {
            return None;
        }
        let mut from = In(body);
        let mut regs = [0; REGISTERS];
        for reg in &mut regs {
            *reg = from.u32()?;
        }
        let mut stream = Self::new(from.u64()?);
        stream.regs = regs;
        stream.depth = from.u8()?;
        for block in stream
            .blocks
            .get_mut(..=usize::from(stream.depth))
            .filter(|blocks| blocks.len() <= BLOCKS)?
        {
            *block = Block {
                ip: from.u64()?,
                start: from.u64()?,
                end: from.u64()?,
            };
            let aligned = (block.ip | block.start | block.end) % 8 == 0;
            (aligned && block.start <= block.ip && block.ip <= block.end).then_some(())?;
        }
        stream.sb_endpoint = from.u8()?;
        stream.sb_other = from.u8()?;
        stream.error = from.failure()?;
        stream.fatal = from.failure()?;
        stream.tell_error = from.flag()?;
        stream.handler = Handler {
            address: from.u64()?,
            length: from.u32()?,
        };
        stream.handler_known = from.flag()?;
        stream.handler_depth = from.u8()?;
        stream.handler_due = from.flag()?;
        stream.handler_done = from.flag()?;
        stream.oom = match from.u64()? {
            0 => Oom::None,
            chunk => Oom::Answered(chunk),
        };
        stream.passes = OomRequest {
            heap: from.u64()?,
            vt_start: from.u32()?,
            vt_end: from.u32()?,
            frag_end: from.u32()?,
        };
        stream.heap = from.u64()?;
        stream.resources = from.u8()?;
        stream.progress = from.u64()?;
        let asked = from.flag()?;
        let resources_at = now.saturating_add(from.u64()?);
        stream.resources_at = asked.then_some(resources_at);
        let entries = from.u8()?;
        (usize::from(entries) <= ENTRIES).then_some(())?;
        for _ in 0..entries {
            stream.sb.push(read_entry(&mut from, now)?);
        }
        let calls = stream.depth.checked_sub(stream.handler_depth)?;
        let sane = stream.sb_endpoint < SLOTS
            && stream.sb_other < SLOTS
            && stream.handler_depth <= CALL_DEPTH + 1
            && calls <= CALL_DEPTH
            && from.0.is_empty();
        sane.then_some(stream)
    }
}
