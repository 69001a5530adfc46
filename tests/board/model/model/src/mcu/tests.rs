// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of the firmware's side of the interface.

use super::layout::{self, Layout};
use super::State;
use crate::counters::Counter;
use crate::irq::Line;
use crate::testing::Bench;
use crate::violations::Violation as V;
use layout::{GLOBAL, GLOBAL_INPUT, GLOBAL_OUTPUT};
use mali_fw::payload;

const HALT: u32 = 1;
const PING: u32 = 1 << 8;

fn booted() -> Bench {
    let mut b = Bench::powered();
    b.load_firmware();
    b.start_mcu();
    assert_eq!(b.gpu.mcu.state(), State::Running);
    b
}

#[test]
fn boots_to_the_global_interface() {
    let mut b = booted();
    assert_eq!(b.read(0x704), 1);
    assert_eq!(b.read(0x100c), 1 << 31);
    assert_eq!(b.irqs(Line::Job), 1);
    assert_eq!(b.fw_read(GLOBAL), Layout::default().version.word());
    assert_eq!(b.fw_read(GLOBAL + 0x10), 8);
    let group = Layout::default().group_control(7);
    assert_eq!(b.fw_read(group + 0x14), 8);
    assert_eq!(b.fw_read(group + 4), Layout::default().group_input(7));
    let stream = Layout::default().stream_control(7, 7);
    assert_eq!(b.fw_read(stream), layout::STREAM_FEATURES);
    assert_eq!(
        b.fw_read(stream + 8),
        Layout::default().stream_input(7, 7) + 0x100
    );
    b.clean();
}

#[test]
fn answers_requests_and_interrupts_as_masked() {
    let mut b = booted();
    b.write(0x1004, u32::MAX);
    b.fw_write(GLOBAL_INPUT + 4, PING);
    b.fw_write(GLOBAL_INPUT, PING | 0x48e);
    b.ring();
    assert_eq!(b.fw_read(GLOBAL_OUTPUT), PING | 0x48e);
    assert_eq!(b.read(0x1000), 1 << 31);
    b.write(0x1004, u32::MAX);
    b.fw_write(GLOBAL_INPUT, PING | 0x40e);
    b.ring();
    assert_eq!(b.fw_read(GLOBAL_OUTPUT), PING | 0x40e);
    assert_eq!(b.read(0x1000), 0, "not in the mask");
    b.fw_write(GLOBAL_INPUT + 8, 0x81);
    b.ring();
    assert_eq!(b.fw_read(GLOBAL_OUTPUT + 8), 0x81);
    assert_eq!(b.gpu.env.counters.get(Counter::GroupRequest), 2);
    b.clean();
    b.fw_write(GLOBAL_INPUT + 8, 0x181);
    b.ring();
    assert_eq!(b.count(V::FirmwareRequest), 1);
}

#[test]
fn halts_and_starts_fast() {
    let mut b = booted();
    b.fw_write(GLOBAL_INPUT, PING);
    b.ring();
    b.fw_write(GLOBAL_INPUT, PING | HALT);
    b.ring();
    assert_eq!(b.read(0x704), 2);
    assert_eq!(b.fw_read(GLOBAL_OUTPUT), PING, "HALT is not acknowledged");
    b.write(0x700, 0);
    assert_eq!(b.read(0x704), 0);
    b.disable(0);
    b.write(0x1e0, 1);
    b.sleep();
    b.clean();

    b.write(0x1a0, 1);
    b.sleep();
    let root = 0x4000_0000;
    b.enable_root(0, root);
    b.fw_write(GLOBAL_INPUT, PING);
    b.start_mcu();
    assert_eq!(b.read(0x704), 1);
    assert_eq!(b.fw_read(GLOBAL_OUTPUT), PING, "left alone");
    assert_eq!(b.gpu.env.counters.get(Counter::FastBoot), 1);
    b.clean();
}

#[test]
fn refuses_firmware_that_was_not_loaded_rightly() {
    let mut b = Bench::powered();
    b.load_firmware();
    b.fw_write(payload::CODE_VA + 0x2000, 0);
    b.start_mcu();
    assert_eq!(b.read(0x704), 3);
    assert_eq!(b.count(V::FirmwareImage), 1);

    let mut b = Bench::powered();
    b.load_firmware();
    b.fw_write(payload::DATA_VA, 0);
    b.start_mcu();
    assert_eq!(b.read(0x704), 3);

    let mut b = Bench::powered();
    b.start_mcu();
    assert_eq!(b.read(0x704), 3, "AS0 is not enabled");
    assert_eq!(b.count(V::InvalidAccess), 1);
}

#[test]
fn silent_when_as0_is_gone() {
    let mut b = booted();
    b.disable(0);
    b.ring();
    assert_eq!(b.gpu.mcu.state(), State::Silent);
    assert_eq!(b.read(0x704), 1);
    b.ring();
    assert_eq!(b.count(V::InvalidAccess), 1);
}

#[test]
fn waits_for_a_locked_region() {
    let mut b = booted();
    b.fw_write(GLOBAL_INPUT, PING);
    b.lock(0, u64::from(payload::SHARED_VA), 16);
    b.write(0x8_0000, 1);
    assert!(b.gpu.run_mcu(), "stuck");
    assert!(b.gpu.mcu.has_work());
    assert_eq!(b.read(0x704), 1);
    b.unlock(0);
    b.work();
    assert_eq!(b.fw_read(GLOBAL_OUTPUT), PING);
    b.clean();
}

#[test]
fn doorbells() {
    let mut b = booted();
    b.write(0x8_0000 + 9 * 0x1_0000, 1);
    assert_eq!(b.count(V::DoorbellNoSlot), 1);
    b.write(0x700, 0);
    b.write(0x8_0000, 1);
    assert_eq!(b.count(V::DoorbellMcuOff), 1);
}

#[test]
fn control_register() {
    let mut b = booted();
    b.write(0x700, 2);
    assert_eq!(b.count(V::McuStartTwice), 1);
    b.write(0x700, 7);
    assert_eq!(b.count(V::McuControl), 1);
    b.gpu.run_mcu();
    b.write(0x1e0, 1);
    assert_eq!(b.count(V::L2OffWithMcu), 1);
}
