// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Suspend and resume.

use super::*;
use crate::cs::rng::Rng;
use crate::cs::suspend::IMAGE;

/// A program with something of everything in it.
fn program(b: &mut Bench) {
    b.env.delay = 200;
    b.env.spread = 3_000;
    let inner = b.block(
        CODE + 1024,
        &[
            load(40, 0xffff, 0, 64),
            AddImm32 {
                immediate: 1,
                source: 10,
                dest: 10,
            },
            wait(2),
            store(40, 0xffff, 0, 256),
            AddImm32 {
                immediate: -1,
                source: 6,
                dest: 6,
            },
            Branch {
                offset: -6,
                condition: 1,
                value: 6,
            },
        ],
    );
    let length = b.block(
        CODE,
        &[
            SetSbEntry {
                endpoint: 3,
                other: 1,
            },
            mov(0, DATA),
            mov32(6, 20),
            mov(2, CODE + 1024),
            mov32(4, inner),
            ReqResource {
                compute: true,
                fragment: true,
                tiler: true,
                idvs: true,
            },
            call(2, 4),
            mov(8, DATA + 512),
            mov(12, 3),
            SyncAdd64 {
                propagate: true,
                scope: 2,
                wait: 2,
                data: 12,
                address: 8,
                signal: 4,
            },
            ProgressStore { source: 12 },
            wait64(8, 14, 1),
        ],
    );
    for n in 0..16 {
        b.env.put(DATA + 64 + 8 * n, &[n * 0x1_0001]);
    }
    b.ring(&kernel_job(CODE, length, DATA + 640));
    b.ring(&kernel_job(CODE, length, DATA + 640));
}

/// Registers and memory at the end.
fn result(b: &Bench) -> (Vec<u32>, Vec<u8>, u64) {
    let regs = (0..96).map(|n| b.stream.reg(n)).collect();
    (regs, b.env.memory.clone(), b.stream.progress())
}

#[test]
fn suspended_anywhere_comes_to_the_same_end() {
    let mut straight = Bench::new();
    program(&mut straight);
    straight.finish();
    let want = result(&straight);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let mut b = Bench::new();
        program(&mut b);
        let mut suspends = 0;
        loop {
            let budget = rng.below(30) as u32;
            match b.stream.run(&mut b.env, &b.ring, budget) {
                Outcome::Idle => break,
                Outcome::Waiting {
                    until: Some(until), ..
                } if rng.below(2) == 0 => b.env.time = until,
                Outcome::Waiting { .. } | Outcome::More => {}
                other => panic!("{other:?}"),
            }
            let image = b.stream.save(b.env.time).unwrap();
            assert!(image.len() <= IMAGE);
            // Nothing but the image remains, and time passes meanwhile.
            b.stream = Stream::default();
            b.env.time += rng.below(10_000);
            b.stream = Stream::load(&image, b.env.time).unwrap();
            assert_eq!(b.stream.save(b.env.time), Some(image));
            suspends += 1;
            assert!(suspends < 10_000, "no end: {:?}", b.stream);
        }
        assert!(suspends > 10);
        assert_eq!(result(&b), want, "seed {seed}");
    }
}

#[test]
fn what_was_waited_for_is_waited_for_again() {
    let mut b = Bench::new();
    b.ring(&[mov(0, DATA), mov(2, 1), wait64(0, 2, 1), mov32(4, 1)]);
    let before = b.run();
    let image = b.stream.save(0).unwrap();
    b.stream = Stream::load(&image, 0).unwrap();
    assert_eq!(b.run(), before);
    b.env.put(DATA, &[2]);
    b.finish();
    assert_eq!(b.stream.reg(4), 1);
}

#[test]
fn the_largest_image_fits() {
    let mut b = Bench::new();
    b.env.delay = 1 << 40;
    b.ring(&[mov(0, DATA)]);
    for _ in 0..100 {
        b.ring(&[store(0, 0xffff, 0, 0)]);
    }
    b.run();
    b.stream.depth = 15;
    let len = b.stream.save(0).unwrap().len();
    assert!(len > 3000 && len <= IMAGE, "{len}");
}

#[test]
fn an_image_that_was_written_over() {
    let mut b = Bench::new();
    program(&mut b);
    b.stream.run(&mut b.env, &b.ring, 100);
    let image = b.stream.save(b.env.time).unwrap();
    for at in 0..image.len() {
        let mut bad = image.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(Stream::load(&bad, 0).is_none(), "byte {at}");
    }
    for len in 0..image.len() {
        assert!(Stream::load(&image[..len], 0).is_none());
    }
    assert!(Stream::load(&vec![0; IMAGE], 0).is_none());
    // What comes behind it does not matter.
    let mut long = image.clone();
    long.resize(IMAGE, 0xff);
    assert!(Stream::load(&long, 0).is_some());
}

#[test]
fn an_image_with_a_right_checksum_and_wrong_contents() {
    // Whatever is accepted can be executed without harm.
    let mut rng = Rng::new(3);
    let mut b = Bench::new();
    program(&mut b);
    b.stream.run(&mut b.env, &b.ring, 60);
    let image = b.stream.save(b.env.time).unwrap();
    let mut accepted = 0;
    for _ in 0..5_000 {
        let mut bad = image.clone();
        crate::cs::suspend::spoil(&mut bad, &mut rng);
        if let Some(mut stream) = Stream::load(&bad, 0) {
            accepted += 1;
            stream.run(&mut b.env, &b.ring, 200);
        }
    }
    assert!(accepted > 500, "{accepted}");
}
