// SPDX-License-Identifier: GPL-2.0 OR MIT
//! What is shown while it happens: a table, redrawn in place on a terminal; lines in a log.

use crate::plan::APPS;
use crate::sampler::{Row, Sampler};
use e2e::bystander::{now, Latency};
use e2e::sys::say;
use e2e::M;
use std::time::Duration;

/// Bytes that one character of a bar stands for.
const BAR: u64 = 4 * M;

/// Where the table goes.
pub struct Screen {
    redraw: bool,
    /// When the demonstration began.
    pub start: u64,
}

/// As MiB with one digit.
pub fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / M as f64)
}

fn table(r: &Row, pids: &[i32; 3], l: &Latency) -> Vec<String> {
    let mut t = vec!["  process  TGID   total MiB  resident   evicted".to_string()];
    let line = |name: &str, pid: &str, total: u64, resident: u64, bar: bool| {
        let evicted = total.saturating_sub(resident);
        let mut s = format!(
            "  {name:<8} {pid:>4}  {:>9} {:>9} {:>9}",
            mib(total),
            mib(resident),
            mib(evicted)
        );
        if bar {
            s += "  ";
            s += &"#".repeat((resident / BAR) as usize);
            s += &".".repeat((total / BAR - resident / BAR) as usize);
        }
        s
    };
    for (i, a) in APPS.iter().enumerate() {
        let pid = pids[i].to_string();
        t.push(line(a.name, &pid, r.total[i], r.resident[i], true));
    }
    let sum = |v: &[u64; 3]| v.iter().sum();
    t.push(line("all", "", sum(&r.total), sum(&r.resident), false));
    t.push(format!(
        "  swap used {} MiB, for which zram needs {} MiB; free memory {} MiB",
        mib(r.swap),
        mib(r.zram),
        mib(r.free)
    ));
    t.push(format!("  bystander's open+close: {l}"));
    t
}

impl Screen {
    /// A new one.
    pub fn new(redraw: bool) -> Screen {
        Screen {
            redraw,
            start: now(),
        }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        (now() - self.start) as f64 / 1e6
    }

    /// A heading with the time.
    pub fn heading(&self, s: &str) {
        say(&format!("\n[{:5.1} s] {s}", self.seconds()));
    }

    /// Shows the table until `done` says so; `every` is how often a log gets a line. The opens
    /// counted are those from the beginning of this.
    pub fn live(
        &self,
        sampler: &Sampler,
        pids: &[i32; 3],
        every: Duration,
        mut done: impl FnMut() -> bool,
    ) {
        let from = now();
        let mut lines = 0;
        let mut next = from + every.as_micros() as u64;
        loop {
            let end = done();
            let (row, latency) = {
                let s = sampler.seen();
                (s.last(), s.latency(from, u64::MAX))
            };
            let t = table(&row, pids, &latency);
            if self.redraw {
                if lines > 0 {
                    say(&format!("\x1b[{}A", lines + 1));
                }
                lines = t.len();
                say(&t
                    .iter()
                    .map(|l| format!("{l}\x1b[K"))
                    .collect::<Vec<_>>()
                    .join("\n"));
            } else if end {
                say(&t.join("\n"));
            } else if now() >= next {
                next += every.as_micros() as u64;
                let v: Vec<String> = APPS
                    .iter()
                    .zip(row.resident)
                    .map(|(a, r)| format!("{} {}", a.name, mib(r)))
                    .collect();
                say(&format!(
                    "  {:5.1} s  resident: {}; swap {} MiB",
                    self.seconds(),
                    v.join(", "),
                    mib(row.swap)
                ));
            }
            if end {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Shows the table for a time.
    pub fn wait(&self, sampler: &Sampler, pids: &[i32; 3], time: Duration) {
        let end = now() + time.as_micros() as u64;
        self.live(sampler, pids, Duration::from_secs(1), || now() >= end);
    }
}
