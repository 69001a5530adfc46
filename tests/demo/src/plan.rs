// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Who holds what: the processes, their buffers, where these are mapped and what is in them.

use e2e::pattern::mix;
use e2e::M;

/// A process of the demonstration.
pub struct App {
    /// Its name.
    pub name: &'static str,
    /// Bytes of GPU memory.
    pub total: u64,
    /// Starts the seeds of its buffers.
    pub seed: u64,
}

/// The processes; the second one is sent to the background. 256 MiB in all.
pub const APPS: [App; 3] = [
    App {
        name: "maps",
        total: 32 * M,
        seed: 1 << 40,
    },
    App {
        name: "game",
        total: 128 * M,
        seed: 2 << 40,
    },
    App {
        name: "browser",
        total: 96 * M,
        seed: 3 << 40,
    },
];

/// Index of the one whose memory is reclaimed.
pub const TARGET: usize = 1;

/// Size of a buffer.
pub const SIZE: u64 = 4 * M;

/// Where a buffer is mapped for the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this VM (1 or 2), which it is private to.
    Private(u32),
    /// In both VMs of the process.
    Shared,
    /// Nowhere: only the CPU has it mapped.
    CpuOnly,
}

/// A buffer.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Number in the process.
    pub nr: u64,
    /// Where it is mapped.
    pub place: Place,
    /// Start of its pattern.
    pub seed: u64,
    /// Every word stands eight times in a row, so that it compresses.
    pub repeats: bool,
    /// The GPU writes it, not the CPU.
    pub by_gpu: bool,
}

impl Buffer {
    /// The word at an index.
    pub fn word(&self, i: u64) -> u64 {
        mix(self.seed + if self.repeats { i / 8 } else { i })
    }

    /// The VMs that have it mapped.
    pub fn vms(&self) -> &'static [u32] {
        match self.place {
            Place::Private(1) => &[1],
            Place::Private(_) => &[2],
            Place::Shared => &[1, 2],
            Place::CpuOnly => &[],
        }
    }

    /// Its GPU address: another one in each VM.
    pub fn va(&self, vm: u32) -> u64 {
        (u64::from(vm) << 40) + (self.nr + 1) * 16 * M
    }
}

impl App {
    /// Its buffers: of eight, three are private to VM 1, two to VM 2, two in both VMs, one for the
    /// CPU only. The contents of every other one compress.
    pub fn buffers(&self) -> Vec<Buffer> {
        (0..self.total / SIZE)
            .map(|nr| {
                let place = match nr % 8 {
                    0..=2 => Place::Private(1),
                    3 | 4 => Place::Private(2),
                    5 | 6 => Place::Shared,
                    _ => Place::CpuOnly,
                };
                let repeats = nr % 2 == 1;
                Buffer {
                    nr,
                    place,
                    seed: self.seed + nr * (1 << 24),
                    repeats,
                    by_gpu: !repeats && place == Place::Private(2),
                }
            })
            .collect()
    }
}
