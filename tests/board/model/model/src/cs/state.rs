// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The state of a stream, as plain data.

use super::env::MemError;
use super::exec::Active;
use super::scoreboard::Scoreboards;
use crate::shader::job::JobStats;

/// 32-bit registers of a stream.
pub const REGISTERS: usize = 96;

/// Scoreboards of a stream.
pub const SLOTS: u8 = 8;

/// Calls that can be open, not counting the ring and an exception handler.
pub const CALL_DEPTH: u8 = 7;

/// Room for the calls of a block and those of an exception handler over it, and the ring.
pub(super) const BLOCKS: usize = 16;

/// Exception codes that streams raise.
pub mod code {
    /// A SYNC_WAIT took over the error of another stream.
    pub const CS_INHERIT_FAULT: u8 = 0x4b;
    /// A load or store of the stream, or a fetch, faulted.
    pub const CS_BUS_FAULT: u8 = 0x48;
    /// An instruction that cannot be.
    pub const CS_INVALID_INSTRUCTION: u8 = 0x49;
    /// Calls too deep.
    pub const CS_CALL_STACK_OVERFLOW: u8 = 0x4a;
    /// Ring or other configuration that cannot be.
    pub const CS_CONFIG_FAULT: u8 = 0x40;
    /// A descriptor with contents that cannot be.
    pub const DATA_INVALID: u8 = 0x58;
    /// An address that is not aligned.
    pub const ADDR_RANGE: u8 = 0x5a;
    /// No heap memory, and nobody to give some back.
    pub const OOM: u8 = 0x60;
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Exception code.
    pub code: u8,
    /// Address or other data that goes with it.
    pub info: u64,
}

/// The ring that a stream executes, as the host describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Address in the group's address space.
    pub base: u64,
    /// Bytes, a power of two.
    pub size: u64,
    /// Bytes that were ever written: grows only.
    pub insert: u64,
}

impl Ring {
    /// Whether it can be executed at all.
    pub fn sane(&self) -> bool {
        self.size.is_power_of_two() && self.size >= 64 && self.base % 8 == 0
    }
}

/// What a stream waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The ring is empty, but asynchronous work is not over.
    Empty,
    /// Scoreboards of this mask.
    Scoreboard(u16),
    /// A sync object.
    Sync {
        /// Its address.
        va: u64,
        /// What it is compared with.
        data: u64,
        /// 64 bits.
        wide: bool,
        /// It must become greater; otherwise less or equal.
        greater: bool,
    },
    /// Progress of another stream.
    Progress,
    /// Endpoints.
    Resource,
}

/// A tiler heap that has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OomRequest {
    /// Heap context.
    pub heap: u64,
    /// Render passes whose tiling was started.
    pub vt_start: u32,
    /// Render passes whose tiling is complete.
    pub vt_end: u32,
    /// Render passes whose fragments are complete.
    pub frag_end: u32,
}

/// Why [`super::Stream::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The budget is used: there is more to do at once.
    More,
    /// The ring is empty and nothing is pending.
    Idle,
    /// Waits.
    Waiting {
        /// What for.
        why: Why,
        /// Time at which something will have changed by itself, if anything will.
        until: Option<u64>,
    },
    /// The heap has no room: [`super::Stream::answer_oom`] is needed. Said once; the stream can be
    /// run meanwhile.
    TilerOom(OomRequest),
    /// Faulted; goes on when run again. Said once.
    Fault(Failure),
    /// Will never go on.
    Fatal(Failure),
    /// An access hit a locked region: try again after the UNLOCK.
    Locked,
    /// The address space is gone.
    Off,
}

/// A piece of a stream that is executed: a called buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Next instruction.
    pub ip: u64,
    /// First instruction.
    pub start: u64,
    /// End.
    pub end: u64,
}

/// The block that runs when an exception is raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handler {
    /// Address, 0 for none.
    pub address: u64,
    /// Bytes.
    pub length: u32,
}

