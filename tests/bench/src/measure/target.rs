// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Processes that have memory: in GPU buffers, or in a memfd.

use super::clock::{Clock, Span};
use e2e::child::{Child, End};
use e2e::pattern::mix;
use e2e::sys::{self, Map, Result};
use e2e::uapi::BO_WB_MMAP;
use e2e::{Dev, Res, PAGE};
use std::os::fd::AsRawFd;

/// Words of a page.
const WORDS: usize = (PAGE / 8) as usize;

/// Fills memory: the first half of each page is noise, the second zeroes, so that what compresses
/// is half of it.
fn fill(m: &Map, seed: u64) {
    for page in 0..m.len() / PAGE as usize {
        for i in 0..WORDS / 2 {
            let at = page * WORDS + i;
            m.set(at, mix(seed + at as u64));
        }
        m.set(page * WORDS + WORDS - 1, 0);
    }
}

/// Looks at a word of each page.
fn check(m: &Map, seed: u64) -> std::result::Result<(), String> {
    for page in 0..m.len() / PAGE as usize {
        let at = page * WORDS + page % (WORDS / 2);
        if m.get(at) != mix(seed + at as u64) {
            return Err(format!("page {page} is wrong"));
        }
    }
    Ok(())
}

/// Binds the calling process to a CPU.
pub fn pin(cpu: usize) -> Res {
    // SAFETY: a valid set; CPU numbers of the board are small.
    sys::cvt(unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set)
    } as libc::c_long)?;
    Ok(())
}

/// Buffers of a process: each is in a VM and mapped on the GPU.
struct Buffers {
    _dev: Dev,
    maps: Vec<Map>,
}

impl Buffers {
    fn new(count: u64, size: u64, cpu_mapped: bool) -> Result<Buffers> {
        let dev = Dev::open()?;
        let vm = dev.vm()?;
        let mut maps = Vec::new();
        for i in 0..count {
            let bo = dev.bo(size, BO_WB_MMAP, vm)?;
            dev.map(
                vm,
                bo,
                0,
                (1 << 32) + i * size.next_multiple_of(1 << 21),
                size,
            )?;
            let map = dev.mmap(bo, size)?;
            fill(&map, i << 32);
            if cpu_mapped {
                maps.push(map);
            }
        }
        Ok(Buffers { _dev: dev, maps })
    }
}

/// A process with `count` buffers of `size` bytes. It obeys `check`.
pub fn gpu(count: u64, size: u64, cpu_mapped: bool) -> Res<Child> {
    let mut c = Child::spawn(|end| {
        let mut own = None;
        end.serve(|cmd| match cmd {
            "setup" => {
                let b = Buffers::new(count, size, cpu_mapped).map_err(|e| e.to_string())?;
                own = Some(b);
                Ok(String::new())
            }
            _ => {
                let own = own.as_ref().ok_or("not set up")?;
                for (i, m) in own.maps.iter().enumerate() {
                    check(m, (i as u64) << 32)?;
                }
                Ok(String::new())
            }
        });
    })?;
    c.call("setup")?;
    Ok(c)
}

/// Mebibytes that [`memfd`] has are filled like those of [`gpu`] with buffers of this size.
const SEED_EVERY: u64 = e2e::BLOCK * 8;

/// The size of buffers that holds the same data as a memfd.
pub const LIKE_MEMFD: u64 = SEED_EVERY;

/// Memory of a memfd, mapped by this process alone.
pub struct MemFd {
    parts: Vec<Map>,
}

impl MemFd {
    /// With `bytes`, in parts that are filled like buffers.
    pub fn new(bytes: u64) -> Result<MemFd> {
        let fd = sys::memfd(bytes)?;
        let mut parts = Vec::new();
        for i in 0..bytes / SEED_EVERY {
            let m = Map::new(
                fd.as_raw_fd(),
                i * SEED_EVERY,
                SEED_EVERY,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
            )?;
            fill(&m, i << 32);
            parts.push(m);
        }
        Ok(MemFd { parts })
    }

    /// To swap.
    pub fn page_out(&self) -> Result<()> {
        self.parts
            .iter()
            .try_for_each(|m| m.madvise(libc::MADV_PAGEOUT))
    }

    /// And back.
    pub fn populate(&self) -> Result<()> {
        self.parts
            .iter()
            .try_for_each(|m| m.madvise(libc::MADV_POPULATE_READ))
    }

    /// All is as it was.
    pub fn check(&self) -> std::result::Result<(), String> {
        self.parts
            .iter()
            .enumerate()
            .try_for_each(|(i, m)| check(m, (i as u64) << 32))
    }
}

/// A process with a memfd. It obeys `out` and `in`, which answer nanoseconds, and `check`.
pub fn memfd(bytes: u64) -> Res<Child> {
    let mut c = Child::spawn(|end: &mut End| {
        let clock = Clock::default();
        let mut own = None;
        end.serve(|cmd| {
            let e = |e: sys::Errno| e.to_string();
            if cmd == "setup" {
                own = Some(MemFd::new(bytes).map_err(e)?);
                return Ok(String::new());
            }
            let own = own.as_ref().ok_or("not set up")?;
            let mut span = Span::default();
            match cmd {
                "out" => span.add(|| own.page_out()).map_err(e)?,
                "in" => span.add(|| own.populate()).map_err(e)?,
                _ => own.check()?,
            }
            Ok((clock.each(span, 1) as u64).to_string())
        });
    })?;
    c.call("setup")?;
    Ok(c)
}

/// A process that makes work for the machine, on CPU 0, until it is dropped.
pub fn writer(f: impl Fn() -> Result<()>) -> Res<Child> {
    Child::spawn(|_| {
        if pin(0).is_ok() {
            while f().is_ok() {}
        }
        eprintln!("bench-guest: a writer failed");
    })
}
