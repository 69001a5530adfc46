// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A stream slot of a group: what runs in it, its ring, its events.

use super::io::{Events, Io};
use super::layout::{stream_input as input, stream_output as output};
use super::program::Program;
use crate::cs::state::{Failure, Status};
use crate::cs::Ring;
use crate::mmu::access::AccessError;
use crate::violations::Violation;
use std::collections::VecDeque;

/// Bits of the request and acknowledge words of a stream.
pub mod bit {
    /// State: 0 stop, 1 start.
    pub const STATE: u32 = 7;
    /// Toggle: the host wants to know of the extract pointer. Acknowledged at once.
    pub const EXTRACT_EVENT: u32 = 1 << 4;
    /// Setting: a stream that waits for a sync object is idle.
    pub const IDLE_SYNC_WAIT: u32 = 1 << 8;
    /// Setting: a stream with an empty ring is idle.
    pub const IDLE_EMPTY: u32 = 1 << 10;
    /// All settings.
    pub const SETTINGS: u32 = 0xf << 8;
    /// Event: the tiler has no memory.
    pub const TILER_OOM: u32 = 1 << 26;
    /// Event: the stream cannot go on.
    pub const FATAL: u32 = 1 << 30;
    /// Event: the stream goes on at the next barrier.
    pub const FAULT: u32 = 1 << 31;
    /// All events.
    pub const EVENTS: u32 = TILER_OOM | FATAL | FAULT;
}

/// Why a stream does not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Park {
    /// Its ring is empty.
    Empty,
    /// Something ends at a time.
    Until(u64),
    /// It waits for a sync object.
    Sync,
    /// It waits for something else that somebody writes, or answers.
    Waits,
    /// The host has not seen its fault.
    Fault,
    /// It was told to hang.
    Hung,
}

/// What is in the slot.
#[derive(Debug, Default)]
pub enum Run {
    /// Nothing.
    #[default]
    Off,
    /// A stream that can go on.
    Ready(Box<Program>),
    /// A stream that a thread has, and the number of the ticket for it.
    Out(u64),
    /// A stream that waits.
    Parked(Box<Program>, Park),
    /// A stream that cannot go on.
    Dead(Box<Program>),
}

/// Where a request for memory of the tiler is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OomState {
    /// There is none.
    #[default]
    None,
    /// The host was asked.
    Asked,
    /// The host gave a chunk, or 0, while a thread had the stream.
    Answered(u64),
    /// The host has none.
    Refused,
}

impl OomState {
    /// Once the stream has its answer.
    pub fn after(chunk: u64) -> Self {
        if chunk == 0 {
            Self::Refused
        } else {
            Self::None
        }
    }
}

/// An event that the host is to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// FAULT.
    Fault(Failure),
    /// FATAL.
    Fatal(Failure),
    /// TILER_OOM.
    Oom {
        /// Heap context.
        heap: u64,
        /// Counters: vertex and tiler work started, ended, fragment work ended.
        counts: [u32; 3],
    },
}

/// Where a ring is, and the pages that say what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingPlace {
    /// Address in the group's address space.
    pub base: u64,
    /// Bytes.
    pub size: u32,
    /// Page with the insert pointer, in AS0.
    pub input: u64,
    /// Page with the extract pointer, in AS0.
    pub output: u64,
}

/// A stream slot.
#[derive(Debug, Default)]
pub struct Slot {
    /// What is in it.
    pub run: Run,
    /// Its ring.
    pub ring: RingPlace,
    /// Bytes that the host has put into the ring.
    pub insert: u64,
    /// Bytes that the stream has taken out of it.
    pub extract: u64,
    /// What the host knows of that.
    pub shown: Option<u64>,
    /// Number of its doorbell page.
    pub doorbell: u8,
    /// Settings of the request word.
    pub settings: u32,
    /// Events to be raised.
    pub queue: VecDeque<Event>,
    /// Events that were.
    pub events: Events,
    /// Its request for memory of the tiler.
    pub oom: OomState,
    /// Something happened that a stream that is out may wait for.
    pub woken: bool,
}

impl Slot {
    /// Whether a thread has its stream.
    pub fn out(&self) -> bool {
        matches!(self.run, Run::Out(_))
    }

    /// Its stream, unless a thread has it.
    pub fn program(&mut self) -> Option<&mut Program> {
        match &mut self.run {
            Run::Ready(program) | Run::Parked(program, _) | Run::Dead(program) => Some(program),
            Run::Off | Run::Out(_) => None,
        }
    }

