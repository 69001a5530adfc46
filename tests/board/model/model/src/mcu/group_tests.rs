// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of groups: what a driver does to them, rightly and wrongly.

use super::group::{bit, State};
use super::layout::{group_input, stream_input, Layout, Version};
use super::{slot, Mcu};
use crate::counters::Counter;
use crate::irq::Line;
use crate::testing::{leaf, Bench};
use crate::violations::Violation as V;

/// Where things are in the address space of the group.
const RING: u64 = 0x100_0000;
const CODE: u64 = 0x200_0000;
pub(super) const DATA: u64 = 0x300_0000;
/// Where things are in that of the firmware.
const QUEUE: u32 = 0x0500_0000;
const SUSPEND: u32 = 0x0600_0000;
/// Its address space.
const AS: u64 = 1;

/// A driver with one group of two streams for slot 0.
pub(super) struct Driver {
    pub(super) b: Bench,
    layout: Layout,
    root: u64,
    fw_root: u64,
    insert: [u64; 2],
}

fn mov48(to: u64, value: u64) -> u64 {
    1 << 56 | to << 48 | value
}
fn mov32(to: u64, value: u64) -> u64 {
    2 << 56 | to << 48 | value
}
fn store(address: u64, from: u64) -> u64 {
    21 << 56 | from << 48 | address << 40 | 1 << 16
}
fn sync_add(address: u64, value: u64, scope: u64) -> u64 {
    51 << 56 | address << 40 | value << 32 | scope << 1 | 1
}
fn sync_wait_gt(address: u64, value: u64) -> u64 {
    53 << 56 | address << 40 | value << 32 | 1 << 28
}
const WAIT: u64 = 3 << 56 | 0xff << 16;
const UNKNOWN: u64 = 0xfe << 56;

impl Driver {
    pub(super) fn new(layout: Layout) -> Self {
        let mut b = Bench::powered();
        b.gpu.mcu = Mcu::new(layout, 7);
        let fw_root = b.load_firmware();
        let pages = 5 + layout.suspend_size().div_ceil(4096);
        for page in 0..4 {
            let pa = b.page();
            b.map(
                fw_root,
                u64::from(QUEUE + page * 4096),
                pa,
                leaf::UNCACHED | leaf::XN,
            );
        }
        for page in 0..pages {
            let pa = b.page();
            b.map(
                fw_root,
                u64::from(SUSPEND + page * 4096),
                pa,
                leaf::RW | leaf::XN,
            );
        }
        b.start_mcu();
        let root = b.enable(AS);
        for va in [RING, CODE, DATA] {
            let pa = b.page();
            b.map(root, va, pa, leaf::RW | leaf::XN);
        }
        let mut driver = Self {
            b,
            layout,
            root,
            fw_root,
            insert: [0; 2],
        };
        // Idle after 1 ms, no progress after 50 ms.
        let global = super::layout::GLOBAL_INPUT;
        driver.b.fw_write(global + 0x80, 61);
        driver.b.fw_write(global + 0x10, 48_828);
        driver.b.fw_write(global + 0x04, 0x0400_050e);
        driver.b.fw_write(global, 0x48e);
        driver.b.ring();
        driver
    }

    pub(super) fn group(&self) -> u32 {
        self.layout.group_input(0)
    }

    fn stream(&self, n: u32) -> u32 {
        self.layout.stream_input(0, n)
    }

    fn fw_write64(&mut self, at: u32, value: u64) {
        self.b.fw_write(at, value as u32);
        self.b.fw_write(at + 4, (value >> 32) as u32);
    }

    fn pa(&mut self, va: u64) -> u64 {
        let at = self.b.entry(self.root, va, 3);
        (self.b.gpu.env.ram.read_u64(at).unwrap() & 0xffff_ffff_f000) + va % 4096
    }

    pub(super) fn word(&mut self, va: u64) -> u64 {
        let pa = self.pa(va);
        self.b.gpu.env.ram.read_u64(pa).unwrap()
    }

