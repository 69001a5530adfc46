// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Shows the GPU memory of processes, and has the panthor driver give it up or bring it back.
//!
//! `gpumem.8` says what each command does.

mod action;
mod args;
mod errno;
mod proc;
mod show;
mod system;

use args::{Args, Command};
use std::{io::Write, process::ExitCode, thread};
use system::System;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("gpumem: {why}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };

    match run(&System::default(), &args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("gpumem: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Performs the command; `Ok(false)` if not all of it was possible, which has been shown then.
fn run(system: &System, args: &Args) -> Result<bool, String> {
    match &args.command {
        Command::Help => {
            print(&format!("{}\n", args::USAGE))?;
            Ok(true)
        }
        Command::List => {
            print(&show::list(&proc::census(system)?, args.json)?)?;
            Ok(true)
        }
        Command::Watch { every, count } => {
            let mut left = *count;

            loop {
                let table = show::list(&proc::census(system)?, args.json)?;

                // To the upper left corner, and what stands there goes.
                print(&if args.json {
                    table
                } else {
                    format!("\x1b[H\x1b[2J{table}")
                })?;
                left = match left {
                    Some(0 | 1) => return Ok(true),
                    Some(n) => Some(n - 1),
                    None => None,
                };
                thread::sleep(*every);
            }
        }
        Command::Act { verb, target } => {
            let outcome = action::act(system, *verb, target)?;

            print(&show::outcome(&outcome, args.json)?)?;
            Ok(outcome.complete())
        }
    }
}

/// A reader that has gone away, as `head` does, ends the program without a word.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();

    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(err) if err.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.map_err(|err| format!("standard output: {err}")),
    }
}
