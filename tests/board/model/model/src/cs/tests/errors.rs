// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Faults, and what happens after them.

use super::*;
use crate::cs::state::{code, Failure};

/// An address that is not mapped.
const NOWHERE: u64 = 0xdead_0000;

fn bus(info: u64) -> Failure {
    Failure {
        code: code::CS_BUS_FAULT,
        info,
    }
}

#[test]
fn a_fault_skips_to_the_barrier_and_travels() {
    let mut b = Bench::new();
    let length = b.block(
        CODE,
        &[
            mov(0, NOWHERE),
            mov(2, DATA),
            mov32(4, 5),
            load(6, 1, 0, 0),
            wait(1),
            // All of this is skipped.
            store(4, 1, 2, 0),
            SyncAdd32 {
                propagate: false,
                scope: 2,
                wait: 0,
                data: 4,
                address: 2,
                signal: 0,
            },
            // This is not: others wait for it.
            mov(2, DATA + 16),
            SyncAdd64 {
                propagate: true,
                scope: 2,
                wait: 0,
                data: 4,
                address: 2,
                signal: 0,
            },
        ],
    );
    let job = kernel_job(CODE, length, DATA + 64);
    b.ring(&job);
    assert_eq!(b.said(), Outcome::Fault(bus(NOWHERE)));
    // The host looks where the stream was: in this job.
    assert!((1..128).contains(&b.stream.extract()));
    assert_eq!(b.stream.error(), Some(bus(NOWHERE)));
    b.finish();
    assert_eq!(b.env.get(DATA), 0);
    assert_eq!((b.env.get(DATA + 16), b.env.get(DATA + 24)), (5, 1));
    // The kernel's object is counted, with an error.
    assert_eq!((b.env.get(DATA + 64), b.env.get(DATA + 72)), (1, 1));
    assert_eq!(b.stream.error(), None);
    assert!(b.env.odd("cs-skipped") >= 2);

    // The next job is a good one.
    let length = b.block(CODE, &[mov(2, DATA), mov32(4, 5), store(4, 1, 2, 0)]);
    b.ring(&kernel_job(CODE, length, DATA + 80));
    b.finish();
    assert_eq!(b.env.get(DATA), 5);
    assert_eq!((b.env.get(DATA + 80), b.env.get(DATA + 88)), (1, 0));
}

#[test]
fn the_first_fault_counts() {
    let mut b = Bench::new();
    b.ring(&[
        mov(0, NOWHERE),
        mov(2, NOWHERE + 64),
        load(4, 1, 0, 0),
        wait(1),
        load(4, 1, 2, 0),
        wait(1),
        StoreState {
            offset: 0,
            wait: 0,
            state: 3,
            address: 6,
            signal: 0,
        },
    ]);
    b.stream.set_reg(6, DATA as u32);
    assert_eq!(b.said(), Outcome::Fault(bus(NOWHERE)));
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(b.env.get(DATA), u64::from(code::CS_BUS_FAULT));
}

#[test]
fn fetch_from_nowhere_is_fatal() {
    let mut b = Bench::new();
    b.ring(&[mov(0, NOWHERE), mov32(2, 8), call(0, 2)]);
    assert_eq!(b.run(), Outcome::Fatal(bus(NOWHERE)));
    assert_eq!(b.run(), Outcome::Fatal(bus(NOWHERE)));
    assert_eq!(b.stream.fatal(), Some(bus(NOWHERE)));
}

#[test]
fn read_only_memory() {
    let mut b = Bench::new();
    b.env.read_only = DATA..DATA + 64;
    b.ring(&[mov(0, DATA), store(2, 1, 0, 32), wait(1)]);
    assert_eq!(b.said(), Outcome::Fault(bus(DATA + 32)));
}

#[test]
fn unknown_opcodes() {
    for op in [10, 12, 13, 19, 26, 35, 45, 54, 127, 255_u64] {
        let mut b = Bench::new();
        b.env.put(RING, &[op << 56 | 1]);
        b.ring.insert = 8;
        let failure = Failure {
            code: code::CS_INVALID_INSTRUCTION,
            info: RING,
        };
        assert_eq!(b.run(), Outcome::Fatal(failure));
        assert_eq!(b.env.odd("cs-unknown-opcode"), 1);
    }
}

#[test]
fn reserved_bits_are_counted() {
    let mut b = Bench::new();
    b.env.put(RING, &[mov32(0, 5).encode() | 1 << 40]);
    b.ring.insert = 8;
    b.finish();
    assert_eq!(b.stream.reg(0), 5);
    assert_eq!(b.env.odd("cs-reserved-bits"), 1);
}

#[test]
fn a_locked_region_is_waited_for() {
    let mut b = Bench::new();
    b.env.put(DATA, &[7]);
    b.ring(&[
        mov(0, DATA),
        load(2, 1, 0, 0),
        wait(1),
        mov(4, 1),
        add64(0, 4),
    ]);
    b.env.locked = DATA..DATA + 4096;
    for _ in 0..5 {
        b.env.time += 1_000_000;
        assert_eq!(b.run(), Outcome::Locked);
    }
    b.env.locked = 0..0;
    b.finish();
    assert_eq!((b.stream.reg(2), b.env.get(DATA)), (7, 8));
    // So is one with instructions.
    b.ring(&[mov(0, DATA)]);
    b.env.locked = RING..RING + 4096;
    assert_eq!(b.run(), Outcome::Locked);
    b.env.off = true;
    assert_eq!(b.run(), Outcome::Off);
    b.env.off = false;
    b.env.locked = 0..0;
    b.finish();
}

#[test]
fn injected() {
    let mut b = Bench::new();
    let failure = Failure {
        code: 0x69,
        info: 5,
    };
    b.stream.inject(failure, false);
    assert_eq!(b.run(), Outcome::Fault(failure));
    assert_eq!(b.run(), Outcome::Idle);
    b.stream.inject(failure, true);
    assert_eq!(b.run(), Outcome::Fatal(failure));
}

#[test]
fn protected_regions_do_not_exist() {
    let mut b = Bench::new();
    b.ring(&[ProtRegion { size: 1 }]);
    assert!(matches!(b.run(), Outcome::Fatal(_)));
    assert_eq!(b.env.odd("cs-not-modelled"), 1);
}
