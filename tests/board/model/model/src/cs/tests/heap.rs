// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tiler heaps: room, out of memory and its answers, the exception handler, chunks given back.

use super::*;
use crate::cs::settle;
use crate::cs::state::{code, Failure, OomRequest};

const CONTEXT: u64 = DATA;
const HEAP: u64 = DATA + 0x100;
const DESC: u64 = DATA + 0x200;
const CHUNKS: u64 = BASE + 0x1_0000;
const CHUNK: u64 = 0x2000;

/// Chunk `n`, by name.
fn chunk(n: u64) -> u64 {
    (CHUNKS + n * CHUNK) | (CHUNK >> 12)
}

fn idvs() -> Instr {
    RunIdvs {
        flags: 0,
        progress: false,
        malloc: true,
        draw_id_enable: false,
        varying_srt: false,
        varying_fau: false,
        varying_tsd: false,
        fragment_srt: false,
        fragment_tsd: false,
        draw_id: 0,
    }
}

fn operation(operation: u8) -> Instr {
    HeapOperation {
        wait: 0,
        operation,
        signal: 0,
    }
}

fn finish(increment: bool) -> Instr {
    FinishFragment {
        increment,
        wait: 0,
        last: 88,
        first: 86,
        signal: 0,
    }
}

/// A heap whose list has `chunks` chunks, the first of which is at hand, and a stream that uses it;
/// each RUN_IDVS takes half a chunk.
fn bench(chunks: u64) -> Bench {
    let mut b = Bench::new();
    b.env.tiler_bytes = 0x0fc0;
    for n in 0..chunks {
        let next = if n + 1 < chunks { chunk(n + 1) } else { 0 };
        b.env.put(CHUNKS + n * CHUNK, &[next]);
    }
    b.env.put(CONTEXT + 24, &[DESC]);
    let desc = [CHUNK << 32, CHUNKS, CHUNKS + 64, CHUNKS + CHUNK];
    b.env.put(DESC, &desc);
    b.ring(&[
        mov(70, HEAP),
        HeapSet { address: 70 },
        mov(40, CONTEXT),
        operation(0),
    ]);
    b
}

/// Loads what the render pass has used and gives it back, as Mesa does.
fn give_back() -> [Instr; 4] {
    [
        mov(90, CONTEXT),
        load(86, 0xf, 90, 40),
        wait(1),
        finish(true),
    ]
}

fn oom(vt_start: u32, vt_end: u32, frag_end: u32) -> Outcome {
    Outcome::TilerOom(OomRequest {
        heap: HEAP,
        vt_start,
        vt_end,
        frag_end,
    })
}

fn stuck(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Waiting { until: None, .. })
}

#[test]
fn room_is_taken_and_chunks_follow_their_list() {
    let mut b = bench(3);
    for n in 1..=6 {
        b.ring(&[idvs(), wait(1)]);
        b.finish();
        let bottom = b.env.get(DESC + 16);
        let at = CHUNKS + (n - 1) / 2 * CHUNK;
        assert_eq!(bottom, at + 64 + 0x0fc0 * ((n - 1) % 2 + 1));
        assert_eq!(b.env.get(DESC + 8), at);
        assert_eq!(b.env.get(DESC + 24), at + CHUNK);
    }
    // Two are full: they are in the list of the tiler context, the last one first.
    assert_eq!(b.env.get(CONTEXT + 40), chunk(1));
    assert_eq!(b.env.get(CHUNKS + CHUNK), chunk(0));
    assert_eq!(b.env.get(CHUNKS), 0);
    assert_eq!(b.env.get(CONTEXT + 48), chunk(0));
    // Given back, they are free.
    b.ring(&[operation(1)]);
    b.ring(&give_back());
    b.finish();
    assert_eq!(b.env.get(HEAP + 16), chunk(1));
    assert_eq!(b.env.get(HEAP + 24), chunk(0));
    assert_eq!(b.env.get(HEAP), 1 << 32 | 1);
    assert_eq!(b.env.get(HEAP + 8), 1);
    // And are used again.
    b.env.put(CONTEXT + 40, &[0, 0]);
    b.ring(&[operation(0)]);
    b.ring(&[idvs(), idvs(), idvs(), idvs(), wait(1)]);
    b.finish();
    assert_eq!(b.env.get(DESC + 8), CHUNKS);
    assert_eq!(b.env.get(HEAP + 16), 0);
    assert_eq!(b.env.get(HEAP + 24), 0);
    assert_eq!(b.env.get(CONTEXT + 40), chunk(1));
    assert_eq!(b.env.get(CHUNKS + CHUNK), chunk(2));
}

