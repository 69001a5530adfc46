// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Execution of a stream.
//!
//! [`Stream::run`] fetches, decodes and executes until something keeps it from going on. An
//! instruction that cannot complete leaves everything as it was, and is executed again by the next
//! run. What is asynchronous becomes an entry of the scoreboards and takes effect in `work`.

mod control;
mod heap;
mod issue;
mod jobs;
mod sync;
mod work;

pub use heap::settle;
pub(super) use jobs::Active;

use super::env::{Env, MemError, Oddity};
use super::instr::{Instr, Visitor};
use super::state::{code, Outcome, Ring, Stream, Trap, Why, BLOCKS};

/// Instructions between two looks at asynchronous work.
const LOOK: u64 = 8;

/// Instructions of the budget that a slice of a job counts as.
const JOB: u32 = 2_000;

/// Nanoseconds that are spun away instead of coming back to the caller.
const SPIN: u64 = 3_000;

/// Whether the stream goes on with the next instruction, or has set where it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    Next,
    There,
}

/// An instruction at an address that is executed next.
struct Step<'a, E: ?Sized> {
    stream: &'a mut Stream,
    env: &'a mut E,
    ring: &'a Ring,
    va: u64,
}

impl<E: Env + ?Sized> Visitor for Step<'_, E> {
    type Out = Result<Go, Trap>;

    #[inline(always)]
    fn visit(self, instr: Instr) -> Self::Out {
        self.stream.execute(self.env, self.ring, instr, self.va)
    }
}

impl Stream {
    /// Executes at most `budget` instructions of the ring.
    ///
    /// Does not block: the longest it takes beyond the budget is a slice of a job.
    pub fn run<E: Env + ?Sized>(&mut self, env: &mut E, ring: &Ring, budget: u32) -> Outcome {
        if let Some(failure) = self.fatal {
            return Outcome::Fatal(failure);
        }
        if !ring.sane() || self.extract % 8 != 0 {
            return self.die(code::CS_CONFIG_FAULT, ring.base);
        }
        self.stalled = false;
        let mut left = budget;
        loop {
            if self.sb.busy() != 0 && self.executed % LOOK == 0 {
                if let Err(outcome) = self.work(env) {
                    return outcome;
                }
                if self.sliced {
                    left = left.saturating_sub(JOB);
                }
            }
            if let Some(event) = self.event() {
                return event;
            }
            if left == 0 {
                return Outcome::More;
            }
            left -= 1;
            let trap = match self.step(env, ring) {
                Ok(()) => continue,
                Err(trap) => trap,
            };
            match trap {
                Trap::Wait(why) => match self.wait(env, why) {
                    Some(outcome) => return outcome,
                    None => continue,
                },
                Trap::Locked => return Outcome::Locked,
                Trap::Off => return Outcome::Off,
                Trap::Fault(failure) => {
                    self.raise(failure);
                    self.next();
                }
                Trap::Fatal(failure) => return self.die(failure.code, failure.info),
            }
        }
    }

    /// What is to be said before anything else is executed.
    #[inline]
    fn event(&mut self) -> Option<Outcome> {
        if !self.tell_error && !self.tell_oom {
            return None;
        }
        if std::mem::take(&mut self.tell_error) {
            return self.error.map(Outcome::Fault);
        }
        std::mem::take(&mut self.tell_oom).then_some(Outcome::TilerOom(self.passes))
    }

    fn die(&mut self, code: u8, info: u64) -> Outcome {
        let failure = super::state::Failure { code, info };
        self.fatal = Some(failure);
        Outcome::Fatal(failure)
    }

