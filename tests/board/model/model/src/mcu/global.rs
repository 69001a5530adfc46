// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The global interface: requests, answers, the doorbell bits of the groups.

use super::{layout, AS};
use crate::counters::Counter;
use crate::device::env::Env;
use crate::mmu::access::AccessError;
use crate::mmu::Mmu;
use crate::regs::gpu;
use crate::violations::Violation;
use layout::{input, output, GLOBAL_INPUT, GLOBAL_OUTPUT};

/// Bits of the request word.
mod bit {
    /// Level: halt. Not acknowledged.
    pub const HALT: u32 = 1 << 0;
    /// Toggle: protected mode, which this firmware does not have.
    pub const PROTM_ENTER: u32 = 1 << 4;
    /// Toggle: answered at once.
    pub const PING: u32 = 1 << 8;
    /// Requests that the host toggles: three configurations, counter sample, ping, firmware
    /// configuration.
    pub const TOGGLES: u32 = (0x7 << 1) | (1 << 6) | PING | (1 << 9);
    /// Settings that the host holds: performance counters, cycle counter, idle event, and the
    /// state field of later interfaces.
    pub const LEVELS: u32 = (1 << 5) | (1 << 7) | (1 << 10) | (0x7 << 12);
}

/// Answers what the host asks. Says whether it asked to halt.
pub(super) fn serve(env: &mut Env, mmu: &mut Mmu) -> Result<bool, AccessError> {
    let at = |base: u32, offset: u32| u64::from(base + offset);
    let req = mmu.load(env, AS, at(GLOBAL_INPUT, input::REQ))?;
    let irq_mask = mmu.load(env, AS, at(GLOBAL_INPUT, input::ACK_IRQ_MASK))?;
    let bells = mmu.load(env, AS, at(GLOBAL_INPUT, input::DOORBELL_REQ))?;
    let ack = mmu.load(env, AS, at(GLOBAL_OUTPUT, output::ACK))?;
    let bells_ack = mmu.load(env, AS, at(GLOBAL_OUTPUT, output::DOORBELL_ACK))?;

    let taken = bit::TOGGLES | bit::LEVELS;
    let new_ack = ack & !taken | req & taken;
    let changed = ack ^ new_ack;
    if changed != 0 {
        mmu.store(env, AS, at(GLOBAL_OUTPUT, output::ACK), new_ack)?;
        env.counters.inc(Counter::GlobalRequest);
        if changed & bit::PING != 0 {
            env.counters.inc(Counter::Ping);
        }
        env.event(|| format!("global req {req:#x} ack {ack:#x} -> {new_ack:#x}"));
    }
    if (req ^ ack) & bit::PROTM_ENTER != 0 {
        env.violation(Violation::FirmwareRequest, || "PROTM_ENTER".into());
    }

    let rung = bells ^ bells_ack;
    if rung != 0 {
        if rung >> layout::GROUPS != 0 {
            env.violation(Violation::FirmwareRequest, || {
                format!("doorbell bits {rung:#x} for {} groups", layout::GROUPS)
            });
        }
        env.counters
            .add(Counter::GroupRequest, u64::from(rung.count_ones()));
        mmu.store(env, AS, at(GLOBAL_OUTPUT, output::DOORBELL_ACK), bells)?;
    }
    if changed & irq_mask != 0 {
        env.job_irq.raise(gpu::JOB_INT_GLOBAL);
    }
    Ok(req & bit::HALT != 0)
}
