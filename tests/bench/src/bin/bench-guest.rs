// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Measures in the guest.
//!
//!     bench-guest calls ROUNDS CALLS SAMPLES            both drivers in turn
//!     bench-guest reclaim time|instructions MIB ROUNDS  the attributes of ours
//!     bench-guest one rust|c CALL SAMPLES SYMBOLS       one call, to be profiled

use bench::measure::calls::{self, Amount};
use bench::measure::drivers::Driver;
use bench::measure::reclaim;
use e2e::{Fail, Res};
use std::process::ExitCode;

fn run(args: &[&str]) -> Res {
    let n = |s: &str| {
        s.parse::<usize>()
            .map_err(|_| Fail::Fail(format!("{s} is not a number")))
    };
    match args {
        ["calls", rounds, c, samples] => {
            let amount = Amount {
                calls: n(c)?,
                samples: n(samples)?,
            };
            calls::run(n(rounds)?, amount)
        }
        ["reclaim", kind, mib, rounds] => reclaim::run(reclaim::Amount {
            bytes: n(mib)? as u64 * e2e::M,
            rounds: n(rounds)?,
            instructions: *kind == "instructions",
        }),
        ["one", driver, name, samples, symbols] => {
            let driver = match *driver {
                "c" => Driver::C,
                _ => Driver::Rust,
            };
            calls::one(driver, name, n(samples)?, symbols)
        }
        _ => Err(Fail::Fail("what? (its source shows the arguments)".into())),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fail::Fail(m) | Fail::Skip(m)) => {
            eprintln!("bench-guest: {m}");
            ExitCode::FAILURE
        }
    }
}
