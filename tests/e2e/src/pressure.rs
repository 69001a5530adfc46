// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Processes that hold more memory in GPU buffers than there is, and work with it.

use crate::child::Child;
use crate::pattern::{mix, Rng};
use crate::proc::{FdInfo, MemInfo};
use crate::sys::{getpid, write_once};
use crate::trace::ShrinkTrace;
use crate::uapi::*;
use crate::*;
use std::time::{Duration, Instant};

/// How many processes there are.
pub const WORKERS: usize = 3;
/// Sizes of the buffers.
const SIZES: [u64; 4] = [64 * K, 256 * K, M, 2 * M];
/// Words of a page.
const WORDS: usize = (PAGE / 8) as usize;

/// Every page is another one, and zram makes little of it.
fn fill(m: &Map, seed: u64) {
    for page in 0..m.len() / PAGE as usize {
        let base = mix(seed.wrapping_add(page as u64));
        for i in 0..WORDS {
            m.set(page * WORDS + i, base ^ (i as u64 & 7));
        }
    }
}

fn check(m: &Map, seed: u64) -> Result<u64, String> {
    for page in 0..m.len() / PAGE as usize {
        let base = mix(seed.wrapping_add(page as u64));
        for i in 0..WORDS {
            let (got, want) = (m.get(page * WORDS + i), base ^ (i as u64 & 7));
            if got != want {
                return Err(format!("page {page}, word {i}: {got:#x}, want {want:#x}"));
            }
        }
    }
    Ok(m.len() as u64)
}

/// A buffer of a worker.
struct Buffer {
    handle: u32,
    va: u64,
    bound: bool,
    seed: u64,
    map: Map,
}

/// A process that holds buffers and works with them.
struct Worker {
    dev: Dev,
    vm: u32,
    rng: Rng,
    buffers: Vec<Buffer>,
    held: u64,
    made: u64,
    log: Counts,
}

#[derive(Default)]
struct Counts {
    reads: u64,
    writes: u64,
    binds: u64,
    unbinds: u64,
    allocations: u64,
    bytes: u64,
}

impl Counts {
    /// Whether something was never done.
    fn has_gap(&self) -> bool {
        [
            self.reads,
            self.writes,
            self.binds,
            self.unbinds,
            self.allocations,
        ]
        .contains(&0)
    }
}

impl Worker {
    fn new(number: u64) -> Result<Worker, String> {
        let dev = Dev::open().map_err(text("open"))?;
        let vm = dev.vm().map_err(text("VM_CREATE"))?;
        Ok(Worker {
            dev,
            vm,
            rng: Rng::new(number << 32),
            buffers: Vec::new(),
            held: 0,
            made: 0,
            log: Counts::default(),
        })
    }

    /// Makes, fills and maps a buffer.
    fn make(&mut self) -> Result<(), String> {
        let size = SIZES[self.rng.below(SIZES.len() as u64) as usize];
        // A third is private to the VM, a third write-combined.
        let private = if self.rng.below(3) == 0 { self.vm } else { 0 };
        let flags = if self.rng.below(3) == 0 {
            0
        } else {
            BO_WB_MMAP
        };
        let handle = self
            .dev
            .bo(size, flags, private)
            .map_err(text("BO_CREATE"))?;
        self.made += 1;
        let b = Buffer {
            handle,
            va: self.made * 8 * M,
            bound: true,
            seed: self.rng.draw(),
            map: self.dev.mmap(handle, size).map_err(text("mmap"))?,
        };
        // One half is first seen by the GPU, the other one by the CPU.
        if self.made % 2 == 0 {
            fill(&b.map, b.seed);
        }
        self.dev
            .map(self.vm, handle, 0, b.va, size)
            .map_err(text("VM_BIND map"))?;
        if self.made % 2 != 0 {
            fill(&b.map, b.seed);
        }
        self.buffers.push(b);
        self.held += size;
        self.log.allocations += 1;
        self.log.bytes += size;
        Ok(())
    }

