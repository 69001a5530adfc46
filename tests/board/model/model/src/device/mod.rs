// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The device: the register window over power, caches, MMU and microcontroller.

pub mod caches;
pub mod env;
pub mod gate;
pub mod hang;
pub mod power;

use crate::clock::{ticks, Clock, Timing};
use crate::counters::Counter;
use crate::identity::{Identity, AS_BLOCKS};
use crate::inject::{self, What};
use crate::irq::{IrqSink, Line};
use crate::mcu::{Mcu, State};
use crate::mmu::aspace::Translation;
use crate::mmu::Mmu;
use crate::regs::{self, gpu, irq, Access, Place};
use crate::violations::Violation;
use caches::FlushModes;
use env::Env;
use hang::{Hang, Work};
use power::Power;

/// A GPU.
pub struct Gpu {
    /// What all blocks share.
    pub env: Env,
    /// Address spaces.
    pub mmu: Mmu,
    /// Microcontroller.
    pub mcu: Mcu,
    power: Power,
    /// Interrupts that are sent later than they should.
    late: Vec<(u64, Line)>,
    /// End of the running reset.
    reset_done: Option<u64>,
    coherency_protocol: u32,
    /// Words of registers that do nothing: L2_CONFIG, PWR_KEY, PWR_OVERRIDE0 and 1.
    scratch: [u32; 4],
    sink: Box<dyn IrqSink>,
}

/// Type of a GPU command.
mod command {
    pub const RESET: u32 = 1;
    pub const FLUSH_CACHES: u32 = 4;
    pub const RESET_SOFT: u32 = 1;
    pub const RESET_HARD: u32 = 2;
}

/// Index in the words that do nothing.
fn scratch_index(offset: u32) -> Option<usize> {
    [0x48, 0x50, 0x54, 0x58].iter().position(|o| *o == offset)
}

impl Gpu {
    /// A device that was just powered.
    pub fn new(identity: Identity, timing: Timing, clock: Clock, sink: Box<dyn IrqSink>) -> Self {
        let coherency_protocol = identity.coherency_at_reset();
        Self {
            env: Env::new(identity, timing, clock),
            mmu: Mmu::default(),
            mcu: Mcu::default(),
            power: Power::default(),
            late: Vec::new(),
            reset_done: None,
            coherency_protocol,
            scratch: [0; 4],
            sink,
        }
    }

    /// Sends the interrupts that are due.
    pub fn deliver(&mut self) {
        for line in Line::ALL {
            if self.env.irq_mut(line).take_due() {
                self.env.counters.inc(match line {
                    Line::Job => Counter::JobIrq,
                    Line::Mmu => Counter::MmuIrq,
                    Line::Gpu => Counter::GpuIrq,
                });
                self.send(line);
            }
        }
        let now = self.env.clock.now();
        let due = self.late.iter().position(|(at, _)| *at <= now);
        if let Some((_, line)) = due.map(|at| self.late.remove(at)) {
            self.sink.fire(line);
        }
    }

    /// When an interrupt is due that is sent late.
    pub fn late_deadline(&self) -> Option<u64> {
        self.late.iter().map(|(at, _)| *at).min()
    }

    /// Sends an interrupt, unless it is to be lost or late.
    fn send(&mut self, line: Line) {
        let lost = |what| (what == What::IrqLost(line)).then_some(());
        let late = |what| match what {
            What::IrqLate(l, time) if l == line => Some(time),
            _ => None,
        };
        if self.env.inject.take(0, None, lost).is_some() {
            self.env.event(|| format!("{line:?} interrupt lost"));
        } else if let Some(time) = self.env.inject.take(0, None, late) {
            let at = self.env.clock.now().saturating_add(time);
            self.late.push((at, line));
        } else {
            self.sink.fire(line);
        }
    }

    /// Makes something go wrong, as the control socket asked for; what there is to say about it.
    pub fn inject(&mut self, request: inject::Request) -> String {
        match request {
            inject::Request::Add(rule) => self.env.inject.add(rule),
            inject::Request::McuDead => self.mcu.die(&mut self.env, State::Silent),
            inject::Request::McuPanic => self.mcu.die(&mut self.env, State::Fatal),
            inject::Request::Spurious(line) => self.env.irq_mut(line).spurious(),
            inject::Request::Clear => {
                self.env.inject.clear();
                self.mcu.let_go();
            }
            inject::Request::List => {
                let line = |rule| format!("{rule:?}\n");
                return self.env.inject.rules().iter().map(line).collect();
            }
        }
        self.mcu.look_again();
        String::new()
    }

