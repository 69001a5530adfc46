// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Threads that execute streams, against address space commands.

use super::speed::{device, fw_read, fw_write, go, threads};
use crate::inject::Request;
use crate::mcu::layout::{Layout, GLOBAL_INPUT};
use crate::shared::Shared;
use crate::testing::{leaf, Bench};
use std::time::{Duration, Instant};

/// Where its instructions are.
const CODE: u64 = 0x300_0000;
/// What the stream stores to.
const DATA: u64 = 0x200_0000;
/// How long to wait for what must come. Nothing is said about how long it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// Calls what is at [`CODE`].
const RING: [u64; 3] = [
    (1 << 56) | (8 << 48) | CODE,
    (2 << 56) | (10 << 48) | (8 * COUNT.len() as u64),
    (32 << 56) | (8 << 40) | (10 << 32),
];

/// Counts in r6, and stores it at [`DATA`], without an end.
const COUNT: [u64; 6] = [
    (1 << 56) | (4 << 48) | DATA,
    (2 << 56) | (6 << 48),
    (16 << 56) | (6 << 48) | (6 << 40) | 1,
    (21 << 56) | (6 << 48) | (4 << 40) | (1 << 16),
    (3 << 56) | (0xff << 16),
    (22 << 56) | (6 << 28) | 0xfffc,
];

fn write(shared: &Shared, offset: u64, value: u32) {
    shared.access(|gpu| gpu.mmio_write(offset, &value.to_le_bytes()));
}

fn read(shared: &Shared, offset: u64) -> u32 {
    let mut bytes = [0; 4];
    shared.access(|gpu| gpu.mmio_read(offset, &mut bytes));
    u32::from_le_bytes(bytes)
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "{what}");
        std::thread::yield_now();
    }
}

/// A command of address space 1, until it is over.
fn command(shared: &Shared, command: u32) {
    write(shared, Bench::as_reg(1, 0x18), command);
    wait("an address space command", || {
        read(shared, Bench::as_reg(1, 0x28)) == 0
    });
}

/// The page behind a mapping is exchanged as a driver does it, again and again, while a stream on
/// another thread stores there: when LOCK is over nothing is stored until UNLOCK, and after that
/// nothing gets to the old page.
#[test]
fn nothing_is_stored_behind_a_lock() {
    let (mut b, root) = device(&[&RING]);
    let code = b.page();
    b.map(root, CODE, code, leaf::RW | leaf::XN);
    for (at, word) in (code..).step_by(8).zip(COUNT) {
        b.put(at, word);
    }
    let pages = [b.page(), b.page()];
    b.map(root, DATA, pages[0], leaf::RW | leaf::XN);
    let entry = b.entry(root, DATA, 3);
    let shared = threads(b);
    let word = |pa: u64| shared.access(|gpu| gpu.env.ram.read_u32(pa)).unwrap();
    go(&shared, 0, 8 * RING.len() as u32);
    for round in 0..100 {
        let (old, new) = (pages[round % 2], pages[(round + 1) % 2]);
        let before = word(old);
        wait("a store", || word(old) != before);

        write(&shared, Bench::as_reg(1, 0x10), DATA as u32 | 14);
        command(&shared, 2);
        let locked = word(old);
        std::thread::sleep(Duration::from_micros(200));
        assert_eq!(word(old), locked, "round {round}: stored behind the lock");
        let leaf = new | leaf::RW | leaf::XN;
        shared
            .access(|gpu| gpu.env.ram.write_u64(entry, leaf))
            .unwrap();
        write(&shared, 0x30, 0x23304);
        wait("a flush", || read(&shared, 0x20) & (1 << 17) != 0);
        write(&shared, 0x24, 1 << 17);
        command(&shared, 3);

        let before = word(new);
        wait("a store to the new page", || word(new) != before);
        assert_eq!(word(old), locked, "round {round}: stored to the old page");
    }
    write(&shared, 0x700, 0);
    let violations = shared.inspect(|gpu| gpu.env.violations.total());
    assert_eq!(violations, 0);
}

/// A stream with a fault goes on when the host has acknowledged it and rung the group's doorbell. The
/// threads sleep then, and must be told.
#[test]
fn an_answer_wakes_the_threads() {
    let (mut b, root) = device(&[&RING]);
    let (code, data) = (b.page(), b.page());
    b.map(root, CODE, code, leaf::RW | leaf::XN);
    b.map(root, DATA, data, leaf::RW | leaf::XN);
    // ERROR_BARRIER in place of a MOVE that is not needed.
    let go_on = COUNT.into_iter().enumerate().map(|(n, word)| match n {
        1 => 47 << 56,
        _ => word,
    });
    for (at, word) in (code..).step_by(8).zip(go_on) {
        b.put(at, word);
    }
    let request = ["cs-fault", "0x58", "0", "0"];
    b.gpu.inject(Request::parse(&request).unwrap());
    let shared = threads(b);
    go(&shared, 0, 8 * RING.len() as u32);
    let layout = Layout::default();
    let (group, stream) = (layout.group_input(0), layout.stream_input(0, 0));
    let fault = 1 << 31;
    wait("the fault", || {
        (fw_read(&shared, stream) ^ fw_read(&shared, stream + 0x100)) & fault != 0
    });
    std::thread::sleep(Duration::from_millis(20));
    let word = |pa: u64| shared.access(|gpu| gpu.env.ram.read_u32(pa)).unwrap();
    assert_eq!(word(data), 0);
    let req = fw_read(&shared, stream);
    fw_write(&shared, stream, req ^ fault);
    let served = fw_read(&shared, group + 0x108);
    fw_write(&shared, group + 8, served ^ 1);
    let served = fw_read(&shared, GLOBAL_INPUT + 0x108);
    fw_write(&shared, GLOBAL_INPUT + 8, served ^ 1);
    write(&shared, 0x8_0000, 1);
    wait("a store", || word(data) != 0);
    write(&shared, 0x700, 0);
    let violations = shared.inspect(|gpu| gpu.env.violations.total());
    assert_eq!(violations, 0);
}
