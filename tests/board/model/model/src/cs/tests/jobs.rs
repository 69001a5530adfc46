// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Jobs of the shader cores, as a stream sees them: with PanVK's own fill kernel.

use super::*;
use crate::cs::env::Memory;
use crate::cs::state::{code, Failure, Why};

/// The kernel, its descriptors and the job, as PanVK made them.
const FILL: &str = include_str!("../../shader/vectors/fill.txt");
/// What is filled, with a page behind it.
const TARGET: u64 = 0xffe1_0000;
/// Arguments of the kernel: address, value and size.
const ARGUMENTS: u64 = 0xffdc_3090;
/// First instruction of the kernel.
const SHADER: u64 = 0xffdd_3000;
const COMPUTE: Instr = RunCompute {
    increment: 1,
    axis: 0,
    progress: true,
    srt: 0,
    spd: 0,
    tsd: 0,
    fau: 0,
};

/// A stream with the registers of the job.
fn bench() -> Bench {
    let mut b = Bench::new();
    b.env = Flat::new(0xffdc_0000, 0x22_0000);
    b.ring.base = 0xffe0_0000;
    let hex = |word: &str| u64::from_str_radix(word, 16).unwrap();
    for line in FILL.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] == "job" {
            for (pair, word) in [0, 8, 16, 24].into_iter().zip(&words[1..]) {
                b.stream.set_reg(pair, hex(word) as u32);
                b.stream.set_reg(pair + 1, (hex(word) >> 32) as u32);
            }
            b.stream.set_reg(33, hex(words[5]) as u32);
            for n in 0..6 {
                b.stream.set_reg(34 + n, words[6 + n].parse().unwrap());
            }
        } else {
            let words: Vec<u64> = words.iter().map(|word| hex(word)).collect();
            if words[0] >= b.env.base && words[0] < ARGUMENTS || words[0] > ARGUMENTS {
                b.env.put(words[0], &words[1..]);
            }
        }
    }
    b.env.put(ARGUMENTS, &[TARGET, 0x1000_dead_beef]);
    let sb = SetSbEntry {
        endpoint: 3,
        other: 0,
    };
    let compute = ReqResource {
        compute: true,
        fragment: false,
        tiler: false,
        idvs: false,
    };
    put(&mut b, &[sb, compute, mov(60, TARGET)]);
    b
}

fn put(b: &mut Bench, code: &[Instr]) {
    for instr in code {
        b.env.put(b.ring.base + b.ring.insert, &[instr.encode()]);
        b.ring.insert += 8;
    }
}

fn filled(b: &mut Bench) -> usize {
    let at = (TARGET - b.env.base) as usize;
    let words = b.env.memory[at..at + 0x2000].chunks_exact(4);
    words
        .filter(|word| **word == [0xef, 0xbe, 0xad, 0xde])
        .count()
}

