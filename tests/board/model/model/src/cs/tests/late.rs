// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Asynchronous work: late, in another order, and what waits for it.

use super::*;
use crate::cs::env::{FlushModes, Scope};
use crate::cs::state::Why;

fn copy64(dest: u8, source: u8) -> Instr {
    AddImm64 {
        immediate: 0,
        source,
        dest,
    }
}

#[test]
fn load_without_wait_is_stale() {
    for delay in [0, 100, 100_000] {
        let mut b = Bench::new();
        b.env.delay = delay;
        b.env.put(DATA, &[0x1111_2222_3333_4444]);
        b.ring(&[
            mov(0, DATA),
            mov(2, 7),
            load(2, 3, 0, 0),
            copy64(4, 2),
            wait(1),
            copy64(6, 2),
        ]);
        b.finish();
        assert_eq!(b.stream.pair(4), 7, "delay {delay}");
        assert_eq!(b.stream.pair(6), 0x1111_2222_3333_4444);
    }
}

#[test]
fn a_late_load_overwrites_a_later_move() {
    let mut b = Bench::new();
    b.env.put(DATA, &[5]);
    b.ring(&[mov(0, DATA), load(2, 1, 0, 0), mov32(2, 9), wait(1)]);
    b.finish();
    assert_eq!(b.stream.reg(2), 5);
}

#[test]
fn wait_for_another_slot_is_no_wait() {
    let mut b = Bench::new();
    b.env.delay = 50_000;
    b.env.put(DATA, &[5]);
    b.ring(&[
        mov(0, DATA),
        SetSbEntry {
            endpoint: 0,
            other: 3,
        },
        load(2, 1, 0, 0),
        wait(0xf7),
        copy64(4, 2),
        wait(8),
        copy64(6, 2),
    ]);
    b.finish();
    assert_eq!((b.stream.reg(4), b.stream.reg(6)), (0, 5));
}

#[test]
fn stores_read_their_registers_at_issue() {
    let mut b = Bench::new();
    b.ring(&[
        mov(0, DATA),
        mov32(2, 5),
        store(2, 1, 0, 0),
        mov32(2, 6),
        mov(0, 0),
        wait(1),
    ]);
    b.finish();
    assert_eq!(b.env.get(DATA), 5);
}

#[test]
fn masks_offsets_and_order_of_load_and_store() {
    let mut b = Bench::new();
    b.env.put(DATA, &[0x2_0000_0001, 0x4_0000_0003]);
    b.ring(&[
        mov(0, DATA + 32),
        load(10, 0b1011, 0, -32),
        wait(1),
        store(10, 0b1001, 0, 0),
        // Happens after the store, without a WAIT.
        load(20, 0xf, 0, 0),
        wait(1),
    ]);
    b.finish();
    assert_eq!([10, 11, 12, 13].map(|n| b.stream.reg(n)), [1, 2, 0, 4]);
    assert_eq!(b.env.get(DATA + 32), 1);
    assert_eq!(b.env.get(DATA + 40), 4 << 32);
    assert_eq!([20, 21, 22, 23].map(|n| b.stream.reg(n)), [1, 0, 0, 4]);
}

