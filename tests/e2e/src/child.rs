// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Helper processes that hold GPU memory and obey commands over a pair of pipes.

use crate::drm::{Dev, Op};
use crate::ktap::{Fail, Res};
use crate::pattern;
use crate::sys::{self, Errno, Map};
use crate::uapi::*;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// The helper's end: commands in, answers out.
pub struct End {
    rx: BufReader<File>,
    tx: File,
}

impl End {
    /// The next command; none when the parent is gone or said so.
    pub fn cmd(&mut self) -> Option<String> {
        let mut s = String::new();
        match self.rx.read_line(&mut s) {
            Ok(n) if n > 0 && s.trim_end() != "quit" => Some(s.trim_end().to_string()),
            _ => None,
        }
    }

    /// An answer.
    pub fn answer(&mut self, r: &Result<String, String>) {
        let s = match r {
            Ok(s) => format!("+{}\n", s.replace('\n', " ")),
            Err(s) => format!("-{}\n", s.replace('\n', " ")),
        };
        let _ = self.tx.write_all(s.as_bytes());
    }

    /// Answers every command by `f` until the end.
    pub fn serve(&mut self, mut f: impl FnMut(&str) -> Result<String, String>) {
        while let Some(c) = self.cmd() {
            let r = f(&c);
            self.answer(&r);
        }
    }
}

/// A helper process. Killed and reaped when dropped.
pub struct Child {
    /// Its TGID as the parent sees it.
    pub pid: i32,
    tx: Option<File>,
    rx: BufReader<File>,
}

impl Child {
    /// Forks a helper that runs `f`.
    pub fn spawn(f: impl FnOnce(&mut End)) -> Res<Child> {
        let (crx, tx) = sys::pipe()?;
        let (rx, ctx) = sys::pipe()?;
        match sys::fork()? {
            0 => {
                drop((tx, rx));
                let mut e = End {
                    rx: BufReader::new(crx),
                    tx: ctx,
                };
                let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&mut e)));
                // SAFETY: ends the process without the parent's destructors.
                unsafe { libc::_exit(i32::from(r.is_err())) }
            }
            pid => Ok(Child {
                pid,
                tx: Some(tx),
                rx: BufReader::new(rx),
            }),
        }
    }

    /// A helper that holds GPU memory (see [`Holder`]).
    pub fn holder() -> Res<Child> {
        let mut c = Child::spawn(|e| {
            let mut h = Holder::default();
            e.serve(|cmd| h.obey(cmd));
        })?;
        c.call("open")?;
        Ok(c)
    }

    /// Sends a command without waiting.
    pub fn send(&mut self, cmd: &str) -> Res {
        let Some(tx) = self.tx.as_mut() else {
            return Err(Fail::Fail("helper is closed".into()));
        };
        tx.write_all(format!("{cmd}\n").as_bytes())
            .map_err(|e| format!("helper {}: {cmd}: {e}", self.pid))?;
        Ok(())
    }

    /// Whether an answer, or the end of the helper, comes within a time.
    pub fn ready(&self, limit: Duration) -> bool {
        let mut p = libc::pollfd {
            fd: self.rx.get_ref().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid entry.
        !self.rx.buffer().is_empty()
            || unsafe { libc::poll(&mut p, 1, limit.as_millis() as i32) } > 0
    }

    /// Waits for an answer.
    pub fn recv(&mut self, limit: Duration) -> Res<Result<String, String>> {
        if !self.ready(limit) {
            return Err(Fail::Fail(format!("helper {} does not answer", self.pid)));
        }
        let mut s = String::new();
        match self.rx.read_line(&mut s) {
            Ok(n) if n > 0 => {}
            _ => return Err(Fail::Fail(format!("helper {} died", self.pid))),
        }
        Ok(match s.trim_end().split_at_checked(1) {
            Some(("+", r)) => Ok(r.to_string()),
            Some((_, r)) => Err(r.to_string()),
            None => Err(String::new()),
        })
    }

    /// A command and its answer; the helper's complaint is an inner error.
    pub fn ask(&mut self, cmd: &str) -> Res<Result<String, String>> {
        self.send(cmd)?;
        self.recv(Duration::from_secs(100))
    }

    /// A command that must succeed.
    pub fn call(&mut self, cmd: &str) -> Res<String> {
        match self.ask(cmd)? {
            Ok(s) => Ok(s),
            Err(e) => Err(Fail::Fail(format!("helper {}: {cmd}: {e}", self.pid))),
        }
    }

    /// A command whose answer is a number.
    pub fn num(&mut self, cmd: &str) -> Res<u64> {
        let s = self.call(cmd)?;
        s.parse()
            .map_err(|_| Fail::Fail(format!("helper: {cmd}: {s}")))
    }

    /// Bytes of its file that are resident.
    pub fn resident(&mut self) -> Res<u64> {
        self.num("resident")
    }

    /// Kills it and waits.
    pub fn kill(&mut self) -> Res {
        sys::kill(self.pid, libc::SIGKILL)?;
        sys::waitpid(self.pid, 0)?;
        self.pid = 0;
        Ok(())
    }

    /// Tells it to end and waits; the wait status. (Closing the pipe would not do: helpers that were
    /// forked later have it open too.)
    pub fn end(&mut self) -> Res<i32> {
        self.send("quit")?;
        self.tx = None;
        let st = sys::waitpid(self.pid, 0)?.unwrap_or(0);
        self.pid = 0;
        Ok(st)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pid > 0 {
            let _ = sys::kill(self.pid, libc::SIGKILL);
            let _ = sys::waitpid(self.pid, 0);
        }
    }
}