    /// Programs both streams.
    fn program(&mut self) {
        for n in 0..2 {
            let at = self.stream(n);
            let queue = QUEUE + n * 8192;
            self.fw_write64(at + stream_input::RING_BASE, RING + u64::from(n) * 2048);
            self.b.fw_write(at + stream_input::RING_SIZE, 4096);
            self.fw_write64(at + stream_input::RING_INPUT, u64::from(queue));
            self.fw_write64(at + stream_input::RING_OUTPUT, u64::from(queue + 4096));
            self.b.fw_write(at + stream_input::CONFIG, 1 << 8 | 1);
            self.b.fw_write(at + stream_input::ACK_IRQ_MASK, u32::MAX);
            let out = self.b.fw_read(queue + 4096);
            self.b.fw_write(queue + 8, out);
            let req = self.b.fw_read(at) & !7;
            self.b.fw_write(
                at,
                req | 1 | slot::bit::IDLE_EMPTY | slot::bit::IDLE_SYNC_WAIT,
            );
        }
        let at = self.group();
        let wide = self.layout.version.wide_endpoint();
        let endpoint = if wide {
            group_input::ENDPOINT_WIDE
        } else {
            group_input::ENDPOINT
        };
        self.b.fw_write(at + endpoint, 0xf011_0404);
        self.fw_write64(at + group_input::SUSPEND_BUF, u64::from(SUSPEND));
        self.b.fw_write(at + group_input::CONFIG, AS as u32);
        self.b.fw_write(at + 4, u32::MAX);
    }

    pub(super) fn req(&mut self) -> u32 {
        let at = self.group();
        self.b.fw_read(at)
    }

    pub(super) fn ack(&mut self) -> u32 {
        let at = self.group();
        self.b.fw_read(at + 0x100)
    }

    /// Toggles the doorbells of streams, and of the group, and rings.
    pub(super) fn ring(&mut self, streams: u32) {
        let at = self.group();
        let served = self.b.fw_read(at + 0x108);
        self.b.fw_write(at + 8, served ^ streams);
        let global = super::layout::GLOBAL_INPUT;
        let bells = self.b.fw_read(global + 8);
        self.b.fw_write(global + 8, bells ^ 1);
        self.b.ring();
    }

    pub(super) fn ask_state(&mut self, state: u32) {
        let at = self.group();
        let toggles = if matches!(state, 1 | 3) {
            (!self.ack()) & bit::ENDPOINT
        } else {
            self.req() & bit::ENDPOINT
        };
        let req = self.req() & !(7 | bit::ENDPOINT) | state | toggles;
        self.b.fw_write(at, req);
        self.ring(3);
    }

    pub(super) fn start(&mut self) {
        self.program();
        self.ask_state(1);
        assert_eq!(self.ack() & 7, 1);
    }

    pub(super) fn suspend(&mut self) {
        self.ask_state(2);
        assert_eq!(self.ack() & 7, 2);
        self.stop_streams();
    }

    pub(super) fn stop_streams(&mut self) {
        for n in 0..2 {
            let at = self.stream(n);
            let req = self.b.fw_read(at) & !7;
            self.b.fw_write(at, req);
        }
    }

    pub(super) fn resume(&mut self) {
        self.program();
        self.ask_state(3);
        assert_eq!(self.ack() & 7, 3);
    }

    /// Acknowledges the events of the group and of the streams.
    pub(super) fn answer_events(&mut self) -> u32 {
        let at = self.group();
        let (req, ack) = (self.req(), self.ack());
        let events = (req ^ ack) & bit::EVENTS;
        let flags = self.b.fw_read(at + 0x10c);
        self.b.fw_write(at + 0xc, flags);
        self.b.fw_write(at, req ^ events);
        let mut answered = 0;
        for n in 0..2 {
            let at = self.stream(n);
            let (req, ack) = (self.b.fw_read(at), self.b.fw_read(at + 0x100));
            let seen = (req ^ ack) & (slot::bit::FATAL | slot::bit::FAULT);
            self.b.fw_write(at, req ^ seen);
            if seen != 0 {
                answered |= 1 << n;
            }
        }
        self.ring(answered);
        events
    }

