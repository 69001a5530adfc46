// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A group slot: what the host asks of it, and what it tells the host.

use super::io::{Events, Io};
use super::layout::{group_input, group_output, input, output, Layout};
use super::pending::{Act, Pending};
use super::slot::{self, Event, OomState, Run, Slot};
use crate::counters::Counter;
use crate::cs;
use crate::mmu::access::AccessError;
use crate::violations::Violation;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// Bits of the request and acknowledge words of a group.
pub mod bit {
    /// State: 0 terminate, 1 start, 2 suspend, 3 resume.
    pub const STATE: u32 = 7;
    /// Toggle: take the endpoint request.
    pub const ENDPOINT: u32 = 1 << 4;
    /// Toggle: show the status of the streams.
    pub const STATUS: u32 = 1 << 5;
    /// Event: a sync object was written.
    pub const SYNC_UPDATE: u32 = 1 << 28;
    /// Event: nothing to do.
    pub const IDLE: u32 = 1 << 29;
    /// Event: no progress.
    pub const PROGRESS: u32 = 1 << 31;
    /// All events.
    pub const EVENTS: u32 = SYNC_UPDATE | IDLE | PROGRESS;
    /// Every bit that has a meaning. Bit 30 is an event that is never raised.
    pub const KNOWN: u32 = STATE | ENDPOINT | STATUS | EVENTS | (1 << 30);
}

/// Time until a configuration that changed is looked at again, in nanoseconds: the host writes it
/// before it asks, and may be slow.
const AUDIT: u64 = 500_000_000;

/// How a group leaves its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Into its suspend buffer.
    Suspend,
    /// For good.
    Terminate,
}

/// What is in a group slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    #[default]
    Empty,
    /// A group that runs.
    Active,
    /// A group whose streams come back from the threads.
    Leaving(Leave),
}

/// How long there was nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// There is.
    #[default]
    No,
    /// Nothing since a time.
    Since(u64),
    /// The host was told.
    Told,
}

/// What was taken of a group's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Address space.
    pub space: u32,
    /// Suspend buffer.
    pub suspend: u64,
    /// Endpoint request.
    pub endpoint: u64,
}

impl Config {
    /// Reads it.
    pub fn read(io: &mut Io<'_>, layout: &Layout, at: u64) -> Result<Self, AccessError> {
        let endpoint = if layout.version.wide_endpoint() {
            io.load64(at + u64::from(group_input::ENDPOINT_WIDE))?
        } else {
            u64::from(io.load(at + u64::from(group_input::ENDPOINT))?)
        };
        Ok(Self {
            space: io.load(at + u64::from(group_input::CONFIG))?,
            suspend: io.load64(at + u64::from(group_input::SUSPEND_BUF))?,
            endpoint,
        })
    }
}

/// A group slot.
#[derive(Debug, Default)]
pub struct Group {
    /// Number.
    pub number: usize,
    /// What is in it.
    pub state: State,
    /// Asks the threads to bring its streams back.
    pub recall: Arc<AtomicBool>,
    /// Streams.
    pub slots: Vec<Slot>,
    /// The host has asked for START or RESUME, which is not done.
    pub starting: bool,
    /// Configuration.
    pub config: Config,
    /// Another configuration that was seen without a request for it.
    pub suspect: Option<Config>,
    /// Events that were raised.
    pub events: Events,
    /// A sync object was written with the scope of the system.
    pub sync: bool,
    /// How long there was nothing to do.
    pub idle: Idle,
    /// When a stream last got on, and whether the host was told that none does.
    pub progress: (u64, bool),
}

impl Group {
    /// An empty slot.
    pub fn new(number: usize, streams: u32) -> Self {
        Self {
            number,
            slots: (0..streams).map(|_| Slot::default()).collect(),
            ..Self::default()
        }
    }

    /// Whether streams of it may run.
    pub fn active(&self) -> bool {
        self.state == State::Active
    }

    /// Whether streams of it may be handed out: all, or those with jobs that run.
    pub fn runs(&self) -> bool {
        match self.state {
            State::Active => !self.recalled(),
            State::Leaving(Leave::Suspend) => true,
            State::Leaving(Leave::Terminate) | State::Empty => false,
        }
    }