#[test]
fn a_job_is_late_and_its_slot_is_waited_for() {
    let mut b = bench();
    put(
        &mut b,
        &[
            COMPUTE,
            // Its registers were read.
            mov(16, 0),
            mov32(37, 1000),
            wait(8),
            load(64, 1, 60, 0),
            wait(1),
        ],
    );
    b.env.delay = 20_000;
    loop {
        match b.run() {
            Outcome::Waiting {
                why: Why::Scoreboard(8),
                until: Some(until),
            } => {
                assert_eq!(filled(&mut b), 0);
                b.env.time = until;
                break;
            }
            Outcome::Waiting {
                until: Some(until), ..
            } => b.env.time = until,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(filled(&mut b), 1024);
    assert_eq!(b.stream.reg(64), 0xdead_beef);
    assert_eq!(b.stream.progress(), 1);
    assert!(b.env.odd.is_empty(), "{:?}", b.env.odd);
}

#[test]
fn without_a_resource_it_is_counted() {
    let mut b = bench();
    let none = ReqResource {
        compute: false,
        fragment: false,
        tiler: true,
        idvs: false,
    };
    put(&mut b, &[none, COMPUTE, wait(8)]);
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!((filled(&mut b), b.env.odd("cs-no-resource")), (1024, 1));
}

#[test]
fn a_job_is_not_in_an_image_once_it_runs() {
    let mut b = bench();
    b.env.delay = 50_000;
    b.stream.set_reg(37, 600);
    put(&mut b, &[COMPUTE, COMPUTE, wait(8)]);
    // Before it has begun, it is.
    while !matches!(
        b.run(),
        Outcome::Waiting {
            why: Why::Scoreboard(8),
            ..
        }
    ) {
        b.env.time += 1_000;
    }
    let image = b.stream.save(b.env.time).unwrap();
    b.stream = Stream::load(&image, b.env.time).unwrap();
    b.env.time += 100_000;
    let mut busy = 0;
    loop {
        match b.run() {
            Outcome::Idle => break,
            Outcome::More => {
                busy += usize::from(b.stream.busy());
                assert_eq!(b.stream.save(0).is_none(), b.stream.busy());
            }
            Outcome::Waiting { until, .. } => b.env.time = until.unwrap(),
            other => panic!("{other:?}"),
        }
    }
    // A million instructions of threads, in slices; between them others have their turn.
    assert!(busy > 20, "{busy}");
    assert!(!b.stream.busy());
    assert_eq!(filled(&mut b), 1024);
}

#[test]
fn the_stream_executes_while_a_job_runs() {
    let mut b = bench();
    b.stream.set_reg(37, 700);
    put(&mut b, &[COMPUTE]);
    for _ in 0..400 {
        put(&mut b, &[Nop { ignored: 0 }]);
    }
    put(&mut b, &[mov32(70, 1), wait(8)]);
    while b.stream.reg(70) == 0 {
        b.run();
    }
    assert!(b.stream.busy());
    assert_eq!(b.said(), Outcome::Idle);
}

#[test]
fn what_is_not_known_faults_and_stores_nothing() {
    let mut b = bench();
    b.env.put(SHADER + 64, &[0x00ff_0000_0000_0000]);
    put(&mut b, &[COMPUTE, wait(8)]);
    let Outcome::Fault(Failure { code: 0x51, info }) = b.said() else {
        panic!("no fault");
    };
    assert_eq!(info, SHADER + 64);
    assert_eq!(b.env.odd("job-invalid-encoding"), 1);
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(filled(&mut b), 0);
    assert!(!b.stream.busy());
}

#[test]
fn memory_that_is_locked_or_not_there() {
    let mut b = bench();
    put(&mut b, &[COMPUTE, wait(8)]);
    b.env.locked = TARGET + 0x800..TARGET + 0x900;
    for _ in 0..10 {
        b.env.time += 10_000;
        assert_eq!(b.said(), Outcome::Locked);
        assert!(filled(&mut b) < 1024);
    }
    b.env.locked = 0..0;
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(filled(&mut b), 1024);

    let mut b = bench();
    b.env.put(ARGUMENTS, &[0x5_0000]);
    put(&mut b, &[COMPUTE, wait(8)]);
    let Outcome::Fault(Failure { code, info }) = b.said() else {
        panic!("no fault");
    };
    assert_eq!((code, info & !0xfff), (code::CS_BUS_FAULT, 0x5_0000));
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(b.env.load32(TARGET), Ok(0));
}

#[test]
fn a_frame_is_cleared() {
    // A linear target of 20x18 pixels of 8 bits a channel, 128 bytes a row.
    let mut b = Bench::new();
    let (frame, target) = (DATA, DATA + 0x80);
    let mut word = |va: u64, word: u32| b.env.store32(va, word).unwrap();
    word(frame + 32, 19 | 17 << 16);
    word(frame + 40, 19 | 17 << 16);
    word(target, 1 << 26);
    word(target + 4, 1 | 19 << 3 | 2 << 8 | 0x688 << 16 | 1 << 31);
    word(target + 32, DATA as u32 + 0x1000);
    word(target + 40, 128);
    for n in 0..4 {
        word(target + 48 + n * 4, 0xffbf_8040);
    }
    b.env.delay = 20_000;
    b.ring(&[
        ReqResource {
            compute: false,
            fragment: true,
            tiler: false,
            idvs: false,
        },
        mov(40, frame | 1),
        mov32(42, 0),
        mov32(43, 31 | 31 << 16),
        SetSbEntry {
            endpoint: 2,
            other: 0,
        },
        RunFragment {
            tile_map: false,
            order: 0,
            progress: false,
        },
        mov(40, 0),
        mov(60, DATA + 0x1000),
        load(62, 1, 60, 0),
        wait(4),
        load(63, 1, 60, 0),
        wait(1),
    ]);
    while b.stream.extract() < 64 {
        b.stream.run(&mut b.env, &b.ring, 1);
        b.env.time += 10_000;
    }
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(b.stream.reg(63), 0xffbf_8040);
    let at = (DATA + 0x1000 - BASE) as usize;
    let pixels = b.env.memory[at..at + 0x1000].chunks_exact(4);
    let coloured = pixels.filter(|pixel| **pixel == 0xffbf_8040_u32.to_le_bytes());
    assert_eq!(coloured.count(), 20 * 18);
    assert!(b.env.odd.is_empty(), "{:?}", b.env.odd);

    // A format that is not known is left alone, and counted.
    b.env
        .store32(target + 4, 1 | 21 << 3 | 2 << 8 | 0x688 << 16 | 1 << 31)
        .unwrap();
    b.ring(&[
        mov(40, frame | 1),
        RunFragment {
            tile_map: false,
            order: 0,
            progress: false,
        },
        wait(4),
    ]);
    assert_eq!(b.said(), Outcome::Idle);
    assert_eq!(b.env.odd("job-skipped"), 1);
}
