// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How fast streams and shaders are executed through the board's memory, and what the threads that
//! do it cost others: a register read beside them, and an idle board.

use super::{put_back, take, Runner};
use crate::clock::Clock;
use crate::cs;
use crate::cs::speed::{cpu_time, figure};
use crate::device::Gpu;
use crate::mcu::layout::{group_input, stream_input, Layout, GLOBAL_INPUT};
use crate::mmu::fault::Kind;
use crate::shader;
use crate::shared::Shared;
use crate::testing::{leaf, Bench};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Ring of the first group; the others follow.
const RING: u64 = 0x100_0000;
const CODE: u64 = 0x300_0000;
const DATA: u64 = 0x400_0000;
const QUEUE: u32 = 0x0500_0000;
const SUSPEND: u32 = 0x0600_0000;

/// What a register read costs, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// The median of hundreds of them, since the machine may have other things to do.
    pub median: f64,
    /// The mean.
    pub mean: f64,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Speed {
    /// Through the board's memory, nothing beside it.
    pub streams: Vec<cs::speed::Speed>,
    /// The same for shaders.
    pub shaders: Vec<cs::speed::Speed>,
    /// A register read while a group is seated that has nothing to do.
    pub read_idle: Read,
    /// The same while a stream and a shader run.
    pub read_busy: Read,
    /// Processor time of all threads, over the time that went by, with a group seated that has
    /// nothing to do.
    pub idle_load: f64,
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

/// A device with a group for each of these rings, with one stream each, in address space 1, whose root
/// is returned as well. They are executed from [`go()`] on.
pub(super) fn device(rings: &[&[u64]]) -> (Bench, u64) {
    let layout = Layout::default();
    let mut b = Bench::powered();
    let firmware = b.load_firmware();
    let count = rings.len() as u32;
    let queue = (QUEUE..QUEUE + count * 0x2000).step_by(4096);
    let suspend = (SUSPEND..SUSPEND + count * layout.suspend_size()).step_by(4096);
    for va in queue.chain(suspend) {
        let page = b.page();
        b.map(firmware, u64::from(va), page, leaf::RW | leaf::XN);
    }
    b.start_mcu();
    let root = b.enable(1);
    // Idle after 1 ms.
    b.fw_write(GLOBAL_INPUT + 0x80, 61);
    b.fw_write(GLOBAL_INPUT, 0x48e);
    b.ring();
    for (n, words) in (0..).zip(rings) {
        let ring = RING + 0x1000 * u64::from(n);
        map(&mut b, root, ring, leaf::XN, words);
        let (group, stream) = (layout.group_input(n), layout.stream_input(n, 0));
        let queue = QUEUE + n * 0x2000;
        for (at, value) in [
            (stream + stream_input::RING_BASE, ring as u32),
            (stream + stream_input::RING_SIZE, 4096),
            (stream + stream_input::RING_INPUT, queue),
            (stream + stream_input::RING_OUTPUT, queue + 4096),
            (stream + stream_input::CONFIG, (n + 1) << 8),
            (stream, 0x501),
            (
                group + group_input::SUSPEND_BUF,
                SUSPEND + n * layout.suspend_size(),
            ),
            (group + group_input::CONFIG, 1),
            (group, 1),
        ] {
            b.fw_write(at, value);
        }
    }
    b.fw_write(GLOBAL_INPUT + 8, (1 << count) - 1);
    b.ring();
    (b, root)
}

/// Maps a new page with these double words.
fn map(b: &mut Bench, root: u64, va: u64, flags: u64, words: &[u64]) {
    let page = b.page();
    b.map(root, va, page, leaf::RW | flags);
    for (at, word) in (page..).step_by(8).zip(words) {
        b.put(at, *word);
    }
}

/// Lets a device go by the host's clock.
fn share(mut b: Bench) -> Arc<Shared> {
    b.gpu.env.clock = Clock::host_after(b.gpu.env.clock.now());
    Shared::new(b.gpu)
}

/// The same, with threads of its own. They end with the process.
pub(super) fn threads(b: Bench) -> Arc<Shared> {
    let shared = share(b);
    let mcu = Arc::clone(&shared);
    std::thread::spawn(move || mcu.run_mcu());
    for number in 0..2 {
        let streams = Arc::clone(&shared);
        std::thread::spawn(move || streams.run_streams(Runner::new(number, 0)));
    }
    shared
}

/// Where memory of the microcontroller is.
fn fw_pa(gpu: &mut Gpu, va: u32) -> Option<u64> {
    let va = u64::from(va);
    let leaf = gpu.mmu.access(&mut gpu.env, 0, va, Kind::Read).ok()?;
    Some(leaf.pa + (va - leaf.va))
}

/// Reads a word of it.
#[cfg(test)]
pub(super) fn fw_read(shared: &Shared, va: u32) -> u32 {
    let word = shared.access(|gpu| {
        let pa = fw_pa(gpu, va)?;
        gpu.env.ram.read_u32(pa)
    });
    word.unwrap_or(0)
}

/// Writes a word of it.
pub(super) fn fw_write(shared: &Shared, va: u32, value: u32) {
    shared.access(|gpu| {
        let pa = fw_pa(gpu, va)?;
        gpu.env.ram.write_u32(pa, value)
    });
}

/// Has the stream of a group execute so many bytes of its ring.
pub(super) fn go(shared: &Shared, group: u32, bytes: u32) {
    fw_write(shared, QUEUE + group * 0x2000, bytes);
    let bell = 0x8_0000 + 0x1_0000 * u64::from(group + 1);
    shared.access(|gpu| gpu.mmio_write(bell, &1u32.to_le_bytes()));
}

/// Runs code of a stream on this thread, and nothing beside it. `count` says how far the stream is.
fn alone(
    what: &'static str,
    b: Bench,
    ring: &[u64],
    time: Duration,
    count: impl Fn(&cs::Stream) -> u64,
) -> cs::speed::Speed {
    let shared = share(b);
    go(&shared, 0, 8 * ring.len() as u32);
    let mut runner = Runner::new(0, 0);
    let (start, cpu, mut executed) = (Instant::now(), cpu_time(), 0);
    while start.elapsed() < time {
        shared.access(Gpu::run_mcu);
        let Ok((mut work, scene)) = shared.inspect(take) else {
            continue;
        };
        let outcome = runner.run(&*shared, scene, &mut work);
        executed = count(&work.program.stream);
        shared.inspect(|gpu| put_back(gpu, work, outcome));
    }
    figure(what, executed, start, cpu)
}

/// Streams, in which loads and stores are late by no time: what is measured is not how long they
/// are told to take.
fn streams(time: Duration) -> Vec<cs::speed::Speed> {
    let run = |(what, code): (&'static str, Vec<u64>)| {
        let ring = cs::speed::ring(CODE, 8 * code.len(), DATA);
        let (mut b, root) = device(&[&ring]);
        b.gpu.env.timing.work.load_store = 0;
        map(&mut b, root, CODE, leaf::XN, &code);
        map(&mut b, root, DATA, leaf::XN, &[]);
        alone(what, b, &ring, time, cs::Stream::executed)
    };
    cs::speed::bodies().map(run).into()
}

/// A ring that runs a shader without an end.
fn compute() -> Vec<u64> {
    shader::speed::ring(DATA)
}

/// Its program and its data.
fn map_compute(b: &mut Bench, root: u64, body: &[u64]) {
    let pages = shader::speed::pages(DATA, body);
    for (n, words) in (0..).zip(&pages) {
        map(b, root, DATA + 4096 * n, 0, words);
    }
}

fn shaders(time: Duration) -> Vec<cs::speed::Speed> {
    let run = |(what, body): (&'static str, Vec<u64>)| {
        let ring = compute();
        let (mut b, root) = device(&[&ring]);
        map_compute(&mut b, root, &body);
        alone(what, b, &ring, time, |stream| {
            stream.job_stats().map_or(0, |stats| stats.instructions)
        })
    };
    shader::speed::bodies().map(run).into()
}

/// Reads a register, again and again.
fn read(shared: &Shared, time: Duration) -> Read {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed() < time {
        let before = Instant::now();
        for _ in 0..100 {
            shared.access(|gpu| gpu.mmio_read(0, &mut [0; 4]));
        }
        times.push(before.elapsed().as_nanos() as f64 / 100.0);
    }
    times.sort_by(f64::total_cmp);
    Read {
        median: times[times.len() / 2],
        mean: times.iter().sum::<f64>() / times.len() as f64,
    }
}

/// Measures for about seven times as long. The threads end with the process.
pub fn measure(time: Duration) -> Speed {
    let (streams, shaders) = (streams(time), shaders(time));
    let [(_, code), _] = cs::speed::bodies();
    let rings = [cs::speed::ring(CODE, 8 * code.len(), DATA), compute()];
    let (mut b, root) = device(&rings.each_ref().map(|r| &**r));
    map(&mut b, root, CODE, leaf::XN, &code);
    let [_, (_, body)] = shader::speed::bodies();
    map_compute(&mut b, root, &body);
    let shared = threads(b);
    let read_idle = read(&shared, time);
    let (start, before) = (Instant::now(), process_time());
    std::thread::sleep(time);
    let idle_load = (process_time() - before) / start.elapsed().as_secs_f64();
    for (n, ring) in (0..).zip(&rings) {
        go(&shared, n, 8 * ring.len() as u32);
    }
    let read_busy = read(&shared, time);
    // They do not run on.
    shared.access(|gpu| gpu.mmio_write(0x700, &0u32.to_le_bytes()));
    Speed {
        streams,
        shaders,
        read_idle,
        read_busy,
        idle_load,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_comes_out() {
        let speed = measure(Duration::from_millis(100));
        for of in speed.streams.iter().chain(&speed.shaders) {
            assert!(of.rate > 100_000.0, "{speed:?}");
        }
        assert!(speed.read_idle.median > 0.0 && speed.read_busy.mean > 0.0);
    }
}
