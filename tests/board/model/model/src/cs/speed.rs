// SPDX-License-Identifier: GPL-2.0 OR MIT

//! How fast streams are executed.

use super::flat::Flat;
use super::instr::Instr;
use super::state::{Outcome, Ring, Stream};
use std::time::{Duration, Instant};

const BASE: u64 = 0x1000_0000;
const CODE: u64 = BASE + 0x1000;
const DATA: u64 = BASE + 0x2000;

/// A figure of [`measure`].
#[derive(Clone, Copy, Debug)]
pub struct Speed {
    /// What was executed.
    pub what: &'static str,
    /// Instructions a second.
    pub rate: f64,
    /// Instructions a second of processor time: what a machine that does nothing else would do.
    pub cpu_rate: f64,
}

/// Instructions over the time since `start` and over processor time since `cpu`.
pub(crate) fn figure(what: &'static str, executed: u64, start: Instant, cpu: f64) -> Speed {
    let executed = executed as f64;
    Speed {
        what,
        rate: executed / start.elapsed().as_secs_f64(),
        cpu_rate: executed / (cpu_time() - cpu).max(1e-9),
    }
}

/// Processor time of this thread, in seconds.
pub fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A ring that calls `code`, which is `length` bytes long, with the address of data in r0.
pub(crate) fn ring(code: u64, length: usize, data: u64) -> Vec<u64> {
    let mov = |dest, immediate| Instr::Move48 { immediate, dest };
    let call = Instr::Call {
        length: 94,
        address: 92,
    };
    [mov(0, data), mov(92, code), mov(94, length as u64), call]
        .map(Instr::encode)
        .into()
}

/// `body`, again and again.
fn endless(body: &[Instr]) -> Vec<u64> {
    let back = Instr::Branch {
        offset: -(body.len() as i16) - 1,
        condition: 6,
        value: 0,
    };
    body.iter().chain([&back]).map(|i| i.encode()).collect()
}

/// What is measured, in code that has no end.
pub(crate) fn bodies() -> [(&'static str, Vec<u64>); 2] {
    let add = |dest, source| Instr::AddImm32 {
        immediate: 1,
        source,
        dest,
    };
    let mov = Instr::Move48 {
        immediate: 5,
        dest: 4,
    };
    let skip = Instr::Branch {
        offset: 0,
        condition: 1,
        value: 6,
    };
    let registers = [mov, add(6, 6), add(7, 6), skip, mov, add(8, 7)];
    let load = Instr::LoadMultiple {
        offset: 0,
        mask: 0xf,
        address: 0,
        base: 10,
    };
    let store = Instr::StoreMultiple {
        offset: 64,
        mask: 0xf,
        address: 0,
        base: 10,
    };
    let wait = Instr::Wait {
        mask: 1,
        progress: false,
    };
    let memory = [
        load,
        wait,
        add(10, 10),
        store,
        wait,
        add(6, 6),
        add(7, 6),
        mov,
    ];
    [
        ("registers and branches", endless(&registers)),
        ("with loads, stores and WAIT", endless(&memory)),
    ]
}

/// Runs some code, in plain memory.
fn rate(what: &'static str, code: &[u64], time: Duration) -> Speed {
    let mut env = Flat::new(BASE, 0x1_0000);
    env.forget = true;
    env.delay = 0;
    env.put(CODE, code);
    let words = ring(CODE, 8 * code.len(), DATA);
    env.put(BASE, &words);
    let ring = Ring {
        base: BASE,
        size: 4096,
        insert: 8 * words.len() as u64,
    };
    let mut stream = Stream::new(0);
    let (start, cpu) = (Instant::now(), cpu_time());
    while start.elapsed() < time {
        if !matches!(
            stream.run(&mut env, &ring, 100_000),
            Outcome::More | Outcome::Waiting { .. }
        ) {
            break;
        }
    }
    figure(what, stream.executed(), start, cpu)
}

/// Measures each kind of code for `time`, in plain memory.
pub fn measure(time: Duration) -> Vec<Speed> {
    bodies()
        .iter()
        .map(|(what, code)| rate(what, code, time))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_something() {
        for speed in measure(Duration::from_millis(5)) {
            assert!(speed.rate > 100_000.0, "{speed:?}");
        }
    }
}
