// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Files that change hands by fork and over sockets, or are opened in a child PID namespace, while
//! everybody concerned is being reclaimed and claimed: a TGID is resolved right at any time.

use e2e::child::{Child, End, Holder};
use e2e::race::*;
use e2e::sys::*;
use e2e::uapi::*;
use e2e::*;
use std::cell::Cell;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Size of the buffer in each file.
const SIZE: u64 = 256 * K;

/// What the writers share with the side that makes and ends their targets: pages of words.
struct Board(Map);

impl Board {
    const TARGETS: usize = 3;
    const COUNTS: usize = 8;

    fn new() -> Res<Board> {
        Ok(Board(Map::new(
            -1,
            0,
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
        )?))
    }

    fn set_target(&self, i: usize, pid: i32) {
        self.0.set(i, pid as u64);
    }

    /// A process that writes the targets' TGIDs again and again. Only one counts: words of a
    /// mapping are not atomic.
    fn writer(&self) -> Res<Child> {
        Child::spawn(|e: &mut End| {
            e.serve(|_| loop {
                for i in 0..Self::TARGETS {
                    let pid = self.0.get(i) as i32;
                    if pid == 0 {
                        continue;
                    }
                    for (n, x) in [sysfs::reclaim(pid), sysfs::claim(pid)].iter().enumerate() {
                        let slot = match x {
                            Ok(()) => n,
                            Err(ESRCH) => 2,
                            Err(EBUSY) if n == 0 => 3,
                            Err(x) => return Err(format!("write {n} of {pid}: {x}")),
                        };
                        let slot = Self::COUNTS + slot;
                        self.0.set(slot, self.0.get(slot) + 1);
                    }
                }
            })
        })
    }

    fn count(&self, slot: usize) -> u64 {
        self.0.get(Self::COUNTS + slot)
    }
}

/// The answer for a TGID that has a file: the other writer may be at it.
fn found(pid: i32, who: &str, busy: &Cell<u64>) -> Res {
    match (sysfs::reclaim(pid), sysfs::claim(pid)) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(EBUSY), Ok(())) => {
            busy.set(busy.get() + 1);
            Ok(())
        }
        x => fail!("{who} {pid} has a file: {x:?}"),
    }
}

/// The answer for a TGID that has none.
fn unknown(pid: i32, who: &str) -> Res {
    match (sysfs::reclaim(pid), sysfs::claim(pid)) {
        (Err(ESRCH), Err(ESRCH)) => Ok(()),
        x => fail!("{who} {pid} has no file: {x:?}"),
    }
}

/// A helper that uses a file of ours: one that it inherits, or takes from a socket.
fn user(own: Option<&Dev>, sock: i32) -> Res<Child> {
    Child::spawn(|e| {
        let mut taken = None;
        e.serve(|cmd| {
            let text = |e: Errno| e.to_string();
            if cmd == "take" {
                taken = Some(Dev::from_fd(recv_fd(sock).map_err(text)?));
            } else {
                let d = own.or(taken.as_ref()).ok_or("no file")?;
                d.version().map_err(text)?;
            }
            Ok(String::new())
        })
    })
}

/// A holder that is process 1 of a PID namespace of its own, and its number here.
fn inner() -> Res<(Child, i32)> {
    let mut c = Child::spawn(|e: &mut End| {
        if ns::new_pid_ns().is_err() {
            return;
        }
        match fork() {
            Ok(0) => {
                let mut h = Holder::default();
                e.serve(|cmd| h.obey(cmd));
            }
            Ok(pid) => {
                let _ = waitpid(pid, 0);
            }
            Err(_) => {}
        }
    })?;
    eq!(c.call("pid")?, "1");
    for p in c.pid + 1..c.pid + 200 {
        if proc::status_kb(p, "PPid") == Some(c.pid as u64) {
            return Ok((c, p));
        }
    }
    fail!("the child of {} is not found", c.pid)
}

