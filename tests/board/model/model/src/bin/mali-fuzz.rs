// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-fuzz streams|shaders|control N [SEED]`: N random and mutated command streams, shaders with
//! descriptors, or devices with control blocks of the firmware. A case that fails names its number, with which it can be run alone: `mali-fuzz
//! streams 1 NUMBER`.

#![forbid(unsafe_code)]

use mali_model::{cs, mcu, shader};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const USAGE: &str = "usage: mali-fuzz streams|shaders|control N [SEED]";

/// The case that is being run.
static CASE: AtomicU64 = AtomicU64::new(0);

/// Runs cases from a number on; gives the seconds that they took.
fn each(cases: u64, first: u64, mut case: impl FnMut(u64)) -> f64 {
    let start = Instant::now();
    for n in 0..cases {
        let number = first.wrapping_add(n);
        CASE.store(number, Ordering::Relaxed);
        case(number);
    }
    start.elapsed().as_secs_f64()
}

fn streams(cases: u64, seed: u64) {
    let mut fuzz = cs::fuzz::Fuzz::default();
    let seconds = each(cases, seed, |number| fuzz.case(number));
    let t = fuzz.totals;
    println!(
        "{} streams in {seconds:.1} s, {} instructions: idle {}, fatal {}, waiting {}, more to do {}; \
         faults {}, out of memory {}, suspends {}, images loaded {}",
        t.cases,
        t.instructions,
        t.idle,
        t.fatal,
        t.waiting,
        t.endless,
        t.faults,
        t.oom,
        t.suspends,
        t.images
    );
}

fn shaders(cases: u64, seed: u64) {
    let mut fuzz = shader::fuzz::Fuzz::default();
    let seconds = each(cases, seed, |number| fuzz.case(number));
    let t = fuzz.totals;
    println!(
        "{} shader jobs in {seconds:.1} s, {} instructions, {} pixels: done {}, more to do {}, \
         accesses refused {}, faults {}",
        t.cases, t.instructions, t.pixels, t.done, t.endless, t.refused, t.faults
    );
}

fn control(cases: u64, seed: u64) {
    let mut fuzz = mcu::fuzz::Fuzz::new();
    let seconds = each(cases, seed, |number| fuzz.case(number));
    let t = fuzz.totals;
    println!(
        "{cases} devices in {seconds:.1} s, {} rounds of control blocks: requests to groups {}, \
         starts and resumes {}, suspends and terminates {}, pieces of streams {}, violations {}",
        t.rounds, t.requests, t.starts, t.stops, t.pieces, t.violations
    );
}

fn run(words: &[String]) -> Result<(), String> {
    let number = |text: &String| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    let (what, cases, seed) = match words {
        [what, cases] => (what, number(cases)?, 0),
        [what, cases, seed] => (what, number(cases)?, number(seed)?),
        _ => return Err(USAGE.into()),
    };
    match what.as_str() {
        "streams" => streams(cases, seed),
        "shaders" => shaders(cases, seed),
        "control" => control(cases, seed),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("mali-fuzz: case {}", CASE.load(Ordering::Relaxed));
        report(info);
    }));
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("mali-fuzz: {text}");
            ExitCode::from(2)
        }
    }
}