#[test]
fn no_heap_is_needed_for_no_room() {
    let mut b = Bench::new();
    b.env.tiler_bytes = 0;
    b.ring(&[idvs(), FinishTiling { progress: true }, wait(1)]);
    b.finish();
    assert_eq!(b.stream.progress(), 1);
}

#[test]
fn out_of_memory_answered() {
    let mut b = bench(1);
    b.ring(&[
        operation(0),
        operation(1),
        idvs(),
        idvs(),
        idvs(),
        wait(1),
        mov32(5, 1),
    ]);
    assert_eq!(b.said(), oom(2, 1, 0));
    // Said once. The stream waits, as the job is not complete.
    for _ in 0..3 {
        assert!(stuck(b.said()));
        assert!(!settle([&mut b.stream]));
    }
    assert_eq!(b.stream.reg(5), 0);
    b.stream.answer_oom(chunk(5));
    b.finish();
    assert_eq!(b.stream.reg(5), 1);
    assert_eq!(b.env.get(DESC + 8), CHUNKS + 5 * CHUNK);
    assert_eq!(b.env.get(DESC + 16), CHUNKS + 5 * CHUNK + 64 + 0x0fc0);
    // An answer to nothing is nothing.
    b.stream.answer_oom(chunk(6));
    b.ring(&[idvs(), idvs(), wait(1)]);
    assert_eq!(b.said(), oom(2, 1, 0));
}

#[test]
fn other_work_goes_on_meanwhile() {
    let mut b = bench(1);
    b.ring(&[idvs(), idvs(), idvs(), mov32(5, 1)]);
    assert_eq!(b.said(), oom(1, 0, 0));
    b.said();
    assert_eq!(b.stream.reg(5), 1);
    assert_eq!(b.stream.status(&b.ring).scoreboards, 1);
}

#[test]
fn refused_without_hope_is_a_fault() {
    let mut b = bench(1);
    b.ring(&[
        idvs(),
        idvs(),
        idvs(),
        wait(1),
        mov32(5, 1),
        ErrorBarrier {},
    ]);
    assert_eq!(b.said(), oom(1, 0, 0));
    b.stream.answer_oom(0);
    assert!(stuck(b.said()));
    assert!(settle([&mut b.stream]));
    let failure = Failure {
        code: code::OOM,
        info: HEAP,
    };
    assert_eq!(b.said(), Outcome::Fault(failure));
    b.finish();
}

#[test]
fn refused_while_a_pass_is_rendered_waits_for_it() {
    // Stream 1 renders the first pass, while stream 0 tiles the second one.
    let mut b = bench(2);
    b.ring(&[idvs(), idvs(), idvs(), wait(1), operation(1), operation(0)]);
    b.ring(&[idvs(), idvs(), wait(1)]);
    assert_eq!(b.said(), oom(2, 1, 0));
    b.stream.answer_oom(0);
    assert!(!settle([&mut b.stream]));
    assert!(stuck(b.said()));
    let mut fragment = Stream::new(b.ring.insert);
    b.ring(&[mov(70, HEAP), HeapSet { address: 70 }]);
    b.ring(&give_back());
    let insert = b.ring.insert;
    loop {
        match fragment.run(&mut b.env, &b.ring, 100) {
            Outcome::Idle => break,
            Outcome::Waiting {
                until: Some(until), ..
            } => b.env.time = until,
            other => panic!("{other:?}"),
        }
    }
    b.ring.insert = insert - 48;
    b.finish();
    assert_eq!(b.env.get(HEAP + 8), 1);
}

/// A handler that gives the chunks of the tiler context back, as Mesa's do, and counts in r80.
fn handler() -> Vec<Instr> {
    vec![
        AddImm32 {
            immediate: 1,
            source: 80,
            dest: 80,
        },
        SetSbEntry {
            endpoint: 3,
            other: 2,
        },
        mov(90, CONTEXT),
        load(86, 0xf, 90, 40),
        wait(4),
        finish(false),
        mov(92, 0),
        store(92, 3, 90, 40),
        store(92, 3, 90, 48),
        wait(4),
        SetSbEntry {
            endpoint: 0,
            other: 0,
        },
    ]
}

fn set_handler(length: u32) -> [Instr; 3] {
    [
        mov(82, CODE),
        mov32(84, length),
        SetExceptionHandler {
            exception: 2,
            length: 84,
            address: 82,
        },
    ]
}

