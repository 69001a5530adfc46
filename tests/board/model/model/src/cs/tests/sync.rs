// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Sync objects.

use super::*;
use crate::cs::env::Scope;
use crate::cs::state::{code, Failure, Why};

#[test]
fn add_and_set() {
    let mut b = Bench::new();
    b.env.put(DATA, &[10, 0, 20, 0, 30, 40]);
    let sync = |instr: fn(u8) -> Instr, address| [mov(0, address), mov(2, 5), instr(0)];
    b.ring(&sync(|address| add64(address, 2), DATA));
    b.ring(&sync(
        |address| SyncSet64 {
            propagate: false,
            scope: 2,
            wait: 0,
            data: 2,
            address,
            signal: 0,
        },
        DATA + 16,
    ));
    b.ring(&sync(
        |address| SyncAdd32 {
            propagate: false,
            scope: 0,
            wait: 0,
            data: 2,
            address,
            signal: 0,
        },
        DATA + 32,
    ));
    b.ring(&sync(
        |address| SyncSet32 {
            propagate: false,
            scope: 2,
            wait: 0,
            data: 2,
            address,
            signal: 0,
        },
        DATA + 40,
    ));
    b.finish();
    let got: Vec<u64> = (0..6).map(|n| b.env.get(DATA + 8 * n)).collect();
    assert_eq!(got, [15, 0, 5, 0, 35, 5]);
    assert_eq!(
        b.env.synced,
        [
            (Scope::System, DATA),
            (Scope::Group, DATA + 16),
            (Scope::System, DATA + 32),
            (Scope::Group, DATA + 40)
        ]
    );
}

#[test]
fn wait_blocks_and_goes_on() {
    let mut b = Bench::new();
    b.ring(&[mov(0, DATA), mov(2, 3), wait64(0, 2, 1), mov32(4, 1)]);
    let why = Why::Sync {
        va: DATA,
        data: 3,
        wide: true,
        greater: true,
    };
    for value in 0..4 {
        b.env.put(DATA, &[value]);
        assert_eq!(b.run(), Outcome::Waiting { why, until: None });
    }
    let status = b.stream.status(&b.ring);
    assert_eq!(status.wait, 1 << 31 | 1 << 30 | 1 << 24);
    assert_eq!((status.sync_va, status.sync_value), (DATA, 3));
    assert_eq!((status.reason, status.scoreboards), (3, 0));
    assert_eq!(b.stream.extract(), 16);
    b.env.put(DATA, &[4]);
    b.finish();
    assert_eq!(b.stream.reg(4), 1);
    assert_eq!(b.stream.status(&b.ring).reason, 0);
}

#[test]
fn wait32_until_not_greater() {
    let mut b = Bench::new();
    b.env.put(DATA, &[8]);
    let wait32 = SyncWait32 {
        reject: false,
        condition: 0,
        data: 2,
        address: 0,
    };
    b.ring(&[mov(0, DATA), mov32(2, 7), wait32]);
    let why = Why::Sync {
        va: DATA,
        data: 7,
        wide: false,
        greater: false,
    };
    assert_eq!(b.run(), Outcome::Waiting { why, until: None });
    assert_eq!(b.stream.status(&b.ring).wait, 1 << 31);
    b.env.put(DATA, &[7]);
    b.finish();
}

#[test]
fn an_error_is_inherited_or_rejected() {
    for reject in [false, true] {
        let mut b = Bench::new();
        b.env.put(DATA, &[1, 1]);
        let wait = SyncWait64 {
            reject,
            condition: 1,
            data: 2,
            address: 0,
        };
        b.ring(&[mov(0, DATA), mov(2, 0), wait]);
        let fault = Outcome::Fault(Failure {
            code: code::CS_INHERIT_FAULT,
            info: DATA,
        });
        let want = if reject { Outcome::Idle } else { fault };
        assert_eq!(b.run(), want);
    }
}

#[test]
fn work_goes_on_behind_a_wait() {
    // The store completes although the stream waits for somebody else.
    let mut b = Bench::new();
    b.env.delay = 100_000;
    b.ring(&[mov(0, DATA), mov(2, 5), store(2, 3, 0, 32), wait64(0, 2, 1)]);
    let Outcome::Waiting {
        why: Why::Sync { .. },
        until: Some(until),
    } = b.run()
    else {
        panic!("no time");
    };
    assert_eq!(b.env.get(DATA + 32), 0);
    assert_eq!(b.stream.status(&b.ring).scoreboards, 1);
    b.env.time = until;
    b.run();
    assert_eq!(b.env.get(DATA + 32), 5);
    assert_eq!(b.stream.status(&b.ring).scoreboards, 0);
}

#[test]
fn progress_of_another_stream() {
    let mut b = Bench::new();
    b.env.progress = vec![0, 2];
    b.ring(&[
        mov(0, 3),
        ProgressWait {
            queue: 1,
            source: 0,
        },
    ]);
    let why = Why::Progress;
    assert_eq!(b.run(), Outcome::Waiting { why, until: None });
    assert_eq!(b.stream.status(&b.ring).reason, 2);
    b.env.progress[1] = 3;
    b.finish();
    b.ring(&[ProgressWait {
        queue: 2,
        source: 0,
    }]);
    assert!(matches!(b.run(), Outcome::Fatal(_)));
    assert_eq!(b.env.odd("cs-bad-field"), 1);
}

#[test]
fn bad_conditions_scopes_and_addresses() {
    let mut b = Bench::new();
    b.ring(&[mov(0, DATA), wait64(0, 0, 2)]);
    let info = RING + 8;
    let code = code::CS_INVALID_INSTRUCTION;
    assert_eq!(b.run(), Outcome::Fatal(Failure { code, info }));
    let mut b = Bench::new();
    b.ring(&[
        mov(0, DATA),
        SyncAdd64 {
            propagate: false,
            scope: 1,
            wait: 0,
            data: 0,
            address: 0,
            signal: 0,
        },
    ]);
    assert_eq!(b.run(), Outcome::Fatal(Failure { code, info }));
    let mut b = Bench::new();
    b.ring(&[mov(0, DATA + 4), add64(0, 0)]);
    let (code, info) = (code::ADDR_RANGE, DATA + 4);
    assert_eq!(b.run(), Outcome::Fault(Failure { code, info }));
    assert_eq!(b.env.odd("cs-unaligned"), 1);
}