    /// Decides what happens about heap memory that the host refused.
    pub fn settle(&mut self) {
        let programs = self.slots.iter_mut().filter_map(Slot::program);
        if !cs::settle(programs.map(|p| &mut p.stream)) {
            return;
        }
        for slot in &mut self.slots {
            slot.woken |= slot.out();
            slot.wake(|park| !matches!(park, slot::Park::Fault | slot::Park::Hung));
        }
    }

    /// Whether a thread has a stream of it.
    pub fn out(&self) -> bool {
        self.slots.iter().any(Slot::out)
    }

    /// Asks for the streams that threads have; says whether all are there.
    pub fn gather(&mut self) -> bool {
        let out = self.out();
        self.recall.store(out, Ordering::Release);
        !out
    }

    /// Whether its streams must stay.
    pub fn recalled(&self) -> bool {
        self.recall.load(Ordering::Acquire)
    }

    /// Address of the input block; the output block is 0x100 behind it.
    pub fn input(&self, layout: &Layout) -> u64 {
        u64::from(layout.group_input(self.number as u32))
    }

    /// Input block of a stream.
    pub fn stream_input(&self, layout: &Layout, stream: usize) -> u64 {
        u64::from(layout.stream_input(self.number as u32, stream as u32))
    }

    /// What the host asks for.
    pub fn look(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        mut ask: impl FnMut(&mut Io<'_>, Act),
    ) -> Result<(), AccessError> {
        io.env.counters.inc(Counter::GroupRequest);
        let (g, at) = (self.number, self.input(layout));
        let out = at + 0x100;
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(out + u64::from(output::ACK))?;
        let bells = io.load(at + u64::from(input::DOORBELL_REQ))?;
        let served = io.load(out + u64::from(output::DOORBELL_ACK))?;
        io.env
            .event(|| format!("group {g} req {req:#x} ack {ack:#x} bells {bells:#x}"));

        let wrong = self.events.look(bit::EVENTS, req, ack);
        if wrong != 0 {
            io.env
                .violation(Violation::EventAck, || format!("group {g} bits {wrong:#x}"));
        }
        if req & !bit::KNOWN != 0 {
            io.env.violation(Violation::FirmwareRequest, || {
                format!("group {g} request {req:#x}")
            });
        }
        self.starting = (req ^ ack) & bit::STATE != 0 && matches!(req & bit::STATE, 1 | 3);
        if (req ^ ack) & bit::STATE != 0 {
            ask(io, Act::State(g));
        }
        if (req ^ ack) & bit::ENDPOINT != 0 {
            ask(io, Act::Endpoint(g));
        }
        if (req ^ ack) & bit::STATUS != 0 {
            ask(io, Act::Status(g));
        }
        let rung = bells ^ served;
        if rung.checked_shr(layout.streams).unwrap_or(0) != 0 {
            io.env.violation(Violation::FirmwareRequest, || {
                format!("group {g} doorbell bits {rung:#x}")
            });
        }
        for stream in (0..self.slots.len()).filter(|s| rung >> s & 1 != 0) {
            self.look_stream(io, layout, stream)?;
        }
        if rung != 0 {
            io.store(out + u64::from(output::DOORBELL_ACK), bells)?;
        }
        let config = Config::read(io, layout, at)?;
        if self.active() && config != self.config && self.suspect != Some(config) {
            self.suspect = Some(config);
            ask(io, Act::Audit(g));
        }
        Ok(())
    }

    /// What the host asks of a stream of a group that runs.
    fn look_stream(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        stream: usize,
    ) -> Result<(), AccessError> {
        if !self.active() {
            // START takes all of it.
            return Ok(());
        }
        let g = self.number;
        let at = self.stream_input(layout, stream);
        let out = at + 0x100;
        let Some(slot) = self.slots.get_mut(stream) else {
            return Ok(());
        };
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(out)?;
        let wrong = slot.events.look(slot::bit::EVENTS, req, ack);
        if wrong != 0 {
            io.env.violation(Violation::EventAck, || {
                format!("group {g} stream {stream} bits {wrong:#x}")
            });
        }
        let copied = slot::bit::STATE | slot::bit::EXTRACT_EVENT | slot::bit::SETTINGS;
        let new = ack & !copied | req & copied;
        if new != ack {
            io.store(out, new)?;
        }
        slot.settings = req & slot::bit::SETTINGS;
        if slot.used() && req & slot::bit::STATE == 0 {
            // A thread that has the stream drops it.
            slot.run = Run::Off;
            return Ok(());
        }
        if !slot.used() {
            return Ok(());
        }
        if !slot.events.pending(slot::bit::FAULT) {
            slot.wake(|park| park == slot::Park::Fault);
        }
        if !slot.events.pending(slot::bit::TILER_OOM) {
            let answer = io.load64(at + u64::from(super::layout::stream_input::HEAP_START))?;
            if slot.oom == OomState::Asked && slot.queue.is_empty() {
                slot.oom = OomState::Answered(answer);
                if let Some(program) = slot.program() {
                    program.stream.answer_oom(answer);
                    slot.oom = OomState::after(answer);
                }
                slot.woken |= slot.out();
                slot.wake(|park| matches!(park, slot::Park::Waits | slot::Park::Until(_)));
            }
        }
        slot.take_insert(io, &format!("group {g} stream {stream}"))?;
        if slot.oom == OomState::Refused && !self.out() {
            self.settle();
        }
        Ok(())
    }

    /// Changes bits of the acknowledge word, and interrupts the host if it wants to know.
    pub fn acknowledge(
        &self,
        io: &mut Io<'_>,
        layout: &Layout,
        bits: u32,
        value: u32,
    ) -> Result<(), AccessError> {
        let at = self.input(layout);
        let ack_at = at + 0x100 + u64::from(output::ACK);
        let ack = io.load(ack_at)?;
        let mask = io.load(at + u64::from(input::ACK_IRQ_MASK))?;
        let new = ack & !bits | value & bits;
        let stay = io.env.inject.no_ack(self.number, ack ^ new);
        let new = ack & stay | new & !stay;
        io.store(ack_at, new)?;
        if (ack ^ new) & mask != 0 {
            io.env.job_irq.raise(1 << self.number);
        }
        Ok(())
    }

    /// Raises an event, unless the last one of its kind waits for the host; says whether it did.
    pub fn raise(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        event: u32,
    ) -> Result<bool, AccessError> {
        let at = self.input(layout);
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(at + 0x100 + u64::from(output::ACK))?;
        let wrong = self.events.look(bit::EVENTS, req, ack);
        if wrong != 0 {
            io.env.violation(Violation::EventAck, || {
                format!("group {} bits {wrong:#x}", self.number)
            });
        }
        if self.events.pending(event) {
            return Ok(false);
        }
        self.acknowledge(io, layout, event, !ack)?;
        self.events.raise(event);
        Ok(true)
    }

    /// Tells the host of a stream's first event. What it is stays in the queue until that is done.
    pub fn raise_stream(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        stream: usize,
    ) -> Result<(), AccessError> {
        use super::layout::stream_output as so;
        let at = self.stream_input(layout, stream);
        let out = at + 0x100;
        let Some(slot) = self.slots.get_mut(stream) else {
            return Ok(());
        };
        let Some(event) = slot.queue.front().copied() else {
            return Ok(());
        };
        let flag = match event {
            Event::Fatal(_) => slot::bit::FATAL,
            Event::Fault(_) => slot::bit::FAULT,
            Event::Oom { .. } => slot::bit::TILER_OOM,
        };
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(out)?;
        slot.events.look(slot::bit::EVENTS, req, ack);
        if slot.events.pending(flag) {
            return Ok(());
        }
        match event {
            Event::Fault(failure) | Event::Fatal(failure) => {
                let index = u64::from(flag == slot::bit::FATAL);
                let code = u32::from(failure.code);
                io.store(out + u64::from(so::FAULT) + 4 * index, code)?;
                io.store64(out + u64::from(so::FAULT_INFO) + 8 * index, failure.info)?;
            }
            Event::Oom { heap, counts } => {
                let [start, end, fragment] = counts;
                io.store(out + u64::from(so::HEAP_VT_START), start)?;
                io.store(out + u64::from(so::HEAP_VT_START) + 4, end)?;
                io.store(out + u64::from(so::HEAP_FRAG_END), fragment)?;
                io.store64(out + u64::from(so::HEAP_ADDRESS), heap)?;
            }
        }
        io.store(out, ack ^ flag)?;
        slot.events.raise(flag);
        slot.queue.pop_front();
        self.flag_stream(io, layout, stream)
    }

    /// Flips the bit of a stream, if the host has seen the last flip, and interrupts.
    fn flag_stream(
        &self,
        io: &mut Io<'_>,
        layout: &Layout,
        stream: usize,
    ) -> Result<(), AccessError> {
        let at = self.input(layout);
        let req_at = at + 0x100 + u64::from(group_output::CS_IRQ_REQ);
        let seen = io.load(at + u64::from(group_input::CS_IRQ_ACK))?;
        let req = io.load(req_at)?;
        if (req ^ seen) >> stream & 1 == 0 {
            io.store(req_at, req ^ (1 << stream))?;
        }
        io.env.job_irq.raise(1 << self.number);
        Ok(())
    }

    /// Takes the endpoint request.
    pub fn take_endpoint(&mut self, io: &mut Io<'_>, layout: &Layout) -> Result<(), AccessError> {
        let at = self.input(layout);
        let req = io.load(at + u64::from(input::REQ))?;
        self.config.endpoint = Config::read(io, layout, at)?.endpoint;
        let out = at + 0x100 + u64::from(group_output::ENDPOINTS);
        let shown = self.config.endpoint as u32;
        io.store(out, shown)?;
        io.store(out + 4, shown)?;
        self.acknowledge(io, layout, bit::ENDPOINT, req)
    }

    /// Shows the status of all streams.
    pub fn show_status(&mut self, io: &mut Io<'_>, layout: &Layout) -> Result<(), AccessError> {
        for stream in 0..self.slots.len() {
            let out = self.stream_input(layout, stream) + 0x100;
            let slot = &mut self.slots[stream];
            slot.show_extract(io)?;
            slot.show_status(io, out)?;
        }
        Ok(())
    }

    /// Counts a configuration that the host changed without a request.
    pub fn audit(&mut self, io: &mut Io<'_>, layout: &Layout) -> Result<(), AccessError> {
        let at = self.input(layout);
        let now = Config::read(io, layout, at)?;
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(at + 0x100 + u64::from(output::ACK))?;
        let asked = (req ^ ack) & (bit::STATE | bit::ENDPOINT) != 0;
        // What stands there since it was seen first.
        let stands = self.suspect.take() == Some(now);
        if self.active() && now != self.config && stands && !asked {
            let (g, had) = (self.number, self.config);
            io.env.violation(Violation::GroupConfig, || {
                format!("group {g} had {had:x?}, now {now:x?}")
            });
            self.config = now;
        }
        Ok(())
    }

    /// Whether there is nothing to do in a group that runs.
    pub fn idle_now(&self) -> bool {
        self.active() && !self.recalled() && self.slots.iter().all(Slot::idle)
    }

    /// When to look at the group again: when it was idle for long enough, or without progress.
    pub fn deadline(&self, idle_timer: u64, progress_timer: u64) -> Option<u64> {
        if !self.active() {
            return None;
        }
        match self.idle {
            Idle::Since(since) => Some(since.saturating_add(idle_timer)),
            Idle::Told => None,
            Idle::No if self.progress.1 => None,
            Idle::No => Some(self.progress.0.saturating_add(progress_timer)),
        }
    }

    /// Follows idleness and progress; raises their events.
    pub fn watch(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        idle_timer: u64,
        progress_timer: u64,
    ) -> Result<(), AccessError> {
        if !self.active() {
            return Ok(());
        }
        let now = io.env.clock.now();
        let state = self.input(layout) + 0x100 + u64::from(group_output::STATE);
        match (self.idle, self.idle_now()) {
            (Idle::No, true) => {
                io.store(state, 1)?;
                self.idle = Idle::Since(now);
            }
            (Idle::No, false) => {
                let (since, told) = self.progress;
                if !told && now >= since.saturating_add(progress_timer) {
                    self.raise(io, layout, bit::PROGRESS)?;
                    self.progress.1 = true;
                }
            }
            (Idle::Since(since), true) if now >= since.saturating_add(idle_timer) => {
                self.raise(io, layout, bit::IDLE)?;
                self.idle = Idle::Told;
            }
            (_, true) => {}
            (_, false) => {
                io.store(state, 0)?;
                self.idle = Idle::No;
                self.progress = (now, false);
            }
        }
        Ok(())
    }

    /// When a changed configuration is looked at again.
    pub fn audit_at(now: u64) -> u64 {
        now.saturating_add(AUDIT)
    }

    /// Lets the pending requests of the slot's last group go.
    pub fn forget(&mut self, pending: &mut Pending) {
        self.suspect = None;
        let g = self.number;
        pending.retain(|act| !matches!(act, Act::Audit(n) if n == g));
    }
}
