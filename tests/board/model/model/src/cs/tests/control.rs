// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Registers and control flow.

use super::*;
use crate::cs::state::{code, Failure, CALL_DEPTH};

fn branch(condition: u8, value: u8, offset: i16) -> Instr {
    Branch {
        offset,
        condition,
        value,
    }
}

fn add(dest: u8, source: u8, immediate: i32) -> Instr {
    AddImm32 {
        immediate,
        source,
        dest,
    }
}

fn fatal(code: u8, info: u64) -> Outcome {
    Outcome::Fatal(Failure { code, info })
}

#[test]
fn arithmetic() {
    let mut b = Bench::new();
    b.ring(&[
        mov(0, 0x8765_4321_0fed),
        mov32(2, 5),
        add(3, 2, -6),
        AddImm64 {
            immediate: -1,
            source: 4,
            dest: 6,
        },
        Umin32 {
            source1: 2,
            source0: 3,
            dest: 8,
        },
        ProgressStore { source: 0 },
        Wait {
            mask: 0,
            progress: true,
        },
        ProgressLoad { dest: 10 },
    ]);
    b.finish();
    assert_eq!(b.stream.pair(0), 0x8765_4321_0fed);
    assert_eq!(b.stream.reg(3), u32::MAX);
    assert_eq!(b.stream.pair(6), u64::MAX);
    assert_eq!(b.stream.reg(8), 5);
    assert_eq!(b.stream.pair(10), 0x8765_4321_0fee);
}

#[test]
fn the_kernels_job() {
    let mut b = Bench::new();
    let length = b.block(CODE, &[mov(0, DATA), mov32(2, 0xabcd), store(2, 1, 0, 0)]);
    let job = kernel_job(CODE, length, DATA + 64);
    b.ring(&job);
    b.finish();
    b.ring(&job);
    b.finish();
    assert_eq!(b.env.get(DATA), 0xabcd);
    assert_eq!(b.env.get(DATA + 64), 2);
    assert_eq!(b.env.get(DATA + 72), 0);
    assert_eq!((b.stream.extract(), b.ring.insert), (256, 256));
    assert_eq!(b.env.flushes.len(), 2);
}

#[test]
fn conditions() {
    let values = [0, 1, -1, i32::MIN, i32::MAX];
    let taken = |v: i32| [v <= 0, v > 0, v == 0, v != 0, v < 0, v >= 0, true];
    for value in values {
        for (condition, want) in taken(value).into_iter().enumerate() {
            let mut b = Bench::new();
            let length = b.block(
                CODE,
                &[
                    mov32(0, value as u32),
                    branch(condition as u8, 0, 1),
                    mov32(1, 1),
                    mov32(2, 1),
                ],
            );
            b.ring(&[mov(92, CODE), mov32(94, length), call(92, 94)]);
            b.finish();
            assert_eq!(b.stream.reg(1) == 0, want, "{value} {condition}");
            assert_eq!(b.stream.reg(2), 1);
        }
    }
}

#[test]
fn a_loop() {
    let mut b = Bench::new();
    let code = [mov32(0, 10), add(1, 1, 3), add(0, 0, -1), branch(1, 0, -3)];
    let length = b.block(CODE, &code);
    b.ring(&[mov(92, CODE), mov32(94, length), call(92, 94), mov32(2, 1)]);
    b.finish();
    assert_eq!((b.stream.reg(1), b.stream.reg(2)), (30, 1));
}

#[test]
fn calls_nest_to_their_depth() {
    // Block n calls block n + 1 as its last instruction and each counts.
    let nest = |depth: u64| {
        let mut b = Bench::new();
        for n in 0..depth {
            let at = CODE + 64 * n;
            let last = n + 1 == depth;
            let code = [
                add(0, 0, 1),
                mov(2, at + 64),
                if last { add(4, 4, 1) } else { call(2, 5) },
            ];
            b.block(at, &code);
        }
        b.ring(&[mov(2, CODE), mov32(5, 24), call(2, 5), add(0, 0, 100)]);
        b
    };
    let mut b = nest(CALL_DEPTH.into());
    b.finish();
    assert_eq!((b.stream.reg(0), b.stream.reg(4)), (107, 1));
    assert_eq!(b.stream.depth(), 0);

    let mut b = nest(u64::from(CALL_DEPTH) + 1);
    let at = CODE + 64 * u64::from(CALL_DEPTH - 1) + 16;
    let overflow = fatal(code::CS_CALL_STACK_OVERFLOW, at);
    assert_eq!(b.run(), overflow);
    assert_eq!(b.run(), overflow);
}

#[test]
fn jump_replaces_the_block() {
    let mut b = Bench::new();
    b.block(
        CODE,
        &[
            mov(2, CODE + 64),
            mov32(4, 8),
            Jump {
                length: 4,
                address: 2,
            },
            mov32(0, 1),
        ],
    );
    b.block(CODE + 64, &[mov32(1, 1), mov32(0, 1)]);
    b.ring(&[mov(2, CODE), mov32(4, 32), call(2, 4), mov32(3, 9)]);
    b.finish();
    assert_eq!([0, 1, 3].map(|n| b.stream.reg(n)), [0, 1, 9]);
}

#[test]
fn empty_blocks() {
    let mut b = Bench::new();
    b.block(
        CODE,
        &[
            mov(2, CODE + 64),
            mov32(4, 0),
            Jump {
                length: 4,
                address: 2,
            },
            mov32(0, 1),
        ],
    );
    b.ring(&[
        mov(2, 0),
        call(2, 4),
        mov(2, CODE),
        mov32(4, 32),
        call(2, 4),
        mov32(3, 9),
    ]);
    b.finish();
    assert_eq!([0, 3].map(|n| b.stream.reg(n)), [0, 9]);
}

