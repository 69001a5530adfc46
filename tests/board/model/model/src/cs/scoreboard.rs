// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Scoreboards: asynchronous work that is not over.
//!
//! A slot counts what was issued with it and is not complete. Each piece of work has an entry with
//! all that it needs, so that its effect can happen late. Entries complete when their time has come,
//! in any order, with exceptions that hardware has too: loads and stores of a stream happen in the
//! order of issue, so does tiling, and so do deferred instructions that wait for the same
//! scoreboards or signal the same one.

use super::env::{FlushModes, Scope};
use super::state::SLOTS;
use crate::shader::job::{ComputeJob, FragmentJob};

/// Entries that can be pending.
pub const ENTRIES: usize = 32;

/// What a sync instruction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncOp {
    /// Adds; otherwise sets.
    pub add: bool,
    /// 64 bits.
    pub wide: bool,
    /// Writes the error status too.
    pub propagate: bool,
    /// Who is told.
    pub scope: Scope,
    /// Address of the object.
    pub va: u64,
    /// Value.
    pub data: u64,
}

/// A tiling task, and how far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tiling {
    /// Tiler context, or 0 for none.
    pub context: u64,
    /// Bytes of heap that it takes.
    pub bytes: u32,
    /// How far taking a new chunk is.
    pub stage: TilingStage,
}

/// Steps of taking a new chunk. Each can be tried again without harm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TilingStage {
    /// Look whether there is room.
    #[default]
    Look,
    /// The chunk at hand is full.
    Retire {
        /// Its address.
        base: u64,
        /// Its size.
        size: u32,
        /// Chunk that follows it, or 0.
        next: u64,
        /// Chunk that was retired before it, or 0.
        before: u64,
    },
    /// Another chunk is needed.
    Find {
        /// Chunk that followed the last one, or 0.
        next: u64,
    },
    /// Another chunk was found.
    Install {
        /// The chunk, by name.
        chunk: u64,
        /// It must forget its list.
        cut: bool,
    },
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// LOAD_MULTIPLE.
    Load {
        /// Address of the first register.
        va: u64,
        /// First register.
        base: u8,
        /// Registers.
        mask: u16,
    },
    /// STORE_MULTIPLE.
    Store {
        /// Address of the first register.
        va: u64,
        /// Registers.
        mask: u16,
        /// Their values.
        data: [u32; 16],
    },
    /// FLUSH_CACHE2.
    Flush {
        /// What is flushed.
        modes: FlushModes,
        /// The flush is not needed if one came after this one.
        id: u32,
    },
    /// SYNC_ADD, SYNC_SET.
    Sync(SyncOp),
    /// STORE_STATE.
    State {
        /// Address.
        va: u64,
        /// What is stored.
        state: u8,
    },
    /// HEAP_OPERATION.
    Heap {
        /// Heap context.
        heap: u64,
        /// Which counter.
        operation: u8,
    },
    /// FINISH_FRAGMENT.
    FinishFragment {
        /// Heap context.
        heap: u64,
        /// First chunk that is given back, or 0.
        first: u64,
        /// Last one.
        last: u64,
        /// The render pass is complete.
        increment: bool,
        /// The chunks are given back, the counter is next.
        given: bool,
    },
    /// TRACE_POINT, and what else takes time and does nothing.
    Nothing,
    /// RUN_IDVS, RUN_TILING, FINISH_TILING, RUN_FULLSCREEN.
    Tiling(Tiling),
    /// RUN_COMPUTE.
    Compute(Box<ComputeJob>),
    /// RUN_FRAGMENT.
    Fragment(Box<FragmentJob>),
}

impl Op {
    /// The unit that does such work one after the other, in the order of issue: 0 loads and stores,
    /// 1 tiles.
    pub fn in_order(&self) -> Option<usize> {
        match self {
            Self::Load { .. } | Self::Store { .. } => Some(0),
            Self::Tiling(_) => Some(1),
            _ => None,
        }
    }
}

/// Where a piece of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for scoreboards.
    Deferred,
    /// Takes effect at `due`, if the stream has executed `after` instructions or waits.
    Running {
        /// Time.
        due: u64,
        /// Number of instructions.
        after: u64,
    },
    /// A job is being executed.
    Working,
    /// Waits for heap memory.
    Starved,
}

/// A pending piece of work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Slot that it signals.
    pub slot: u8,
    /// Scoreboards that it waits for.
    pub wait: u16,
    /// The progress counter goes on when it is complete.
    pub progress: bool,
    /// Where it is.
    pub phase: Phase,
    /// What it does.
    pub op: Op,
}

/// All scoreboards of a stream.
#[derive(Debug, Default)]
pub struct Scoreboards {
    pub(super) entries: Vec<Entry>,
    counts: [u8; SLOTS as usize],
    busy: u16,
}

impl Scoreboards {
    /// Mask of the slots that are not clear.
    #[inline]
    pub fn busy(&self) -> u16 {
        self.busy
    }

    /// Whether no more entries fit.
    pub fn full(&self) -> bool {
        self.entries.len() >= ENTRIES
    }

    /// Whether a job is being executed.
    pub fn working(&self) -> bool {
        self.entries.iter().any(|e| e.phase == Phase::Working)
    }

    /// Adds an entry. The slot must exist and there must be room.
    pub fn push(&mut self, entry: Entry) {
        let slot = usize::from(entry.slot % SLOTS);
        if self.entries.capacity() == 0 {
            self.entries.reserve_exact(ENTRIES);
        }
        self.counts[slot] += 1;
        self.busy |= 1 << slot;
        self.entries.push(entry);
    }

    /// Takes an entry away, which is complete. Says whether the progress counter goes on.
    pub fn complete(&mut self, index: usize) -> bool {
        let entry = &self.entries[index];
        let (slot, progress) = (usize::from(entry.slot % SLOTS), entry.progress);
        if index + 1 == self.entries.len() {
            self.entries.truncate(index);
        } else {
            self.entries.remove(index);
        }
        self.counts[slot] -= 1;
        if self.counts[slot] == 0 {
            self.busy &= !(1 << slot);
        }
        progress
    }

    /// Whether a deferred entry may start.
    pub fn may_start(&self, index: usize) -> bool {
        let (before, rest) = self.entries.split_at(index.min(self.entries.len()));
        rest.first().is_some_and(|entry| {
            self.busy & entry.wait == 0
                && !before
                    .iter()
                    .any(|e| e.wait != 0 && (e.slot == entry.slot || e.wait & entry.wait != 0))
        })
    }

    /// Time of the first entry that takes effect by itself.
    pub fn next_due(&self) -> Option<u64> {
        let mut first = None;
        let mut seen = [false; 2];
        for entry in &self.entries {
            // What is behind other work of its unit cannot begin before that is complete.
            if let Some(unit) = entry.op.in_order() {
                if std::mem::replace(&mut seen[unit], true) {
                    continue;
                }
            }
            let due = match entry.phase {
                Phase::Running { due, .. } => due,
                Phase::Working => 0,
                Phase::Deferred | Phase::Starved => continue,
            };
            first = Some(first.map_or(due, |first: u64| first.min(due)));
        }
        first
    }
}
