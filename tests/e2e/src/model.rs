// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Client of the GPU model's control channel: a virtio-serial port named `mali-ctl`.

use crate::ktap::{Fail, Res};
use crate::promise;
use crate::sys::{self, Errno, Result};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An open control channel; one process at a time has it.
pub struct Model {
    port: File,
}

/// What the model counted of broken rules.
#[derive(Clone, Debug, Default)]
pub struct Violations {
    /// Sum.
    pub total: u64,
    /// The kinds with their counts.
    pub lines: Vec<String>,
}

/// The answer to a translation request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    /// A mapping.
    Pa {
        /// Physical address.
        pa: u64,
        /// Bytes that the leaf entry maps.
        size: u64,
        /// Memory attribute index.
        attr: u64,
        /// Read-only.
        ro: bool,
        /// Not executable.
        nx: bool,
        /// From the TLB, not from the tables.
        tlb: bool,
    },
    /// None: fault code and level.
    Fault(String, String),
}

impl Translation {
    /// The physical address, if there is a mapping.
    pub fn pa(&self) -> Option<u64> {
        match self {
            Translation::Pa { pa, .. } => Some(*pa),
            Translation::Fault(..) => None,
        }
    }
}

/// What an address space slot is set to.
#[derive(Clone, Debug)]
pub struct AsSlot {
    /// Number.
    pub n: u32,
    /// The line as printed.
    pub line: String,
    /// Physical address of the root table.
    pub transtab: u64,
}

/// Parses `0x..` or decimal.
pub fn num(s: &str) -> Option<u64> {
    match s.strip_prefix("0x") {
        Some(h) => u64::from_str_radix(h, 16).ok(),
        None => s.parse().ok(),
    }
}

/// The node of the port; `ENODEV` without one.
pub fn port() -> Result<PathBuf> {
    let ports = std::fs::read_dir("/sys/class/virtio-ports").map_err(|_| sys::ENODEV)?;
    for e in ports.flatten() {
        if sys::read_text(e.path().join("name")).is_ok_and(|n| n.trim() == "mali-ctl") {
            return Ok(Path::new("/dev").join(e.file_name()));
        }
    }
    Err(sys::ENODEV)
}