fn changes_hands() -> Res {
    sysfs::need("mem_reclaim")?;
    need_swap()?;
    let board = Board::new()?;
    let mut writer = board.writer()?;
    let d = ok!(Dev::open());
    let vm = ok!(d.vm());
    let h = ok!(d.bo(SIZE, BO_WB_MMAP, vm));
    ok!(d.map(vm, h, 0, M, SIZE));
    let m = ok!(d.mmap(h, SIZE));
    pattern::fill(&m, 9);
    let (ours, theirs) = ok!(socketpair());
    let me = getpid();
    board.set_target(0, me);
    writer.send("go")?;

    let busy = Cell::new(0);
    let (mut forked, mut passed, mut namespaces) = (0, 0, 0);
    let mut rng = pattern::Rng::new(1);
    let mut bytes = Bytes::start()?;
    let start = Instant::now();
    for round in 0.. {
        if start.elapsed() >= ktap::race_time() {
            break;
        }
        match round % 3 {
            way @ (0 | 1) => {
                let by_fork = way == 0;
                let mut c = user(by_fork.then_some(&d), theirs.as_raw_fd())?;
                if !by_fork {
                    ok!(send_fd(ours.as_raw_fd(), d.fd()));
                    c.call("take")?;
                }
                board.set_target(1, c.pid);
                unknown(c.pid, "a process that has not used its file")?;
                for _ in 0..rng.below(3) + 1 {
                    c.call("use")?;
                    found(c.pid, "the user", &busy)?;
                    unknown(me, "the process that used it before")?;
                    if rng.below(2) == 0 {
                        ok!(d.version());
                        found(me, "the first user", &busy)?;
                        unknown(c.pid, "the second user")?;
                    }
                }
                let pid = c.pid;
                match rng.below(2) {
                    0 => c.kill()?,
                    _ => c.end().map(|_| ())?,
                }
                unknown(pid, "a process that is gone")?;
                ok!(d.version());
                found(me, "the process that is left", &busy)?;
                if by_fork {
                    forked += 1;
                } else {
                    passed += 1;
                }
            }
            _ => {
                let (mut c, pid) = inner()?;
                board.set_target(2, pid);
                unknown(pid, "a process without a file")?;
                c.call("open")?;
                c.call("vm")?;
                c.call(&format!("bo {SIZE} 2 1 5"))?;
                c.call("bind 1 0 0x100000")?;
                found(pid, "a process in a PID namespace", &busy)?;
                unknown(1, "init")?;
                // In there it is number 1, and its number here is nobody's.
                for (what, who, want) in [
                    ("reclaim", 1, "ok"),
                    ("claim", 1, "ok"),
                    ("reclaim", pid, "ESRCH"),
                    ("claim", me, "ESRCH"),
                ] {
                    let a = c.call(&format!("{what} {who}"))?;
                    let is_busy = what == "reclaim" && want == "ok" && a == "EBUSY";
                    busy.set(busy.get() + u64::from(is_busy));
                    check!(a == want || is_busy, "{what} {who} in the namespace: {a}");
                }
                c.call("check 0")?;
                c.call("shut")?;
                unknown(pid, "a process that closed its file")?;
                c.end()?;
                unknown(pid, "a process that is gone")?;
                namespaces += 1;
            }
        }
        pattern::check(&m, 9)?;
        // The writer has nothing to say but that it got an answer that it should not, or is gone.
        if writer.ready(Duration::ZERO) {
            fail!("the writer: {:?}", writer.recv(Duration::ZERO)?);
        }
        bytes.take();
    }
    writer.kill()?;
    finish(
        start,
        ktap::race_time(),
        &[
            "forked",
            "passed",
            "in namespaces",
            "reclaims",
            "claims",
            "not there",
            OUT,
            BACK,
        ],
        &[
            ("forked", forked),
            ("passed", passed),
            ("in namespaces", namespaces),
            ("reclaims", board.count(0)),
            ("claims", board.count(1)),
            ("not there", board.count(2)),
            ("busy", board.count(3) + busy.get()),
            bytes.out(),
            bytes.back(),
        ],
    )
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![limit LIMIT; changes_hands])
}
