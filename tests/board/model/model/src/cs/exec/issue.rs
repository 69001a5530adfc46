// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions that are asynchronous, always or with a wait mask: operands are read here, the
//! effect comes in `work`, or at once where nothing is to be waited for.

use super::super::env::{Env, FlushModes, Oddity, Work};
use super::super::instr::{Instr, SyncFields};
use super::super::scoreboard::{Entry, Op, Phase, SyncOp, Tiling, TilingStage};
use super::super::state::{code, Stream, Trap, Why, SLOTS};
use crate::shader::job::{ComputeJob, FragmentJob, Selects};

/// Endpoints, as bits of REQ_RESOURCE.
const COMPUTE: u8 = 1;
const FRAGMENT: u8 = 2;

/// Most bytes of heap that one task takes.
const TILER_BYTES: u32 = 64 << 20;

/// Instructions that certainly see what was there before an asynchronous one took effect.
const LATE: u64 = 2;

/// How an instruction becomes an entry.
struct Slot {
    slot: u8,
    wait: u16,
    progress: bool,
}

impl Stream {
    /// Adds work that begins at once and takes effect after a while.
    fn start<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        slot: u8,
        progress: bool,
        work: Work,
        op: Op,
    ) -> Result<(), Trap> {
        self.room(slot)?;
        let due = env.now().saturating_add(env.delay(work));
        let after = self.executed.wrapping_add(LATE + u64::from(env.pick(30)));
        self.sb.push(Entry {
            slot,
            wait: 0,
            progress,
            phase: Phase::Running { due, after },
            op,
        });
        Ok(())
    }

    fn room(&self, slot: u8) -> Result<(), Trap> {
        if self.sb.full() {
            return Err(Trap::Wait(Why::Scoreboard(1 << (slot % SLOTS))));
        }
        Ok(())
    }

    /// Adds work that begins when its scoreboards are clear.
    fn defer<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        op_code: u8,
        at: Slot,
        op: Op,
    ) -> Result<(), Trap> {
        self.slot(env, at.slot, va)?;
        if at.wait >> SLOTS != 0 {
            return Err(self.bad_field(env, op_code, va));
        }
        self.room(at.slot)?;
        if at.wait & 1 << at.slot != 0 {
            env.odd(Oddity::WaitsForItself(op_code));
        }
        self.sb.push(Entry {
            slot: at.slot,
            wait: at.wait,
            progress: at.progress,
            phase: Phase::Deferred,
            op,
        });
        Ok(())
    }

    /// Work that is deferred if it has a wait mask, and else is done now.
    fn now_or_later<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        op_code: u8,
        (wait, slot): (u16, u8),
        mut op: Op,
    ) -> Result<(), Trap> {
        if wait == 0 {
            return self.perform(env, &mut op).map(drop);
        }
        let at = Slot {
            slot,
            wait,
            progress: false,
        };
        self.defer(env, va, op_code, at, op)
    }

    /// Counts a job for which the stream has not asked for endpoints.
    fn needs<E: Env + ?Sized>(&self, env: &mut E, resource: u8, op_code: u8) {
        if self.resources & resource == 0 {
            env.odd(Oddity::NoResource(op_code));
        }
    }

    pub(super) fn issue<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        instr: Instr,
    ) -> Result<(), Trap> {
        match instr {
            Instr::LoadMultiple { .. } | Instr::StoreMultiple { .. } => {
                self.load_store(env, va, instr)
            }
            Instr::FlushCache2 {
                l2,
                lsc,
                other,
                wait,
                flush_id,
                signal,
            } => {
                if matches!(l2, 2 | 4..) || matches!(lsc, 2 | 4..) || !matches!(other, 0 | 2) {
                    return Err(self.bad_field(env, 36, va));
                }
                let op = Op::Flush {
                    modes: FlushModes { l2, lsc, other },
                    id: self.read32(env, flush_id, va)?,
                };
                if wait == 0 {
                    self.slot(env, signal, va)?;
                    return self.start(env, signal, false, Work::Flush, op);
                }
                let at = Slot {
                    slot: signal,
                    wait,
                    progress: false,
                };
                self.defer(env, va, 36, at, op)
            }
            Instr::StoreState {
                offset,
                wait,
                state,
                address,
                signal,
            } => {
                let base = self.read64(env, address, va)?;
                let op = Op::State {
                    va: base.wrapping_add_signed(offset.into()),
                    state,
                };
                self.now_or_later(env, va, 40, (wait, signal), op)
            }
            Instr::HeapOperation {
                wait,
                operation,
                signal,
            } => {
                if operation == 2 {
                    return Err(self.bad_field(env, 49, va));
                }
                let op = Op::Heap {
                    heap: self.need_heap(env)?,
                    operation,
                };
                self.now_or_later(env, va, 49, (wait, signal), op)
            }
            Instr::FinishFragment {
                increment,
                wait,
                last,
                first,
                signal,
            } => {
                let op = Op::FinishFragment {
                    first: self.read64(env, first, va)?,
                    last: self.read64(env, last, va)?,
                    heap: self.need_heap(env)?,
                    increment,
                    given: false,
                };
                self.now_or_later(env, va, 11, (wait, signal), op)
            }
            Instr::TracePoint {
                wait,
                base,
                count,
                signal,
            } => {
                // There is no trace buffer: the host would have to set one up.
                if usize::from(base) + usize::from(count) > self.regs.len() {
                    return Err(self.bad_register(env, base, va));
                }
                env.odd(Oddity::NotModelled(50));
                self.now_or_later(env, va, 50, (wait, signal), Op::Nothing)
            }
            _ => match instr.sync() {
                Some(fields) => self.sync_issue(env, va, instr.opcode(), fields),
                None => self.endpoint(env, va, instr),
            },
        }
    }

    fn sync_issue<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        op_code: u8,
        fields: SyncFields,
    ) -> Result<(), Trap> {
        let data = if fields.wide {
            self.read64(env, fields.data, va)?
        } else {
            self.read32(env, fields.data, va)?.into()
        };
        let op = Op::Sync(SyncOp {
            add: fields.add,
            wide: fields.wide,
            propagate: fields.propagate,
            scope: self.scope(env, op_code, fields.scope, va)?,
            va: self.read64(env, fields.address, va)?,
            data,
        });
        self.now_or_later(env, va, op_code, (fields.wait, fields.signal), op)
    }

    fn need_heap<E: Env + ?Sized>(&self, env: &mut E) -> Result<u64, Trap> {
        if self.heap == 0 || self.heap % 8 != 0 {
            env.odd(Oddity::BadHeap(self.heap));
            return Err(Trap::fault(code::DATA_INVALID, self.heap));
        }
        Ok(self.heap)
    }

    fn load_store<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        instr: Instr,
    ) -> Result<(), Trap> {
        let (load, offset, mask, address, base) = match instr {
            Instr::LoadMultiple {
                offset,
                mask,
                address,
                base,
            } => (true, offset, mask, address, base),
            Instr::StoreMultiple {
                offset,
                mask,
                address,
                base,
            } => (false, offset, mask, address, base),
            _ => return Ok(()),
        };
        let at = self
            .read64(env, address, va)?
            .wrapping_add_signed(offset.into());
        // The last register that takes part must exist.
        let count = 16 - mask.leading_zeros() as usize;
        let first = usize::from(base);
        let Some(regs) = self.regs.get(first..first + count) else {
            return Err(self.bad_register(env, base, va));
        };
        let op = if load {
            Op::Load { va: at, base, mask }
        } else {
            let mut data = [0; 16];
            data[..count].copy_from_slice(regs);
            Op::Store { va: at, mask, data }
        };
        self.aligned(env, at, 4)?;
        self.start(env, self.sb_other, false, Work::LoadStore, op)
    }

    /// The instructions of the endpoints.
    fn endpoint<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        instr: Instr,
    ) -> Result<(), Trap> {
        let slot = self.sb_endpoint;
        self.room(slot)?;
        let (work, progress, op) = match instr {
            Instr::RunCompute {
                increment,
                axis,
                progress,
                ..
            } => {
                if axis == 3 {
                    return Err(self.bad_field(env, 4, va));
                }
                self.needs(env, COMPUTE, 4);
                let mut job = self.compute_job(instr.selects());
                job.task_axis = axis;
                job.task_increment = increment.into();
                (Work::Compute, progress, Op::Compute(Box::new(job)))
            }
            Instr::RunComputeIndirect {
                per_task, progress, ..
            } => {
                self.needs(env, COMPUTE, 44);
                let mut job = self.compute_job(instr.selects());
                job.task_increment = per_task.into();
                (Work::Compute, progress, Op::Compute(Box::new(job)))
            }
            Instr::RunFragment {
                tile_map,
                order,
                progress,
            } => {
                self.needs(env, FRAGMENT, 7);
                let regs = [40, 41, 42, 43].map(|n| self.reg(n));
                let mut job = FragmentJob::from_registers(&regs);
                job.tile_enable_map = tile_map;
                job.tile_order = order;
                (Work::Fragment, progress, Op::Fragment(Box::new(job)))
            }
            Instr::RunIdvs { progress, .. } | Instr::RunTiling { progress, .. } => {
                let bytes = env.tiler_bytes().min(TILER_BYTES);
                (Work::Tiling, progress, Op::Tiling(self.tiling(bytes)))
            }
            Instr::RunFullscreen { progress, dcd, .. } => {
                self.read64(env, dcd, va)?;
                (Work::Tiling, progress, Op::Tiling(self.tiling(0)))
            }
            Instr::FinishTiling { progress } => (Work::Tiling, progress, Op::Nothing),
            _ => return Err(self.bad_field(env, instr.opcode(), va)),
        };
        self.start(env, slot, progress, work, op)
    }

    fn compute_job(&self, selects: Selects) -> ComputeJob {
        let mut regs = [0; ComputeJob::REGISTERS];
        regs.copy_from_slice(&self.regs[..ComputeJob::REGISTERS]);
        ComputeJob::from_registers(&regs, selects)
    }

    fn tiling(&self, bytes: u32) -> Tiling {
        Tiling {
            context: self.pair(40),
            bytes,
            stage: TilingStage::Look,
        }
    }
}
