// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The microcontroller: what its firmware does, seen through AS0.
//!
//! [`Mcu::run`] does one round of work and is called by a thread of its own. What it was asked for
//! waits in [`pending`] until its time has come. Streams are run by other threads, which come for
//! them ([`work`]).

mod boot;
pub mod fuzz;
mod global;
pub mod group;
mod io;
pub mod layout;
mod pending;
pub mod program;
mod seat;
pub mod slot;
pub mod work;

use crate::clock::Dice;
use crate::counters::Counter;
use crate::device::env::Env;
use crate::inject::What;
use crate::mmu::access::AccessError;
use crate::mmu::Mmu;
use crate::regs::gpu;
use crate::violations::Violation;
use global::Global;
use group::Group;
use io::Io;
use layout::Layout;
use pending::{Act, Pending};
use seat::Reached;

/// Address space of the microcontroller.
pub const AS: usize = 0;

/// State of the microcontroller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Off.
    #[default]
    Disabled,
    /// Started, not yet at the global interface.
    Booting,
    /// Answers requests.
    Running,
    /// Lost its address space: looks alive, answers nothing.
    Silent,
    /// Halted on request.
    Halted,
    /// Refused its firmware.
    Fatal,
}

/// The microcontroller.
#[derive(Debug)]
pub struct Mcu {
    state: State,
    control: u32,
    /// The global doorbell was rung since the last round.
    rung: bool,
    /// Doorbell pages of groups that were.
    rung_pages: u32,
    /// Something else is to be done.
    attention: bool,
    layout: Layout,
    global: Global,
    groups: Vec<Group>,
    pending: Pending,
    dice: Dice,
    /// The stream that was handed out last.
    turn: usize,
    /// Streams handed out so far.
    tickets: u64,
    /// Streams can go on that could not before.
    offered: bool,
}

impl Default for Mcu {
    fn default() -> Self {
        Self::new(Layout::default(), 0)
    }
}

impl Mcu {
    /// One that is off.
    pub fn new(layout: Layout, seed: u64) -> Self {
        let groups = 0..layout.groups as usize;
        Self {
            state: State::Disabled,
            control: 0,
            rung: false,
            rung_pages: 0,
            attention: false,
            layout,
            global: Global::default(),
            groups: groups.map(|g| Group::new(g, layout.streams)).collect(),
            pending: Pending::default(),
            dice: Dice::new(seed),
            turn: 0,
            tickets: 0,
            offered: false,
        }
    }

    /// What its interface looks like.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The group slots.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// State.
    pub fn state(&self) -> State {
        self.state
    }

    /// MCU_CONTROL.
    pub fn control(&self) -> u32 {
        self.control
    }

    /// MCU_STATUS.
    pub fn status(&self) -> u32 {
        match self.state {
            State::Disabled | State::Booting => 0,
            State::Running | State::Silent => 1,
            State::Halted => 2,
            State::Fatal => 3,
        }
    }

    /// Whether it uses memory.
    pub fn running(&self) -> bool {
        matches!(self.state, State::Booting | State::Running)
    }

    /// Forgets all state, as a reset does. Chance goes on.
    pub fn reset(&mut self) {
        self.drop_groups();
        let (dice, tickets) = (self.dice.clone(), self.tickets);
        *self = Self {
            dice,
            tickets,
            ..Self::new(self.layout, 0)
        };
    }

    /// A write to MCU_CONTROL.
    pub fn write_control(&mut self, env: &mut Env, value: u32) {
        match value {
            0 => {
                self.control = 0;
                self.quiet();
                self.enter(env, State::Disabled);
            }
            1 | 2 => {
                if !env.l2_on {
                    env.violation(Violation::L2Off, || format!("MCU_CONTROL = {value}"));
                }
                if self.state != State::Disabled {
                    env.violation(Violation::McuStartTwice, || format!("{:?}", self.state));
                }
                self.control = value;
                self.quiet();
                self.enter(env, State::Booting);
            }
            _ => env.violation(Violation::McuControl, || format!("{value:#x}")),
        }
    }

