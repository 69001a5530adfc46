// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Breaks firmware images and gives them to the driver's parser: `fuzz-image COUNT [SEED]`.
//!
//! Prints how many were refused and how many taken. Ends with a failure at the first that the parser
//! takes and should not, or at a panic, with the seed that makes it again.

#![forbid(unsafe_code)]

use fastrand::Rng;
use panthor_host::images;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let (Some(Ok(count)), Ok(seed)) = (numbers.next(), numbers.next().unwrap_or(Ok(1))) else {
        eprintln!("fuzz-image COUNT [SEED]");
        return ExitCode::from(2);
    };
    let seeds = images::seeds();
    let mut taken = 0u64;
    for i in 0..count {
        // One generator for each image, so that one alone can be made again.
        let mut rng = Rng::with_seed(seed.wrapping_add(i));
        let mut image = seeds[rng.usize(..seeds.len())].clone();
        images::break_it(&mut rng, &mut image);
        let verdict = std::panic::catch_unwind(|| images::judge(&image))
            .unwrap_or_else(|_| Err("the parser panicked".into()));
        match verdict {
            Ok(good) => taken += u64::from(good),
            Err(text) => {
                println!("fuzz-image 1 {}: {text}", seed.wrapping_add(i));
                return ExitCode::FAILURE;
            }
        }
    }
    println!(
        "{count} broken images: {} refused, {taken} taken, no fault",
        count - taken
    );
    ExitCode::SUCCESS
}
