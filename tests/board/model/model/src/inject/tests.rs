// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the rules. What they do to groups is tested with these.

use super::*;

fn rule(what: What, group: Option<usize>, stream: Option<usize>, once: bool) -> Rule {
    Rule {
        what,
        group,
        stream,
        once,
    }
}

#[test]
fn at_a_place_once_or_always() {
    let mut all = Injections::default();
    let hang = |what| (what == What::Hang).then_some(());
    all.add(rule(What::Hang, Some(1), Some(2), true));
    all.add(rule(What::Hang, Some(3), None, false));
    assert_eq!(all.take(1, Some(1), hang), None);
    assert_eq!(all.take(0, Some(2), hang), None);
    assert_eq!(all.take(1, Some(2), hang), Some(()));
    assert_eq!(all.take(1, Some(2), hang), None);
    for _ in 0..2 {
        assert_eq!(all.take(3, Some(7), hang), Some(()));
    }
    all.add(rule(What::NoAck(6), None, None, true));
    assert_eq!(all.no_ack(5, 8), 0);
    assert_eq!(all.no_ack(5, 2), 6);
    assert_eq!(all.no_ack(5, 2), 0);
    all.clear();
    assert!(all.rules().is_empty());
}
