// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Into a group slot and out of it: start, resume, suspend, terminate.
//!
//! A suspended group lives in its suspend buffer and nowhere else.

use super::group::{bit, Config, Group, Idle, Leave, State};
use super::io::{Events, Io};
use super::layout::{input, Layout, SUSPEND_HEAD, SUSPEND_STREAM};
use super::program::Program;
use super::slot::{self, Event, Run, Slot};
use super::AS;
use crate::counters::Counter;
use crate::cs::state::Failure;
use crate::inject::What;
use crate::mmu::access::AccessError;
use crate::mmu::fault::Kind;
use crate::mmu::walk::PAGE;
use crate::violations::Violation;
use mali_fw::payload::fnv1a;

/// First word of a suspend buffer in use.
const MAGIC: u32 = 0x4d53_5553;
/// Words of a stream's part in front of its image: length, state.
const STREAM_HEAD: usize = 8;
/// States of a stream in a suspend buffer.
mod kind {
    pub const LIVE: u32 = 1;
    pub const DEAD: u32 = 2;
}
/// Exception code: the firmware made a mistake.
const INTERNAL_ERROR: u8 = 0x68;

/// What came of a request for a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It is acknowledged.
    Yes,
    /// Streams are still out.
    NotYet,
}

impl Group {
    /// Whether the state that is asked for is not to be reached, since a fault was asked for.
    pub fn refuses(&self, io: &mut Io<'_>, layout: &Layout) -> Result<bool, AccessError> {
        let at = self.input(layout);
        let fault = match io.load(at + u64::from(input::REQ))? & bit::STATE {
            0 => What::NoTerminate,
            2 => What::NoSuspend,
            _ => What::NoStart,
        };
        let pick = |what| (what == fault).then_some(());
        Ok(io.env.inject.take(self.number, None, pick).is_some())
    }

    /// Brings the slot into the state that is asked for, or nearer to it.
    pub fn seat(&mut self, io: &mut Io<'_>, layout: &Layout) -> Result<Reached, AccessError> {
        let at = self.input(layout);
        let req = io.load(at + u64::from(input::REQ))? & bit::STATE;
        let active = matches!(self.state, State::Active);
        match (req, self.state) {
            (0, State::Active | State::Leaving(_)) => self.leave(io, layout, Leave::Terminate),
            (2, State::Active | State::Leaving(Leave::Suspend)) => {
                self.leave(io, layout, Leave::Suspend)
            }
            (1, State::Empty) => self.enter(io, layout, false),
            (3, State::Empty) => self.enter(io, layout, true),
            // Nothing is there to be terminated.
            (0, State::Empty) => {
                self.acknowledge(io, layout, bit::STATE, 0)?;
                Ok(Reached::Yes)
            }
            _ => {
                let g = self.number;
                io.env.violation(Violation::FirmwareRequest, || {
                    format!("group {g} state {req} while active: {active}")
                });
                self.acknowledge(io, layout, bit::STATE, req)?;
                Ok(Reached::Yes)
            }
        }
    }

    /// START and RESUME.
    fn enter(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        resume: bool,
    ) -> Result<Reached, AccessError> {
        let at = self.input(layout);
        let config = Config::read(io, layout, at)?;
        self.check_suspend_buffer(io, layout, config.suspend);
        self.check_space(io, config.space);
        let image = if resume {
            self.load_image(io, layout, config.suspend)?
        } else {
            None
        };
        let mut slots: Vec<Slot> = Vec::with_capacity(self.slots.len());
        for stream in 0..self.slots.len() {
            let at = self.stream_input(layout, stream);
            slots.push(self.enter_stream(io, at, stream, config.space as usize)?);
        }
        if resume {
            let now = io.env.clock.now();
            self.restore(&mut slots, image.as_deref(), config.suspend, now);
        }
        // From here on nothing is done twice if it has to be tried again.
        for (stream, slot) in slots.iter().enumerate().filter(|(_, s)| s.used()) {
            let at = self.stream_input(layout, stream);
            let req = io.load(at)?;
            let ack = io.load(at + 0x100)?;
            // Events that the last stream here raised and nobody answered are gone with it.
            let copied = slot::bit::STATE | slot::bit::SETTINGS | slot::bit::EVENTS;
            io.store(at + 0x100, ack & !copied | req & copied)?;
            debug_assert_eq!(slot.settings, req & slot::bit::SETTINGS);
        }
        let req = io.load(at + u64::from(input::REQ))?;
        let ack = io.load(at + 0x100)?;
        self.acknowledge(io, layout, bit::STATE, if resume { 3 } else { 1 })?;
        self.events = Events::taken(bit::EVENTS, req, ack);
        self.slots = slots;
        self.config = Config {
            // Taken by a request of its own.
            endpoint: config.endpoint,
            ..config
        };
        self.state = State::Active;
        self.starting = false;
        self.recall = Default::default();
        self.sync = false;
        self.idle = Idle::No;
        self.progress = (io.env.clock.now(), false);
        io.env.counters.inc(if resume {
            Counter::GroupResume
        } else {
            Counter::GroupStart
        });
        Ok(Reached::Yes)
    }

