// SPDX-License-Identifier: GPL-2.0 OR MIT

//! From MCU_CONTROL to the global interface.

use super::global::Global;
use super::io::Io;
use super::layout::{
    Layout, GLOBAL, GLOBAL_INPUT, GLOBAL_OUTPUT, INSTR_FEATURES, STREAM_FEATURES, STREAM_STRIDE,
};
use super::{Mcu, State, AS};
use crate::counters::Counter;
use crate::device::env::Env;
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::mmu::walk::PAGE;
use crate::mmu::Mmu;
use crate::regs::gpu;
use crate::violations::Violation;
use mali_fw::payload;

impl Mcu {
    /// Checks the sections, writes the control blocks, tells the host.
    ///
    /// Request and acknowledge words are left as they are: after a fast start they still hold what
    /// both sides agreed on.
    pub(super) fn boot(&mut self, env: &mut Env, mmu: &mut Mmu) -> Result<(), AccessError> {
        if let Err(error) = check_code(env, mmu)? {
            env.violation(Violation::FirmwareImage, || format!("code: {error:?}"));
            self.enter(env, State::Fatal);
            return Ok(());
        }
        let data = u64::from(payload::DATA_VA);
        let magic = mmu.load(env, AS, data)?;
        if magic != payload::DATA_MAGIC {
            env.violation(Violation::FirmwareImage, || format!("data: {magic:#x}"));
            self.enter(env, State::Fatal);
            return Ok(());
        }
        write_control_blocks(env, mmu, &self.layout)?;
        self.global = Global::boot(&mut Io { env, mmu })?;
        let boots = data + u64::from(payload::DATA_BOOTS);
        let before = mmu.load(env, AS, boots)?;
        mmu.store(env, AS, boots, before.wrapping_add(1))?;
        env.counters.inc(Counter::Boot);
        if before != 0 {
            env.counters.inc(Counter::FastBoot);
        }
        self.enter(env, State::Running);
        env.job_irq.raise(gpu::JOB_INT_GLOBAL);
        Ok(())
    }
}

/// Fetches the code section and checks it.
fn check_code(env: &mut Env, mmu: &mut Mmu) -> Result<Result<(), payload::CodeError>, AccessError> {
    let mut code = vec![0; payload::CODE_SIZE as usize];
    for (i, page) in code.chunks_mut(PAGE as usize).enumerate() {
        let va = u64::from(payload::CODE_VA) + i as u64 * PAGE;
        let leaf = mmu.access(env, AS, va, Kind::Execute)?;
        // `access` has seen that the page is memory.
        let _ = env.ram.read(leaf.pa + (va - leaf.va), page);
    }
    Ok(payload::check_code(&code))
}

fn write_control_blocks(env: &mut Env, mmu: &mut Mmu, layout: &Layout) -> Result<(), AccessError> {
    let mut put = |at: u32, words: &[u32]| -> Result<(), AccessError> {
        for (i, word) in words.iter().enumerate() {
            mmu.store(env, AS, u64::from(at) + 4 * i as u64, *word)?;
        }
        Ok(())
    };
    let suspend = layout.suspend_size();
    for group in 0..layout.groups {
        let io = layout.group_input(group);
        put(
            layout.group_control(group),
            &[
                0,
                io,
                io + 0x100,
                suspend,
                suspend,
                layout.streams,
                STREAM_STRIDE,
            ],
        )?;
        for stream in 0..layout.streams {
            let io = layout.stream_input(group, stream);
            put(
                layout.stream_control(group, stream),
                &[STREAM_FEATURES, io, io + 0x100],
            )?;
        }
    }
    // The version last: a host that looks early sees nothing rather than half of it.
    put(
        GLOBAL + 4,
        &[
            0,
            GLOBAL_INPUT,
            GLOBAL_OUTPUT,
            layout.groups,
            layout.group_stride(),
            0,
            INSTR_FEATURES,
        ],
    )?;
    put(GLOBAL, &[layout.version.word()])
}
