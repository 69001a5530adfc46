// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of faults on request.

use super::group::bit;
use super::group_tests::{job, Driver, DATA};
use super::layout::{Layout, GLOBAL_INPUT, GLOBAL_OUTPUT};
use crate::inject::Request;
use crate::irq::Line;
use crate::violations::Violation as V;

fn with(lines: &[&str]) -> Driver {
    let mut d = Driver::new(Layout::default());
    for line in lines {
        inject(&mut d, line);
    }
    d
}

fn inject(d: &mut Driver, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    d.b.gpu.inject(Request::parse(&words).unwrap())
}

#[test]
fn faults_of_streams() {
    let mut d = with(&["cs-fault 0x58 any 0"]);
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    assert_eq!(d.status(0, 0x80) & 0xff, 0x58);
    d.answer_events();
    assert_eq!(d.word(DATA + 0x88), 1, "passed on");
    d.b.clean();

    let mut d = with(&["cs-fatal 0x41 0 1"]);
    d.start();
    d.put(1, &job(1, 0));
    d.put(0, &job(2, 0));
    d.kick();
    assert_eq!(d.status(1, 0x84) & 0xff, 0x41);
    assert_eq!(d.status(0, 0x84), 0);
    assert_eq!(d.word(DATA), 2);
    d.b.clean();

    let mut d = with(&["mmu 0x123000 0 any"]);
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    assert_eq!(d.b.read(0x2000) & 2, 2);
    assert_eq!(d.b.read(0x2400 + 0x40 + 0x20), 0x12_3000);
    assert_eq!(d.b.read(0x2400 + 0x40 + 0x1c) & 0xff, 0xc3);
    assert_eq!(d.status(0, 0x84) & 0xff, 0x48);
    d.b.clean();
}

#[test]
fn streams_that_hang_or_are_slow() {
    let mut d = with(&["hang 0 0"]);
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    assert_eq!(d.word(DATA), 0);
    d.b.wait(60_000_000);
    d.b.work();
    assert_eq!(
        d.answer_events() & bit::PROGRESS,
        bit::PROGRESS,
        "reported after the progress timer"
    );
    d.suspend();
    d.resume();
    assert_eq!(d.word(DATA), 1, "it was to hang once");
    d.b.clean();

    let mut d = with(&["hang 0 0 always"]);
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    assert_eq!(d.word(DATA), 0);
    assert!(inject(&mut d, "list").contains("Hang"));
    inject(&mut d, "clear");
    assert_eq!(inject(&mut d, "list"), "");
    d.b.work();
    assert_eq!(d.word(DATA), 1);

    let mut d = with(&["slow 100 0 0 always"]);
    d.start();
    let before = d.b.gpu.env.clock.now();
    d.put(0, &job(1, 0));
    d.kick();
    for _ in 0..20 {
        d.b.wait(100_000);
        d.b.work();
    }
    assert_eq!(d.word(DATA), 1);
    assert!(d.b.gpu.env.clock.now() - before >= 700_000);
    d.b.clean();
}

#[test]
fn groups_that_do_not_answer() {
    let mut d = with(&["no-suspend 0"]);
    d.start();
    d.ask_state(2);
    assert_eq!(d.ack() & 7, 1);
    d.ask_state(0);
    assert_eq!(d.ack() & 7, 0, "but it can be terminated");

    let mut d = with(&["no-start 0"]);
    d.ask_state(1);
    assert_eq!(d.ack() & 7, 0);
    d.b.write(0x9_0000, 1);
    d.b.clean();
    d.ask_state(0);
    d.b.write(0x9_0000, 1);
    assert_eq!(d.b.count(V::DoorbellStopped), 1, "nothing is to be started");

    let mut d = with(&["corrupt-suspend any"]);
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    d.suspend();
    d.resume();
    assert_eq!(d.b.count(V::SuspendBuffer), 1);

    let mut d = with(&["progress 0"]);
    d.start();
    assert_eq!(d.answer_events() & bit::PROGRESS, bit::PROGRESS);
    d.b.clean();

    let mut d = with(&["no-ack 0 0x20"]);
    d.start();
    let before = d.ack();
    let at = d.group();
    let req = d.req();
    d.b.fw_write(at, req ^ bit::STATUS);
    d.ring(0);
    assert_eq!((d.ack() ^ before) & bit::STATUS, 0);
    d.ring(0);
    assert_eq!(
        (d.ack() ^ before) & bit::STATUS,
        bit::STATUS,
        "the second time"
    );
}

#[test]
fn a_microcontroller_that_is_gone() {
    for (line, status) in [("mcu dead", 1), ("mcu panic", 3)] {
        let mut d = with(&[line]);
        assert_eq!(d.b.read(0x704), status);
        let ack = d.b.fw_read(GLOBAL_OUTPUT);
        let req = d.b.fw_read(GLOBAL_INPUT);
        d.b.fw_write(GLOBAL_INPUT, req ^ 0x100);
        d.b.ring();
        assert_eq!(d.b.fw_read(GLOBAL_OUTPUT), ack);
        d.b.clean();
    }
    let mut d = with(&["no-ack global 0x100"]);
    let ack = d.b.fw_read(GLOBAL_OUTPUT);
    let req = d.b.fw_read(GLOBAL_INPUT);
    d.b.fw_write(GLOBAL_INPUT, req ^ 0x100);
    d.b.ring();
    assert_eq!(d.b.fw_read(GLOBAL_OUTPUT), ack);
}

#[test]
fn interrupts_lost_late_and_without_a_reason() {
    let mut d = with(&[]);
    d.b.write(0x1004, u32::MAX);
    let before = d.b.irqs(Line::Job);
    inject(&mut d, "irq spurious job");
    d.b.gpu.deliver();
    assert_eq!(d.b.irqs(Line::Job), before + 1);
    assert_eq!(d.b.read(0x100c), 0);

    inject(&mut d, "irq lost job");
    let req = d.b.fw_read(GLOBAL_INPUT);
    d.b.fw_write(GLOBAL_INPUT, req ^ 0x100);
    d.b.fw_write(GLOBAL_INPUT + 4, 0x100);
    d.b.ring();
    assert_eq!(d.b.irqs(Line::Job), before + 1);
    assert_ne!(d.b.read(0x100c), 0, "the register has it");
    d.b.write(0x1004, u32::MAX);

    inject(&mut d, "irq late job 900000");
    d.b.fw_write(GLOBAL_INPUT, req);
    d.b.ring();
    assert_eq!(d.b.irqs(Line::Job), before + 1);
    d.b.wait(900_000_000);
    assert_eq!(d.b.irqs(Line::Job), before + 2);
}