    /// Whether a job of its stream is executed.
    pub fn busy(&self) -> bool {
        match &self.run {
            Run::Ready(program) | Run::Parked(program, _) => program.stream.busy(),
            Run::Off | Run::Out(_) | Run::Dead(_) => false,
        }
    }

    /// Progress counter of its stream, which no thread has.
    pub fn progress(&self) -> u64 {
        match &self.run {
            Run::Ready(program) | Run::Parked(program, _) | Run::Dead(program) => {
                program.stream.progress()
            }
            Run::Off | Run::Out(_) => 0,
        }
    }

    /// The ring with what is in it.
    pub fn ring(&self) -> Ring {
        Ring {
            base: self.ring.base,
            size: u64::from(self.ring.size),
            insert: self.insert,
        }
    }

    /// Whether there is a stream.
    pub fn used(&self) -> bool {
        !matches!(self.run, Run::Off)
    }

    /// Whether it counts as idle.
    pub fn idle(&self) -> bool {
        match &self.run {
            Run::Off | Run::Dead(_) => true,
            Run::Parked(_, Park::Empty) => self.settings & bit::IDLE_EMPTY != 0,
            Run::Parked(_, Park::Sync) => self.settings & bit::IDLE_SYNC_WAIT != 0,
            _ => false,
        }
    }

    /// Lets a stream go on if what it waits for is among these; says whether it waited.
    pub fn wake(&mut self, what: impl Fn(Park) -> bool) -> bool {
        match std::mem::take(&mut self.run) {
            Run::Parked(program, park) if what(park) => {
                self.run = Run::Ready(program);
                true
            }
            run => {
                self.run = run;
                false
            }
        }
    }

    /// A sync object was written.
    pub fn wake_sync(&mut self) -> bool {
        self.woken |= self.out();
        self.wake(|park| matches!(park, Park::Sync | Park::Waits))
    }

    /// Reads what says where the ring is.
    pub fn take_config(&mut self, io: &mut Io<'_>, at: u64) -> Result<(), AccessError> {
        self.ring = RingPlace {
            base: io.load64(at + u64::from(input::RING_BASE))?,
            size: io.load(at + u64::from(input::RING_SIZE))?,
            input: io.load64(at + u64::from(input::RING_INPUT))?,
            output: io.load64(at + u64::from(input::RING_OUTPUT))?,
        };
        let config = io.load(at + u64::from(input::CONFIG))?;
        self.doorbell = (config >> 8) as u8;
        Ok(())
    }

    /// Looks at the insert pointer, and lets the stream go on if there is more.
    pub fn take_insert(&mut self, io: &mut Io<'_>, name: &str) -> Result<(), AccessError> {
        let insert = io.load64(self.ring.input)?;
        if insert == self.insert {
            return Ok(());
        }
        let held = insert.wrapping_sub(self.extract);
        let before = self.insert.wrapping_sub(self.extract);
        if held > u64::from(self.ring.size) || held < before && !self.out() || insert % 8 != 0 {
            let (extract, size) = (self.extract, self.ring.size);
            io.env.violation(Violation::RingInsert, || {
                format!("{name}: insert {insert:#x} extract {extract:#x} size {size:#x}")
            });
            return Ok(());
        }
        self.insert = insert;
        self.wake(|park| park == Park::Empty);
        Ok(())
    }

    /// Tells the host how far the stream is.
    pub fn show_extract(&mut self, io: &mut Io<'_>) -> Result<(), AccessError> {
        if self.used() && self.shown != Some(self.extract) {
            io.store64(self.ring.output, self.extract)?;
            let active = u32::from(self.insert != self.extract);
            io.store(self.ring.output + 8, active)?;
            self.shown = Some(self.extract);
        }
        Ok(())
    }

    /// Writes the status words.
    pub fn show_status(&self, io: &mut Io<'_>, out: u64) -> Result<(), AccessError> {
        let status = match &self.run {
            Run::Ready(program) | Run::Parked(program, _) | Run::Dead(program) => program.status(),
            Run::Off | Run::Out(_) => Status::default(),
        };
        io.store64(out + u64::from(output::CMD_PTR), status.cmd_ptr)?;
        let at = out + u64::from(output::WAIT);
        let value = status.sync_value;
        let words = [
            (0x00, status.wait),
            (0x04, status.resource),
            (0x08, status.sync_va as u32),
            (0x0c, (status.sync_va >> 32) as u32),
            (0x10, value as u32),
            (0x14, status.scoreboards),
            (0x18, status.reason),
            (0x1c, (value >> 32) as u32),
        ];
        for (offset, word) in words {
            io.store(at + offset, word)?;
        }
        Ok(())
    }
}