#[test]
fn refused_runs_the_handler_of_the_stream() {
    let mut b = bench(2);
    let length = b.block(CODE, &handler());
    b.ring(&set_handler(length));
    for _ in 0..8 {
        b.ring(&[idvs()]);
    }
    b.ring(&[wait(1), mov32(5, 1)]);
    let mut requests = 0;
    loop {
        match b.said() {
            Outcome::TilerOom(request) => {
                assert_eq!(request.vt_start, 1);
                requests += 1;
                b.stream.answer_oom(0);
                assert!(settle([&mut b.stream]));
            }
            Outcome::Idle => break,
            waiting if stuck(waiting) => assert!(settle([&mut b.stream])),
            other => panic!("{other:?}"),
        }
    }
    // Two chunks hold four; then they are given back once.
    assert_eq!((requests, b.stream.reg(80)), (1, 1));
    assert_eq!((b.stream.reg(5), b.stream.depth()), (1, 0));
}

#[test]
fn refused_runs_the_handler_of_another_stream_that_waits() {
    // As PanVK does it: the fragment stream waits for the vertex stream, and has the handler.
    let mut b = bench(1);
    b.ring(&[
        idvs(),
        idvs(),
        idvs(),
        wait(1),
        mov(0, DATA + 0x400),
        mov(2, 1),
        add64(0, 2),
    ]);
    let vertex_end = b.ring.insert;
    let length = b.block(CODE, &handler());
    let mut fragment = Stream::new(vertex_end);
    b.ring(&[mov(70, HEAP), HeapSet { address: 70 }]);
    b.ring(&set_handler(length));
    b.ring(&[
        mov(0, DATA + 0x400),
        mov(2, 0),
        wait64(0, 2, 1),
        mov32(5, 1),
    ]);
    let all = b.ring;
    b.ring.insert = vertex_end;

    assert_eq!(b.said(), oom(1, 0, 0));
    let waits = fragment.run(&mut b.env, &all, 100);
    assert!(stuck(waits));
    b.stream.answer_oom(0);
    assert!(settle([&mut b.stream, &mut fragment]));
    while fragment.depth() != 0 || fragment.reg(80) == 0 {
        match fragment.run(&mut b.env, &all, 100) {
            Outcome::Waiting { until, .. } => b.env.time = until.unwrap_or(b.env.time),
            Outcome::More => {}
            other => panic!("{other:?}"),
        }
    }
    // It waits again for what it waited for, and the vertex stream goes on.
    assert_eq!(fragment.run(&mut b.env, &all, 100), waits);
    settle([&mut b.stream, &mut fragment]);
    b.finish();
    assert_eq!(fragment.run(&mut b.env, &all, 100), Outcome::Idle);
    assert_eq!((fragment.reg(5), fragment.reg(80)), (1, 1));
}

#[test]
fn refused_after_a_handler_that_gave_nothing_is_a_fault() {
    let mut b = bench(1);
    let length = b.block(CODE, &[mov32(80, 1)]);
    b.ring(&set_handler(length));
    b.ring(&[idvs(), idvs(), idvs(), wait(1)]);
    assert_eq!(b.said(), oom(1, 0, 0));
    b.stream.answer_oom(0);
    assert!(settle([&mut b.stream]));
    assert!(stuck(b.said()));
    assert_eq!(b.stream.reg(80), 1);
    assert!(settle([&mut b.stream]));
    let failure = Failure {
        code: code::OOM,
        info: HEAP,
    };
    assert_eq!(b.said(), Outcome::Fault(failure));
}

#[test]
fn refused_waits_for_a_handler_that_is_set_later() {
    let mut b = bench(1);
    let length = b.block(CODE, &handler());
    b.ring(&set_handler(length));
    b.ring(&[
        mov(82, 0),
        mov32(84, 0),
        SetExceptionHandler {
            exception: 2,
            length: 84,
            address: 82,
        },
    ]);
    b.ring(&[idvs(), idvs(), idvs()]);
    assert_eq!(b.said(), oom(1, 0, 0));
    b.stream.answer_oom(0);
    for _ in 0..3 {
        assert!(!settle([&mut b.stream]));
        b.said();
    }
    b.ring(&set_handler(length));
    b.ring(&[wait(1)]);
    b.said();
    assert!(settle([&mut b.stream]));
    b.said();
    assert!(settle([&mut b.stream]));
    b.finish();
    assert_eq!(b.stream.reg(80), 1);
}

