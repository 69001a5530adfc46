// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the firmware puts its interfaces in the shared section, and what they say.

use mali_fw::payload::{SHARED_SIZE, SHARED_VA};

/// Interface version 1.5.0.
pub const VERSION: u32 = 0x0105_0000;
/// Instrumentation features.
pub const INSTR_FEATURES: u32 = 0x71;
/// Group slots.
pub const GROUPS: u32 = 8;
/// Streams in a group.
pub const STREAMS: u32 = 8;
/// Bytes from one group control block to the next.
pub const GROUP_STRIDE: u32 = 0x400;
/// Bytes from one stream control block to the next.
pub const STREAM_STRIDE: u32 = 0x40;
/// Bytes of a suspend buffer.
pub const SUSPEND_SIZE: u32 = 0x1000;
/// Features of a stream: 96 registers, 8 scoreboards, compute, fragment and tiler.
pub const STREAM_FEATURES: u32 = 0x0007_085f;

/// Global control block.
pub const GLOBAL: u32 = SHARED_VA;
/// Global input block.
pub const GLOBAL_INPUT: u32 = SHARED_VA + 0x8000;
/// Global output block.
pub const GLOBAL_OUTPUT: u32 = SHARED_VA + 0x8100;

/// Offsets in the global input block.
pub mod input {
    /// Requests.
    pub const REQ: u32 = 0x00;
    /// Which changes of the acknowledge word interrupt the host.
    pub const ACK_IRQ_MASK: u32 = 0x04;
    /// A bit for each group.
    pub const DOORBELL_REQ: u32 = 0x08;
}

/// Offsets in the global output block.
pub mod output {
    /// Answers.
    pub const ACK: u32 = 0x00;
    /// Copy of the doorbell bits that were served.
    pub const DOORBELL_ACK: u32 = 0x08;
}

/// Control block of a group.
pub const fn group_control(group: u32) -> u32 {
    SHARED_VA + 0x1000 + group * GROUP_STRIDE
}

/// Input block of a group; its output block follows at +0x100.
pub const fn group_input(group: u32) -> u32 {
    SHARED_VA + 0x9000 + group * 0x200
}

/// Control block of a stream.
pub const fn stream_control(group: u32, stream: u32) -> u32 {
    group_control(group) + 0x40 + stream * STREAM_STRIDE
}

/// Input block of a stream; its output block follows at +0x100.
pub const fn stream_input(group: u32, stream: u32) -> u32 {
    SHARED_VA + 0xa000 + (group * STREAMS + stream) * 0x200
}

// The blocks do not overlap and fit the shared section.
const _: () = {
    assert!(0x40 + STREAMS * STREAM_STRIDE <= GROUP_STRIDE);
    assert!(group_control(GROUPS) <= GLOBAL_INPUT);
    assert!(group_input(GROUPS) <= stream_input(0, 0));
    assert!(stream_input(GROUPS - 1, STREAMS - 1) + 0x200 <= SHARED_VA + SHARED_SIZE);
};