    /// The stream cannot go on. Lets asynchronous work complete; comes back with nothing if it is
    /// worth to try again.
    fn wait<E: Env + ?Sized>(&mut self, env: &mut E, why: Why) -> Option<Outcome> {
        self.why = Some(why);
        if self.sb.busy() == 0 {
            if why == Why::Empty {
                self.why = None;
                return Some(Outcome::Idle);
            }
            return Some(Outcome::Waiting {
                why,
                until: self.resources_at,
            });
        }
        self.stalled = true;
        let changed = match self.work(env) {
            Ok(changed) => changed,
            Err(outcome) => return Some(outcome),
        };
        if let Some(event) = self.event() {
            return Some(event);
        }
        if changed {
            return None;
        }
        if self.hit_lock {
            return Some(Outcome::Locked);
        }
        let until = match (self.sb.next_due(), self.resources_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if self.sb.working() {
            return Some(Outcome::More);
        }
        if let Some(until) = until {
            let mut now = env.now();
            if until <= now.saturating_add(SPIN) {
                while now < until && !env.stopping() {
                    std::hint::spin_loop();
                    now = env.now();
                }
                if now >= until {
                    return None;
                }
            }
        }
        Some(Outcome::Waiting { why, until })
    }

    /// Executes one instruction.
    #[inline]
    fn step<E: Env + ?Sized>(&mut self, env: &mut E, ring: &Ring) -> Result<(), Trap> {
        if self.handler_due {
            self.enter_handler();
        }
        let va = if self.depth == 0 {
            if ring.insert.saturating_sub(self.extract) < 8 {
                return Err(Trap::Wait(Why::Empty));
            }
            ring.base.wrapping_add(self.extract & (ring.size - 1))
        } else {
            self.blocks[usize::from(self.depth) % BLOCKS].ip
        };
        let word = env.fetch(va).map_err(|error| match error {
            MemError::Fault { va, .. } => Trap::fatal(code::CS_BUS_FAULT, va),
            other => other.into(),
        })?;
        let opcode = (word >> 56) as u8;
        if Instr::reserved_bits(word) != 0 {
            env.odd(Oddity::ReservedBits(opcode));
        }
        if self.error.is_some() && Instr::decode(word).is_some_and(|instr| self.skips(&instr)) {
            env.odd(Oddity::Skipped(opcode));
            self.next();
        } else {
            let step = Step {
                stream: self,
                env,
                ring,
                va,
            };
            let Some(result) = Instr::visit(word, step) else {
                env.odd(Oddity::UnknownOpcode(opcode));
                return Err(Trap::fatal(code::CS_INVALID_INSTRUCTION, va));
            };
            if result? == Go::Next {
                self.next();
            }
        }
        self.executed = self.executed.wrapping_add(1);
        self.stalled = false;
        self.why = None;
        let count = &mut self.counts[usize::from(opcode) & 63];
        *count = count.wrapping_add(1);
        Ok(())
    }

    /// Goes past an instruction, and out of blocks that end behind it.
    #[inline]
    fn next(&mut self) {
        if self.depth == 0 {
            self.extract = self.extract.wrapping_add(8);
            return;
        }
        let block = &mut self.blocks[usize::from(self.depth) % BLOCKS];
        block.ip = block.ip.wrapping_add(8);
        if block.ip == block.end {
            self.leave();
        }
    }

    /// Whether the faulted state skips it.
    ///
    /// What remains is what the error needs to travel: registers, loads, control flow, heap
    /// counters, and sync instructions that propagate.
    fn skips(&self, instr: &Instr) -> bool {
        match instr {
            Instr::RunCompute { .. }
            | Instr::RunComputeIndirect { .. }
            | Instr::RunTiling { .. }
            | Instr::RunIdvs { .. }
            | Instr::RunFragment { .. }
            | Instr::RunFullscreen { .. }
            | Instr::FinishTiling { .. }
            | Instr::StoreMultiple { .. }
            | Instr::SyncWait32 { .. }
            | Instr::SyncWait64 { .. }
            | Instr::ProgressWait { .. }
            | Instr::ProtRegion { .. }
            | Instr::TracePoint { .. } => true,
            _ => instr.sync().is_some_and(|sync| !sync.propagate),
        }
    }

    #[inline(always)]
    fn execute<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        ring: &Ring,
        instr: Instr,
        va: u64,
    ) -> Result<Go, Trap> {
        match instr {
            Instr::Nop { .. } => {}
            Instr::Move48 { immediate, dest } => self.write64(env, dest, va, immediate)?,
            Instr::Move32 { immediate, dest } => self.write32(env, dest, va, immediate)?,
            Instr::AddImm32 {
                immediate,
                source,
                dest,
            } => {
                let value = self.read32(env, source, va)?;
                self.write32(env, dest, va, value.wrapping_add_signed(immediate))?;
            }
            Instr::AddImm64 {
                immediate,
                source,
                dest,
            } => {
                let value = self.read64(env, source, va)?;
                self.write64(env, dest, va, value.wrapping_add_signed(immediate.into()))?;
            }
            Instr::Umin32 {
                source1,
                source0,
                dest,
            } => {
                let value = self
                    .read32(env, source0, va)?
                    .min(self.read32(env, source1, va)?);
                self.write32(env, dest, va, value)?;
            }
            Instr::Wait { mask, progress } => {
                let mask = u16::from(mask);
                if self.sb.busy() & mask != 0 {
                    return Err(Trap::Wait(Why::Scoreboard(mask)));
                }
                if progress {
                    self.progress = self.progress.wrapping_add(1);
                }
            }
            Instr::SetSbEntry { endpoint, other } => {
                self.slot(env, endpoint, va)?;
                self.slot(env, other, va)?;
                (self.sb_endpoint, self.sb_other) = (endpoint, other);
            }
            Instr::Branch {
                offset,
                condition,
                value,
            } => return self.branch(env, ring, va, offset, condition, value),
            Instr::Call { length, address } => return self.call(env, va, address, length),
            Instr::Jump { length, address } => return self.jump(env, va, address, length),
            Instr::SetExceptionHandler {
                exception,
                length,
                address,
            } => self.set_handler(env, va, exception, address, length)?,
            Instr::ErrorBarrier {} => self.error = None,
            Instr::ReqResource {
                compute,
                fragment,
                tiler,
                idvs,
            } => {
                let mask = u8::from(compute)
                    | u8::from(fragment) << 1
                    | u8::from(tiler) << 2
                    | u8::from(idvs) << 3;
                self.request(env, mask)?;
            }
            Instr::ProgressStore { source } => self.progress = self.read64(env, source, va)?,
            Instr::ProgressLoad { dest } => self.write64(env, dest, va, self.progress)?,
            Instr::ProgressWait { queue, source } => {
                let value = self.read64(env, source, va)?;
                match env.progress(queue) {
                    Some(now) if now >= value => {}
                    Some(_) => return Err(Trap::Wait(Why::Progress)),
                    // There is no such stream.
                    None => {
                        env.odd(Oddity::BadField(24));
                        return Err(Trap::fatal(code::CS_INVALID_INSTRUCTION, va));
                    }
                }
            }
            Instr::HeapSet { address } => self.heap = self.read64(env, address, va)?,
            Instr::ProtRegion { .. } => {
                env.odd(Oddity::NotModelled(41));
                return Err(Trap::fatal(code::CS_INVALID_INSTRUCTION, va));
            }
            Instr::SyncWait32 { .. } | Instr::SyncWait64 { .. } => {
                self.sync_wait(env, va, instr)?
            }
            _ => self.issue(env, va, instr)?,
        }
        Ok(Go::Next)
    }

