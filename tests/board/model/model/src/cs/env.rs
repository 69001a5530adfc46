// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a command stream needs of the GPU around it.
//!
//! [`Memory`] is the group's address space, [`Env`] the rest. Both are implemented by whoever runs
//! streams.

use crate::shader::job::{JobFault, JobStats};

/// An access that did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemError {
    /// The region is locked by an address space command: try again after it.
    Locked,
    /// The address space or the L2 is gone: nothing can be done any more.
    Off,
    /// It faulted.
    Fault {
        /// Exception code.
        code: u8,
        /// Address of the access.
        va: u64,
    },
}

/// Memory as the group's address space shows it.
///
/// An access of several bytes that fails may have happened in part.
pub trait Memory {
    /// Reads an instruction of a stream, which needs no execute permission. `va` is a multiple of 8.
    fn fetch(&mut self, va: u64) -> Result<u64, MemError>;

    /// Reads bytes, of any number and alignment.
    fn load(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError>;

    /// Writes bytes, of any number and alignment.
    fn store(&mut self, va: u64, from: &[u8]) -> Result<(), MemError>;

    /// Changes an aligned word in one step, and returns what it was.
    fn atomic32(&mut self, va: u64, f: &mut dyn FnMut(u32) -> u32) -> Result<u32, MemError>;

    /// Changes an aligned double word in one step, and returns what it was.
    fn atomic64(&mut self, va: u64, f: &mut dyn FnMut(u64) -> u64) -> Result<u64, MemError>;

    /// Reads bytes with execute permission.
    fn load_exec(&mut self, va: u64, to: &mut [u8]) -> Result<(), MemError> {
        self.load(va, to)
    }

    /// Reads a word.
    fn load32(&mut self, va: u64) -> Result<u32, MemError> {
        let mut bytes = [0; 4];
        self.load(va, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads a double word.
    fn load64(&mut self, va: u64) -> Result<u64, MemError> {
        let mut bytes = [0; 8];
        self.load(va, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a word.
    fn store32(&mut self, va: u64, value: u32) -> Result<(), MemError> {
        self.store(va, &value.to_le_bytes())
    }

    /// Writes a double word.
    fn store64(&mut self, va: u64, value: u64) -> Result<(), MemError> {
        self.store(va, &value.to_le_bytes())
    }
}

/// Who sees that a sync object was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The host as well: an interrupt.
    System,
    /// The streams of the group.
    Group,
}

/// What FLUSH_CACHE2 does to each kind of cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushModes {
    /// L2: bit 0 clean, bit 1 invalidate.
    pub l2: u8,
    /// Load/store caches of the cores: the same.
    pub lsc: u8,
    /// All others: bit 1 invalidate.
    pub other: u8,
}

impl FlushModes {
    /// The payload of GPU_COMMAND that does the same.
    pub fn payload(self) -> u32 {
        u32::from(self.l2 & 0xf) | u32::from(self.lsc & 0xf) << 4 | u32::from(self.other & 0xf) << 8
    }
}

/// A piece of work that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// LOAD_MULTIPLE, STORE_MULTIPLE.
    LoadStore,
    /// FLUSH_CACHE2.
    Flush,
    /// A deferred SYNC_*, STORE_STATE, HEAP_OPERATION, FINISH_FRAGMENT or TRACE_POINT, once its
    /// scoreboards are clear.
    Deferred,
    /// Start of a compute job, until its first effect.
    Compute,
    /// RUN_IDVS, RUN_TILING, FINISH_TILING.
    Tiling,
    /// Start of RUN_FRAGMENT or RUN_FULLSCREEN, until its first effect.
    Fragment,
    /// REQ_RESOURCE, until the endpoints are there.
    Resource,
}

/// Something worth counting that a stream did. [`Oddity::name`] is what it is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// An opcode that v10 does not have.
    UnknownOpcode(u8),
    /// Bits that must be zero are not.
    ReservedBits(u8),
    /// A field with a value that has no meaning.
    BadField(u8),
    /// A register that does not exist, or half of a pair.
    BadRegister(u8),
    /// A call, jump or branch to where no instruction of the block is.
    BadTarget(u64),
    /// An address that is not a multiple of what the instruction needs.
    Unaligned(u64),
    /// A deferred instruction that waits for the scoreboard that it signals: it never ends.
    WaitsForItself(u8),
    /// An instruction whose effect is not modelled.
    NotModelled(u8),
    /// A job without the resource that REQ_RESOURCE asks for.
    NoResource(u8),
    /// A tiler heap with contents that make no sense, at this address.
    BadHeap(u64),
    /// A tiler heap whose context, or a chunk of which, is not mapped any more, at this address.
    HeapGone(u64),
    /// An instruction that was skipped because the stream is in the faulted state.
    Skipped(u8),
    /// A job of the shader cores that did not come to its end.
    Job(JobFault),
    /// Things that a fragment job should have drawn or written, and that are not modelled.
    JobSkipped(u64),
}

impl Oddity {
    /// Name without the details.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownOpcode(_) => "cs-unknown-opcode",
            Self::ReservedBits(_) => "cs-reserved-bits",
            Self::BadField(_) => "cs-bad-field",
            Self::BadRegister(_) => "cs-bad-register",
            Self::BadTarget(_) => "cs-bad-target",
            Self::Unaligned(_) => "cs-unaligned",
            Self::WaitsForItself(_) => "cs-waits-for-itself",
            Self::NotModelled(_) => "cs-not-modelled",
            Self::NoResource(_) => "cs-no-resource",
            Self::BadHeap(_) => "cs-bad-heap",
            Self::HeapGone(_) => "cs-heap-gone",
            Self::Skipped(_) => "cs-skipped",
            Self::Job(JobFault::InvalidPc { .. }) => "job-invalid-pc",
            Self::Job(JobFault::InvalidEncoding { .. }) => "job-invalid-encoding",
            Self::Job(JobFault::Barrier { .. }) => "job-barrier",
            Self::Job(JobFault::Descriptor { .. }) => "job-descriptor",
            Self::Job(JobFault::Config(_)) => "job-config",
            Self::JobSkipped(_) => "job-skipped",
        }
    }
}