    /// Puts instructions into a ring.
    pub(super) fn put(&mut self, n: u32, words: &[u64]) {
        for word in words {
            let base = RING + u64::from(n) * 2048;
            let pa = self.pa(base) + self.insert[n as usize];
            self.b.put(pa, *word);
            self.insert[n as usize] += 8;
        }
        self.fw_write64(QUEUE + n * 8192, self.insert[n as usize]);
    }

    /// Rings the doorbell page of the group.
    pub(super) fn kick(&mut self) {
        self.b.write(0x9_0000, 1);
        self.b.work();
    }

    fn extract(&mut self, n: u32) -> u32 {
        self.b.fw_read(QUEUE + n * 8192 + 4096)
    }

    pub(super) fn status(&mut self, n: u32, offset: u32) -> u32 {
        let at = self.stream(n);
        self.b.fw_read(at + 0x100 + offset)
    }

    pub(super) fn update_status(&mut self) {
        let at = self.group();
        let req = self.req() & !bit::STATUS | !self.ack() & bit::STATUS;
        self.b.fw_write(at, req);
        self.ring(0);
        assert_eq!((self.ack() ^ req) & bit::STATUS, 0);
    }
}

/// A store of a number, and a sync object that says so.
pub(super) fn job(value: u64, scope: u64) -> Vec<u64> {
    vec![
        mov48(4, DATA),
        mov32(6, value),
        store(4, 6),
        WAIT,
        mov48(8, DATA + 0x80),
        mov48(10, 1),
        sync_add(8, 10, scope),
    ]
}

#[test]
fn a_job_from_the_ring_to_the_interrupt() {
    for (version, groups, streams) in [("1.1", 3, 8), ("1.5", 8, 8), ("4.0", 16, 32), ("4.1", 4, 9)]
    {
        let mut d = Driver::new(Layout {
            version: Version::of(version).unwrap(),
            groups,
            streams,
        });
        d.start();
        assert_eq!(d.b.gpu.mcu.groups()[0].config.endpoint, 0xf011_0404);
        d.b.write(0x1004, u32::MAX);
        d.put(0, &job(0x1234, 0));
        assert_eq!(d.extract(0), 0, "no doorbell");
        d.kick();
        assert_eq!(d.word(DATA), 0x1234);
        assert_eq!(d.word(DATA + 0x80), 1);
        assert_eq!(d.extract(0), 56);
        assert_eq!(d.b.read(0x1000) & 1, 1);
        let events = d.answer_events();
        assert_eq!(events & bit::SYNC_UPDATE, bit::SYNC_UPDATE);
        d.b.clean();
    }
}

/// A stream waits for the counter of the other one, which gets there in two steps; in between the
/// group is suspended, and comes back.
#[test]
fn progress_wait_across_a_suspend() {
    let mut d = Driver::new(Layout::default());
    d.start();
    let mut words = vec![mov48(2, 2), 24 << 56 | 2 << 40 | 1];
    words.extend(job(0x77, 0));
    d.put(0, &words);
    d.kick();
    d.update_status();
    assert_eq!(d.status(0, 0x60), 2, "blocked: progress");
    d.put(1, &[mov48(0, 1), 42 << 56]);
    d.kick();
    assert_eq!(d.word(DATA), 0, "1 is not enough");
    d.suspend();
    d.resume();
    // The second step takes some time, in which the other stream looks, and waits.
    d.put(1, &[0x2400_5e00_0000_0233, 3 << 56 | 1 << 32 | 1 << 16]);
    d.kick();
    d.b.wait(20_000);
    d.b.work();
    assert_eq!(d.word(DATA), 0x77);
    // Its own counter, and one that there is not.
    d.put(
        0,
        &[mov48(2, 0), 24 << 56 | 2 << 40, 24 << 56 | 2 << 40 | 31],
    );
    d.kick();
    assert_eq!(d.status(0, 0x80) & 0xff, 0, "no fault");
    assert_eq!(d.status(0, 0x84) & 0xff, 0x49);
    d.b.clean();
}

/// The tiler needs a chunk of a heap whose context is not mapped, as after a driver took it away.
#[test]
fn a_heap_that_is_gone_is_counted() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &[mov48(2, 0x7770_0000), 48 << 56 | 2 << 40, 49 << 56]);
    d.kick();
    assert_eq!(d.b.count(V::HeapGone), 1);
}

