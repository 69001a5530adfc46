// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What the kernel asks the driver's shrinker for, from the tracepoints of mm.

use crate::ktap::{Fail, Res};
use crate::sys::{self, read_text, write_once};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

const INSTANCE: &str = "/sys/kernel/tracing/instances/e2e-shrink";
const EVENTS: [&str; 2] = ["mm_shrink_slab_start", "mm_shrink_slab_end"];

/// What the shrinker was asked for, and did.
#[derive(Clone, Debug, Default)]
pub struct Shrinks {
    /// Calls by the kernel: each counts what there is and scans as often as mm thinks fit.
    pub calls: u64,
    /// Pages it was to scan.
    pub scanned: u64,
    /// Pages it gave up.
    pub freed: u64,
    /// Seconds in it, in all tasks.
    pub secs: f64,
}

impl Shrinks {
    /// Prints it as a figure over `secs` seconds.
    pub fn print(&self, secs: f64) {
        let mib = |pages: u64| pages as f64 * crate::PAGE as f64 / crate::M as f64;
        crate::note!(
            "figure: {:?}: shrinker: {} calls for {:.1} MiB, {:.1} MiB given up; {:.1} MiB/s of the time, {:.0} MiB/s of the {:.2} s in it",
            crate::ktap::driver(),
            self.calls,
            mib(self.scanned),
            mib(self.freed),
            mib(self.freed) / secs,
            mib(self.freed) / self.secs.max(1e-6),
            self.secs
        );
    }
}

/// A trace of the driver's shrinker; ends when dropped.
pub struct ShrinkTrace {
    pipe: File,
    rest: Vec<u8>,
    /// When which task went in.
    inside: HashMap<String, f64>,
    sum: Shrinks,
}

/// Where the scan function of the driver is.
fn scan_function() -> Res<String> {
    let t = read_text("/proc/kallsyms")?;
    let f = t
        .lines()
        .filter(|l| l.contains("[panthor"))
        .find(|l| {
            l.contains(" panthor_gem_shrinker_scan")
                || (l.contains("shrinker") && l.contains("scan_callback"))
        })
        .and_then(|l| l.split_whitespace().next());
    f.map(str::to_string)
        .ok_or_else(|| Fail::Fail("the shrinker is not in kallsyms".to_string()))
}

impl ShrinkTrace {
    /// Starts to watch.
    pub fn start() -> Res<ShrinkTrace> {
        let at = scan_function()?;
        let dir = PathBuf::from(INSTANCE);
        let _ = std::fs::remove_dir(&dir);
        std::fs::create_dir(&dir).map_err(sys::Errno::from)?;
        write_once(dir.join("buffer_size_kb"), b"1024")?;
        for e in EVENTS {
            let e = dir.join("events/vmscan").join(e);
            let filter = format!("shrink == 0x{at}");
            write_once(e.join("filter"), filter.as_bytes())?;
            write_once(e.join("enable"), b"1")?;
        }
        let pipe = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(dir.join("trace_pipe"))
            .map_err(sys::Errno::from)?;
        Ok(ShrinkTrace {
            pipe,
            rest: Vec::new(),
            inside: HashMap::new(),
            sum: Shrinks::default(),
        })
    }

    /// Takes in what there is. To be called often: the buffer is small.
    pub fn poll(&mut self) {
        let mut buf = [0; 65536];
        while let Ok(n) = self.pipe.read(&mut buf) {
            if n == 0 {
                break;
            }
            self.rest.extend_from_slice(&buf[..n]);
        }
        let end = self
            .rest
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        let text: Vec<u8> = self.rest.drain(..end).collect();
        for l in String::from_utf8_lossy(&text).lines() {
            self.line(l);
        }
    }

    fn line(&mut self, l: &str) {
        let Some((head, event)) = l.split_once(": mm_shrink_slab_") else {
            return;
        };
        let Some((task, time)) = head.split_once('[') else {
            return;
        };
        let task = task.trim().to_string();
        let time: f64 = time
            .rsplit(' ')
            .next()
            .and_then(|t| t.parse().ok())
            .unwrap_or(0.0);
        let after = |key: &str| -> i64 {
            event
                .split_once(key)
                .and_then(|(_, r)| r.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        if event.starts_with("start") {
            self.sum.calls += 1;
            self.sum.scanned += after("total_scan ").max(0) as u64;
            self.inside.insert(task, time);
        } else {
            self.sum.freed += after("return val ").max(0) as u64;
            if let Some(start) = self.inside.remove(&task) {
                self.sum.secs += time - start;
            }
        }
    }

    /// Forgets what there was.
    pub fn restart(&mut self) {
        self.poll();
        self.sum = Shrinks::default();
    }

    /// Ends, and says what there was.
    pub fn stop(mut self) -> Shrinks {
        self.poll();
        self.sum.clone()
    }
}

impl Drop for ShrinkTrace {
    fn drop(&mut self) {
        for e in EVENTS {
            let e = PathBuf::from(INSTANCE).join("events/vmscan").join(e);
            let _ = write_once(e.join("enable"), b"0");
        }
        // Goes when the pipe is closed; the next one removes it.
        let _ = std::fs::remove_dir(INSTANCE);
    }
}
