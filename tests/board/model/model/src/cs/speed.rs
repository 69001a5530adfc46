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

/// Loops forever over `body`, in a block called from a ring.
fn bench(body: &[Instr]) -> (Flat, Ring, Stream) {
    let mut env = Flat::new(BASE, 0x1_0000);
    env.forget = true;
    env.delay = 0;
    let mut code = body.to_vec();
    let back = -(code.len() as i16) - 1;
    code.push(Instr::Branch {
        offset: back,
        condition: 6,
        value: 0,
    });
    let words: Vec<u64> = code.iter().map(|i| i.encode()).collect();
    env.put(CODE, &words);
    let call = Instr::Call {
        length: 94,
        address: 92,
    };
    env.put(BASE, &[call.encode()]);
    let mut stream = Stream::new(0);
    stream.set_reg(92, CODE as u32);
    stream.set_reg(94, 8 * words.len() as u32);
    stream.set_reg(0, DATA as u32);
    let ring = Ring {
        base: BASE,
        size: 4096,
        insert: 8,
    };
    (env, ring, stream)
}

/// Processor time of this thread, in seconds.
pub fn cpu_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Instructions a second, of the clock and of processor time.
fn rate(body: &[Instr], time: Duration) -> (f64, f64) {
    let (mut env, ring, mut stream) = bench(body);
    let (start, cpu) = (Instant::now(), cpu_time());
    while start.elapsed() < time {
        if !matches!(
            stream.run(&mut env, &ring, 100_000),
            Outcome::More | Outcome::Waiting { .. }
        ) {
            return (0.0, 0.0);
        }
    }
    let executed = stream.executed() as f64;
    let clock = executed / start.elapsed().as_secs_f64();
    (clock, executed / (cpu_time() - cpu).max(1e-9))
}

/// Measures each kind of code for `time`, in plain memory.
pub fn measure(time: Duration) -> Vec<Speed> {
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
        ("registers and branches", &registers[..]),
        ("with loads, stores and WAIT", &memory),
    ]
    .into_iter()
    .map(|(what, body)| {
        let (rate, cpu_rate) = rate(body, time);
        Speed {
            what,
            rate,
            cpu_rate,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_measures_something() {
        for speed in measure(Duration::from_millis(5)) {
            assert!(speed.rate > 0.0, "{speed:?}");
        }
    }
}