/// What a holder knows of a BO.
struct Held {
    handle: u32,
    size: u64,
    seed: u64,
    map: Option<Map>,
}

/// A process that holds GPU memory. Commands, numbers decimal or `0x`:
///
/// * `open`, `shut`: opens the device; closes it and forgets everything on it
/// * `vm`: creates a VM, answers its id; `vmdel ID`
/// * `bo SIZE FLAGS VM SEED [LABEL]`: creates a BO, maps it for the CPU unless NO_MMAP, fills it by
///   the seed (0: does not touch it); answers its number, counted from 0
/// * `bind VM N VA [FLAGS]`, `unbind VM VA SIZE`
/// * `cpu N`, `nocpu N`: maps, unmaps for the CPU
/// * `check N`, `fill N SEED`, `touch N` (reads one word per page)
/// * `close N`
/// * `resident`, `total`, `shared`: from fdinfo
/// * `reclaim TGID`, `claim TGID`: writes the attribute, answers `ok` or the error's name
/// * `pid`: its TGID as it sees it itself
/// * `dropcap`: gives up CAP_SYS_RESOURCE
/// * `tid`: starts a thread and answers its id
#[derive(Default)]
pub struct Holder {
    dev: Option<Dev>,
    bos: Vec<Held>,
}

impl Holder {
    /// With a device already open.
    pub fn with(dev: Dev) -> Holder {
        Holder {
            dev: Some(dev),
            bos: Vec::new(),
        }
    }

    /// The open device.
    pub fn dev(&self) -> Result<&Dev, String> {
        self.dev.as_ref().ok_or_else(|| "not open".to_string())
    }

    fn held(&mut self, n: Option<&u64>) -> Result<&mut Held, String> {
        n.and_then(|n| self.bos.get_mut(*n as usize))
            .ok_or_else(|| "no such BO".to_string())
    }