#[test]
fn events_come_once_until_they_are_acknowledged() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &job(1, 0));
    d.kick();
    let ack = d.ack();
    d.put(0, &job(2, 0));
    d.kick();
    assert_eq!(d.ack() & bit::SYNC_UPDATE, ack & bit::SYNC_UPDATE);
    assert_eq!(d.answer_events(), bit::SYNC_UPDATE | bit::IDLE);
    d.put(0, &job(3, 2));
    d.kick();
    assert_eq!(d.answer_events(), bit::IDLE, "the scope was the group");
    d.put(0, &job(3, 0));
    d.kick();
    assert_eq!(d.answer_events(), bit::SYNC_UPDATE | bit::IDLE);
    d.b.clean();
    let at = d.group();
    let req = d.req();
    d.b.fw_write(at, req ^ bit::IDLE);
    d.ring(0);
    assert_eq!(d.b.count(V::EventAck), 1);
}

#[test]
fn an_idle_group_is_told_and_the_gpu_too() {
    let mut d = Driver::new(Layout::default());
    d.start();
    assert_eq!(d.answer_events(), bit::IDLE);
    let out = super::layout::GLOBAL_OUTPUT;
    assert_ne!(d.b.fw_read(out) & (1 << 26), 0);
    assert!(d.b.gpu.mcu.deadline().is_none(), "nothing runs on");
    // A stream that waits is idle as well.
    d.put(0, &[mov48(8, DATA), mov48(10, 4), sync_wait_gt(8, 10)]);
    d.kick();
    assert_eq!(d.answer_events(), bit::IDLE);
    d.update_status();
    assert_eq!(d.status(0, 0x60), 3);
    assert_eq!(d.status(0, 0x50), DATA as u32);
    assert_eq!(d.status(0, 0x58), 4);
    assert_eq!(d.status(0, 0x48) >> 24 & 0xc1, 0xc1);
    d.b.clean();
}

#[test]
fn streams_wait_for_each_other() {
    let mut d = Driver::new(Layout::default());
    d.start();
    let mut waiter = vec![mov48(8, DATA + 0x80), mov48(10, 0), sync_wait_gt(8, 10)];
    waiter.extend([mov48(4, DATA + 8), mov32(6, 77), store(4, 6), WAIT]);
    d.put(1, &waiter);
    d.kick();
    assert_eq!(d.word(DATA + 8), 0);
    d.put(0, &job(5, 2));
    d.kick();
    assert_eq!(d.word(DATA + 8), 77);
    d.b.clean();
}

#[test]
fn a_suspended_group_lives_in_its_buffer() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &[mov32(20, 4242)]);
    d.put(
        1,
        &[mov48(8, DATA + 0x80), mov48(10, 0), sync_wait_gt(8, 10)],
    );
    d.kick();
    d.suspend();
    assert_eq!(d.b.gpu.mcu.groups()[0].state, State::Empty);
    assert_eq!(d.status(1, 0x60), 3, "shown at suspend");
    assert_eq!(d.extract(0), 8);
    d.put(0, &[mov48(4, DATA), store(4, 20), WAIT]);
    d.put(0, &job(1, 2)[4..]);
    d.put(1, &[mov48(4, DATA + 8), mov32(6, 9), store(4, 6), WAIT]);
    d.resume();
    assert_eq!(d.word(DATA), 4242);
    assert_eq!(d.word(DATA + 8), 9);
    d.b.clean();
    assert_eq!(d.b.gpu.env.counters.get(Counter::GroupResume), 1);
}

#[test]
fn a_suspend_buffer_that_was_written_over_is_noticed() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &[mov32(20, 4242)]);
    d.kick();
    d.suspend();
    let word = d.b.fw_read(SUSPEND + 0x100);
    d.b.fw_write(SUSPEND + 0x100, word ^ 1);
    d.resume();
    assert_eq!(d.b.count(V::SuspendBuffer), 1);
    assert_eq!(d.status(0, 0x84) & 0xff, 0x68);
    let at = d.stream(0);
    assert_ne!(d.b.fw_read(at + 0x100) & slot::bit::FATAL, 0);
}