#[test]
fn answered_after_a_suspend_it_is_asked_again() {
    for refuse in [false, true] {
        let mut b = bench(1);
        b.ring(&[idvs(), idvs(), idvs(), wait(1), mov32(5, 1)]);
        assert_eq!(b.said(), oom(1, 0, 0));
        if refuse {
            b.stream.answer_oom(0);
        }
        let image = b.stream.save(b.env.time).unwrap();
        b.stream = Stream::load(&image, b.env.time).unwrap();
        // The host takes a chunk back that it could not deliver; nobody gets it by accident.
        b.stream.answer_oom(chunk(3));
        assert_eq!(b.said(), oom(1, 0, 0));
        b.stream.answer_oom(chunk(4));
        let image = b.stream.save(b.env.time).unwrap();
        b.stream = Stream::load(&image, b.env.time).unwrap();
        b.finish();
        assert_eq!(b.stream.reg(5), 1);
        assert_eq!(b.env.get(DESC + 8), CHUNKS + 4 * CHUNK);
    }
}

#[test]
fn a_heap_that_is_gone_or_makes_no_sense() {
    // No HEAP_SET.
    let mut b = Bench::new();
    b.ring(&[operation(0)]);
    assert!(matches!(
        b.run(),
        Outcome::Fault(Failure {
            code: code::DATA_INVALID,
            info: 0
        })
    ));
    // Unmapped.
    let mut b = Bench::new();
    b.ring(&[mov(0, 0x5000), HeapSet { address: 0 }, operation(0)]);
    assert!(matches!(
        b.run(),
        Outcome::Fault(Failure {
            code: code::CS_BUS_FAULT,
            info: 0x5000
        })
    ));
    // A descriptor of nothing.
    let mut b = bench(1);
    b.env.put(CONTEXT + 24, &[0]);
    b.ring(&[idvs(), wait(1)]);
    assert!(matches!(
        b.said(),
        Outcome::Fault(Failure {
            code: code::DATA_INVALID,
            ..
        })
    ));
    // A chunk too small for what is needed.
    let mut b = bench(1);
    b.env.tiler_bytes = 0x10000;
    b.ring(&[idvs(), wait(1)]);
    assert_eq!(b.said(), oom(1, 0, 0));
    b.stream.answer_oom(chunk(2));
    assert!(matches!(
        b.said(),
        Outcome::Fault(Failure {
            code: code::DATA_INVALID,
            ..
        })
    ));
    assert_eq!(b.env.odd("cs-bad-heap"), 1);
    // An operation that does not exist.
    let mut b = bench(1);
    b.ring(&[operation(2)]);
    assert!(matches!(b.run(), Outcome::Fatal(_)));
}

#[test]
fn finish_fragment_twice_makes_no_ring() {
    let mut b = bench(2);
    b.ring(&[idvs(), idvs(), idvs(), wait(1)]);
    b.ring(&give_back());
    b.ring(&give_back());
    b.finish();
    assert_eq!(b.env.get(HEAP + 16), chunk(0));
    assert_eq!(b.env.get(CHUNKS), 0);
    assert_eq!(b.env.get(HEAP + 8), 2);
}

#[test]
fn locked_in_the_middle_of_anything() {
    // Each part of memory is locked for a while at each point, and the result is the same.
    let build = || {
        let mut b = bench(2);
        b.ring(&[idvs(), idvs(), idvs(), idvs(), wait(1), operation(1)]);
        b.ring(&give_back());
        b.ring(&[idvs(), wait(1)]);
        b
    };
    let mut straight = build();
    straight.finish();
    let want = straight.env.memory.clone();
    let places = [
        CONTEXT..CONTEXT + 64,
        HEAP..HEAP + 16,
        HEAP + 16..HEAP + 24,
        HEAP + 24..HEAP + 32,
        DESC..DESC + 16,
        DESC + 16..DESC + 32,
        CHUNKS..CHUNKS + 8,
        CHUNKS + CHUNK..CHUNKS + CHUNK + 8,
    ];
    for place in places {
        for step in 0..30 {
            let mut b = build();
            for _ in 0..step {
                b.stream.run(&mut b.env, &b.ring, 1);
                b.env.time += 1_000;
            }
            b.env.locked = place.clone();
            for _ in 0..20 {
                b.run();
                b.env.time += 1_000;
            }
            b.env.locked = 0..0;
            b.finish();
            assert!(b.env.memory == want, "{place:x?} {step}");
        }
    }
}