    /// Carries out a command.
    pub fn obey(&mut self, cmd: &str) -> Result<String, String> {
        let w: Vec<&str> = cmd.split_whitespace().collect();
        let verb = *w.first().unwrap_or(&"");
        let n: Vec<u64> = w[1.min(w.len())..]
            .iter()
            .map_while(|s| crate::model::num(s))
            .collect();
        let e = |e: Errno| e.to_string();
        let arg = |i: usize| n.get(i).copied().ok_or_else(|| format!("{cmd}: too short"));
        let none = Ok(String::new());
        match verb {
            "open" => {
                self.dev = Some(Dev::open().map_err(e)?);
                none
            }
            "shut" => {
                self.bos.clear();
                self.dev = None;
                none
            }
            "vm" => Ok(self.dev()?.vm().map_err(e)?.to_string()),
            "vmdel" => {
                self.dev()?.vm_destroy(arg(0)? as u32).map_err(e)?;
                none
            }
            "bo" => {
                let (size, flags, vm, seed) = (arg(0)?, arg(1)? as u32, arg(2)? as u32, arg(3)?);
                let d = self.dev()?;
                let handle = d.bo(size, flags, vm).map_err(e)?;
                if let Some(l) = w.get(5) {
                    d.label(handle, l).map_err(e)?;
                }
                let mut map = None;
                if flags & BO_NO_MMAP == 0 {
                    let m = d.mmap(handle, size).map_err(e)?;
                    if seed != 0 {
                        pattern::fill(&m, seed);
                    }
                    map = Some(m);
                }
                self.bos.push(Held {
                    handle,
                    size,
                    seed,
                    map,
                });
                Ok((self.bos.len() - 1).to_string())
            }
            "bind" => {
                let va = arg(2)?;
                let flags = n.get(3).copied().unwrap_or(0) as u32;
                let (h, size) = {
                    let b = self.held(n.get(1))?;
                    (b.handle, b.size)
                };
                self.dev()?
                    .bind1(arg(0)? as u32, Op::map(h, 0, va, size).with(flags))
                    .map_err(e)?;
                none
            }
            "unbind" => {
                self.dev()?
                    .unmap(arg(0)? as u32, arg(1)?, arg(2)?)
                    .map_err(e)?;
                none
            }
            "cpu" => {
                let (h, size) = {
                    let b = self.held(n.first())?;
                    (b.handle, b.size)
                };
                let m = self.dev()?.mmap(h, size).map_err(e)?;
                self.held(n.first())?.map = Some(m);
                none
            }
            "nocpu" => {
                self.held(n.first())?.map = None;
                none
            }
            "check" => {
                let b = self.held(n.first())?;
                let m = b.map.as_ref().ok_or("not mapped")?;
                pattern::check(m, b.seed)?;
                none
            }
            "fill" => {
                let seed = arg(1)?;
                let b = self.held(n.first())?;
                b.seed = seed;
                pattern::fill(b.map.as_ref().ok_or("not mapped")?, seed);
                none
            }
            "touch" => {
                let b = self.held(n.first())?;
                let m = b.map.as_ref().ok_or("not mapped")?;
                let mut x = 0;
                for i in (0..m.len() / 8).step_by(512) {
                    x ^= m.get(i);
                }
                Ok(x.to_string())
            }
            "close" => {
                let h = self.held(n.first())?.handle;
                self.dev()?.close(h).map_err(e)?;
                self.held(n.first())?.map = None;
                none
            }
            "resident" => Ok(self.dev()?.fdinfo().map_err(e)?.resident().to_string()),
            "total" => Ok(self.dev()?.fdinfo().map_err(e)?.total().to_string()),
            "shared" => Ok(self.dev()?.fdinfo().map_err(e)?.shared().to_string()),
            "reclaim" => Ok(said(crate::sysfs::reclaim(arg(0)? as i32))),
            "claim" => Ok(said(crate::sysfs::claim(arg(0)? as i32))),
            "pid" => Ok(sys::getpid().to_string()),
            "dropcap" => {
                crate::ns::drop_cap(crate::ns::CAP_SYS_RESOURCE).map_err(e)?;
                none
            }
            "tid" => {
                let (tx, rx) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let _ = tx.send(sys::gettid());
                    loop {
                        std::thread::park();
                    }
                });
                Ok(rx.recv().map_err(|x| x.to_string())?.to_string())
            }
            _ => Err(format!("unknown command {cmd}")),
        }
    }
}

/// `ok` or the name of the error.
pub fn said(r: sys::Result<()>) -> String {
    match r {
        Ok(()) => "ok".to_string(),
        Err(e) => e.to_string(),
    }
}