    fn grow_to(&mut self, bytes: u64) -> Result<(), String> {
        while self.held < bytes {
            self.make()?;
        }
        Ok(())
    }

    fn check_all(&self) -> Result<u64, String> {
        let mut bytes = 0;
        for b in &self.buffers {
            bytes += check(&b.map, b.seed).map_err(|e| format!("buffer at {:#x}: {e}", b.va))?;
        }
        Ok(bytes)
    }

    /// Does something with one of the buffers.
    fn step(&mut self) -> Result<(), String> {
        let i = self.rng.below(self.buffers.len() as u64) as usize;
        let what = self.rng.below(8);
        let b = &mut self.buffers[i];
        let size = b.map.len() as u64;
        match what {
            0..=2 => {
                self.log.bytes +=
                    check(&b.map, b.seed).map_err(|e| format!("buffer at {:#x}: {e}", b.va))?;
                self.log.reads += 1;
            }
            3..=4 => {
                b.seed = self.rng.draw();
                fill(&b.map, b.seed);
                self.log.writes += 1;
                self.log.bytes += size;
            }
            5..=6 => {
                // Off and on, or only one of them.
                for _ in 0..if what == 5 { 2 } else { 1 } {
                    if b.bound {
                        self.dev
                            .unmap(self.vm, b.va, size)
                            .map_err(text("VM_BIND unmap"))?;
                        self.log.unbinds += 1;
                    } else {
                        self.dev
                            .map(self.vm, b.handle, 0, b.va, size)
                            .map_err(text("VM_BIND map"))?;
                        self.log.binds += 1;
                    }
                    b.bound = !b.bound;
                }
            }
            _ => {
                check(&b.map, b.seed).map_err(|e| format!("buffer at {:#x}: {e}", b.va))?;
                let b = self.buffers.swap_remove(i);
                if b.bound {
                    self.dev
                        .unmap(self.vm, b.va, size)
                        .map_err(text("VM_BIND unmap"))?;
                }
                drop(b.map);
                self.dev.close(b.handle).map_err(text("GEM_CLOSE"))?;
                self.held -= size;
                self.grow_to(self.held + size)?;
            }
        }
        Ok(())
    }

    fn obey(&mut self, cmd: &str) -> Result<String, String> {
        let (verb, n) = cmd.split_once(' ').unwrap_or((cmd, "0"));
        let n: u64 = n.parse().map_err(|_| cmd.to_string())?;
        match verb {
            "fd" => Ok(self.dev.fd().to_string()),
            "grow" => {
                self.grow_to(n)?;
                Ok(self.held.to_string())
            }
            "work" => {
                let end = Instant::now() + Duration::from_millis(n);
                self.log = Counts::default();
                // On a slow machine until everything was done once.
                while Instant::now() < end || self.log.has_gap() {
                    self.step()?;
                }
                let c = &self.log;
                Ok(format!(
                    "{} {} {} {} {} {}",
                    c.reads, c.writes, c.binds, c.unbinds, c.allocations, c.bytes
                ))
            }
            "check" => Ok(self.check_all()?.to_string()),
            // Takes GPU memory as long as there is some, and then any other.
            "gobble" => self.gobble(),
            _ => Err(format!("what is {cmd}?")),
        }
    }

    fn gobble(&mut self) -> Result<String, String> {
        while self
            .make_bound_only()
            .inspect_err(|e| note!("{}: {e}", getpid()))
            .is_ok()
        {}
        loop {
            let m = Map::new(
                -1,
                0,
                M,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            )
            .map_err(text("mmap"))?;
            for i in (0..m.len() / 8).step_by(512) {
                m.set(i, 1);
            }
            m.leak();
        }
    }

    /// A buffer that gets its memory from VM_BIND, which has an error for it.
    fn make_bound_only(&mut self) -> Result<(), Errno> {
        let handle = self.dev.bo(M, BO_NO_MMAP, self.vm)?;
        self.made += 1;
        self.dev.map(self.vm, handle, 0, self.made * 8 * M, M)
    }
}

