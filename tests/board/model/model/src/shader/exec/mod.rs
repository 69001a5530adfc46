// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Executes compute jobs: workgroups one after the other, the warps of each in turn.

pub mod alu;
pub mod code;
pub mod desc;
pub mod float;
pub mod half;
pub mod image;
pub mod int;
pub mod message;
pub mod warp;

#[cfg(test)]
mod tests;

use crate::cs::env::Memory;
use crate::shader::isa::decode::{waits, From, Instr, Part, END};
use crate::shader::isa::fields as f;
use crate::shader::isa::op::Op;
use crate::shader::job::{ComputeJob, JobError, JobFault, JobStats, Progress};
use alu::{Sources, Value};
use code::Code;
use desc::{Buffer, Program, Storage};
use image::Image;
use warp::{Row, Warp, LANES};

/// Threads of a workgroup at most.
const MAX_THREADS: u64 = 1024;
/// Threads of a core at most: each has its part of the local memory.
const CORE_THREADS: u64 = 2048;
/// Numbers of the cores that are there.
const CORES: [u64; 4] = [0, 2, 16, 18];
/// Warp instructions until the next warp of the workgroup has its turn.
const TURN: u32 = 2048;

/// What all threads of a workgroup share.
pub struct Context {
    job: ComputeJob,
    program: Program,
    storage: Storage,
    uniforms: Box<[u32; 256]>,
    uniform_count: usize,
    buffers: Vec<(u32, Buffer)>,
    images: Vec<(u32, Option<Image>)>,
    core: u64,
    wls: u64,
}

impl Context {
    /// The buffer behind a handle. As in hardware, a descriptor is read once in a job.
    fn buffer<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        handle: u32,
    ) -> Result<Buffer, JobError> {
        if let Some((_, buffer)) = self.buffers.iter().find(|(known, _)| *known == handle) {
            return Ok(*buffer);
        }
        let buffer = desc::buffer(memory, &self.job, handle)?;
        if self.buffers.len() >= 16 {
            self.buffers.clear();
        }
        self.buffers.push((handle, buffer));
        Ok(buffer)
    }

    /// The image behind a handle, in the same way.
    fn image<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        handle: u32,
    ) -> Result<Option<Image>, JobError> {
        if let Some((_, image)) = self.images.iter().find(|(known, _)| *known == handle) {
            return Ok(*image);
        }
        let image = Image::read(memory, &self.job, handle)?;
        if self.images.len() >= 16 {
            self.images.clear();
        }
        self.images.push((handle, image));
        Ok(image)
    }

    fn special(&self, warp: &Warp, page: u8, pair: u8, pc: u64) -> Option<[Row; 2]> {
        let both = |value: u64| [[value as u32; LANES], [(value >> 32) as u32; LANES]];
        Some(match (page, pair) {
            (0, 2) => both(u64::from(warp.first / LANES as u32)),
            (1, 1) => {
                let (mut low, mut high) = ([0; LANES], [0; LANES]);
                for lane in 0..LANES {
                    let thread = u64::from(warp.first) + lane as u64;
                    let slot = self.core * CORE_THREADS + thread;
                    let offset = slot.wrapping_mul(self.storage.tls_size);
                    let va = self.storage.tls.wrapping_add(offset);
                    low[lane] = va as u32;
                    high[lane] = (va >> 32) as u32;
                }
                [low, high]
            }
            (1, 3) => both(self.wls),
            (1, 7) => both(self.job.srt),
            (3, 1) => {
                let mut lanes = [0; LANES];
                for (n, lane) in lanes.iter_mut().enumerate() {
                    *lane = n as u32;
                }
                [lanes, [0; LANES]]
            }
            (3, 3) => both(self.core),
            (3, 15) => both(pc.wrapping_add(8)),
            _ => return None,
        })
    }

    /// Reads all sources. `None`: one of them is not there.
    fn sources(&self, warp: &Warp, ins: &Instr, pc: u64) -> Option<Sources> {
        let mut s = Sources {
            low: [[0; LANES]; 4],
            high: [[0; LANES]; 4],
        };
        for (n, operand) in ins.sources.iter().enumerate() {
            match operand.from {
                From::Nothing => break,
                From::Register(r) => {
                    let r = usize::from(r);
                    s.low[n] = warp.registers[r];
                    s.high[n] = warp.registers[(r + 1) & 63];
                }
                From::Uniform(u) => {
                    let u = usize::from(u);
                    if u >= self.uniform_count {
                        return None;
                    }
                    s.low[n] = [self.uniforms[u]; LANES];
                    s.high[n] = [self.uniforms[(u + 1) & 255]; LANES];
                }
                From::Constant(value) => s.low[n] = [value; LANES],
                From::Special(page, pair, half) => {
                    let both = self.special(warp, page, pair, pc)?;
                    s.low[n] = both[usize::from(half & 1)];
                    s.high[n] = both[1];
                }
            }
        }
        Some(s)
    }
}

