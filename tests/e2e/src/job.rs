// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Groups, command streams and their completion.

use crate::drm::{Dev, Op};
use crate::sys::{Errno, Map, Result};
use crate::uapi::*;
use std::time::Duration;

/// Instructions of a command stream.
pub mod instr {
    /// `MOVE48`: a pair of registers.
    pub const fn mov48(to: u8, value: u64) -> u64 {
        (1 << 56) | ((to as u64) << 48) | (value & 0xffff_ffff_ffff)
    }

    /// `MOVE32`.
    pub const fn mov32(to: u8, value: u32) -> u64 {
        (2 << 56) | ((to as u64) << 48) | value as u64
    }

    /// `ADD_IMMEDIATE32`.
    pub const fn add32(to: u8, from: u8, value: i32) -> u64 {
        (16 << 56) | ((to as u64) << 48) | ((from as u64) << 40) | value as u32 as u64
    }

    /// `STORE_MULTIPLE` of one register.
    pub const fn store32(address: u8, from: u8, offset: i16) -> u64 {
        (21 << 56)
            | ((from as u64) << 48)
            | ((address as u64) << 40)
            | (1 << 16)
            | offset as u16 as u64
    }

    /// `WAIT` for scoreboards.
    pub const fn wait(mask: u16) -> u64 {
        (3 << 56) | ((mask as u64) << 16)
    }

    /// `BRANCH` if a register is not 0.
    pub const fn branch_nonzero(value: u8, by: i16) -> u64 {
        (22 << 56) | ((value as u64) << 40) | (3 << 28) | by as u16 as u64
    }

    /// An opcode that no GPU of this kind has.
    pub const UNKNOWN: u64 = 0xfe << 56;
}

/// A VM with a page for streams and one for results, and a group in it.
pub struct Bench<'a> {
    /// The file.
    pub dev: &'a Dev,
    /// VM.
    pub vm: u32,
    /// Group.
    pub group: u32,
    streams: Map,
    /// What the GPU writes.
    pub out: Map,
    next: u64,
}

/// Address of the streams in the VM.
pub const STREAMS: u64 = 0x10_0000;
/// Address of the results in the VM.
pub const OUT: u64 = 0x20_0000;
/// Bytes of either.
const SIZE: u64 = 0x1_0000;

impl<'a> Bench<'a> {
    /// A VM and a group of so many queues.
    pub fn new(dev: &'a Dev, queues: usize) -> Result<Bench<'a>> {
        let vm = dev.vm()?;
        let streams = dev.bo(SIZE, 0, vm)?;
        let out = dev.bo(SIZE, 0, vm)?;
        dev.map(vm, streams, 0, STREAMS, SIZE)?;
        let flags = MAP_NOEXEC | MAP_UNCACHED;
        dev.bind1(vm, Op::map(out, 0, OUT, SIZE).with(flags))?;
        Ok(Bench {
            dev,
            vm,
            group: group(dev, vm, queues)?,
            streams: dev.mmap(streams, SIZE)?,
            out: dev.mmap(out, SIZE)?,
            next: 0,
        })
    }

    /// Puts a stream into memory; its address and bytes.
    pub fn stream(&mut self, words: &[u64]) -> Result<(u64, u32)> {
        let bytes = words.len() as u64 * 8;
        if self.next + bytes > SIZE {
            self.next = 0;
        }
        let at = self.next;
        self.next = (at + bytes).next_multiple_of(64);
        for (i, word) in words.iter().enumerate() {
            self.streams.set((at / 8) as usize + i, *word);
        }
        Ok((STREAMS + at, bytes as u32))
    }

    /// Submits a stream that signals a new syncobj.
    pub fn submit(&mut self, queue: u32, words: &[u64]) -> Result<Syncobj<'a>> {
        let (stream_addr, stream_size) = self.stream(words)?;
        let done = Syncobj::new(self.dev)?;
        let syncs = [SyncOp {
            flags: SYNC_SIGNAL,
            handle: done.handle,
            timeline_value: 0,
        }];
        let jobs = [QueueSubmit {
            queue_index: queue,
            stream_size,
            stream_addr,
            latest_flush: 0,
            pad: 0,
            syncs: ObjArray::of(&syncs),
        }];
        self.dev.calli(&mut GroupSubmit {
            group_handle: self.group,
            pad: 0,
            queue_submits: ObjArray::of(&jobs),
        })?;
        Ok(done)
    }

    /// State bits of the group, and its fatal queues.
    pub fn state(&self) -> Result<(u32, u32)> {
        let mut a = GroupGetState {
            group_handle: self.group,
            ..GroupGetState::default()
        };
        self.dev.call(&mut a)?;
        Ok((a.state, a.fatal_queues))
    }

    /// A word of the results.
    pub fn result(&self, i: usize) -> u32 {
        let word = self.out.get(i / 2);
        (word >> (32 * (i as u32 % 2))) as u32
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        let _ = self.dev.call(&mut GroupDestroy {
            group_handle: self.group,
            pad: 0,
        });
        let _ = self.dev.vm_destroy(self.vm);
    }
}

/// A sync operation that signals a binary syncobj.
const SYNC_SIGNAL: u32 = 1 << 31;

/// Creates a group with all cores of the GPU.
pub fn group(dev: &Dev, vm: u32, queues: usize) -> Result<u32> {
    let mut info = GpuInfo::default();
    dev.query(QUERY_GPU_INFO, &mut info)?;
    let queue = QueueCreate {
        priority: 1,
        pad: [0; 3],
        ringbuf_size: 64 << 10,
    };
    let queues = vec![queue; queues];
    let mut a = GroupCreate {
        queues: ObjArray::of(&queues),
        max_compute_cores: info.shader_present.count_ones() as u8,
        max_fragment_cores: info.shader_present.count_ones() as u8,
        max_tiler_cores: 1,
        priority: 1,
        pad: 0,
        compute_core_mask: info.shader_present,
        fragment_core_mask: info.shader_present,
        tiler_core_mask: 1,
        vm_id: vm,
        group_handle: 0,
    };
    dev.call(&mut a)?;
    Ok(a.group_handle)
}

/// A syncobj.
pub struct Syncobj<'a> {
    dev: &'a Dev,
    /// Its handle.
    pub handle: u32,
}

impl<'a> Syncobj<'a> {
    /// One that is not signalled.
    pub fn new(dev: &'a Dev) -> Result<Self> {
        let mut a = SyncobjCreate::default();
        dev.call(&mut a)?;
        let handle = a.handle;
        Ok(Self { dev, handle })
    }

    /// Waits until it is signalled.
    pub fn wait(&self, limit: Duration) -> Result<()> {
        let mut now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: a place for the time.
        if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) } != 0 {
            return Err(Errno::last());
        }
        let now = now.tv_sec * 1_000_000_000 + now.tv_nsec;
        let handles = [self.handle];
        self.dev.calli(&mut SyncobjWait {
            handles: handles.as_ptr() as u64,
            timeout_nsec: now + limit.as_nanos() as i64,
            count_handles: 1,
            ..SyncobjWait::default()
        })
    }
}

impl Drop for Syncobj<'_> {
    fn drop(&mut self) {
        let _ = self.dev.call(&mut SyncobjDestroy {
            handle: self.handle,
            pad: 0,
        });
    }
}