    /// When [`Self::advance`] has something to do next.
    pub fn deadline(&self) -> Option<u64> {
        let due = |work, at: Option<u64>| at.filter(|_| !self.env.hangs.is(work));
        [
            due(Work::Flush, self.env.caches.deadline(self.env.clock.now())),
            due(Work::Power, self.power.deadline()),
            due(Work::Reset, self.reset_done),
            self.late_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Makes something hang, or lets it go on.
    pub fn hang(&mut self, work: Work, hang: Hang) {
        self.env.hangs.set(work, hang);
        if work == Work::As && hang == Hang::No {
            self.mmu.let_go();
        }
        self.advance();
    }

    /// Ends what should be over by now.
    pub fn advance(&mut self) {
        let now = self.env.clock.now();
        if !self.env.hangs.is(Work::Flush) && self.env.caches.finish(now) {
            self.env.counters.inc(Counter::Flush);
            self.env.gpu_irq.raise(gpu::INT_CLEAN_CACHES_COMPLETED);
        }
        if !self.env.hangs.is(Work::Power) {
            self.power.advance(&mut self.env, now);
        }
        if !self.env.hangs.is(Work::Reset) && self.reset_done.is_some_and(|at| at <= now) {
            self.reset_done = None;
            self.env.counters.inc(Counter::Reset);
            self.env.gpu_irq.raise(gpu::INT_RESET_COMPLETED);
            self.env.event(|| "reset completed".into());
        }
    }

    /// Power-on state: what a reset of the PCI device gives. Memory, counts and names stay.
    pub fn cold_reset(&mut self) {
        self.clear_state();
        self.env.gpu_irq.reset();
        self.reset_done = None;
        self.scratch = [0; 4];
    }

    fn clear_state(&mut self) {
        self.coherency_protocol = self.env.identity.coherency_at_reset();
        self.mmu.reset();
        self.mcu.reset();
        self.power = Power::default();
        self.env.caches.drop_all();
        self.env.l2_on = false;
        self.env.unlocked = true;
        self.env.job_irq.reset();
        self.env.mmu_irq.reset();
    }

    /// A read of the guest. `data` is 1 to 8 bytes.
    pub fn mmio_read(&mut self, offset: u64, data: &mut [u8]) {
        self.env.counters.inc(Counter::Read);
        self.advance();
        data.fill(0);
        let Some(offset) = self.check_access(offset, data.len(), None) else {
            return;
        };
        for (i, word) in data.chunks_mut(4).enumerate() {
            let value = self.read_word(offset + 4 * i as u32).to_le_bytes();
            let len = word.len();
            word.copy_from_slice(&value[..len]);
        }
    }

    /// A write of the guest. `data` is 1 to 8 bytes.
    pub fn mmio_write(&mut self, offset: u64, data: &[u8]) {
        self.env.counters.inc(Counter::Write);
        self.advance();
        let mut bytes = [0; 8];
        bytes[..data.len().min(8)].copy_from_slice(&data[..data.len().min(8)]);
        let value = u64::from_le_bytes(bytes);
        let Some(offset) = self.check_access(offset, data.len(), Some(value)) else {
            return;
        };
        if data.len() < 4 {
            return;
        }
        self.write_word(offset, value as u32);
        if data.len() == 8 {
            self.write_word(offset + 4, (value >> 32) as u32);
        }
    }

    /// Counts accesses of a wrong shape; gives the offset of those that can be served.
    fn check_access(&mut self, offset: u64, len: usize, write: Option<u64>) -> Option<u32> {
        let text = || match write {
            Some(v) => format!("write of {len} bytes at {offset:#x}: {v:#x}"),
            None => format!("read of {len} bytes at {offset:#x}"),
        };
        // What user space reads in its page is not the driver's doing.
        let user = write.is_none() && regs::user_page(offset);
        if len != 4 && !user {
            self.env.violation(Violation::AccessWidth, text);
        }
        if offset % 4 != 0 {
            if !user {
                self.env.violation(Violation::UnalignedAccess, text);
            }
            return None;
        }
        let inside = offset < regs::WINDOW && matches!(len, 1..=8);
        u32::try_from(offset).ok().filter(|_| inside)
    }

    fn read_word(&mut self, offset: u32) -> u32 {
        match regs::place(offset) {
            Place::Nothing => {
                if !regs::user_page(u64::from(offset)) {
                    self.env
                        .violation(Violation::UnknownRegister, || format!("read {offset:#x}"));
                }
                0
            }
            Place::As(n, inner, _) => {
                if self.mmu.space(&self.env, n).is_none() {
                    self.env.violation(Violation::AsNotPresent, || {
                        format!("read of AS{n}+{inner:#x}")
                    });
                }
                self.mmu.read(&self.env, n, inner)
            }
            Place::Doorbell(_) => 0,
            Place::Plain(_) => {
                if offset == regs::LATEST_FLUSH_ID && !self.env.l2_on {
                    self.env
                        .violation(Violation::L2Off, || "read of LATEST_FLUSH_ID".into());
                }
                self.plain(offset)
            }
        }
    }

    /// The value of a register of the table, without any effect.
    fn plain(&self, offset: u32) -> u32 {
        let id = &self.env.identity;
        let now = self.env.clock.now();
        let wide = |value: u64| (value >> if offset & 4 != 0 { 32 } else { 0 }) as u32;
        if let Some(line) = regs::irq_block(offset) {
            let block = self.env.irq(line);
            return match offset & 0xf {
                irq::RAWSTAT => block.raw(),
                irq::MASK => block.mask(),
                irq::STAT => block.status(),
                _ => 0,
            };
        }
        match offset {
            0x000 => id.gpu_id,
            0x004 => id.l2_features,
            0x008 => id.core_features,
            0x00c => id.tiler_features,
            0x010 => id.mem_features,
            0x014 => id.mmu_features(),
            0x018 => id.as_present,
            0x01c => id.csf_id,
            0x034 => u32::from(self.mcu.running()) | (u32::from(self.env.l2_on) << 1),
            0x060 | 0x064 => wide(id.gpu_features),
            0x090 | 0x094 => wide(ticks(now, id.cycle_hz)),
            // The high word is at 0x9c, whose bit 2 is set as well.
            0x098 | 0x09c => wide(ticks(now, id.timestamp_hz)),
            0x0a0 => id.max_threads,
            0x0a4 => id.max_workgroup,
            0x0a8 => id.max_barrier,
            0x0ac => id.thread_features,
            0x0b0..=0x0bc => id.texture_features[(offset as usize - 0xb0) / 4],
            0x100 | 0x104 => wide(id.shader_present),
            0x110 | 0x114 => wide(id.tiler_present),
            0x120 | 0x124 => wide(id.l2_present),
            0x140..=0x264 => wide(self.power.read(offset & !4)),
            0x280 => id.revidr,
            0x300 => id.coherency_features,
            gpu::COHERENCY_PROTOCOL => self.coherency_protocol,
            gpu::MCU_CONTROL => self.mcu.control(),
            gpu::MCU_STATUS => self.mcu.status(),
            regs::LATEST_FLUSH_ID => self.env.caches.latest_id(),
            _ => scratch_index(offset).map_or(0, |i| self.scratch[i]),
        }
    }

    fn write_word(&mut self, offset: u32, value: u32) {
        if self.reset_done.is_some() && regs::irq_block(offset) != Some(Line::Gpu) {
            self.env.violation(Violation::AccessInReset, || {
                format!("write {offset:#x} = {value:#x}")
            });
        }
        match regs::place(offset) {
            Place::Nothing => self.env.violation(Violation::UnknownRegister, || {
                format!("write {offset:#x} = {value:#x}")
            }),
            Place::Plain(Access::ReadOnly) | Place::As(_, _, Access::ReadOnly) => {
                self.env.violation(Violation::WriteReadOnly, || {
                    format!("write {offset:#x} = {value:#x}")
                });
            }
            Place::As(n, inner, Access::Writable) => {
                let before = self
                    .mmu
                    .space(&self.env, n)
                    .map(|s| (s.live(), s.faulted()));
                self.mmu.write(&mut self.env, n, inner, value);
                self.check_under_group(n, before);
            }
            Place::Doorbell(page) => self.mcu.doorbell(&mut self.env, page),
            Place::Plain(Access::Writable) => self.write_plain(offset, value),
        }
    }

    /// Counts a translation that changed under a group which had no fault.
    fn check_under_group(&mut self, n: usize, before: Option<(Translation, bool)>) {
        let Some((live, false)) = before else {
            return;
        };
        let changed = self
            .mmu
            .space(&self.env, n)
            .is_some_and(|s| s.live() != live);
        if changed && self.mcu.uses_space(n) {
            self.env
                .violation(Violation::SpaceUnderGroup, || format!("AS{n}"));
        }
    }

    fn write_plain(&mut self, offset: u32, value: u32) {
        if let Some(line) = regs::irq_block(offset) {
            let block = self.env.irq_mut(line);
            match offset & 0xf {
                irq::CLEAR => block.clear(value),
                _ => block.set_mask(value),
            }
            if line == Line::Mmu && offset & 0xf == irq::CLEAR {
                self.mmu.clear_faults(value);
            }
            return;
        }
        match offset {
            gpu::COMMAND => self.command(value),
            0x180..=0x1e4 => {
                let mut power = std::mem::take(&mut self.power);
                power.write(self, offset, value);
                self.power = power;
            }
            gpu::COHERENCY_PROTOCOL => self.coherency_protocol = value,
            gpu::MCU_CONTROL => self.mcu.write_control(&mut self.env, value),
            _ => {
                if let Some(i) = scratch_index(offset) {
                    self.scratch[i] = value;
                }
            }
        }
    }

    fn command(&mut self, value: u32) {
        let now = self.env.clock.now();
        let payload = value >> 8;
        match (value & 0xff, payload) {
            (0, 0) => {}
            (command::RESET, command::RESET_SOFT) => self.reset(false),
            (command::RESET, command::RESET_HARD) => self.reset(true),
            (command::FLUSH_CACHES, _) => {
                let Some(modes) = FlushModes::of(payload) else {
                    self.env
                        .violation(Violation::GpuCommand, || format!("flush {value:#x}"));
                    return;
                };
                if !self.env.l2_on {
                    self.env
                        .violation(Violation::L2Off, || format!("flush {value:#x}"));
                }
                if self.env.caches.running() {
                    self.env
                        .violation(Violation::FlushWhileActive, || format!("{value:#x}"));
                }
                self.env.caches.start(modes, now + self.env.timing.flush);
            }
            _ => self
                .env
                .violation(Violation::GpuCommand, || format!("{value:#x}")),
        }
    }

    fn reset(&mut self, hard: bool) {
        if self.mcu.running() {
            self.env
                .violation(Violation::L2OffWithMcu, || "reset".into());
        }
        self.env.event(|| format!("reset, hard {hard}"));
        self.clear_state();
        if hard {
            self.env.gpu_irq.reset();
        }
        self.reset_done = Some(self.env.clock.now() + self.env.timing.reset);
    }

    /// Coherency protocol that the driver chose.
    pub fn coherency_protocol(&self) -> u32 {
        self.coherency_protocol
    }

    /// Lets the microcontroller work on what waits for it. Says whether it got stuck at a lock.
    pub fn run_mcu(&mut self) -> bool {
        let stalled = self.mcu.run(&mut self.env, &mut self.mmu);
        self.deliver();
        stalled
    }

    /// All registers and their values, without any effect.
    pub fn dump(&self) -> Vec<(String, u32, u64)> {
        let mut out = Vec::new();
        for reg in regs::TABLE {
            let low = u64::from(self.plain(reg.offset));
            let high = if reg.words == 2 {
                u64::from(self.plain(reg.offset + 4))
            } else {
                0
            };
            out.push((reg.name.to_string(), reg.offset, (high << 32) | low));
        }
        for n in (0..AS_BLOCKS).filter(|n| (self.env.identity.as_present >> n) & 1 != 0) {
            for reg in regs::AS_TABLE {
                let low = u64::from(self.mmu.read(&self.env, n, reg.offset));
                let high = if reg.words == 2 {
                    u64::from(self.mmu.read(&self.env, n, reg.offset + 4))
                } else {
                    0
                };
                let offset = regs::AS_BASE + regs::AS_STRIDE * n as u32 + reg.offset;
                out.push((format!("AS{n}_{}", reg.name), offset, (high << 32) | low));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