/// How a warp stopped.
enum Stop {
    /// The budget of this turn is used.
    Turn,
    /// All threads have ended or wait at a barrier.
    Idle,
}

/// A compute job that is being executed. It can be stopped after any instruction.
pub struct Compute {
    context: Context,
    code: Code,
    ready: bool,
    group: u64,
    groups: u64,
    warps: Vec<Warp>,
    turn: usize,
    stats: JobStats,
}

impl Compute {
    /// A job that has not begun.
    pub fn new(job: &ComputeJob) -> Self {
        Self {
            context: Context {
                job: job.clone(),
                program: Program::default(),
                storage: Storage::default(),
                uniforms: Box::new([0; 256]),
                uniform_count: 0,
                buffers: Vec::new(),
                images: Vec::new(),
                core: 0,
                wls: 0,
            },
            code: Code::default(),
            ready: false,
            group: 0,
            groups: 0,
            warps: Vec::new(),
            turn: 0,
            stats: JobStats::default(),
        }
    }

    /// What has been done so far.
    pub fn stats(&self) -> JobStats {
        self.stats
    }

    /// Goes on, for about `budget` instructions of a thread and at least one.
    ///
    /// After [`crate::cs::env::MemError::Locked`] it can be called again; what was done is not
    /// done twice. After any other error the job is over.
    pub fn run<M: Memory + ?Sized>(
        &mut self,
        memory: &mut M,
        budget: u64,
    ) -> Result<Progress, JobError> {
        if !self.ready {
            self.begin(memory)?;
        }
        let end = self.stats.instructions.saturating_add(budget.max(1));
        loop {
            if self.warps.is_empty() {
                if self.group >= self.groups {
                    return Ok(Progress::Done(self.stats));
                }
                self.start_group();
            }
            while self.turn < self.warps.len() {
                if self.stats.instructions >= end {
                    return Ok(Progress::More);
                }
                let warp = &mut self.warps[self.turn];
                let stop = step(
                    memory,
                    &mut self.context,
                    &mut self.code,
                    warp,
                    &mut self.stats,
                    end,
                )?;
                match stop {
                    Stop::Turn if self.stats.instructions >= end => return Ok(Progress::More),
                    Stop::Turn | Stop::Idle => self.turn += 1,
                }
            }
            self.turn = 0;
            self.warps.retain(|warp| warp.alive() != 0);
            self.barrier()?;
            if self.warps.is_empty() {
                self.group += 1;
                self.stats.workgroups += 1;
            }
        }
    }

    /// Opens the barrier if all threads have come to it.
    fn barrier(&mut self) -> Result<(), JobError> {
        let mut at = None;
        for split in self.warps.iter().flat_map(|warp| warp.splits()) {
            if !split.waiting {
                return Ok(());
            }
            if *at.get_or_insert(split.pc) != split.pc {
                return Err(JobFault::Barrier { pc: split.pc }.into());
            }
        }
        for warp in &mut self.warps {
            warp.release();
        }
        Ok(())
    }