/// Where a request for heap memory is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oom {
    /// There is none.
    #[default]
    None,
    /// The host was asked.
    Raised,
    /// The host gave this chunk.
    Answered(u64),
    /// The host has none.
    Refused,
    /// The host has none, and the exception handler runs: until its end nothing is taken, since it
    /// changes the lists.
    Handled,
    /// The host has none, and the exception handler ran since.
    HandlerRan,
    /// Nobody can give memory back.
    Hopeless,
}

/// The status words of the stream interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Address of the next instruction.
    pub cmd_ptr: u64,
    /// STATUS_WAIT.
    pub wait: u32,
    /// STATUS_REQ_RESOURCE.
    pub resource: u32,
    /// STATUS_WAIT_SYNC_POINTER.
    pub sync_va: u64,
    /// STATUS_WAIT_SYNC_VALUE.
    pub sync_value: u64,
    /// STATUS_SCOREBOARDS.
    pub scoreboards: u32,
    /// STATUS_BLOCKED_REASON.
    pub reason: u32,
}

/// A command stream: everything that a suspend keeps.
#[derive(Debug)]
pub struct Stream {
    pub(super) regs: [u32; REGISTERS],
    /// Bytes of the ring that were consumed.
    pub(super) extract: u64,
    /// Open blocks; the first one stands for the ring and is not used.
    pub(super) blocks: [Block; BLOCKS],
    pub(super) depth: u8,
    pub(super) sb: Scoreboards,
    /// Scoreboard of endpoint tasks.
    pub(super) sb_endpoint: u8,
    /// Scoreboard of loads and stores.
    pub(super) sb_other: u8,
    /// Faulted state.
    pub(super) error: Option<Failure>,
    pub(super) fatal: Option<Failure>,
    /// For tiler-out-of-memory.
    pub(super) handler: Handler,
    /// A handler was ever set.
    pub(super) handler_known: bool,
    /// Depth of the handler's block while it runs, or 0.
    pub(super) handler_depth: u8,
    /// The handler is to be entered.
    pub(super) handler_due: bool,
    /// The handler has run to its end.
    pub(super) handler_done: bool,
    pub(super) oom: Oom,
    /// Counters of the heap when memory was last asked for.
    pub(super) passes: OomRequest,
    /// Heap context, or 0.
    pub(super) heap: u64,
    pub(super) resources: u8,
    /// Endpoints that were asked for are there at this time.
    pub(super) resources_at: Option<u64>,
    pub(super) progress: u64,
    /// What it waited for last.
    pub(super) why: Option<Why>,
    // What follows is not part of the image.
    /// Instructions executed.
    pub(super) executed: u64,
    /// The job that is being executed.
    pub(super) active: Option<Active>,
    /// A slice of a job was executed.
    pub(super) sliced: bool,
    /// It waits: asynchronous work completes as soon as its time has come.
    pub(super) stalled: bool,
    /// An access of asynchronous work hit a locked region.
    pub(super) hit_lock: bool,
    /// The fault is to be said by the next run.
    pub(super) tell_error: bool,
    /// The request for memory is to be said by the next run.
    pub(super) tell_oom: bool,
    pub(super) counts: [u64; 64],
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Stream {
    /// A stream that starts at a position of the ring, with all registers zero.
    pub fn new(extract: u64) -> Self {
        Self {
            regs: [0; REGISTERS],
            extract,
            blocks: [Block::default(); BLOCKS],
            depth: 0,
            sb: Scoreboards::default(),
            sb_endpoint: 0,
            sb_other: 0,
            error: None,
            fatal: None,
            handler: Handler::default(),
            handler_known: false,
            handler_depth: 0,
            handler_due: false,
            handler_done: false,
            oom: Oom::None,
            passes: OomRequest::default(),
            heap: 0,
            resources: 0,
            resources_at: None,
            progress: 0,
            why: None,
            executed: 0,
            active: None,
            sliced: false,
            stalled: false,
            hit_lock: false,
            tell_error: false,
            tell_oom: false,
            counts: [0; 64],
        }
    }

    /// Bytes of the ring that were consumed.
    pub fn extract(&self) -> u64 {
        self.extract
    }

    /// The host moved the position of a stream that has consumed all of its ring, or was stopped.
    pub fn set_extract(&mut self, extract: u64) {
        self.extract = extract;
    }

    /// A register, 0 if there is none.
    pub fn reg(&self, n: usize) -> u32 {
        self.regs.get(n).copied().unwrap_or(0)
    }

    /// The pair of registers from `n` on.
    pub fn pair(&self, n: usize) -> u64 {
        u64::from(self.reg(n)) | u64::from(self.reg(n + 1)) << 32
    }

    /// Sets a register, if there is one.
    pub fn set_reg(&mut self, n: usize, value: u32) {
        if let Some(reg) = self.regs.get_mut(n) {
            *reg = value;
        }
    }

    /// Progress counter.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// Heap context, or 0.
    pub fn heap(&self) -> u64 {
        self.heap
    }

    /// What made it faulted, until an ERROR_BARRIER.
    pub fn error(&self) -> Option<Failure> {
        self.error
    }

    /// What ended it.
    pub fn fatal(&self) -> Option<Failure> {
        self.fatal
    }

    /// Calls that are open.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Whether jobs are being executed, which must end before a suspend.
    pub fn busy(&self) -> bool {
        self.sb.working()
    }

    /// Instructions executed so far.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    /// How far the job is that is executed.
    pub fn job_stats(&self) -> Option<JobStats> {
        Some(match self.active.as_ref()? {
            Active::Compute(job) => job.stats(),
            Active::Fragment(job) => job.stats(),
        })
    }

    /// Instructions executed since the last call, by opcode.
    pub fn take_counts(&mut self) -> [u64; 64] {
        std::mem::replace(&mut self.counts, [0; 64])
    }

    /// Makes the stream fault or end from outside: for injected faults.
    pub fn inject(&mut self, failure: Failure, fatal: bool) {
        if fatal {
            self.fatal = Some(failure);
        } else {
            self.raise(failure);
        }
    }

    /// Enters the faulted state.
    pub(super) fn raise(&mut self, failure: Failure) {
        if self.error.is_none() {
            self.error = Some(failure);
            self.tell_error = true;
        }
    }

    /// What the interface shows of the stream, when it is seen from outside now.
    pub fn status(&self, ring: &Ring) -> Status {
        let block = self.blocks[usize::from(self.depth) % BLOCKS];
        let mut status = Status {
            cmd_ptr: match self.depth {
                0 => ring.base + (self.extract & ring.size.wrapping_sub(1)),
                _ => block.ip,
            },
            resource: u32::from(self.resources),
            scoreboards: u32::from(self.sb.busy()),
            ..Status::default()
        };
        match self.why {
            None | Some(Why::Empty) => {}
            Some(Why::Scoreboard(mask)) => {
                status.wait = u32::from(mask) | 8 << 16;
                status.reason = 1;
            }
            Some(Why::Progress) => {
                status.wait = 1 << 28;
                status.reason = 2;
            }
            Some(Why::Sync {
                va,
                data,
                wide,
                greater,
            }) => {
                status.wait = 1 << 31 | u32::from(wide) << 30 | u32::from(greater) << 24;
                status.sync_va = va;
                status.sync_value = data;
                status.reason = 3;
            }
            Some(Why::Resource) => status.reason = 5,
        }
        status
    }
}

/// Why an instruction did not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    /// Try again later.
    Wait(Why),
    /// Try again after an UNLOCK.
    Locked,
    /// Nothing can be done.
    Off,
    /// Recoverable.
    Fault(Failure),
    /// Not recoverable.
    Fatal(Failure),
}

impl Trap {
    pub(super) fn fault(code: u8, info: u64) -> Self {
        Self::Fault(Failure { code, info })
    }

    pub(super) fn fatal(code: u8, info: u64) -> Self {
        Self::Fatal(Failure { code, info })
    }
}

impl From<MemError> for Trap {
    fn from(error: MemError) -> Self {
        match error {
            MemError::Locked => Self::Locked,
            MemError::Off => Self::Off,
            MemError::Fault { va, .. } => Self::fault(code::CS_BUS_FAULT, va),
        }
    }
}