fn text(what: &'static str) -> impl Fn(Errno) -> String {
    move |e| format!("{what}: {e}")
}

/// A worker and where its fdinfo is.
pub struct Handle {
    /// The process.
    pub child: Child,
    fd: i32,
    sum: f64,
    /// How often its resident memory was looked at.
    pub samples: u64,
}

impl Handle {
    /// Starts one; the number tells it from the others.
    pub fn spawn(number: u64) -> Res<Handle> {
        let mut child = Child::spawn(|e| {
            // If somebody must go it is one of these.
            let _ = write_once("/proc/self/oom_score_adj", b"900");
            let mut w = Worker::new(number);
            e.serve(|cmd| w.as_mut().map_err(|e| e.clone())?.obey(cmd));
        })?;
        let fd = child.num("fd")? as i32;
        Ok(Handle {
            child,
            fd,
            sum: 0.0,
            samples: 0,
        })
    }

    /// Its resident memory now, in bytes.
    pub fn resident(&self) -> u64 {
        FdInfo::read(self.child.pid, self.fd).map_or(0, |f| f.resident())
    }

    /// Forgets what was seen of its resident memory.
    pub fn restart(&mut self) {
        (self.sum, self.samples) = (0.0, 0);
    }

    /// The mean of its resident memory.
    pub fn mean(&self) -> f64 {
        self.sum / self.samples.max(1) as f64
    }
}

/// Bytes as MiB.
pub fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / M as f64)
}

/// Has all workers do something at the same time, looks at them meanwhile, and returns what they
/// answered.
pub fn all(ws: &mut [Handle], trace: &mut Option<ShrinkTrace>, cmd: &str) -> Res<Vec<String>> {
    for w in ws.iter_mut() {
        w.child.send(cmd)?;
    }
    let mut answers: Vec<Option<String>> = ws.iter().map(|_| None).collect();
    let start = Instant::now();
    while answers.iter().any(Option::is_none) {
        if start.elapsed() > Duration::from_secs(200) {
            fail!("{cmd}: no end");
        }
        for (w, a) in ws.iter_mut().zip(&mut answers) {
            if a.is_none() && w.child.ready(Duration::from_millis(30)) {
                match w.child.recv(Duration::from_secs(1))? {
                    Ok(s) => *a = Some(s),
                    Err(e) => fail!("process {}: {cmd}: {e}", w.child.pid),
                }
            }
        }
        if answers.iter().all(Option::is_none) {
            for w in ws.iter_mut() {
                w.sum += w.resident() as f64;
                w.samples += 1;
            }
        }
        if let Some(t) = trace {
            t.poll();
        }
    }
    Ok(answers.into_iter().flatten().collect())
}

/// Has all grow side by side: none may be the one that has not been used for longest. Returns what
/// they have then.
pub fn grow(ws: &mut [Handle], trace: &mut Option<ShrinkTrace>, share: u64) -> Res<u64> {
    let mut held = 0;
    for i in 1..=16 {
        let answers = all(ws, trace, &format!("grow {}", share * i / 16))?;
        held = answers.iter().filter_map(|s| s.parse::<u64>().ok()).sum();
    }
    Ok(held)
}

/// What must be there: enough swap, and not much more memory than the test has time for.
pub fn need(swap: bool) -> Res<u64> {
    let mem = ok!(MemInfo::read());
    let total = mem.get("MemTotal");
    if total > 520 * M {
        skip!("made for a board with MEM=256M SWAP=2G");
    }
    if swap && mem.get("SwapFree") < 2 * total {
        skip!(
            "swap is too small: {} MiB for {}",
            mem.get("SwapFree") / M,
            2 * total / M
        );
    }
    // A task that does not get on is reported, and so found in the log.
    let _ = write_once("/proc/sys/kernel/hung_task_timeout_secs", b"40");
    Ok(total)
}

/// How long they work, in milliseconds.
pub fn work_ms() -> u64 {
    if ktap::long() {
        120_000
    } else {
        12_000
    }
}
