// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the bits with which host and firmware talk, against a firmware of three lines.

use crate::request::{Ack, Event, Level, Req, Toggle};
use proptest::prelude::*;

const PING: Toggle = Toggle::bit(8);
const TIMER: Toggle = Toggle::bit(1);
const IDLE: Event = Event::bit(29);
const SYNC: Event = Event::bit(28);
const STATE: Level = Level::bits(2, 0);

#[test]
fn asked_twice_is_asked_once() {
    let (req, ack) = (Req(0x10), Ack(0));
    let once = PING.ask(req, ack);
    assert_eq!(once, Req(0x110));
    assert!(PING.is_pending(once, ack));
    assert_eq!(PING.ask(once, ack), once);
    // The firmware has done it; the next request is another one.
    let ack = Ack(0x100);
    assert!(!PING.is_pending(once, ack));
    assert_eq!(PING.ask(once, ack), Req(0x10));
    let both = PING.and(TIMER);
    assert!(
        both.is_pending(both.ask(Req(0), Ack(0)), Ack(0x100)),
        "one of two is done"
    );
}

#[test]
fn levels() {
    assert_eq!(STATE.set(Req(0xffff_ffff), 2), Req(0xffff_fffa));
    assert_eq!(
        STATE.set(Req(0), 0x19),
        Req(1),
        "what does not fit is left out"
    );
    assert_eq!(STATE.reached(Ack(0x0000_00fb)), 3);
    assert_eq!(Level::bits(14, 12).mask(), 0x7000);
    assert_eq!(Level::bits(31, 0).mask(), u32::MAX);
    assert_eq!(Level::bit(31).asked(Req(1 << 31)), 1);
}

#[test]
fn events_are_noted_once() {
    let all = IDLE.or(SYNC);
    let (req, ack) = (Req(0x7), Ack(0x2000_0000));
    let raised = all.raised(req, ack);
    assert!(raised.has(IDLE) && !raised.has(SYNC));
    let req = raised.note(req);
    assert_eq!(req, Req(0x2000_0007));
    assert!(all.raised(req, ack).is_empty());
}

proptest! {
    /// Other bits stay as they are, whatever is done.
    #[test]
    fn others_are_left_alone(req: u32, ack: u32, value: u32, a in 0u32..32, b in 0u32..32) {
        let (req, ack) = (Req(req), Ack(ack));
        let toggle = Toggle::bit(a).and(Toggle::bit(b));
        prop_assert_eq!((toggle.ask(req, ack).0 ^ req.0) & !toggle.mask(), 0);
        let level = Level::bits(a.max(b), a.min(b));
        prop_assert_eq!((level.set(req, value).0 ^ req.0) & !level.mask(), 0);
        let event = Event::bit(a).or(Event::bit(b));
        prop_assert_eq!((event.raised(req, ack).note(req).0 ^ req.0) & !event.mask(), 0);
    }

    /// Whatever is asked is done exactly once, and each event noted exactly once, in any order of
    /// host and firmware.
    #[test]
    fn nothing_is_lost(steps in proptest::collection::vec(0u8..5, 0..64)) {
        let (mut req, mut ack) = (Req(0), Ack(0));
        let (mut asked, mut done, mut happened, mut noted) = (0, 0, 0, 0);
        let mut waits = false;
        for step in steps {
            match step {
                0 => {
                    asked += u32::from(!PING.is_pending(req, ack));
                    req = PING.ask(req, ack);
                    waits = true;
                }
                1 if (req.0 ^ ack.0) & PING.mask() != 0 => {
                    ack.0 ^= PING.mask();
                    done += 1;
                }
                2 if (req.0 ^ ack.0) & IDLE.mask() == 0 => {
                    ack.0 ^= IDLE.mask();
                    happened += 1;
                }
                3 => {
                    let raised = IDLE.raised(req, ack);
                    noted += u32::from(!raised.is_empty());
                    req = raised.note(req);
                }
                _ => waits &= PING.is_pending(req, ack),
            }
            prop_assert_eq!(asked - done, u32::from(PING.is_pending(req, ack)));
            prop_assert_eq!(happened - noted, u32::from(!IDLE.raised(req, ack).is_empty()));
        }
        prop_assert!(!waits || asked > 0);
    }

    #[test]
    fn a_level_is_reached_when_it_is_copied(req: u32, value in 0u32..8) {
        let req = STATE.set(Req(req), value);
        prop_assert_eq!(STATE.asked(req), value);
        prop_assert_eq!(STATE.reached(Ack(req.0)), value);
    }
}