#[test]
fn faults_wait_for_the_host_and_a_barrier() {
    let mut d = Driver::new(Layout::default());
    d.start();
    // An address that is not aligned.
    let mut words = vec![mov48(8, DATA + 0x84), mov48(10, 0), sync_wait_gt(8, 10)];
    words.extend(job(3, 0));
    words.push(47 << 56);
    words.extend([mov48(4, DATA + 8), mov32(6, 6), store(4, 6), WAIT]);
    d.put(0, &words);
    d.b.write(0x1004, u32::MAX);
    d.kick();
    assert_ne!(d.b.read(0x1000) & 1, 0);
    assert_eq!(d.word(DATA + 0x80), 0, "the host has not seen it");
    assert_ne!(d.status(0, 0x80) & 0xff, 0);
    assert!(d.extract(0) <= 24);
    d.answer_events();
    assert_eq!(d.word(DATA), 0, "skipped");
    assert_eq!(d.word(DATA + 0x80), 1, "an error is passed on");
    assert_eq!(d.word(DATA + 0x88), 1);
    assert_eq!(d.word(DATA + 8), 6, "after the barrier");
    d.b.clean();
}

#[test]
fn a_fatal_fault_ends_the_stream() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &[UNKNOWN]);
    d.put(0, &job(3, 0));
    d.kick();
    assert_eq!(d.status(0, 0x84) & 0xff, 0x49);
    d.answer_events();
    assert_eq!(d.word(DATA), 0);
    d.put(1, &job(4, 0));
    d.kick();
    assert_eq!(d.word(DATA), 4, "the other one goes on");
    d.ask_state(0);
    assert_eq!(d.ack() & 7, 0);
    d.b.clean();
}

#[test]
fn terminate_forgets() {
    let mut d = Driver::new(Layout::default());
    d.start();
    d.put(0, &[mov32(20, 4242)]);
    d.kick();
    d.ask_state(0);
    assert_eq!(d.ack() & 7, 0);
    d.stop_streams();
    assert_eq!(d.b.gpu.mcu.groups()[0].state, State::Empty);
    d.b.clean();
    d.b.write(0x9_0000, 1);
    assert_eq!(d.b.count(V::DoorbellStopped), 1);
}

#[test]
fn an_endless_stream_can_be_suspended_and_terminated() {
    let mut d = Driver::new(Layout::default());
    d.start();
    // A branch to itself.
    d.put(0, &[22 << 56 | 6 << 28 | 0xffff]);
    d.b.write(0x9_0000, 1);
    d.b.gpu.run_mcu();
    for _ in 0..3 {
        assert!(d.b.step());
    }
    let work = d.b.gpu.mcu.take_work(0);
    let super::work::Offer::Work(work) = work else {
        panic!("{work:?}");
    };
    // A thread has it: the suspend waits.
    let at = d.group();
    let req = d.req() & !7 | 2;
    d.b.fw_write(at, req);
    let global = super::layout::GLOBAL_INPUT;
    let bells = d.b.fw_read(global + 8);
    d.b.fw_write(global + 8, bells ^ 1);
    d.b.write(0x8_0000, 1);
    d.b.gpu.run_mcu();
    d.b.sleep();
    d.b.gpu.run_mcu();
    assert_eq!(d.ack() & 7, 1);
    assert!(work.recall.load(std::sync::atomic::Ordering::Relaxed));
    assert!(!d.b.step());
    d.b.gpu.mcu.put_back(0, work, super::program::Outcome::More);
    d.b.gpu.run_mcu();
    assert_eq!(d.ack() & 7, 2);
    d.b.clean();
}

#[test]
fn requests_take_time_and_are_seen_once() {
    let mut d = Driver::new(Layout::default());
    d.start();
    let at = d.group();
    let before = d.ack();
    d.b.fw_write(at, before ^ bit::STATUS);
    let global = super::layout::GLOBAL_INPUT;
    let bells = d.b.fw_read(global + 8);
    d.b.fw_write(global + 8, bells ^ 1);
    d.b.write(0x8_0000, 1);
    d.b.gpu.run_mcu();
    assert_eq!(d.ack(), before, "not at once");
    // Toggled back before it was done: as if it had not been asked.
    d.b.fw_write(at, before);
    d.b.work();
    assert_eq!((d.ack() ^ before) & !bit::EVENTS, 0);
    d.b.clean();
}

