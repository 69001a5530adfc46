// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What threads that run streams cost others: a register read beside them, and an idle board.

use super::Runner;
use crate::clock::Clock;
use crate::mcu::layout::{group_input, stream_input, Layout, GLOBAL_INPUT};
use crate::mmu::fault::Kind;
use crate::shared::Shared;
use crate::testing::{leaf, Bench};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RING: u64 = 0x100_0000;
const QUEUE: u32 = 0x0500_0000;
const SUSPEND: u32 = 0x0600_0000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// Nanoseconds of a register read while a group is seated that has nothing to do.
    pub read_idle: f64,
    /// The same while a stream runs.
    pub read_busy: f64,
    /// Processor time of all threads, over the time that went by, with a group seated that has
    /// nothing to do.
    pub idle_load: f64,
    /// Instructions a second of a stream on its thread, register reads beside it.
    pub rate: f64,
}

/// Processor time of this process, in seconds.
fn process_time() -> f64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let time = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(time).sum::<f64>() / 1e9
}

/// A branch to itself.
const FOR_EVER: u64 = (22 << 56) | (6 << 28) | 0xffff;

/// A device with a group of one stream in address space 1, whose root is returned as well, with these
/// instructions in its ring. They are executed from [`go()`] on.
pub(super) fn device(ring_words: &[u64]) -> (Bench, u64) {
    let layout = Layout::default();
    let mut b = Bench::powered();
    let firmware = b.load_firmware();
    let queue = (QUEUE..QUEUE + 0x2000).step_by(4096);
    let suspend = (SUSPEND..SUSPEND + layout.suspend_size()).step_by(4096);
    for va in queue.chain(suspend) {
        let page = b.page();
        b.map(firmware, u64::from(va), page, leaf::RW | leaf::XN);
    }
    b.start_mcu();
    let root = b.enable(1);
    let ring = b.page();
    b.map(root, RING, ring, leaf::RW | leaf::XN);
    for (at, word) in (ring..).step_by(8).zip(ring_words) {
        b.put(at, *word);
    }
    // Idle after 1 ms.
    b.fw_write(GLOBAL_INPUT + 0x80, 61);
    b.fw_write(GLOBAL_INPUT, 0x48e);
    b.ring();
    let (group, stream) = (layout.group_input(0), layout.stream_input(0, 0));
    for (at, value) in [
        (stream + stream_input::RING_BASE, RING as u32),
        (stream + stream_input::RING_SIZE, 4096),
        (stream + stream_input::RING_INPUT, QUEUE),
        (stream + stream_input::RING_OUTPUT, QUEUE + 4096),
        (stream + stream_input::CONFIG, 1 << 8),
        (stream, 0x501),
        (group + group_input::SUSPEND_BUF, SUSPEND),
        (group + group_input::CONFIG, 1),
        (group, 1),
        (GLOBAL_INPUT + 8, 1),
    ] {
        b.fw_write(at, value);
    }
    b.ring();
    (b, root)
}

/// Lets a device go by the host's clock, with threads of its own. They end with the process.
pub(super) fn threads(mut b: Bench) -> Arc<Shared> {
    let passed = Duration::from_nanos(b.gpu.env.clock.now());
    b.gpu.env.clock = Clock::Host(Instant::now().checked_sub(passed).unwrap_or(Instant::now()));
    let shared = Shared::new(b.gpu);
    let mcu = Arc::clone(&shared);
    std::thread::spawn(move || mcu.run_mcu());
    for number in 0..2 {
        let streams = Arc::clone(&shared);
        std::thread::spawn(move || streams.run_streams(Runner::new(number, 0)));
    }
    shared
}

/// Has the stream execute so many bytes of its ring.
pub(super) fn go(shared: &Shared, bytes: u32) {
    shared.access(|gpu| {
        let leaf = gpu
            .mmu
            .access(&mut gpu.env, 0, u64::from(QUEUE), Kind::Read);
        if let Ok(leaf) = leaf {
            let _ = gpu.env.ram.write_u32(leaf.pa, bytes);
        }
        gpu.mmio_write(0x9_0000, &1u32.to_le_bytes());
    });
}

/// Nanoseconds of a register read: the median of hundreds of them, since the machine may have
/// other things to do.
fn read(shared: &Shared, time: Duration) -> f64 {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < time {
        let before = Instant::now();
        for _ in 0..100 {
            shared.access(|gpu| gpu.mmio_read(0, &mut [0; 4]));
        }
        times.push(before.elapsed().as_nanos() as f64 / 100.0);
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Measures for about three times as long. The threads end with the process.
pub fn measure(time: Duration) -> Speed {
    let (b, _) = device(&[FOR_EVER]);
    let shared = threads(b);
    let read_idle = read(&shared, time);
    let (start, before) = (Instant::now(), process_time());
    std::thread::sleep(time);
    let idle_load = (process_time() - before) / start.elapsed().as_secs_f64();
    go(&shared, 8);
    let (start, before) = (Instant::now(), executed(&shared));
    let read_busy = read(&shared, time);
    let rate = (executed(&shared) - before) as f64 / start.elapsed().as_secs_f64();
    // It does not run on beside what is measured next.
    shared.access(|gpu| gpu.mmio_write(0x700, &0u32.to_le_bytes()));
    Speed {
        read_idle,
        read_busy,
        idle_load,
        rate,
    }
}

/// Instructions that streams executed, in pieces that came back.
fn executed(shared: &Shared) -> u64 {
    let pieces = |gpu: &mut crate::device::Gpu| {
        gpu.env
            .counters
            .get(crate::counters::Counter::StreamRun)
            .saturating_mul(u64::from(super::BUDGET))
    };
    shared.access(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_comes_out() {
        let speed = measure(Duration::from_millis(200));
        assert!(speed.read_idle > 0.0 && speed.read_busy > 0.0, "{speed:?}");
    }
}