impl Model {
    /// Finds and opens the port; `ENODEV` without one. Waits while another process has it.
    pub fn open() -> Result<Model> {
        let path = port()?;
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let r = OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open(&path);
            match r {
                Ok(port) => {
                    // SAFETY: no memory involved.
                    unsafe { libc::flock(port.as_raw_fd(), libc::LOCK_EX) };
                    let mut m = Model { port };
                    m.drain();
                    return Ok(m);
                }
                Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Opens the channel, or skips the case.
    pub fn need() -> Res<Model> {
        Model::open()
            .map_err(|e| promise::missing("model", format!("no model control channel ({e})")))
    }

    fn poll(&self, events: i16, limit: Duration) -> Result<bool> {
        let mut p = libc::pollfd {
            fd: self.port.as_raw_fd(),
            events,
            revents: 0,
        };
        // SAFETY: one valid entry.
        let n = unsafe { libc::poll(&mut p, 1, limit.as_millis() as i32) };
        if n < 0 {
            return Err(Errno::last());
        }
        if p.revents & events == 0 && p.revents & libc::POLLHUP != 0 {
            return Err(sys::EPIPE);
        }
        Ok(n > 0)
    }

    fn read_some(&self, buf: &mut [u8]) -> Result<usize> {
        // SAFETY: a valid buffer.
        let n = unsafe { libc::read(self.port.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
        Ok(sys::cvt(n as libc::c_long)? as usize)
    }

    /// Throws away what a process that died left behind.
    fn drain(&mut self) {
        // A request without effect after a line end of its own: everything up to its answer is old.
        let tag = "translate 99 0x0";
        if self.send(&format!("\n{tag}\n")).is_err() {
            return;
        }
        let mut buf = [0; 4096];
        let mut wait = Duration::from_millis(2000);
        while self.poll(libc::POLLIN, wait) == Ok(true) {
            match self.read_some(&mut buf) {
                Ok(n) if n > 0 => {}
                _ => break,
            }
            wait = Duration::from_millis(40);
        }
    }

    fn send(&mut self, s: &str) -> Result<()> {
        let mut b = s.as_bytes();
        while !b.is_empty() {
            match sys::write_fd(self.port.as_raw_fd(), b) {
                Ok(n) => b = &b[n..],
                Err(sys::EAGAIN) => {
                    if !self.poll(libc::POLLOUT, Duration::from_secs(10))? {
                        return Err(sys::ETIMEDOUT);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// One request; the lines of the answer without the closing one, or the model's complaint.
    pub fn ask(&mut self, req: &str) -> std::result::Result<Vec<String>, String> {
        let f = |e: Errno| format!("control channel: {req}: {e}");
        self.send(&format!("{req}\n")).map_err(f)?;
        let mut text: Vec<u8> = Vec::new();
        let mut buf = vec![0; 65536];
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            if text.ends_with(b"\n") {
                let s = String::from_utf8_lossy(&text[..text.len() - 1]);
                let last = s.rsplit('\n').next().unwrap_or("");
                if last == "ok" {
                    let mut l: Vec<String> = s.lines().map(str::to_string).collect();
                    l.pop();
                    return Ok(l);
                }
                if let Some(e) = last.strip_prefix("err") {
                    return Err(format!("{req}: {}", e.trim()));
                }
            }
            if Instant::now() > end {
                return Err(f(sys::ETIMEDOUT));
            }
            if !self
                .poll(libc::POLLIN, Duration::from_millis(1000))
                .map_err(f)?
            {
                continue;
            }
            match self.read_some(&mut buf) {
                Ok(n) => text.extend_from_slice(&buf[..n]),
                Err(sys::EAGAIN) => {}
                Err(e) => return Err(f(e)),
            }
        }
    }

    /// The counts of broken rules.
    pub fn violations(&mut self) -> Result<Violations> {
        let mut v = Violations::default();
        for l in self.ask("violations").map_err(|_| sys::EIO)? {
            match l.strip_prefix("total ") {
                Some(n) => v.total = num(n.trim()).ok_or(sys::EIO)?,
                None => v.lines.push(l),
            }
        }
        Ok(v)
    }

    /// The enabled address space slots.
    pub fn slots(&mut self) -> Res<Vec<AsSlot>> {
        let mut r = Vec::new();
        for line in self.ask("as")? {
            let w: Vec<&str> = line.split_whitespace().collect();
            if w.first() == Some(&"as") && w.len() > 3 {
                let n = num(w[1]).ok_or_else(|| format!("as: {line}"))? as u32;
                let transtab = num(w[3]).ok_or_else(|| format!("as: {line}"))?;
                r.push(AsSlot { n, line, transtab });
            }
        }
        Ok(r)
    }

    fn translation(l: &[String]) -> Res<Translation> {
        let w: Vec<&str> = match l.first() {
            Some(l) => l.split_whitespace().collect(),
            None => return Err(Fail::Fail("empty translation".into())),
        };
        if w.first() == Some(&"fault") {
            return Ok(Translation::Fault(
                w.get(1).unwrap_or(&"").to_string(),
                w.get(2).unwrap_or(&"").to_string(),
            ));
        }
        let after = |k: &str| {
            w.iter()
                .position(|x| *x == k)
                .and_then(|i| w.get(i + 1))
                .copied()
        };
        let n = |k: &str| {
            after(k)
                .and_then(num)
                .ok_or_else(|| Fail::Fail(format!("translation without {k}: {w:?}")))
        };
        let flags = after("flags").unwrap_or("");
        Ok(Translation::Pa {
            pa: n("pa")?,
            size: n("size")?,
            attr: n("attr")?,
            ro: flags.split(',').any(|f| f == "ro"),
            nx: flags.split(',').any(|f| f == "nx"),
            tlb: after("source") == Some("tlb"),
        })
    }

    /// What the GPU would find for a VA, without any effect.
    pub fn translate(&mut self, slot: u32, va: u64, how: &str) -> Res<Translation> {
        Self::translation(&self.ask(&format!("translate {slot} {va:#x} {how}"))?)
    }

    /// What the tables at a physical address say for a VA.
    pub fn root(&mut self, root: u64, va: u64, how: &str) -> Res<Translation> {
        Self::translation(&self.ask(&format!("root {root:#x} {va:#x} {how}"))?)
    }

    /// The double word at a physical address.
    pub fn word(&mut self, pa: u64) -> Res<u64> {
        let l = self.ask(&format!("pmem {pa:#x} 8"))?;
        l.first()
            .and_then(|h| u64::from_str_radix(h.trim(), 16).ok())
            .map(u64::swap_bytes)
            .ok_or_else(|| Fail::Fail(format!("pmem {pa:#x}: {l:?}")))
    }

    /// Fills GPU memory with the pattern, as the GPU.
    pub fn fill(&mut self, slot: u32, va: u64, len: u64, seed: u64) -> Res {
        self.ask(&format!("fill {slot} {va:#x} {len} {seed}"))?;
        Ok(())
    }

    /// Checks GPU memory for the pattern, as the GPU.
    pub fn check(&mut self, slot: u32, va: u64, len: u64, seed: u64) -> Res {
        let l = self.ask(&format!("check {slot} {va:#x} {len} {seed}"))?;
        match l.first().map(String::as_str) {
            Some("good") => Ok(()),
            o => Err(Fail::Fail(format!(
                "GPU's view of AS {slot} {va:#x}+{len:#x}: {o:?}"
            ))),
        }
    }

    /// Hash of GPU memory, as the GPU reads it.
    pub fn hash(&mut self, slot: u32, va: u64, len: u64) -> Res<u64> {
        let l = self.ask(&format!("hash {slot} {va:#x} {len}"))?;
        l.first()
            .and_then(|l| l.strip_prefix("hash "))
            .and_then(|h| num(h.trim()))
            .ok_or_else(|| Fail::Fail(format!("hash: {l:?}")))
    }
}