/// The GPU around a stream.
///
/// No method may block. Methods are called on the thread that runs the stream.
pub trait Env: Memory {
    /// Nanoseconds, as the device counts them.
    fn now(&mut self) -> u64;

    /// TIMESTAMP.
    fn timestamp(&mut self) -> u64;

    /// CYCLE_COUNT.
    fn cycles(&mut self) -> u64;

    /// Number of times that the two above did not run on.
    fn disjoint(&mut self) -> u64 {
        0
    }

    /// LATEST_FLUSH_ID.
    fn latest_flush_id(&mut self) -> u32;

    /// A cache flush takes effect now. LATEST_FLUSH_ID goes on.
    fn flush(&mut self, modes: FlushModes);

    /// Nanoseconds that a piece of work takes.
    fn delay(&mut self, work: Work) -> u64;

    /// A random number below `n`, which is not 0: for what hardware leaves open.
    fn pick(&mut self, n: u32) -> u32;

    /// The stream wrote a sync object: waiting streams of the group look again, and with the scope
    /// of the system the host is told.
    fn sync_written(&mut self, scope: Scope, va: u64);

    /// Bytes of tiler heap that a RUN_IDVS takes, at most 64 MiB.
    fn tiler_bytes(&mut self) -> u32;

    /// Progress counter of another stream of the group, if there is such a stream.
    fn progress(&mut self, _stream: u8) -> Option<u64> {
        None
    }

    /// A job of the shader cores came to its end.
    fn job_done(&mut self, _stats: JobStats) {}

    /// Counts something.
    fn odd(&mut self, what: Oddity);

    /// Whether the stream must give up soon: group terminated, reset, power gone.
    fn stopping(&mut self) -> bool {
        false
    }
}