    /// What START makes of a stream.
    fn enter_stream(
        &self,
        io: &mut Io<'_>,
        at: u64,
        stream: usize,
        space: usize,
    ) -> Result<Slot, AccessError> {
        let mut slot = Slot::default();
        let req = io.load(at)?;
        if req & slot::bit::STATE == 0 {
            return Ok(slot);
        }
        let name = format!("group {} stream {stream}", self.number);
        slot.settings = req & slot::bit::SETTINGS;
        slot.take_config(io, at)?;
        let ring = slot.ring;
        if !ring.size.is_power_of_two() || !(4096..=64 << 10).contains(&ring.size) {
            io.env.violation(Violation::RingConfig, || {
                format!("{name}: size {:#x}", ring.size)
            });
            return Ok(Slot::default());
        }
        let mapped = |io: &Io<'_>, at: u64| io.mmu.peek(io.env, space, at, Kind::Read).is_ok();
        let pages = (0..u64::from(ring.size)).step_by(PAGE as usize);
        let hole = pages.map(|offset| ring.base.wrapping_add(offset));
        if let Some(hole) = hole.into_iter().find(|page| !mapped(io, *page)) {
            io.env.violation(Violation::RingConfig, || {
                format!("{name}: no ring at {hole:#x} in AS{space}")
            });
        }
        // Where the last one that had this ring came to.
        let extract = io.load64(ring.input.wrapping_add(8))?;
        slot.insert = extract;
        slot.extract = extract;
        slot.run = Run::Ready(Box::new(Program::new(extract, slot.ring())));
        slot.take_insert(io, &name)?;
        Ok(slot)
    }

    fn check_space(&self, io: &mut Io<'_>, space: u32) {
        let enabled = (space as usize) != AS
            && io
                .mmu
                .space(io.env, space as usize)
                .is_some_and(|s| s.enabled());
        if !enabled {
            let g = self.number;
            io.env.violation(Violation::GroupSpace, || {
                format!("group {g} with AS{space}")
            });
        }
    }

    /// All of it must be there, before it is needed.
    fn check_suspend_buffer(&self, io: &mut Io<'_>, layout: &Layout, buffer: u64) {
        let pages = (0..u64::from(layout.suspend_size())).step_by(PAGE as usize);
        let hole = pages
            .map(|offset| buffer.wrapping_add(offset))
            .find(|at| io.mmu.peek(io.env, AS, *at, Kind::Write).is_err());
        if let Some(hole) = hole {
            let g = self.number;
            io.env.violation(Violation::SuspendBuffer, || {
                format!("group {g}: no suspend buffer at {hole:#x}")
            });
        }
    }

    /// SUSPEND and TERMINATE: done when all streams are there.
    fn leave(
        &mut self,
        io: &mut Io<'_>,
        layout: &Layout,
        how: Leave,
    ) -> Result<Reached, AccessError> {
        // Told once: a suspend lets jobs that run end.
        let told = self.state == State::Leaving(Leave::Suspend) && how == Leave::Suspend;
        self.state = State::Leaving(how);
        let there = if told { !self.out() } else { self.gather() };
        let busy = how == Leave::Suspend && self.slots.iter().any(Slot::busy);
        if !there || busy {
            return Ok(Reached::NotYet);
        }
        for stream in 0..self.slots.len() {
            self.slots[stream].show_extract(io)?;
            self.raise_stream(io, layout, stream)?;
        }
        if self.sync {
            self.raise(io, layout, bit::SYNC_UPDATE)?;
            self.sync = false;
        }
        let code = match how {
            Leave::Suspend => {
                self.save_image(io, layout)?;
                self.show_status(io, layout)?;
                2
            }
            Leave::Terminate => 0,
        };
        for stream in (0..self.slots.len()).filter(|s| self.slots[*s].used()) {
            let out = self.stream_input(layout, stream) + 0x100;
            let ack = io.load(out)?;
            io.store(out, ack & !slot::bit::STATE)?;
        }
        self.acknowledge(io, layout, bit::STATE, code)?;
        io.env.counters.inc(match how {
            Leave::Suspend => Counter::GroupSuspend,
            Leave::Terminate => Counter::GroupTerminate,
        });
        self.clear();
        Ok(Reached::Yes)
    }

