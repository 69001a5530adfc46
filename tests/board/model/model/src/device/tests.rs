// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the register window.

use super::hang::{Hang, Work};
use crate::irq::Line;
use crate::testing::{leaf, Bench, FLUSH_ALL};
use crate::violations::Violation as V;

#[test]
fn identity() {
    let mut b = Bench::new();
    assert_eq!(b.read(0x000), 0xa867_0005);
    assert_eq!(b.read(0x014), 0x2830);
    assert_eq!(b.read(0x018), 0xff);
    assert_eq!(b.read(0x0b0), 0xc1ff_ff9e);
    assert_eq!((b.read(0x100), b.read(0x104)), (0x5_0005, 0));
    assert_eq!(b.read(0x060), 0);
    b.clean();
}

#[test]
fn wrong_accesses_are_counted_and_harmless() {
    let mut b = Bench::powered();
    b.gpu.mmio_read(0x2, &mut [0; 4]);
    assert_eq!(b.count(V::UnalignedAccess), 1);
    let mut wide = [0; 8];
    b.gpu.mmio_read(0x100, &mut wide);
    assert_eq!(u64::from_le_bytes(wide), 0x5_0005, "served all the same");
    b.gpu.mmio_write(0x28, &[1]);
    assert_eq!(b.count(V::AccessWidth), 2);
    assert_eq!(b.read(0x28), 0, "a byte is not written");
    b.read(0x3000);
    b.write(0x1_0004, 0);
    assert_eq!(b.count(V::UnknownRegister), 2);
    b.write(0x0, 5);
    b.write(0x2428, 5);
    b.write(0x1_0000, 5);
    assert_eq!(b.count(V::WriteReadOnly), 3);
    b.gpu.mmio_write(u64::MAX - 3, &[0; 4]);
    b.gpu.mmio_read(0x20_0000, &mut [0; 4]);
    assert_eq!(b.gpu.env.violations.total(), 8);
}

#[test]
fn user_space_may_read_anything_in_its_page() {
    let mut b = Bench::powered();
    let mut data = [0xff; 8];
    b.gpu.mmio_read(0x1_0000, &mut data);
    assert_eq!(u64::from_le_bytes(data), 1);
    b.gpu.mmio_read(0x1_0ff1, &mut data[..1]);
    assert_eq!(data[0], 0);
    b.read(0x1_0ffc);
    b.clean();
}

#[test]
fn l2_power() {
    let mut b = Bench::new();
    b.write(0x304, 31);
    b.write(0x1a0, 1);
    assert_eq!((b.read(0x160), b.read(0x220)), (0, 1));
    b.sleep();
    assert_eq!((b.read(0x160), b.read(0x220)), (1, 0));
    assert_eq!(b.read(0x20) & 0x600, 0x600);
    b.write(0x1a0, 1);
    assert_eq!(b.read(0x220), 0, "on already");
    b.clean();
    b.write(0x1e0, 1);
    assert_eq!(b.read(0x160), 0);
    b.write(0x1a0, 1);
    assert_eq!(b.count(V::L2Transition), 1);
    b.sleep();
    b.write(0x1a0, 2);
    assert_eq!(b.count(V::PowerNotPresent), 1);
    assert_eq!(b.read(0x160), 1);
}

#[test]
fn l2_off_is_noticed() {
    let mut b = Bench::new();
    b.write(0x30, FLUSH_ALL);
    b.write(0x2418, 1);
    b.write(0x700, 2);
    b.read(0x1_0000);
    assert_eq!(b.count(V::L2Off), 4);
}

/// Tyr never writes it; the C driver does so each time.
#[test]
fn coherency_protocol_after_a_reset_is_the_right_one() {
    let mut b = Bench::new();
    assert_eq!(b.read(0x304), 31);
    b.write(0x1a0, 1);
    b.sleep();
    assert_eq!(b.read(0x160), 1);
    b.clean();
    b.write(0x304, 0);
    b.write(0x30, 0x101);
    b.sleep();
    assert_eq!(b.read(0x304), 31);
    b.write(0x1a0, 1);
    b.sleep();
    b.clean();
    b.write(0x1e0, 1);
    b.sleep();
    b.write(0x304, 0);
    b.write(0x1a0, 1);
    assert_eq!(b.count(V::CoherencyProtocol), 1, "ACE-Lite is not there");
    b.gpu.cold_reset();
    assert_eq!(b.read(0x304), 31);
}

