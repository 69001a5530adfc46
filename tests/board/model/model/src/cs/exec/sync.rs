// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync objects: `{ u32 value; u32 error }` and `{ u64 value; u32 error; u32 }`.

use super::super::env::{Env, Oddity, Scope};
use super::super::instr::Instr;
use super::super::scoreboard::SyncOp;
use super::super::state::{code, Stream, Trap, Why};

/// Error word of an object that a faulted stream wrote.
const ERROR: u32 = 1;

impl Stream {
    /// Scope of a sync instruction.
    pub(super) fn scope<E: Env + ?Sized>(
        &self,
        env: &mut E,
        op: u8,
        bits: u8,
        va: u64,
    ) -> Result<Scope, Trap> {
        match bits {
            0 => Ok(Scope::System),
            2 => Ok(Scope::Group),
            _ => Err(self.bad_field(env, op, va)),
        }
    }

    /// SYNC_WAIT.
    pub(super) fn sync_wait<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        ip: u64,
        instr: Instr,
    ) -> Result<(), Trap> {
        let (wide, reject, condition, data, address) = match instr {
            Instr::SyncWait32 {
                reject,
                condition,
                data,
                address,
            } => (false, reject, condition, data, address),
            Instr::SyncWait64 {
                reject,
                condition,
                data,
                address,
            } => (true, reject, condition, data, address),
            _ => return Ok(()),
        };
        let greater = match condition {
            0 => false,
            1 => true,
            _ => return Err(self.bad_field(env, instr.opcode(), ip)),
        };
        let va = self.read64(env, address, ip)?;
        let data = if wide {
            self.read64(env, data, ip)?
        } else {
            self.read32(env, data, ip)?.into()
        };
        self.aligned(env, va, if wide { 8 } else { 4 })?;
        let value = if wide {
            env.load64(va)?
        } else {
            env.load32(va)?.into()
        };
        if (value > data) != greater {
            return Err(Trap::Wait(Why::Sync {
                va,
                data,
                wide,
                greater,
            }));
        }
        let error = env.load32(va.wrapping_add(if wide { 8 } else { 4 }))?;
        if error != 0 && !reject {
            return Err(Trap::fault(code::CS_INHERIT_FAULT, va));
        }
        Ok(())
    }

    /// Checks the alignment of an address.
    pub(super) fn aligned<E: Env + ?Sized>(
        &self,
        env: &mut E,
        va: u64,
        to: u64,
    ) -> Result<(), Trap> {
        if va % to == 0 {
            return Ok(());
        }
        env.odd(Oddity::Unaligned(va));
        Err(Trap::fault(code::ADDR_RANGE, va))
    }

    /// SYNC_ADD, SYNC_SET.
    ///
    /// The error goes first: who sees the value sees the error.
    pub(super) fn sync_write<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        op: &SyncOp,
    ) -> Result<(), Trap> {
        self.aligned(env, op.va, if op.wide { 8 } else { 4 })?;
        if op.propagate && self.error.is_some() {
            let at = op.va.wrapping_add(if op.wide { 8 } else { 4 });
            env.store32(at, ERROR)?;
        }
        let (add, data) = (op.add, op.data);
        if op.wide {
            env.atomic64(op.va, &mut |old| {
                if add {
                    old.wrapping_add(data)
                } else {
                    data
                }
            })?;
        } else {
            let data = data as u32;
            env.atomic32(op.va, &mut |old| {
                if add {
                    old.wrapping_add(data)
                } else {
                    data
                }
            })?;
        }
        env.sync_written(op.scope, op.va);
        Ok(())
    }
}