    /// Stops for no reason that the host could know of.
    pub fn die(&mut self, env: &mut Env, state: State) {
        self.recall_all();
        self.enter(env, state);
    }

    /// Streams that were told to hang go on.
    pub fn let_go(&mut self) {
        for slot in self.groups.iter_mut().flat_map(|g| &mut g.slots) {
            slot.wake(|park| park == slot::Park::Hung);
        }
    }

    /// What is asked for may have changed, and what goes wrong.
    pub fn look_again(&mut self) {
        self.attention = true;
        self.offered = true;
    }

    /// Forgets what it was asked for, and its groups.
    fn quiet(&mut self) {
        self.drop_groups();
        self.rung = false;
        self.rung_pages = 0;
        self.attention = false;
        self.pending = Pending::default();
    }

    /// A write to a doorbell page.
    pub fn doorbell(&mut self, env: &mut Env, page: u32) {
        env.counters.inc(Counter::Doorbell);
        if page > self.layout.groups {
            env.violation(Violation::DoorbellNoSlot, || format!("page {page}"));
        } else if self.state == State::Fatal {
            // The host cannot know yet.
        } else if !matches!(self.state, State::Running | State::Silent) || !env.l2_on {
            env.violation(Violation::DoorbellMcuOff, || {
                format!("page {page}, {:?}", self.state)
            });
        } else if page == 0 {
            self.rung = true;
        } else {
            let heard = |slot: &slot::Slot| slot.used() && u32::from(slot.doorbell) == page;
            let mut slots = self.groups.iter().flat_map(|g| &g.slots);
            // One that is to be started has no doorbell yet, and takes the pointers then.
            let starting = self.groups.iter().any(|g| g.starting);
            if !slots.any(heard) && !starting {
                env.violation(Violation::DoorbellStopped, || format!("page {page}"));
            }
            self.rung_pages |= 1 << page;
        }
    }

    /// Whether [`Self::run`] has something to do at once.
    pub fn has_work(&self) -> bool {
        match self.state {
            State::Booting => true,
            State::Running => self.rung || self.rung_pages != 0 || self.attention,
            _ => false,
        }
    }

    /// When it has something to do next.
    pub fn deadline(&self) -> Option<u64> {
        if self.state != State::Running {
            return None;
        }
        let (idle, progress) = (self.global.idle_timer, self.global.progress_timer);
        let groups = self.groups.iter().map(|g| g.deadline(idle, progress));
        groups.chain([self.pending.deadline()]).flatten().min()
    }

    /// Whether it has something to do now.
    pub fn due(&self, now: u64) -> bool {
        self.has_work() || self.deadline().is_some_and(|at| at <= now)
    }

    /// One round of work. Says whether it must be tried again after an UNLOCK.
    pub fn run(&mut self, env: &mut Env, mmu: &mut Mmu) -> bool {
        let result = match self.state {
            State::Booting => self.boot(env, mmu),
            State::Running => self.serve(&mut Io { env, mmu }),
            _ => return false,
        };
        match result {
            Ok(()) => false,
            Err(AccessError::Locked) => true,
            Err(error) => {
                env.event(|| format!("MCU stopped: {error:x?}"));
                let booting = self.state == State::Booting;
                self.recall_all();
                self.enter(env, if booting { State::Fatal } else { State::Silent });
                false
            }
        }
    }