#[test]
fn flush_interrupts_and_counts() {
    let mut b = Bench::powered();
    b.write(0x24, u32::MAX);
    b.write(0x28, 0x2_0103);
    let id = b.read(0x1_0000);
    b.write(0x30, FLUSH_ALL);
    assert_eq!(b.read(0x20), 0, "not over yet");
    b.sleep();
    assert_eq!((b.read(0x20), b.read(0x2c)), (1 << 17, 1 << 17));
    assert_eq!(b.irqs(Line::Gpu), 1);
    assert_eq!(b.read(0x1_0000), id + 1);
    b.clean();
    b.write(0x30, FLUSH_ALL);
    b.write(0x30, FLUSH_ALL);
    assert_eq!(b.count(V::FlushWhileActive), 1);
    b.write(0x30, 0x99);
    b.write(0x30, 0x4004);
    b.write(0x30, 0x0004_0004);
    assert_eq!(b.count(V::GpuCommand), 3);
}

#[test]
fn soft_reset_forgets_all_but_the_mask() {
    let mut b = Bench::powered();
    let root = b.enable(1);
    let page = b.page();
    b.map(root, 0x1000, page, leaf::RW);
    b.write(0x24, u32::MAX);
    b.write(0x28, 0x2_0103);
    b.write(0x1008, 1);
    b.write(0x2008, 0xffff);
    b.write(0x30, 0x101);
    assert_eq!(b.read(0x20), 0, "not over yet");
    b.clean();
    b.write(0x2008, 0);
    assert_eq!(b.count(V::AccessInReset), 1);
    b.sleep();
    assert_eq!(b.read(0x20), 0x100);
    assert_eq!(b.irqs(Line::Gpu), 1);
    assert_eq!(b.read(0x28), 0x2_0103);
    assert_eq!((b.read(0x1008), b.read(0x2008)), (0, 0));
    assert_eq!((b.read(0x160), b.read(0x2440)), (0, 0));
}

#[test]
fn counters_run() {
    let mut b = Bench::new();
    let before = (b.read(0x90), b.read(0x98));
    b.sleep();
    assert_eq!(b.read(0x90) - before.0, 1_000_000);
    assert_eq!(b.read(0x98) - before.1, 62_500);
}

#[test]
fn dump_has_every_register_once() {
    let b = Bench::powered();
    let dump = b.gpu.dump();
    let mut offsets: Vec<u32> = dump.iter().map(|(_, offset, _)| *offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    assert_eq!(offsets.len(), dump.len());
    let l2 = dump.iter().find(|(name, ..)| name == "L2_READY");
    assert_eq!(l2.map(|(_, _, value)| *value), Some(1));
}

#[test]
fn what_hangs_has_no_effect_and_does_not_end() {
    let mut b = Bench::powered();
    let root = b.enable(1);
    let status = Bench::as_reg(1, 0x28);
    for work in [Work::As, Work::Flush] {
        b.gpu.hang(work, Hang::Always);
    }
    b.write64(Bench::as_reg(1, 0x30), 1);
    b.write(Bench::as_reg(1, 0x18), 1);
    b.write(0x30, FLUSH_ALL);
    b.sleep();
    assert_eq!(b.read(status), 1);
    assert_eq!(b.read(0x20) & (1 << 17), 0);
    assert_eq!(b.gpu.deadline(), None, "nothing to wait for");
    let space = b.gpu.mmu.space(&b.gpu.env, 1).unwrap();
    assert_eq!(space.root(), Some(root), "still enabled");
    for work in [Work::As, Work::Flush] {
        b.gpu.hang(work, Hang::No);
    }
    assert_eq!(b.read(status), 0);
    assert_eq!(b.read(0x20) & (1 << 17), 1 << 17);
    b.clean();
}

#[test]
fn power_and_reset_hang() {
    let mut b = Bench::powered();
    b.gpu.hang(Work::Power, Hang::Always);
    b.gpu.hang(Work::Reset, Hang::Always);
    b.write(0x1e0, 1);
    b.write(0x30, 0x101);
    b.sleep();
    assert_eq!(b.read(0x20) & 0x100, 0);
    assert_eq!(b.gpu.deadline(), None);
    b.gpu.hang(Work::Reset, Hang::No);
    assert_eq!(b.read(0x20) & 0x100, 0x100);
    b.clean();
}

#[test]
fn one_command_hangs_for_a_while() {
    let mut b = Bench::powered();
    let root = b.enable(1);
    b.gpu.hang(Work::As, Hang::Once(1_000));
    b.write64(Bench::as_reg(1, 0x30), 1);
    b.write(Bench::as_reg(1, 0x18), 1);
    assert_eq!(b.read(Bench::as_reg(1, 0x28)), 1);
    b.sleep();
    assert_eq!(b.read(Bench::as_reg(1, 0x28)), 0);
    let live = |b: &Bench| b.gpu.mmu.space(&b.gpu.env, 1).unwrap().root();
    assert_eq!(live(&b), Some(root), "it had no effect");
    b.write(Bench::as_reg(1, 0x18), 1);
    assert_eq!(live(&b), None);
    b.clean();
}