    fn begin<M: Memory + ?Sized>(&mut self, memory: &mut M) -> Result<(), JobError> {
        let context = &mut self.context;
        let job = &context.job;
        context.program = Program::read(memory, job.spd)?;
        context.storage = Storage::read(memory, job.tsd)?;
        let count = (job.fau >> 56) as usize * 2;
        if count > context.uniforms.len() {
            return Err(JobFault::Config("too many uniforms").into());
        }
        let mut bytes = vec![0; count * 4];
        if count != 0 {
            memory.load(job.fau & 0xffff_ffff_ffff, &mut bytes)?;
        }
        for (word, chunk) in context.uniforms.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        }
        context.uniform_count = count;
        let threads: u64 = job.workgroup_size().iter().map(|n| u64::from(*n)).product();
        if threads > MAX_THREADS {
            return Err(JobFault::Config("workgroup too large").into());
        }
        self.groups = job
            .size
            .iter()
            .try_fold(1u64, |all, n| all.checked_mul(u64::from(*n)))
            .ok_or(JobError::Fault(JobFault::Config("job too large")))?;
        self.code = Code::new(context.program.few_registers);
        self.ready = true;
        Ok(())
    }

    /// Makes the warps of the next workgroup.
    fn start_group(&mut self) {
        let context = &mut self.context;
        let job = &context.job;
        let n = self.group;
        context.core = CORES[(n % CORES.len() as u64) as usize];
        let instances = context.storage.wls_instances.max(1);
        let instance = context.core * instances + n / CORES.len() as u64 % instances;
        let offset = instance.wrapping_mul(context.storage.wls_size);
        context.wls = context.storage.wls.wrapping_add(offset);

        let size = job.workgroup_size();
        let [gx, gy, _] = job.size.map(u64::from);
        let group = [
            n % gx.max(1),
            n / gx.max(1) % gy.max(1),
            n / gx.max(1) / gy.max(1),
        ]
        .map(|x| x as u32);
        let threads = size.iter().product::<u32>();
        let mut first = 0;
        while first < threads {
            let mut warp = Warp::new(context.program.binary, first, threads - first);
            for lane in 0..LANES {
                let thread = first + lane as u32;
                let local = [
                    thread % size[0],
                    thread / size[0] % size[1],
                    thread / size[0] / size[1],
                ];
                let global = |axis: usize| {
                    group[axis]
                        .wrapping_mul(size[axis])
                        .wrapping_add(local[axis])
                        .wrapping_add(job.offset[axis])
                };
                let preloaded = [
                    local[0] | local[1] << 16,
                    local[2],
                    group[0],
                    group[1],
                    group[2],
                    global(0),
                    global(1),
                    global(2),
                ];
                for (i, value) in preloaded.into_iter().enumerate() {
                    if context.program.preload >> (7 + i) & 1 != 0 {
                        warp.registers[55 + i][lane] = value;
                    }
                }
            }
            self.warps.push(warp);
            first += LANES as u32;
        }
        self.turn = 0;
        self.stats.threads += u64::from(threads);
    }
}

/// Runs a warp for a turn.
fn step<M: Memory + ?Sized>(
    memory: &mut M,
    context: &mut Context,
    code: &mut Code,
    warp: &mut Warp,
    stats: &mut JobStats,
    end: u64,
) -> Result<Stop, JobError> {
    let Some((mut n, mut next)) = warp.current() else {
        return Ok(Stop::Idle);
    };
    for _ in 0..TURN {
        if stats.instructions >= end {
            return Ok(Stop::Turn);
        }
        let split = warp.split(n);
        let (pc, mask) = (split.pc, split.mask);
        let ins = code.get(memory, pc)?;
        let mut to = pc.wrapping_add(8);
        let mut moved = false;
        let mut parted = false;
        match ins.op {
            Op::Nop => {}
            Op::BranchZ | Op::BranchZi => {
                let sources = context
                    .sources(warp, ins, pc)
                    .ok_or_else(|| invalid(ins, pc))?;
                let taken = taken(ins, &sources) & mask;
                if taken != 0 {
                    let target =
                        target(ins, &sources, pc, taken).ok_or_else(|| invalid(ins, pc))?;
                    if taken == mask {
                        to = target;
                    } else {
                        warp.advance(n, to);
                        warp.branch(n, taken, target);
                        parted = true;
                    }
                    moved = true;
                }
            }
            Op::Barrier => {
                if ins.slot != 7 || waits(ins.flow) & 0x80 == 0 && ins.flow != END {
                    return Err(invalid(ins, pc));
                }
                moved = true;
            }
            Op::Clper | Op::Wmask => {
                let sources = context
                    .sources(warp, ins, pc)
                    .ok_or_else(|| invalid(ins, pc))?;
                let row = match ins.op {
                    Op::Wmask => subgroup_mask(ins, &sources, mask),
                    _ => permute(ins, &sources, mask).ok_or_else(|| invalid(ins, pc))?,
                };
                warp.write_halves(ins.dest, ins.mask, mask, &row);
            }
            Op::Load(_)
            | Op::Store(_)
            | Op::LoadBuffer(_)
            | Op::LeaBuffer
            | Op::Atom { .. }
            | Op::Atom1 { .. }
            | Op::TexFetch => {
                message::run(memory, context, warp, ins, pc, mask)?;
            }
            _ => {
                let sources = context
                    .sources(warp, ins, pc)
                    .ok_or_else(|| invalid(ins, pc))?;
                match alu::compute(ins, &sources, context.program.flush) {
                    Some(Value::Word(row)) => {
                        warp.write_halves(ins.dest, ins.mask, mask, &row);
                    }
                    Some(Value::Pair(low, high)) => {
                        warp.write(ins.dest, mask, &low);
                        warp.write(ins.dest | 1, mask, &high);
                    }
                    None => return Err(invalid(ins, pc)),
                }
            }
        }
        stats.instructions += u64::from(mask.count_ones());
        let slots = waits(ins.flow);
        if slots != 0 {
            warp.complete(slots);
        }
        if ins.flow == END {
            warp.end(n);
        } else if ins.op == Op::Barrier {
            warp.advance(n, to);
            warp.wait(n);
        } else if !parted {
            warp.advance(n, to);
            if !moved && to < next {
                continue;
            }
            if warp.splits().len() == 1 {
                next = u64::MAX;
                continue;
            }
            warp.merge();
        }
        match warp.current() {
            Some(found) => (n, next) = found,
            None => return Ok(Stop::Idle),
        }
    }
    Ok(Stop::Turn)
}