    /// The slot forgets everything.
    pub fn clear(&mut self) {
        self.recall
            .store(true, std::sync::atomic::Ordering::Release);
        for slot in &mut self.slots {
            *slot = Slot::default();
        }
        self.state = State::Empty;
        self.starting = false;
        self.sync = false;
        self.idle = Idle::No;
        self.config = Config::default();
    }

    fn save_image(&self, io: &mut Io<'_>, layout: &Layout) -> Result<(), AccessError> {
        let mut image = vec![0; layout.suspend_size() as usize];
        for (stream, slot) in self.slots.iter().enumerate() {
            let (program, state) = match &slot.run {
                Run::Ready(program) | Run::Parked(program, _) => (program, kind::LIVE),
                Run::Dead(program) => (program, kind::DEAD),
                Run::Off | Run::Out(_) => continue,
            };
            let bytes = program.save(io.env.clock.now()).unwrap_or_default();
            let start = SUSPEND_HEAD as usize + stream * SUSPEND_STREAM as usize;
            let room = start + STREAM_HEAD..start + SUSPEND_STREAM as usize;
            let Some(part) = image.get_mut(room).and_then(|p| p.get_mut(..bytes.len())) else {
                let g = self.number;
                io.env.event(|| {
                    format!(
                        "group {g} stream {stream}: an image of {} bytes",
                        bytes.len()
                    )
                });
                io.env.counters.inc(Counter::SuspendTooLong);
                continue;
            };
            part.copy_from_slice(&bytes);
            put(&mut image, start, bytes.len() as u32);
            put(&mut image, start + 4, state);
        }
        put(&mut image, 0, MAGIC);
        put(&mut image, 4, layout.version.word());
        put(&mut image, 8, layout.streams);
        put(&mut image, 12, self.config.space);
        let sum = fnv1a(&image);
        put(&mut image, 16, sum as u32);
        put(&mut image, 20, (sum >> 32) as u32);
        let corrupt = |what| (what == What::CorruptSuspend).then_some(());
        if io.env.inject.take(self.number, None, corrupt).is_some() {
            image[SUSPEND_HEAD as usize] ^= 1;
        }
        io.write(self.config.suspend, &image)
    }

    /// Reads a suspend buffer; none if it is not what was written.
    fn load_image(
        &self,
        io: &mut Io<'_>,
        layout: &Layout,
        buffer: u64,
    ) -> Result<Option<Vec<u8>>, AccessError> {
        let mut image = vec![0; layout.suspend_size() as usize];
        io.read(buffer, &mut image)?;
        let sum = u64::from(get(&image, 16)) | (u64::from(get(&image, 20)) << 32);
        put(&mut image, 16, 0);
        put(&mut image, 20, 0);
        let good = get(&image, 0) == MAGIC
            && get(&image, 4) == layout.version.word()
            && get(&image, 8) == layout.streams
            && fnv1a(&image) == sum;
        if !good {
            let g = self.number;
            io.env.violation(Violation::SuspendBuffer, || {
                format!("group {g}: the suspend buffer at {buffer:#x} was written over")
            });
        }
        Ok(good.then_some(image))
    }

    /// Puts streams into their slots as the image has them. Without an image they cannot go on.
    fn restore(&self, slots: &mut [Slot], image: Option<&[u8]>, buffer: u64, now: u64) {
        for (stream, slot) in slots.iter_mut().enumerate().filter(|(_, s)| s.used()) {
            let start = SUSPEND_HEAD as usize + stream * SUSPEND_STREAM as usize;
            let found = image.and_then(|image| {
                let len = get(image, start) as usize;
                let state = get(image, start + 4);
                let from = start + STREAM_HEAD;
                let bytes = image.get(from..from.checked_add(len)?)?;
                Some((Program::load(bytes, slot.ring(), now)?, state))
            });
            match found {
                Some((program, state)) => {
                    slot.extract = program.stream.extract();
                    let program = Box::new(program);
                    slot.run = if state == kind::DEAD {
                        Run::Dead(program)
                    } else {
                        Run::Ready(program)
                    };
                }
                // A stream that was not there when the group was suspended starts now.
                None if image.is_some() => {}
                None => {
                    let program = Box::new(Program::new(slot.extract, slot.ring()));
                    slot.run = Run::Dead(program);
                    slot.queue.push_back(Event::Fatal(Failure {
                        code: INTERNAL_ERROR,
                        info: buffer,
                    }));
                }
            }
        }
    }
}

fn put(image: &mut [u8], at: usize, value: u32) {
    if let Some(word) = image.get_mut(at..at + 4) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

fn get(image: &[u8], at: usize) -> u32 {
    image
        .get(at..at + 4)
        .and_then(|b| b.try_into().ok())
        .map_or(0, u32::from_le_bytes)
}
