// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Asynchronous work takes effect.

use super::super::env::{Env, Work};
use super::super::scoreboard::{Op, Phase, Scoreboards};
use super::super::state::{Outcome, Stream, Trap};

/// Bits of LATEST_FLUSH_ID.
const FLUSH_ID: u32 = 0x00ff_ffff;

/// How far a piece of work came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// It is complete.
    Yes,
    /// A job goes on.
    Working,
    /// It waits for heap memory.
    Starved,
}

/// Whether a flush with the id `latest` came after that with the id `id`.
pub(in super::super) fn flushed_since(latest: u32, id: u32) -> bool {
    let ahead = latest.wrapping_sub(id) & FLUSH_ID;
    id != 0 && ahead != 0 && ahead < FLUSH_ID / 2
}

impl Stream {
    /// Lets all work take effect whose time has come. Says whether something was completed.
    pub(super) fn work<E: Env + ?Sized>(&mut self, env: &mut E) -> Result<bool, Outcome> {
        let mut sb = std::mem::take(&mut self.sb);
        let result = self.work_on(env, &mut sb);
        self.sb = sb;
        result
    }

    fn work_on<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        sb: &mut Scoreboards,
    ) -> Result<bool, Outcome> {
        self.hit_lock = false;
        self.sliced = false;
        let mut changed = false;
        // Loads and stores keep their order, and so does the tiler.
        let mut waits = [false; 2];
        let mut now = env.now();
        let mut i = 0;
        while let Some(entry) = sb.entries.get(i) {
            let unit = entry.op.in_order();
            let job = matches!(entry.op, Op::Compute(_) | Op::Fragment(_));
            let behind = unit.is_some_and(|unit| waits[unit]);
            let ready = match entry.phase {
                Phase::Deferred => {
                    if sb.may_start(i) {
                        let due = now.saturating_add(env.delay(Work::Deferred));
                        sb.entries[i].phase = Phase::Running { due, after: 0 };
                        changed = true;
                        continue;
                    }
                    false
                }
                Phase::Running { due, after } => {
                    // One job at a time.
                    let free = !job || (self.active.is_none() && !self.sliced);
                    now >= due && (self.stalled || self.executed >= after) && !behind && free
                }
                Phase::Working => !self.sliced,
                Phase::Starved => !behind,
            };
            // Until it is complete, what is behind it in the same unit waits.
            if let Some(unit) = unit {
                waits[unit] = true;
            }
            if !ready {
                i += 1;
                continue;
            }
            let entry = &mut sb.entries[i];
            let result = self.perform(env, &mut entry.op);
            if job {
                now = env.now();
            }
            if job && self.active.is_some() {
                entry.phase = Phase::Working;
            }
            match result {
                Ok(Done::Working) => {}
                Ok(Done::Starved) => entry.phase = Phase::Starved,
                Ok(Done::Yes) => {
                    self.completed(sb, i);
                    if let Some(unit) = unit {
                        waits[unit] = behind;
                    }
                    changed = true;
                    continue;
                }
                Err(Trap::Locked | Trap::Wait(_)) => {
                    self.hit_lock = true;
                }
                Err(Trap::Off) => return Err(Outcome::Off),
                Err(Trap::Fault(failure) | Trap::Fatal(failure)) => {
                    self.completed(sb, i);
                    if let Some(unit) = unit {
                        waits[unit] = behind;
                    }
                    self.raise(failure);
                    changed = true;
                    continue;
                }
            }
            i += 1;
        }
        Ok(changed)
    }

    fn completed(&mut self, sb: &mut Scoreboards, index: usize) {
        if sb.complete(index) {
            self.progress = self.progress.wrapping_add(1);
        }
    }

    /// The effect of a piece of work. May be tried again after an error, without harm.
    pub(super) fn perform<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        op: &mut Op,
    ) -> Result<Done, Trap> {
        match op {
            Op::Nothing => {}
            Op::Load { va, base, mask } => {
                let count = 16 - mask.leading_zeros() as usize;
                let mut bytes = [0; 64];
                // Registers that are not in the mask are not read.
                if mask.wrapping_add(1).is_power_of_two() || *mask == u16::MAX {
                    env.load(*va, &mut bytes[..4 * count])?;
                } else {
                    for n in (0..count).filter(|n| *mask >> n & 1 != 0) {
                        env.load(va.wrapping_add(4 * n as u64), &mut bytes[4 * n..4 * n + 4])?;
                    }
                }
                for n in (0..count).filter(|n| *mask >> n & 1 != 0) {
                    let word = bytes[4 * n..4 * n + 4].try_into().unwrap_or_default();
                    self.set_reg(usize::from(*base) + n, u32::from_le_bytes(word));
                }
            }
            Op::Store { va, mask, data } => {
                let mut bytes = [0; 64];
                for (to, word) in bytes.chunks_exact_mut(4).zip(data.iter()) {
                    to.copy_from_slice(&word.to_le_bytes());
                }
                let count = 16 - mask.leading_zeros() as usize;
                if mask.wrapping_add(1).is_power_of_two() || *mask == u16::MAX {
                    env.store(*va, &bytes[..4 * count])?;
                } else {
                    for n in (0..count).filter(|n| *mask >> n & 1 != 0) {
                        env.store(va.wrapping_add(4 * n as u64), &bytes[4 * n..4 * n + 4])?;
                    }
                }
            }
            Op::Flush { modes, id } => {
                if !flushed_since(env.latest_flush_id(), *id) {
                    env.flush(*modes);
                }
            }
            Op::Sync(sync) => self.sync_write(env, sync)?,
            Op::State { va, state } => {
                let value = match *state {
                    0 => env.timestamp(),
                    1 => env.cycles(),
                    2 => env.disjoint(),
                    _ => self.error.map_or(0, |e| e.code.into()),
                };
                self.aligned(env, *va, 8)?;
                env.store64(*va, value)?;
            }
            Op::Heap { heap, operation } => self.heap_count(env, *heap, *operation)?,
            Op::FinishFragment { .. } => self.give_back(env, op)?,
            Op::Tiling(tiling) => {
                return if self.tile(env, tiling)? {
                    Ok(Done::Yes)
                } else {
                    Ok(Done::Starved)
                }
            }
            Op::Compute(_) | Op::Fragment(_) => return self.job(env, op),
        }
        Ok(Done::Yes)
    }
}