fn invalid(ins: &Instr, pc: u64) -> JobError {
    JobFault::InvalidEncoding { pc, word: ins.word }.into()
}

/// Lanes whose condition holds.
fn taken(ins: &Instr, sources: &Sources) -> u16 {
    let part = ins.sources[0].part;
    let zero = f::EQ.get(ins.word) != 0;
    let mut mask = 0;
    for (lane, word) in sources.low[0].iter().enumerate() {
        let value = int::part32(*word, part, false);
        if (value == 0) == zero {
            mask |= 1 << lane;
        }
    }
    mask
}

/// Where a branch goes. The lanes that take an indirect one must agree.
fn target(ins: &Instr, sources: &Sources, pc: u64, taken: u16) -> Option<u64> {
    if matches!(ins.sources[0].part, Part::Four(_)) {
        return None;
    }
    let next = pc.wrapping_add(8);
    if ins.op == Op::BranchZ {
        return Some(next.wrapping_add((i64::from(ins.imm) * 8) as u64));
    }
    let lane = taken.trailing_zeros() as usize;
    let (low, high) = (sources.low[1].get(lane)?, sources.high[1].get(lane)?);
    let same = (0..LANES).all(|other| {
        taken >> other & 1 == 0 || (sources.low[1][other], sources.high[1][other]) == (*low, *high)
    });
    let absolute = f::ABSOLUTE.get(ins.word) != 0;
    match (same, absolute) {
        (true, true) => Some(desc::pair(*low, *high)),
        _ => None,
    }
}

/// Width of a subgroup operation.
fn subgroup(ins: &Instr) -> usize {
    2 << (f::SUBGROUP.get(ins.word) & 3)
}

/// WMASK: active lanes of the subgroup whose source is not zero.
fn subgroup_mask(ins: &Instr, sources: &Sources, active: u16) -> Row {
    let width = subgroup(ins);
    let mut out = [0; LANES];
    for (lane, word) in out.iter_mut().enumerate() {
        let first = lane / width * width;
        for other in first..first + width {
            if active >> other & 1 != 0 && sources.low[0][other] != 0 {
                *word |= 1 << (other - first);
            }
        }
    }
    out
}

/// CLPER: the value of another lane of the subgroup.
fn permute(ins: &Instr, sources: &Sources, active: u16) -> Option<Row> {
    let width = subgroup(ins);
    let inactive = f::INACTIVE_VALUES[f::INACTIVE.get(ins.word) as usize & 15];
    let mut out = [0; LANES];
    for (lane, word) in out.iter_mut().enumerate() {
        let first = lane / width * width;
        let own = lane - first;
        let amount = int::part32(sources.low[1][lane], ins.sources[1].part, false) as usize;
        let other = match f::LANE_OP.get(ins.word) {
            0 => amount,
            1 => own ^ amount,
            // Accumulate: the last lane of the block below, for reductions.
            2 => return None,
            _ => own.wrapping_add(amount),
        };
        let from = first + (other & (width - 1));
        *word = if active >> from & 1 != 0 {
            sources.low[0][from]
        } else {
            inactive
        };
    }
    Some(out)
}