#[test]
fn bounds() {
    // (code of a block, what ends it)
    let at = |n: u64| CODE + 8 * n;
    let invalid = |n| fatal(code::CS_INVALID_INSTRUCTION, at(n));
    let jump = Jump {
        length: 4,
        address: 2,
    };
    let cases: [(&[Instr], Outcome); 7] = [
        (&[branch(6, 0, -2)], invalid(0)),
        (&[branch(6, 0, 1)], invalid(0)),
        (&[branch(7, 0, 0)], invalid(0)),
        (&[mov(2, CODE + 4), mov32(4, 8), jump], invalid(2)),
        (&[mov(2, CODE), mov32(4, 4), jump], invalid(2)),
        (
            &[
                mov(2, 0xffff_ffff_fff8),
                mov32(3, u32::MAX),
                mov32(4, 16),
                jump,
            ],
            invalid(3),
        ),
        (&[call(91, 4)], invalid(0)),
    ];
    for (code, want) in cases {
        let mut b = Bench::new();
        let length = b.block(CODE, code);
        b.ring(&[mov(92, CODE), mov32(94, length), call(92, 94)]);
        assert_eq!(b.run(), want, "{code:?}");
    }
    // The end of a block is a good target.
    let mut b = Bench::new();
    let length = b.block(CODE, &[branch(6, 0, 1), mov32(0, 1)]);
    b.ring(&[mov(92, CODE), mov32(94, length), call(92, 94)]);
    b.finish();
    assert_eq!(b.stream.reg(0), 0);
}

#[test]
fn in_the_ring() {
    let mut b = Bench::new();
    b.ring(&[branch(6, 0, 1), mov32(0, 1), mov32(1, 1)]);
    b.finish();
    assert_eq!([0, 1].map(|n| b.stream.reg(n)), [0, 1]);
    // Not back, not past what was written, and no jump out of it.
    let bad: [&[Instr]; 3] = [
        &[branch(6, 0, -2)],
        &[branch(6, 0, 1)],
        &[
            mov(2, CODE),
            mov32(4, 8),
            Jump {
                length: 4,
                address: 2,
            },
        ],
    ];
    for code in bad {
        let mut b = Bench::new();
        b.ring(code);
        let at = RING + 8 * (code.len() as u64 - 1);
        assert_eq!(b.run(), fatal(code::CS_INVALID_INSTRUCTION, at));
    }
}

#[test]
fn the_ring_wraps() {
    let mut b = Bench::new();
    b.stream.set_extract(4096 * 5 - 16);
    b.ring.insert = 4096 * 5 - 16;
    b.ring(&[mov32(0, 1), mov32(1, 2), mov32(2, 3), mov32(3, 4)]);
    b.finish();
    assert_eq!([0, 1, 2, 3].map(|n| b.stream.reg(n)), [1, 2, 3, 4]);
    assert_eq!(b.stream.extract(), 4096 * 5 + 16);
}

#[test]
fn a_ring_that_cannot_be() {
    for (base, size) in [(RING, 0), (RING, 100), (RING + 4, 4096), (RING, 32)] {
        let mut b = Bench::new();
        b.ring = Ring {
            base,
            size,
            insert: 8,
        };
        assert_eq!(b.run(), fatal(code::CS_CONFIG_FAULT, base));
    }
    let mut b = Bench::new();
    b.ring(&[mov32(0, 1), mov32(1, 1)]);
    b.stream.set_extract(4);
    assert_eq!(b.run(), fatal(code::CS_CONFIG_FAULT, RING));
    // Half an instruction is not there yet; less than was consumed is nothing.
    let mut b = Bench::new();
    b.ring(&[mov32(0, 1), mov32(1, 1)]);
    b.ring.insert = 12;
    assert_eq!(b.run(), Outcome::Idle);
    assert_eq!((b.stream.extract(), b.stream.reg(1)), (8, 0));
    b.ring.insert = 0;
    assert_eq!(b.run(), Outcome::Idle);
}

#[test]
fn budget_and_endless_loops() {
    let mut b = Bench::new();
    let length = b.block(CODE, &[branch(6, 0, -1)]);
    b.ring(&[mov(92, CODE), mov32(94, length), call(92, 94)]);
    for _ in 0..5 {
        assert_eq!(b.run(), Outcome::More);
    }
    assert_eq!(b.stream.executed(), 50_000);
}

#[test]
fn registers_that_do_not_exist() {
    let bad = [
        mov32(96, 0),
        mov(95, 0),
        mov(94 + 2, 0),
        mov(3, 0),
        add(0, 200, 0),
        load(90, 0x7f, 0, 0),
        store(95, 2, 0, 0),
        TracePoint {
            wait: 0,
            base: 90,
            count: 7,
            signal: 0,
        },
    ];
    for instr in bad {
        let mut b = Bench::new();
        b.ring(&[instr]);
        assert_eq!(
            b.run(),
            fatal(code::CS_INVALID_INSTRUCTION, RING),
            "{instr:?}"
        );
        assert_eq!(b.env.odd("cs-bad-register"), 1);
    }
    // The last register that a mask names is what counts.
    let mut b = Bench::new();
    b.ring(&[mov(0, DATA), load(94, 3, 0, 0), wait(1)]);
    b.finish();
}