#[test]
fn completion_out_of_order() {
    // A flush that is slow, and a store that is fast, and the other way round: over some seeds both
    // orders are seen, since neither waits for the other.
    let mut seen = [false; 2];
    for seed in 0..50 {
        let mut b = Bench::new();
        b.env.rng = crate::cs::rng::Rng::new(seed);
        b.env.spread = 5_000;
        b.ring(&[
            mov(0, DATA),
            mov32(2, 1),
            mov32(3, 0),
            FlushCache2 {
                l2: 1,
                lsc: 1,
                other: 0,
                wait: 0,
                flush_id: 3,
                signal: 1,
            },
            store(2, 1, 0, 0),
        ]);
        while b.env.flushes.is_empty() && b.env.get(DATA) == 0 {
            match b.stream.run(&mut b.env, &b.ring, 1) {
                Outcome::Waiting {
                    until: Some(until), ..
                } => b.env.time = until,
                Outcome::More => {}
                other => panic!("{other:?}"),
            }
        }
        seen[usize::from(b.env.flushes.is_empty())] = true;
        b.finish();
        let clean = FlushModes {
            l2: 1,
            lsc: 1,
            other: 0,
        };
        assert_eq!(b.env.flushes, [clean]);
        assert_eq!(b.env.get(DATA), 1);
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn deferred_sync_waits_for_its_scoreboards() {
    // Over some seeds the store is slower than the sync object would be.
    (0..20).for_each(deferred_sync);
}

fn deferred_sync(seed: u64) {
    let mut b = Bench::new();
    b.env.rng = crate::cs::rng::Rng::new(seed);
    b.env.delay = 10_000;
    b.env.spread = 20_000;
    b.ring(&[
        mov(0, DATA),
        mov32(2, 5),
        mov32(4, 1),
        mov(6, DATA + 64),
        SetSbEntry {
            endpoint: 0,
            other: 2,
        },
        store(2, 1, 0, 0),
        SyncAdd32 {
            propagate: false,
            scope: 2,
            wait: 4,
            data: 4,
            address: 6,
            signal: 5,
        },
        // Operands were read at issue.
        mov(6, 0),
        mov32(4, 100),
        wait(1 << 5),
        mov32(8, 77),
    ]);
    // The store first, then the object; WAIT of the signalled slot waits for both.
    while b.env.get(DATA + 64) == 0 {
        assert_eq!(b.stream.reg(8), 0);
        match b.run() {
            Outcome::Waiting {
                why: Why::Scoreboard(32),
                until: Some(until),
            } => b.env.time = until,
            Outcome::Idle => break,
            other => panic!("{other:?}"),
        }
        assert!(b.env.get(DATA + 64) == 0 || b.env.get(DATA) == 5);
    }
    b.finish();
    assert_eq!((b.env.get(DATA), b.env.get(DATA + 64)), (5, 1));
    assert_eq!(b.env.synced, [(Scope::Group, DATA + 64)]);
    assert_eq!(b.stream.reg(8), 77);
}

#[test]
fn deferred_work_keeps_its_order() {
    for seed in 0..20 {
        let mut b = Bench::new();
        b.env.rng = crate::cs::rng::Rng::new(seed);
        b.env.spread = 9_000;
        b.ring(&[
            mov(0, DATA),
            mov32(2, 5),
            mov32(3, 6),
            store(2, 1, 0, 8),
            SyncSet32 {
                propagate: false,
                scope: 2,
                wait: 1,
                data: 2,
                address: 0,
                signal: 1,
            },
            SyncSet32 {
                propagate: false,
                scope: 2,
                wait: 1,
                data: 3,
                address: 0,
                signal: 1,
            },
        ]);
        b.finish();
        assert_eq!(b.env.get(DATA), 6);
    }
}

#[test]
fn waiting_for_its_own_signal_never_ends() {
    let mut b = Bench::new();
    b.ring(&[
        mov(0, DATA),
        mov32(2, 5),
        SyncAdd32 {
            propagate: false,
            scope: 0,
            wait: 2,
            data: 2,
            address: 0,
            signal: 1,
        },
        wait(2),
    ]);
    for _ in 0..10 {
        b.env.time += 1_000_000;
        let why = Why::Scoreboard(2);
        assert_eq!(b.run(), Outcome::Waiting { why, until: None });
    }
    assert_eq!(b.env.odd("cs-waits-for-itself"), 1);
    assert_eq!(b.env.get(DATA), 0);
}

#[test]
fn more_work_than_fits() {
    let mut b = Bench::new();
    b.env.delay = 1_000_000;
    b.ring(&[mov(0, DATA), mov32(2, 1)]);
    for n in 0..100 {
        b.ring(&[store(2, 1, 0, 4 * n)]);
    }
    b.finish();
    for n in 0..50 {
        assert_eq!(b.env.get(DATA + 8 * n), 0x1_0000_0001);
    }
}

#[test]
fn flush_against_the_latest_id() {
    let flush = |flush_id| FlushCache2 {
        l2: 3,
        lsc: 3,
        other: 2,
        wait: 0,
        flush_id,
        signal: 0,
    };
    let mut b = Bench::new();
    b.env.flush_id = 10;
    // None since 10: flushed. Since 10 there was one then: not again. 0 is always flushed.
    b.ring(&[mov32(0, 10), flush(0), wait(1), flush(0), wait(1)]);
    b.finish();
    assert_eq!(b.env.flushes.len(), 1);
    b.ring(&[mov32(0, 0), flush(0), wait(1)]);
    b.finish();
    assert_eq!(b.env.flushes.len(), 2);
    // An id from before the counter wrapped is older.
    b.env.flush_id = 3;
    b.ring(&[mov32(0, 0xff_fff0), flush(0), wait(1)]);
    b.finish();
    assert_eq!(b.env.flushes.len(), 2);
    // An id from the future is no reason not to flush.
    b.ring(&[mov32(0, 9), flush(0), wait(1)]);
    b.finish();
    assert_eq!(b.env.flushes.len(), 3);
    assert_eq!(b.env.flushes[0].payload(), 0x233);
}

#[test]
fn store_state_runs_on() {
    let state = |state, offset| StoreState {
        offset,
        wait: 0,
        state,
        address: 0,
        signal: 0,
    };
    let mut b = Bench::new();
    b.ring(&[
        mov(0, DATA + 64),
        state(0, -64),
        state(1, -56),
        state(0, -48),
        state(1, -40),
        state(2, -32),
        state(3, -24),
    ]);
    b.env.put(DATA + 32, &[9, 9]);
    b.env.step = 1000;
    b.finish();
    let got: Vec<u64> = (0..6).map(|n| b.env.get(DATA + 8 * n)).collect();
    assert!(got[0] > 0 && got[0] < got[2] && got[1] < got[3], "{got:?}");
    assert_eq!(got[4..], [0, 0]);
}

#[test]
fn resources_take_their_time() {
    let compute = ReqResource {
        compute: true,
        fragment: false,
        tiler: false,
        idvs: false,
    };
    let mut b = Bench::new();
    b.env.delay = 100_000;
    b.ring(&[compute, mov32(0, 1), compute, mov32(0, 2)]);
    let Outcome::Waiting {
        why: Why::Resource,
        until: Some(until),
    } = b.run()
    else {
        panic!("no wait");
    };
    assert_eq!(b.stream.status(&b.ring).reason, 5);
    b.env.time = until;
    // What is there is not asked for again.
    assert_eq!(b.run(), Outcome::Idle);
    assert_eq!(b.stream.reg(0), 2);
    assert_eq!(b.stream.status(&b.ring).resource, 1);
}
