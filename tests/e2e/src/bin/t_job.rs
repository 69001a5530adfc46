// SPDX-License-Identifier: GPL-2.0 OR MIT
//! Jobs: command streams that the GPU executes, from the submit to the fence.

use e2e::job::{instr::*, Bench, Syncobj, OUT};
use e2e::*;
use std::time::Duration;

/// Limit of each wait. Nothing is said about how long it takes.
const LIMIT: Duration = Duration::from_secs(30);

fn open() -> Res<Dev> {
    // It has firmware, but no groups yet.
    if ktap::driver() == ktap::Driver::Rust {
        skip!("the driver runs no jobs");
    }
    Ok(ok!(Dev::open()))
}

/// A stream that stores a number at a word of the results.
fn store(word: u64, value: u32) -> Vec<u64> {
    vec![
        mov48(4, OUT + 4 * word),
        mov32(6, value),
        store32(4, 6, 0),
        wait(0xff),
    ]
}

fn stores_a_number() -> Res {
    let dev = open()?;
    let mut bench = ok!(Bench::new(&dev, 1));
    let done = ok!(bench.submit(0, &store(3, 0x1234_5678)));
    ok!(done.wait(LIMIT));
    eq!(bench.result(3), 0x1234_5678);
    eq!(ok!(bench.state()), (0, 0));
    Ok(())
}

fn in_order_on_each_queue() -> Res {
    let dev = open()?;
    let mut bench = ok!(Bench::new(&dev, 3));
    let mut all: Vec<Syncobj<'_>> = Vec::new();
    for n in 0..60 {
        all.push(ok!(bench.submit(n % 3, &store(u64::from(n % 3), n))));
    }
    for done in &all {
        ok!(done.wait(LIMIT));
    }
    for queue in 0..3 {
        eq!(bench.result(queue), 57 + queue as u32);
    }
    Ok(())
}

/// More groups than slots: they are suspended and resumed, and their registers are kept.
fn registers_outlive_a_slot() -> Res {
    let dev = open()?;
    let mut benches = Vec::new();
    for n in 0..12 {
        let mut bench = ok!(Bench::new(&dev, 1));
        let done = ok!(bench.submit(0, &[mov32(20, 100 * n)]));
        ok!(done.wait(LIMIT));
        benches.push(bench);
    }
    for round in 1..4 {
        let mut all = Vec::new();
        for bench in &mut benches {
            let count = [
                add32(20, 20, 1),
                mov48(4, OUT),
                store32(4, 20, 0),
                wait(0xff),
            ];
            all.push(ok!(bench.submit(0, &count)));
        }
        for done in &all {
            ok!(done.wait(LIMIT));
        }
        for (n, bench) in benches.iter().enumerate() {
            eq!(bench.result(0), 100 * n as u32 + round);
        }
    }
    Ok(())
}

/// Streams that count for some time, in more groups than there are slots: they take turns.
fn long_streams_take_turns() -> Res {
    let dev = open()?;
    let mut benches = Vec::new();
    for _ in 0..12 {
        benches.push(ok!(Bench::new(&dev, 1)));
    }
    let mut all = Vec::new();
    for bench in &mut benches {
        let count = [
            mov32(20, 2_000_000),
            mov32(21, 0),
            add32(21, 21, 1),
            add32(20, 20, -1),
            branch_nonzero(20, -3),
            mov48(4, OUT),
            store32(4, 21, 0),
            wait(0xff),
        ];
        all.push(ok!(bench.submit(0, &count)));
    }
    for (bench, done) in benches.iter().zip(&all) {
        ok!(done.wait(LIMIT));
        eq!(bench.result(0), 2_000_000);
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    ktap::run(cases![
        stores_a_number,
        in_order_on_each_queue,
        registers_outlive_a_slot,
        long_streams_take_turns,
    ])
}
