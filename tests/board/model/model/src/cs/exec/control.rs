// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Control flow: blocks, branches, exception handlers, endpoints.

use super::super::env::{Env, Oddity, Work};
use super::super::state::{code, Block, Handler, Oom, Ring, Stream, Trap, Why, BLOCKS, CALL_DEPTH};
use super::Go;

/// Exception type of SET_EXCEPTION_HANDLER: tiler out of memory.
const TILER_OOM: u8 = 2;

impl Stream {
    fn bad_target<E: Env + ?Sized>(&self, env: &mut E, target: u64, va: u64) -> Trap {
        env.odd(Oddity::BadTarget(target));
        Trap::fatal(code::CS_INVALID_INSTRUCTION, va)
    }

    pub(super) fn branch<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        ring: &Ring,
        va: u64,
        offset: i16,
        condition: u8,
        value: u8,
    ) -> Result<Go, Trap> {
        let value = self.read32(env, value, va)? as i32;
        let taken = match condition {
            0 => value <= 0,
            1 => value > 0,
            2 => value == 0,
            3 => value != 0,
            4 => value < 0,
            5 => value >= 0,
            6 => true,
            _ => return Err(self.bad_field(env, 22, va)),
        };
        if !taken {
            return Ok(Go::Next);
        }
        let bytes = i64::from(offset) * 8 + 8;
        if self.depth == 0 {
            // The ring knows no way back: what was consumed may be written over.
            let target = self.extract.wrapping_add_signed(bytes);
            if bytes < 0 || target > ring.insert {
                return Err(self.bad_target(env, target, va));
            }
            self.extract = target;
            return Ok(Go::There);
        }
        let block = &mut self.blocks[usize::from(self.depth) % BLOCKS];
        let target = block.ip.wrapping_add_signed(bytes);
        if target < block.start || target > block.end {
            return Err(self.bad_target(env, target, va));
        }
        block.ip = target;
        if block.ip == block.end {
            self.leave();
        }
        Ok(Go::There)
    }

    /// A block from the registers of CALL, JUMP or SET_EXCEPTION_HANDLER.
    fn block<E: Env + ?Sized>(
        &self,
        env: &mut E,
        va: u64,
        address: u8,
        length: u8,
    ) -> Result<Block, Trap> {
        let start = self.read64(env, address, va)?;
        let length = self.read32(env, length, va)?;
        match start.checked_add(length.into()) {
            Some(end) if start % 8 == 0 && length % 8 == 0 => Ok(Block {
                ip: start,
                start,
                end,
            }),
            _ => Err(self.bad_target(env, start, va)),
        }
    }

    pub(super) fn call<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        address: u8,
        length: u8,
    ) -> Result<Go, Trap> {
        let block = self.block(env, va, address, length)?;
        // An exception handler has a stack of its own over that of the block it interrupts.
        if self.depth - self.handler_depth >= CALL_DEPTH {
            return Err(Trap::fatal(code::CS_CALL_STACK_OVERFLOW, va));
        }
        // The way back is behind this instruction, even where the caller's block ends there.
        if self.depth == 0 {
            self.extract = self.extract.wrapping_add(8);
        } else {
            let caller = &mut self.blocks[usize::from(self.depth) % BLOCKS];
            caller.ip = caller.ip.wrapping_add(8);
        }
        self.push(block);
        Ok(Go::There)
    }

    pub(super) fn jump<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        address: u8,
        length: u8,
    ) -> Result<Go, Trap> {
        let block = self.block(env, va, address, length)?;
        if self.depth == 0 {
            return Err(self.bad_target(env, block.start, va));
        }
        self.blocks[usize::from(self.depth) % BLOCKS] = block;
        if block.ip == block.end {
            self.leave();
        }
        Ok(Go::There)
    }

    fn push(&mut self, block: Block) {
        self.depth += 1;
        self.blocks[usize::from(self.depth) % BLOCKS] = block;
        if block.ip == block.end {
            self.leave();
        }
    }

    /// The block at hand is at its end: goes back to the one that called it, and so on.
    pub(super) fn leave(&mut self) {
        while self.depth > 0 {
            let block = self.blocks[usize::from(self.depth) % BLOCKS];
            if block.ip != block.end {
                break;
            }
            if self.depth == self.handler_depth {
                self.handler_depth = 0;
                self.handler_done = true;
            }
            self.depth -= 1;
        }
    }

    pub(super) fn set_handler<E: Env + ?Sized>(
        &mut self,
        env: &mut E,
        va: u64,
        exception: u8,
        address: u8,
        length: u8,
    ) -> Result<(), Trap> {
        if exception != TILER_OOM {
            return Err(self.bad_field(env, 25, va));
        }
        let block = self.block(env, va, address, length)?;
        self.handler = Handler {
            address: block.start,
            length: (block.end - block.start) as u32,
        };
        self.handler_known = true;
        Ok(())
    }

    /// Whether a handler could run now.
    pub fn has_handler(&self) -> bool {
        self.handler.address != 0 && self.handler.length != 0 && self.handler_depth == 0
    }

    /// Begins to execute the exception handler. What is interrupted goes on behind it.
    pub(super) fn enter_handler(&mut self) {
        self.handler_due = false;
        if !self.has_handler() {
            return;
        }
        let start = self.handler.address;
        self.handler_done = false;
        self.handler_depth = self.depth + 1;
        self.push(Block {
            ip: start,
            start,
            end: start.wrapping_add(self.handler.length.into()),
        });
    }

    /// The answer of the host to [`super::super::state::Outcome::TilerOom`]: a chunk, or 0.
    pub fn answer_oom(&mut self, chunk: u64) {
        if self.oom == Oom::Raised {
            self.oom = if chunk == 0 {
                Oom::Refused
            } else {
                Oom::Answered(chunk)
            };
        }
    }

    /// REQ_RESOURCE: what is new takes its time.
    pub(super) fn request<E: Env + ?Sized>(&mut self, env: &mut E, mask: u8) -> Result<(), Trap> {
        if mask & !self.resources != 0 {
            let now = env.now();
            let at = match self.resources_at {
                Some(at) => at,
                None => now.saturating_add(env.delay(Work::Resource)),
            };
            if now < at {
                self.resources_at = Some(at);
                return Err(Trap::Wait(Why::Resource));
            }
        }
        self.resources_at = None;
        self.resources = mask;
        Ok(())
    }
}