    #[cold]
    fn bad_field<E: Env + ?Sized>(&self, env: &mut E, op: u8, va: u64) -> Trap {
        env.odd(Oddity::BadField(op));
        Trap::fatal(code::CS_INVALID_INSTRUCTION, va)
    }

    #[cold]
    fn bad_register<E: Env + ?Sized>(&self, env: &mut E, n: u8, va: u64) -> Trap {
        env.odd(Oddity::BadRegister(n));
        Trap::fatal(code::CS_INVALID_INSTRUCTION, va)
    }

    /// Checks the number of a scoreboard.
    fn slot<E: Env + ?Sized>(&self, env: &mut E, slot: u8, va: u64) -> Result<u8, Trap> {
        if slot < super::state::SLOTS {
            Ok(slot)
        } else {
            Err(self.bad_field(env, 23, va))
        }
    }

    #[inline]
    fn read32<E: Env + ?Sized>(&self, env: &mut E, n: u8, va: u64) -> Result<u32, Trap> {
        match self.regs.get(usize::from(n)) {
            Some(value) => Ok(*value),
            None => Err(self.bad_register(env, n, va)),
        }
    }

    #[inline]
    fn read64<E: Env + ?Sized>(&self, env: &mut E, n: u8, va: u64) -> Result<u64, Trap> {
        let n = usize::from(n);
        match self.regs.get(n..n + 2) {
            Some([low, high]) if n % 2 == 0 => Ok(u64::from(*low) | u64::from(*high) << 32),
            _ => Err(self.bad_register(env, n as u8, va)),
        }
    }

    #[inline]
    fn write32<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        n: u8,
        va: u64,
        value: u32,
    ) -> Result<(), Trap> {
        match self.regs.get_mut(usize::from(n)) {
            Some(reg) => {
                *reg = value;
                Ok(())
            }
            None => Err(self.bad_register(env, n, va)),
        }
    }

    #[inline]
    fn write64<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        n: u8,
        va: u64,
        value: u64,
    ) -> Result<(), Trap> {
        let i = usize::from(n);
        match self.regs.get_mut(i..i + 2) {
            Some([low, high]) if i % 2 == 0 => {
                (*low, *high) = (value as u32, (value >> 32) as u32);
                Ok(())
            }
            _ => Err(self.bad_register(env, n, va)),
        }
    }
}
