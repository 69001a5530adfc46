// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Three processes that together hold twice the guest's memory in GPU buffers.
//!
//! With swap they go on working, and no byte is wrong; without swap the OOM killer takes one, and
//! the others live. What the shrinker does meanwhile, and for whom, is printed.

use e2e::child::Child;
use e2e::debugfs::Gems;
use e2e::ktap::{driver, Driver};
use e2e::pattern::{mix, Rng};
use e2e::proc::{FdInfo, MemInfo};
use e2e::sys::{getpid, swapoff, swapon, waitpid, write_once, EBUSY, ENOMEM};
use e2e::trace::ShrinkTrace;
use e2e::uapi::*;
use e2e::*;
use std::time::{Duration, Instant};

/// How many processes there are.
const WORKERS: usize = 3;
/// Sizes of the buffers.
const SIZES: [u64; 4] = [64 * K, 256 * K, M, 2 * M];
/// Resident memory of the process that has most over that of the one that has least, as means over
/// the time of work. All three do the same. Asked of the Rust driver only: the C driver is far from
/// it.
const FAIR: f64 = 1.5;

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
struct Handle {
    child: Child,
    fd: i32,
    sum: f64,
    samples: u64,
}

impl Handle {
    fn spawn(number: u64) -> Res<Handle> {
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

    fn resident(&self) -> u64 {
        FdInfo::read(self.child.pid, self.fd).map_or(0, |f| f.resident())
    }

    fn mean(&self) -> f64 {
        self.sum / self.samples.max(1) as f64
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.1}", bytes / M as f64)
}

/// Has all workers do something at the same time, looks at them meanwhile, and returns what they
/// answered.
fn all(ws: &mut [Handle], trace: &mut Option<ShrinkTrace>, cmd: &str) -> Res<Vec<String>> {
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
fn grow(ws: &mut [Handle], trace: &mut Option<ShrinkTrace>, share: u64) -> Res<u64> {
    let mut held = 0;
    for i in 1..=16 {
        let answers = all(ws, trace, &format!("grow {}", share * i / 16))?;
        held = answers.iter().filter_map(|s| s.parse::<u64>().ok()).sum();
    }
    Ok(held)
}

fn evictions(pid: i32) -> Res<(u64, u64)> {
    let g = Gems::read()?;
    Ok(g.of(pid).fold((0, 0), |(n, b), o| {
        (n + o.evictions, b + o.evictions * o.size)
    }))
}

/// What must be there: enough swap, and not much more memory than the test has time for.
fn need(swap: bool) -> Res<u64> {
    let mem = ok!(MemInfo::read());
    let total = mem.get("MemTotal");
    if total > 520 * M {
        skip!("made for a board with MEM=384M SWAP=2G");
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
fn work_ms() -> u64 {
    if ktap::long() {
        120_000
    } else {
        12_000
    }
}

/// Twice the memory, in use, with swap.
fn twice_the_memory() -> Res {
    let total = need(true)?;
    let share = 2 * total / WORKERS as u64;
    let mut ws = Vec::new();
    for n in 0..WORKERS {
        ws.push(Handle::spawn(n as u64 + 1)?);
    }
    // Its buffers want memory as well.
    let mut trace = Some(ShrinkTrace::start()?);
    let start = Instant::now();
    let held = grow(&mut ws, &mut trace, share)?;
    note!(
        "{} processes hold {} MiB, {:.2} times the memory of {} MiB, after {} s",
        WORKERS,
        held / M,
        held as f64 / total as f64,
        total / M,
        start.elapsed().as_secs()
    );
    check!(held >= 2 * total);
    for w in &mut ws {
        note!(
            "process {} begins with {} MiB resident",
            w.child.pid,
            mib(w.resident() as f64)
        );
        (w.sum, w.samples) = (0.0, 0);
    }
    let before: Vec<(u64, u64)> = ws
        .iter()
        .map(|w| evictions(w.child.pid))
        .collect::<Res<_>>()?;
    if let Some(t) = &mut trace {
        t.restart();
    }
    let start = Instant::now();
    let answers = all(&mut ws, &mut trace, &format!("work {}", work_ms()))?;
    let secs = start.elapsed().as_secs_f64();
    let shrinks = trace.map(ShrinkTrace::stop).unwrap_or_default();
    shrinks.print(secs);

    let mut bytes = 0;
    for ((w, a), b) in ws.iter().zip(&answers).zip(&before) {
        let n: Vec<u64> = a.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [reads, writes, binds, unbinds, allocations, moved] = n[..] else {
            fail!("{a}");
        };
        let e = evictions(w.child.pid)?;
        note!(
            "figure: process {}: {reads} reads, {writes} writes, {binds} binds, {unbinds} unbinds, {allocations} allocations, {} MiB; resident {} MiB in the mean of {} samples; {} evictions of {} MiB",
            w.child.pid,
            moved / M,
            mib(w.mean()),
            w.samples,
            e.0.saturating_sub(b.0),
            e.1.saturating_sub(b.1) / M
        );
        for (what, n) in [
            ("read", reads),
            ("write", writes),
            ("bind", binds),
            ("unbind", unbinds),
            ("allocation", allocations),
        ] {
            check!(n > 0, "process {} did no {what}", w.child.pid);
        }
        bytes += moved;
    }
    let means: Vec<f64> = ws.iter().map(Handle::mean).collect();
    let (least, most) = means
        .iter()
        .fold((f64::MAX, 0.0f64), |(a, b), m| (a.min(*m), b.max(*m)));
    note!(
        "figure: {:?}: work {} MiB/s; resident memory of the processes, most over least: {:.3}",
        driver(),
        mib(bytes as f64 / secs),
        most / least.max(1.0)
    );
    check!(shrinks.freed > 0, "nothing was evicted while they worked");
    check!(
        driver() != Driver::Rust || most <= FAIR * least,
        "one process has {} MiB, another one {}",
        mib(most),
        mib(least)
    );
    let checked = all(&mut ws, &mut None, "check")?;
    let checked: u64 = checked.iter().filter_map(|s| s.parse::<u64>().ok()).sum();
    note!("{} MiB right at the end", checked / M);
    check!(checked >= 2 * total);
    for w in &mut ws {
        let st = w.child.end()?;
        check!(st == 0, "a process ended with {st:#x}");
    }
    Ok(())
}

/// The same while somebody else pushes memory out and brings it back: claims, faults, binds and
/// allocations that reclaim memory, all at once. It ends, and no byte is wrong.
fn claims_in_between() -> Res {
    let total = need(true)?;
    // A claim of all of one fits, all of all do not.
    let share = total * 2 / 5;
    let mut ws = Vec::new();
    for n in 0..WORKERS {
        ws.push(Handle::spawn(n as u64 + 11)?);
    }
    grow(&mut ws, &mut None, share)?;
    let pids: Vec<i32> = ws.iter().map(|w| w.child.pid).collect();
    let mut sides: Vec<race::Side<'_>> = vec![Box::new(|_| {
        all(&mut ws, &mut None, &format!("work {}", work_ms() / 2))?;
        all(&mut ws, &mut None, "check")?;
        Ok(())
    })];
    let must: &[&str] = if race::has_reclaim() {
        for pid in pids {
            sides.push(Box::new(move |r| push_and_pull(r, pid)));
        }
        &["reclaims", "claims"]
    } else {
        sides.push(race::disturber(0, &[]));
        &["shrinks"]
    };
    race::run(Duration::from_millis(work_ms() / 2), must, sides)
}

/// Reclaims and claims the memory of a process, which goes on using it.
fn push_and_pull(r: &race::Race, pid: i32) -> Res {
    while r.on() {
        match sysfs::reclaim(pid) {
            Ok(()) => r.count("reclaims", 1),
            // All the time somebody had some of it in hand.
            Err(EBUSY) => r.count("busy", 1),
            Err(e) => fail!("mem_reclaim of {pid}: {e}"),
        }
        match sysfs::claim(pid) {
            Ok(()) => r.count("claims", 1),
            // There is not enough for all of them.
            Err(ENOMEM) => r.count("too much", 1),
            Err(e) => fail!("mem_claim of {pid}: {e}"),
        }
    }
    Ok(())
}

/// Without swap nothing can be evicted: the OOM killer picks a process, its memory comes free, the
/// others live.
fn oom_without_swap() -> Res {
    let total = need(false)?;
    let swaps = ok!(proc::swaps());
    for s in &swaps {
        ok!(swapoff(s));
    }
    let r = oom(total);
    for s in &swaps {
        ok!(swapon(s));
    }
    r
}

fn oom(total: u64) -> Res {
    // Not this one, nor whoever waits for it.
    let _ = write_once("/proc/self/oom_score_adj", b"-1000");
    let mut ws = Vec::new();
    for n in 0..WORKERS {
        ws.push(Handle::spawn(n as u64 + 21)?);
    }
    let free = ok!(MemInfo::read()).get("MemAvailable");
    let share = (free / (WORKERS as u64 + 1)).min(total / 4);
    grow(&mut ws, &mut None, share)?;
    // One of the three takes all there is. Which one is killed for it is the kernel's choice, and
    // it may be more than one, until it was that one's turn.
    let kills = proc::vmstat("oom_kill");
    let start = Instant::now();
    let greedy = ws[0].child.pid;
    ws[0].child.send("gobble")?;
    let mut dead = Vec::new();
    while !dead.contains(&greedy) {
        check!(
            start.elapsed() < Duration::from_secs(100),
            "the OOM killer did not come"
        );
        std::thread::sleep(Duration::from_millis(5));
        let mut living = Vec::new();
        for mut w in ws {
            match waitpid(w.child.pid, libc::WNOHANG)? {
                Some(st) => {
                    check!(
                        libc::WIFSIGNALED(st) && libc::WTERMSIG(st) == libc::SIGKILL,
                        "a process ended with {st:#x}"
                    );
                    dead.push(w.child.pid);
                    w.child.pid = 0;
                }
                None => living.push(w),
            }
        }
        ws = living;
    }
    let freed = ok!(MemInfo::read()).get("MemFree");
    let killed = proc::vmstat("oom_kill") - kills;
    note!(
        "figure: {:?}: {} MiB of {} in buffers of three processes, one wants all: {killed} OOM kills after {} ms; {} processes live, {} MiB are free",
        driver(),
        WORKERS as u64 * share / M,
        total / M,
        start.elapsed().as_millis(),
        ws.len(),
        freed / M
    );
    check!(killed >= 1);
    check!(!ws.is_empty(), "nobody lives");
    check!(
        freed >= share,
        "{} MiB free after a process with more than {} was gone",
        freed / M,
        share / M
    );
    for pid in dead {
        check!(
            Gems::read()?.of(pid).next().is_none(),
            "the victim's buffers are still there"
        );
    }
    // Those that live have all they had, and go on.
    for cmd in ["check", "work 1000", "check"] {
        all(&mut ws, &mut None, cmd)?;
    }
    for w in &mut ws {
        check!(w.child.end()? == 0);
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit 240;
        twice_the_memory,
        claims_in_between,
        oom_without_swap,
    ])
}
