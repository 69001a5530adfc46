// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Instructions of a job, decoded once.

use crate::cs::env::Memory;
use crate::shader::isa::decode::{decode, From, Instr};
use crate::shader::isa::op::Op;
use crate::shader::job::{JobError, JobFault};

/// Instructions of a block.
const BLOCK: usize = 64;
/// Blocks that are kept.
const BLOCKS: usize = 1024;

#[derive(Default)]
struct Block {
    first: u64,
    instructions: Vec<Option<Instr>>,
}

/// The instructions that a job has come to.
#[derive(Default)]
pub struct Code {
    blocks: Vec<Block>,
    last: usize,
    few_registers: bool,
}

impl Code {
    /// Nothing yet. With `few_registers`, r16 to r47 are not there.
    pub fn new(few_registers: bool) -> Self {
        Self {
            few_registers,
            ..Self::default()
        }
    }

    /// The instruction at an address.
    pub fn get<M: Memory + ?Sized>(&mut self, memory: &mut M, pc: u64) -> Result<&Instr, JobError> {
        if pc % 8 != 0 {
            return Err(JobFault::InvalidPc { pc }.into());
        }
        let first = pc / 8 / BLOCK as u64;
        let index = (pc / 8 % BLOCK as u64) as usize;
        if self.blocks.get(self.last).map(|block| block.first) != Some(first) {
            self.last = match self.blocks.iter().position(|block| block.first == first) {
                Some(found) => found,
                None => {
                    if self.blocks.len() >= BLOCKS {
                        self.blocks.clear();
                    }
                    self.blocks.push(Block {
                        first,
                        instructions: vec![None; BLOCK],
                    });
                    self.blocks.len() - 1
                }
            };
        }
        let few = self.few_registers;
        let slot = self
            .blocks
            .get_mut(self.last)
            .and_then(|block| block.instructions.get_mut(index))
            .ok_or(JobError::Fault(JobFault::InvalidPc { pc }))?;
        if slot.is_none() {
            let mut bytes = [0; 8];
            memory.load_exec(pc, &mut bytes)?;
            let word = u64::from_le_bytes(bytes);
            let found =
                decode(word).filter(|ins| ins.op != Op::Unsupported && !(few && beyond(ins)));
            *slot = Some(found.ok_or(JobError::Fault(JobFault::InvalidEncoding { pc, word }))?);
        }
        slot.as_ref()
            .ok_or(JobError::Fault(JobFault::InvalidPc { pc }))
    }
}

/// Whether an instruction uses one of r16 to r47.
fn beyond(ins: &Instr) -> bool {
    let gone = |n: u8| (16..48).contains(&n);
    ins.sources
        .iter()
        .any(|operand| matches!(operand.from, From::Register(n) if gone(n)))
        || gone(ins.dest)
        || ins.count > 0 && gone(ins.dest + ins.count - 1)
        || ins.target_count > 0 && (gone(ins.target) || gone(ins.target + ins.target_count - 1))
}
