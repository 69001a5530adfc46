// SPDX-License-Identifier: GPL-2.0 OR MIT

//! `mali-fuzz streams|shaders N [SEED]`: N random and mutated command streams, or shaders and
//! descriptors. A case that fails names its number, with which it can be run alone: `mali-fuzz
//! streams 1 NUMBER`.

#![forbid(unsafe_code)]

use mali_model::{cs, shader};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const USAGE: &str = "usage: mali-fuzz streams|shaders N [SEED]";

/// The case that is being run.
static CASE: AtomicU64 = AtomicU64::new(0);

fn streams(cases: u64, seed: u64) {
    let mut fuzz = cs::fuzz::Fuzz::default();
    let start = Instant::now();
    for n in 0..cases {
        let case = seed.wrapping_add(n);
        CASE.store(case, Ordering::Relaxed);
        fuzz.case(case);
    }
    let t = fuzz.totals;
    println!(
        "{} streams in {:.1} s, {} instructions: idle {}, fatal {}, waiting {}, more to do {}; \
         faults {}, out of memory {}, suspends {}, images loaded {}",
        t.cases,
        start.elapsed().as_secs_f64(),
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
    let start = Instant::now();
    for n in 0..cases {
        let case = seed.wrapping_add(n);
        CASE.store(case, Ordering::Relaxed);
        fuzz.case(case);
    }
    let t = fuzz.totals;
    println!(
        "{} shader jobs in {:.1} s, {} instructions, {} pixels: done {}, more to do {}, \
         accesses refused {}, faults {}",
        t.cases,
        start.elapsed().as_secs_f64(),
        t.instructions,
        t.pixels,
        t.done,
        t.endless,
        t.refused,
        t.faults
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
