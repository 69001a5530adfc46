// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Power of the L2, the tiler and the shader cores.

use super::env::Env;
use super::Gpu;
use crate::counters::Counter;
use crate::identity::COHERENCY_NONE;
use crate::regs::gpu;
use crate::violations::Violation;

/// A set of cores that is switched together.
#[derive(Clone, Copy, Debug, Default)]
struct Domain {
    ready: u64,
    /// Cores in transition, what will be ready after it, and when that is.
    transition: Option<(u64, u64, u64)>,
}

impl Domain {
    fn transition_mask(&self) -> u64 {
        self.transition.map_or(0, |(mask, _, _)| mask)
    }

    /// Starts a transition to `target`. Switching off takes effect at once.
    fn switch(&mut self, target: u64, done_at: u64) {
        let mask = self.ready ^ target;
        if mask != 0 {
            self.ready &= target;
            self.transition = Some((mask, target, done_at));
        }
    }

    /// Ends the transition if its time has come; says whether it did.
    fn advance(&mut self, now: u64) -> bool {
        match self.transition {
            Some((_, target, at)) if at <= now => {
                self.ready = target;
                self.transition = None;
                true
            }
            _ => false,
        }
    }
}

/// Which cores are powered.
#[derive(Debug, Default)]
pub struct Power {
    shader: Domain,
    tiler: Domain,
    l2: Domain,
}

/// The domains in the order of their registers.
const L2: usize = 2;

impl Power {
    fn domains(&mut self) -> [&mut Domain; 3] {
        [&mut self.shader, &mut self.tiler, &mut self.l2]
    }

    /// When a transition ends.
    pub fn deadline(&self) -> Option<u64> {
        [self.shader, self.tiler, self.l2]
            .iter()
            .filter_map(|d| d.transition.map(|(_, _, at)| at))
            .min()
    }

    /// Ends transitions.
    pub fn advance(&mut self, env: &mut Env, now: u64) {
        let mut changed = false;
        for domain in self.domains() {
            changed |= domain.advance(now);
        }
        if changed {
            let on = self.l2.ready != 0;
            if on && !env.l2_on {
                env.event(|| "L2 on".into());
            }
            env.l2_on = on;
            env.gpu_irq.raise(gpu::INT_POWER_CHANGED);
        }
    }

    /// Reads READY, PWRTRANS and PWRACTIVE; the others read as 0.
    pub fn read(&self, offset: u32) -> u64 {
        let domain = match offset & 0x3f {
            0x00 => &self.shader,
            0x10 => &self.tiler,
            0x20 => &self.l2,
            _ => return 0,
        };
        match offset & !0x3f {
            0x140 | 0x240 => domain.ready,
            0x200 => domain.transition_mask(),
            _ => 0,
        }
    }

    /// A write to PWRON or PWROFF.
    pub fn write(&mut self, gpu: &mut Gpu, offset: u32, value: u32) {
        let index = match offset & 0x38 {
            0x00 => 0,
            0x10 => 1,
            _ => L2,
        };
        let on = offset < 0x1c0;
        let env = &mut gpu.env;
        let identity = &env.identity;
        let present = [
            identity.shader_present,
            identity.tiler_present,
            identity.l2_present,
        ][index];
        let shift = if offset & 4 != 0 { 32 } else { 0 };
        let mask = u64::from(value) << shift;
        if mask & !present != 0 {
            env.violation(Violation::PowerNotPresent, || {
                format!("write {offset:#x} = {value:#x}")
            });
        }
        let mask = mask & present;
        if mask == 0 {
            return;
        }
        if index == L2 {
            if self.l2.transition.is_some() {
                env.violation(Violation::L2Transition, || {
                    format!("write {offset:#x} = {value:#x}")
                });
            }
            Self::check_l2(gpu, on);
        } else if !env.l2_on {
            env.violation(Violation::L2Off, || {
                format!("write {offset:#x} = {value:#x}")
            });
        }
        let done_at = gpu.env.clock.now() + gpu.env.timing.power;
        let mut domains = self.domains();
        let domain = &mut domains[index];
        let ready = domain.transition.map_or(domain.ready, |(_, to, _)| to);
        let target = if on { ready | mask } else { ready & !mask };
        domain.switch(target, done_at);
    }

    /// What must be true before the L2 is switched, and what it means at once.
    fn check_l2(gpu: &mut Gpu, on: bool) {
        if on {
            // None is always there; 0 and 1 must be in COHERENCY_FEATURES.
            let protocol = gpu.coherency_protocol();
            let features = gpu.env.identity.coherency_features | (1 << COHERENCY_NONE);
            if protocol > COHERENCY_NONE || (features >> protocol) & 1 == 0 {
                gpu.env
                    .violation(Violation::CoherencyProtocol, || format!("{protocol}"));
            }
            gpu.env.counters.inc(Counter::L2On);
            return;
        }
        if gpu.mcu.running() {
            gpu.env
                .violation(Violation::L2OffWithMcu, || "L2_PWROFF".into());
        }
        if gpu.mmu.any_dirty(&gpu.env) {
            gpu.env
                .violation(Violation::L2OffDirty, || "L2_PWROFF".into());
        }
        gpu.env.counters.inc(Counter::L2Off);
        gpu.env.event(|| "L2 off".into());
        gpu.env.caches.drop_all();
        gpu.env.l2_on = false;
        gpu.mmu.power_off();
        gpu.env.unlocked = true;
    }
}
