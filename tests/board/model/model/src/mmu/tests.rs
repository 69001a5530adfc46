// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the page walk, the TLB and the update protocol.

use super::access::{AccessError, Source};
use super::fault::Kind;
use super::walk::{BLOCK, PAGE};
use crate::irq::Line;
use crate::testing::{leaf, Bench, RAM, RAM_SIZE, TRANSCFG};
use crate::violations::Violation as V;

/// An address that uses different indices at all levels.
const VA: u64 = 0x7fff_1234_5000;

/// A powered bench, AS1 enabled, a page mapped at [`VA`]. Gives root and page.
fn mapped(template: u64) -> (Bench, u64, u64) {
    let mut b = Bench::powered();
    let root = b.enable(1);
    let page = b.page();
    b.map(root, VA, page, template);
    b.write(0x2008, 0xffff);
    (b, root, page)
}

fn code(result: Result<super::walk::Leaf, AccessError>) -> u8 {
    match result {
        Err(AccessError::Fault { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn walks_pages_and_blocks() {
    let (mut b, root, page) = mapped(leaf::RW);
    let leaf = b.access(1, VA + 0x123, Kind::Write).unwrap();
    assert_eq!(
        (leaf.va, leaf.pa, leaf.size, leaf.attr),
        (VA, page, PAGE, 1)
    );
    let block = b.block();
    let at = b.entry(root, 0x4020_0000, 2);
    b.put(at, block | 0xf45 | leaf::XN);
    let leaf = b.access(1, 0x4020_0000 + 0x12_3456, Kind::Read).unwrap();
    assert_eq!((leaf.va, leaf.pa, leaf.size), (0x4020_0000, block, BLOCK));
    assert!(leaf.no_exec);
    b.clean();
}

#[test]
fn faults_are_latched_until_cleared() {
    let (mut b, ..) = mapped(leaf::RO | leaf::XN);
    assert_eq!(code(b.access(1, VA + 4, Kind::Write)), 0xcb);
    assert_eq!(b.read(0x2000), 2);
    assert_eq!(b.irqs(Line::Mmu), 1);
    assert_eq!(b.read(0x245c), 0xcb | (3 << 8));
    assert_eq!((b.read(0x2460), b.read(0x2464)), (0x1234_5004, 0x7fff));
    assert_eq!(code(b.access(1, VA, Kind::Execute)), 0xcb);
    assert_eq!(b.read(0x245c), 0xcb | (3 << 8), "the first stays");
    b.write(0x2004, 2);
    assert_eq!(b.read(0x2000), 0);
    assert_eq!(code(b.access(1, VA + PAGE, Kind::Read)), 0xc3);
    assert_eq!(b.read(0x245c), 0xc3 | (2 << 8));
    assert_eq!(b.count(V::PermissionFault), 2);
    assert_eq!(b.count(V::InvalidAccess), 1);
}

#[test]
fn fault_codes_by_level() {
    let (mut b, root, page) = mapped(leaf::RW);
    for (va, want) in [
        (0, 0xc0),
        (VA ^ (1 << 30), 0xc1),
        (VA ^ (1 << 21), 0xc2),
        (VA ^ (1 << 12), 0xc3),
        (1 << 48, 0xe0),
    ] {
        assert_eq!(code(b.access(1, va, Kind::Read)), want, "{va:#x}");
    }
    let cases = [
        // No access flag, a type that level 3 does not have, an address of 41 bits, memory that
        // is not there.
        (page | leaf::RW & !(1 << 10), 0xdb, V::AccessFlagFault),
        (page | leaf::RW & !2, 0xc3, V::BadDescriptor),
        ((1 << 40) | leaf::RW, 0xe7, V::BadDescriptor),
        ((RAM + RAM_SIZE) | leaf::RW, 0x80, V::OutsideRam),
    ];
    for (i, (entry, want, kind)) in cases.into_iter().enumerate() {
        let va = VA + (i as u64 + 1) * PAGE;
        let at = b.entry(root, va, 3);
        b.put(at, entry);
        let before = b.count(kind);
        assert_eq!(code(b.access(1, va, Kind::Read)), want);
        assert_eq!(b.count(kind), before + 1);
    }
    // A block of 1 GiB, a table outside memory.
    let at = b.entry(root, 0, 1);
    b.put(at, RAM | 0xf45);
    assert_eq!(code(b.access(1, 0, Kind::Read)), 0xc1);
    b.put(at + 8, (RAM + RAM_SIZE) | 3);
    assert_eq!(code(b.access(1, 1 << 30, Kind::Read)), 0x80);
    assert_eq!(code(b.access(2, 0, Kind::Read)), 0xc0, "disabled");
    assert_eq!(b.access(8, 0, Kind::Read), Err(AccessError::Off));
}

#[test]
fn attribute_that_is_a_fault() {
    let (mut b, ..) = mapped(leaf::RW);
    b.write64(Bench::as_reg(1, 8), 0xc0 << 8);
    b.as_command(1, 1);
    assert_eq!(code(b.access(1, VA, Kind::Read)), 0xeb);
}

#[test]
fn right_protocol_is_clean() {
    let (mut b, root, page) = mapped(leaf::RW);
    b.access(1, VA, Kind::Write).unwrap();
    b.lock(1, VA, 14);
    assert_eq!(b.access(1, VA, Kind::Read), Err(AccessError::Locked));
    let at = b.entry(root, VA, 3);
    b.put(at, 0);
    b.unlock(1);
    assert!(!b
        .gpu
        .mmu
        .space(&b.gpu.env, 1)
        .unwrap()
        .dirty(&b.gpu.env.caches));
    b.clean();
    // Mapping something new needs no invalidation, but the driver locks all the same.
    b.lock(1, VA, 14);
    b.put(at, page | leaf::RO);
    b.unlock(1);
    assert!(b.access(1, VA, Kind::Read).is_ok());
    b.disable(1);
    b.clean();
}

#[test]
fn stale_entry_is_used_and_counted_once() {
    let (mut b, root, page) = mapped(leaf::RW);
    b.access(1, VA, Kind::Read).unwrap();
    let other = b.page();
    b.map(root, VA, other, leaf::RW);
    let leaf = b.access(1, VA, Kind::Read).unwrap();
    assert_eq!(leaf.pa, page, "the TLB forgets nothing");
    b.access(1, VA, Kind::Read).unwrap();
    assert_eq!(b.count(V::MissingFlush), 1);
    // UPDATE drops everything.
    b.as_command(1, 1);
    assert_eq!(b.access(1, VA, Kind::Read).unwrap().pa, other);
    assert_eq!(b.gpu.env.violations.total(), 1);
}

#[test]
fn change_without_lock_is_found_without_an_access() {
    let (mut b, root, _) = mapped(leaf::RW);
    b.access(1, VA, Kind::Read).unwrap();
    let at = b.entry(root, VA, 3);
    b.put(at, 0);
    b.lock(1, VA, 14);
    assert_eq!(b.count(V::PteChangedUnlocked), 1, "before the LOCK");
    b.unlock(1);
    assert_eq!(b.gpu.env.violations.total(), 1);
}

#[test]
fn a_neighbour_outside_the_lock_is_watched() {
    let (mut b, root, _) = mapped(leaf::RW);
    let far = VA + 0x10_0000;
    let page = b.page();
    b.map(root, far, page, leaf::RW);
    b.access(1, far, Kind::Read).unwrap();
    b.lock(1, VA, 14);
    let at = b.entry(root, far, 3);
    b.put(at, 0);
    b.unlock(1);
    b.gpu.mmu.audit(&mut b.gpu.env);
    assert_eq!(b.count(V::PteChangedUnlocked), 1);
}

#[test]
fn unlock_needs_a_lock_and_a_flush() {
    let (mut b, ..) = mapped(leaf::RW);
    b.as_command(1, 3);
    assert_eq!(b.count(V::UnlockWithoutLock), 1);
    b.flush();
    b.lock(1, VA, 14);
    b.as_command(1, 3);
    assert_eq!(b.count(V::UnlockWithoutFlush), 1, "the flush came before");
    b.lock(1, VA, 14);
    b.write(0x30, 0x1104);
    b.sleep();
    b.as_command(1, 3);
    assert_eq!(b.count(V::UnlockWithoutFlush), 2, "only a clean");
    b.lock(1, VA, 14);
    b.flush();
    b.lock(1, VA + 0x10_0000, 14);
    b.as_command(1, 3);
    assert_eq!(b.count(V::UnlockWithoutFlush), 3, "widened after the flush");
    b.lock(1, VA, 13);
    assert_eq!(b.count(V::LockRegion), 1);
}

/// What Tyr does for every map: LOCK, FLUSH_PT, and no UNLOCK.
#[test]
fn flush_commands_end_the_lock() {
    let (mut b, root, _) = mapped(leaf::RW);
    for command in [4, 5] {
        b.access(1, VA, Kind::Read).unwrap();
        b.lock(1, VA, 14);
        let page = b.page();
        b.map(root, VA, page, leaf::RW);
        assert_eq!(b.access(1, VA, Kind::Read), Err(AccessError::Locked));
        b.gpu.env.unlocked = false;
        b.as_command(1, command);
        assert!(b.gpu.env.unlocked, "who waits is woken");
        assert_eq!(b.access(1, VA, Kind::Read).unwrap().pa, page);
    }
    b.clean();
    b.as_command(1, 3);
    assert_eq!(b.count(V::UnlockWithoutLock), 1);
}

#[test]
fn second_lock_keeps_the_first() {
    let (mut b, ..) = mapped(leaf::RW);
    b.lock(1, VA, 14);
    b.lock(1, 0x10_0000, 14);
    assert_eq!(b.access(1, VA, Kind::Read), Err(AccessError::Locked));
    assert_eq!(b.access(1, 0x10_0000, Kind::Read), Err(AccessError::Locked));
    b.unlock(1);
    assert!(b.access(1, VA, Kind::Read).is_ok());
    b.clean();
}

#[test]
fn command_while_active() {
    let (mut b, ..) = mapped(leaf::RW);
    b.write(Bench::as_reg(1, 0x18), 1);
    assert_eq!(b.read(Bench::as_reg(1, 0x28)), 1);
    b.write(Bench::as_reg(1, 0x18), 1);
    assert_eq!(b.count(V::AsCommandActive), 1);
    b.sleep();
    assert_eq!(b.read(Bench::as_reg(1, 0x28)), 0);
    b.as_command(1, 9);
    assert_eq!(b.count(V::AsCommand), 1);
    b.write(Bench::as_reg(9, 0x18), 1);
    assert_eq!(b.count(V::AsNotPresent), 1);
}

#[test]
fn wrong_configurations() {
    let (mut b, root, _) = mapped(leaf::RW);
    for (transtab, transcfg) in [
        (root + 0x10, TRANSCFG),
        (RAM + RAM_SIZE, TRANSCFG),
        (1 << 40, TRANSCFG),
        (root, TRANSCFG & !0xf | 8),
        (root, 0),
        (root, TRANSCFG & !(0x1f << 6)),
    ] {
        b.write64(Bench::as_reg(2, 0), transtab);
        b.write64(Bench::as_reg(2, 0x30), transcfg);
        let before = b.count(V::AsConfig);
        b.as_command(2, 1);
        assert_eq!(
            b.count(V::AsConfig),
            before + 1,
            "{transtab:#x} {transcfg:#x}"
        );
        assert_eq!(code(b.access(2, VA, Kind::Read)), 0xc0);
    }
    b.enable_root(2, root);
    assert_eq!(b.count(V::AsSharedRoot), 1);
}

#[test]
fn dirty_data_must_be_cleaned() {
    let (mut b, root, _) = mapped(leaf::RW);
    b.access(1, VA, Kind::Write).unwrap();
    b.write64(Bench::as_reg(1, 0x30), 1);
    b.as_command(1, 1);
    assert_eq!(b.count(V::AsDirty), 1);
    b.enable_root(1, root);
    b.access(1, VA, Kind::Write).unwrap();
    b.write(0x1e0, 1);
    assert_eq!(b.count(V::L2OffDirty), 1);
    b.sleep();
    assert_eq!(b.access(1, VA, Kind::Read), Err(AccessError::Off));
    b.write(0x1a0, 1);
    b.sleep();
    assert_eq!(code(b.access(1, VA, Kind::Read)), 0xc0, "until UPDATE");
    // Uncached data is never dirty.
    b.map(root, VA + PAGE, RAM, leaf::UNCACHED);
    b.enable_root(1, root);
    b.access(1, VA + PAGE, Kind::Write).unwrap();
    assert!(!b.gpu.mmu.any_dirty(&b.gpu.env));
}

#[test]
fn peek_has_no_effect() {
    let (mut b, _, page) = mapped(leaf::RO);
    let peek = |b: &Bench, va, kind| b.gpu.mmu.peek(&b.gpu.env, 1, va, kind);
    assert_eq!(peek(&b, VA, Kind::Read).unwrap().1, Source::Walk);
    assert_eq!(peek(&b, VA, Kind::Write).unwrap_err().code(), 0xcb);
    assert_eq!(peek(&b, 0, Kind::Read).unwrap_err().code(), 0xc0);
    b.clean();
    assert_eq!(b.read(0x2000), 0);
    b.access(1, VA, Kind::Read).unwrap();
    let (leaf, source) = peek(&b, VA + 8, Kind::Read).unwrap();
    assert_eq!((leaf.pa, source), (page, Source::Tlb));
}

#[test]
fn hierarchical_permissions() {
    let (mut b, root, _) = mapped(leaf::RW);
    let at = b.entry(root, VA, 0);
    let table = b.gpu.env.ram.read_u64(at).unwrap();
    b.put(at, table | (1 << 62) | (1 << 60));
    assert!(b.access(1, VA, Kind::Read).is_ok());
    assert_eq!(code(b.access(1, VA, Kind::Write)), 0xcb);
    assert_eq!(code(b.access(1, VA, Kind::Execute)), 0xcb);
}