#[test]
fn acknowledgements_come_one_by_one_in_any_order() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut d = Driver::new(Layout::default());
        d.b.gpu.mcu.dice = crate::clock::Dice::new(seed);
        d.program();
        let at = d.group();
        d.b.fw_write(at, 1 | bit::ENDPOINT | bit::STATUS);
        let global = super::layout::GLOBAL_INPUT;
        let bells = d.b.fw_read(global + 8);
        d.b.fw_write(global + 8, bells ^ 1);
        d.b.write(0x8_0000, 1);
        let mut order = Vec::new();
        for _ in 0..400 {
            let before = d.ack() & !bit::EVENTS;
            d.b.gpu.run_mcu();
            let changed = (d.ack() & !bit::EVENTS) ^ before;
            assert!(changed.count_ones() <= 1, "{changed:#x}");
            if changed != 0 {
                order.push(changed);
            }
            d.b.wait(100);
        }
        assert_eq!(order.len(), 3, "{order:x?}");
        orders.insert(order);
    }
    assert!(orders.len() > 2, "{orders:x?}");
}

#[test]
fn what_a_driver_must_not_do() {
    // Behind the ring's size, and back.
    let mut d = Driver::new(Layout::default());
    d.start();
    d.fw_write64(QUEUE, 4104);
    d.kick();
    assert_eq!(d.b.count(V::RingInsert), 1);

    // A ring that is not there.
    let mut d = Driver::new(Layout::default());
    d.program();
    let at = d.stream(0);
    d.fw_write64(at + stream_input::RING_BASE, 0x7777_0000);
    d.ask_state(1);
    assert_eq!(d.b.count(V::RingConfig), 1);

    // A suspend buffer that is not there, or ends early.
    let mut d = Driver::new(Layout::default());
    d.program();
    let at = d.group();
    let size = d.layout.suspend_size() / 4096 * 4096;
    let behind = u64::from(SUSPEND + size + 5 * 4096);
    d.fw_write64(at + group_input::SUSPEND_BUF, behind);
    d.ask_state(1);
    assert_eq!(d.b.count(V::SuspendBuffer), 1);

    // No address space.
    let mut d = Driver::new(Layout::default());
    d.program();
    let at = d.group();
    d.b.fw_write(at + group_input::CONFIG, 5);
    d.ask_state(1);
    assert_eq!(d.b.count(V::GroupSpace), 1);

    // Disabled under the group.
    let mut d = Driver::new(Layout::default());
    d.start();
    d.b.disable(AS);
    assert_eq!(d.b.count(V::SpaceUnderGroup), 1);

    // Another configuration without a request.
    let mut d = Driver::new(Layout::default());
    d.start();
    let at = d.group();
    d.b.fw_write(at + group_input::ENDPOINT, 0x1011_0404);
    d.ring(0);
    d.b.wait(600_000_000);
    d.b.work();
    assert_eq!(d.b.count(V::GroupConfig), 1);
    let _ = d.fw_root;
}

#[test]
fn reset_and_mcu_off_drop_groups() {
    for reset in [true, false] {
        let mut d = Driver::new(Layout::default());
        d.start();
        d.put(0, &[22 << 56 | 6 << 28 | 0xffff]);
        d.b.write(0x9_0000, 1);
        d.b.gpu.run_mcu();
        let super::work::Offer::Work(work) = d.b.gpu.mcu.take_work(0) else {
            panic!("nothing to run");
        };
        if reset {
            d.b.write(0x30, 0x101);
        } else {
            d.b.write(0x700, 0);
        }
        assert!(work.recall.load(std::sync::atomic::Ordering::Relaxed));
        d.b.gpu.mcu.put_back(0, work, super::program::Outcome::More);
        assert!(!d.b.step());
        assert_eq!(d.b.gpu.mcu.groups()[0].state, State::Empty);
    }
    let _ = Line::Job;
}