    fn serve(&mut self, io: &mut Io<'_>) -> Result<(), AccessError> {
        let layout = self.layout;
        if self.rung {
            self.look(io)?;
            self.rung = false;
            self.wake_sync();
            // The host may have answered a stream that waited for that.
            self.offered = true;
        }
        if self.rung_pages != 0 {
            for group in &mut self.groups {
                let g = group.number;
                for (s, slot) in group.slots.iter_mut().enumerate() {
                    let page = u32::from(slot.doorbell);
                    if slot.used() && self.rung_pages.checked_shr(page).unwrap_or(0) & 1 != 0 {
                        slot.take_insert(io, &format!("group {g} stream {s}"))?;
                    }
                }
            }
            self.rung_pages = 0;
            self.wake_sync();
            self.offered = true;
        }
        self.attention = false;
        let now = io.env.clock.now();
        while let Some(act) = self.pending.next(now) {
            if self.act(io, act)? {
                self.pending.done(act);
                self.offered = true;
            } else {
                // A thread has a stream that is needed.
                self.pending.hold(act);
            }
            if self.state != State::Running {
                return Ok(());
            }
        }
        let (idle_timer, progress_timer) = (self.global.idle_timer, self.global.progress_timer);
        let (mut seated, mut idle) = (false, true);
        for group in &mut self.groups {
            if !group.active() {
                continue;
            }
            for stream in 0..group.slots.len() {
                group.slots[stream].show_extract(io)?;
                group.raise_stream(io, &layout, stream)?;
            }
            if group.sync {
                group.raise(io, &layout, group::bit::SYNC_UPDATE)?;
                group.sync = false;
            }
            let stuck = |what| (what == What::Progress).then_some(());
            if io.env.inject.take(group.number, None, stuck).is_some() {
                group.raise(io, &layout, group::bit::PROGRESS)?;
            }
            group.watch(io, &layout, idle_timer, progress_timer)?;
            seated = true;
            idle &= group.idle == group::Idle::Told;
        }
        self.global.watch(io, seated && idle)
    }

    /// What the host asks for.
    fn look(&mut self, io: &mut Io<'_>) -> Result<(), AccessError> {
        let layout = self.layout;
        let (pending, dice) = (&mut self.pending, &mut self.dice);
        let mut ask = |io: &mut Io<'_>, act: Act| {
            let now = io.env.clock.now();
            let due = match act {
                Act::Audit(_) => Group::audit_at(now),
                _ => now.saturating_add(dice.spread(io.env.timing.ack, 3)),
            };
            pending.add(act, due);
        };
        let rung = self.global.look(io, &layout, &mut ask)?;
        for group in &mut self.groups {
            if rung >> group.number & 1 != 0 {
                group.look(io, &layout, &mut ask)?;
            }
        }
        Global::served(io, rung)
    }

    /// Does what was asked for. False if it cannot be done yet.
    fn act(&mut self, io: &mut Io<'_>, act: Act) -> Result<bool, AccessError> {
        let layout = self.layout;
        let group = act.group().and_then(|g| self.groups.get_mut(g));
        match (act, group) {
            (Act::Global(bits), _) => self.global.acknowledge(io, bits)?,
            (Act::Halt, _) => {
                if self.groups.iter().any(|g| g.state != group::State::Empty) {
                    io.env.violation(Violation::FirmwareRequest, || {
                        "HALT with a group in its slot".into()
                    });
                }
                Global::halt_status(io, 0)?;
                io.env.counters.inc(Counter::Halt);
                self.quiet();
                self.enter(io.env, State::Halted);
            }
            (Act::State(_), Some(group)) => {
                if group.refuses(io, &layout)? {
                    return Ok(true);
                }
                let reached = group.seat(io, &layout)? == Reached::Yes;
                if reached {
                    group.forget(&mut self.pending);
                }
                return Ok(reached);
            }
            (Act::Endpoint(_), Some(group)) => group.take_endpoint(io, &layout)?,
            (Act::Status(_), Some(group)) => {
                if !group.gather() {
                    return Ok(false);
                }
                group.show_status(io, &layout)?;
                let at = group.input(&layout);
                let req = io.load(at)?;
                group.acknowledge(io, &layout, group::bit::STATUS, req)?;
            }
            (Act::Audit(_), Some(group)) => group.audit(io, &layout)?,
            (_, None) => {}
        }
        Ok(true)
    }

    fn enter(&mut self, env: &mut Env, state: State) {
        if self.state == state {
            return;
        }
        env.event(|| format!("MCU {:?} -> {state:?}", self.state));
        let before = self.status();
        self.state = state;
        if self.status() != before {
            env.gpu_irq.raise(gpu::INT_MCU_STATUS_CHANGED);
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod inject_tests;
