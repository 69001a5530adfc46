// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the firmware puts its interfaces in the shared section, and what they say.

use mali_fw::payload::SHARED_VA;

/// A version of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl Version {
    /// 1.5.0.
    pub const V1_5: Self = Self(0x0105_0000);

    /// The versions that there are, by the name of the command line.
    pub fn of(name: &str) -> Option<Self> {
        Some(Self(match name {
            "1.1" => 0x0101_0000,
            "1.5" => 0x0105_0000,
            "4.0" => 0x0400_0000,
            "4.1" => 0x0401_0000,
            _ => return None,
        }))
    }

    /// The word of the global control block.
    pub fn word(self) -> u32 {
        self.0
    }

    /// Whether the endpoint request of a group has 64 bits, in a place of its own.
    pub fn wide_endpoint(self) -> bool {
        self.0 >= 0x0400_0000
    }

    /// Whether a state field takes the place of HALT.
    pub fn has_state(self) -> bool {
        self.0 >= 0x0401_0000
    }
}

/// Instrumentation features.
pub const INSTR_FEATURES: u32 = 0x71;
/// Most group slots.
pub const MAX_GROUPS: u32 = 16;
/// Most streams of a group.
pub const MAX_STREAMS: u32 = 32;
/// Bytes from one stream control block to the next.
pub const STREAM_STRIDE: u32 = 0x40;
/// Bytes of a suspend buffer for each stream of a group.
pub const SUSPEND_STREAM: u32 = 0x1040;
/// Bytes of a suspend buffer in front of the streams.
pub const SUSPEND_HEAD: u32 = 0x40;
/// Registers of a stream.
pub const REGISTERS: u32 = 96;
/// Scoreboards of a stream.
pub const SCOREBOARDS: u32 = 8;
/// Features of a stream: registers, scoreboards, compute, fragment and tiler.
pub const STREAM_FEATURES: u32 = (REGISTERS - 1) | (SCOREBOARDS << 8) | (7 << 16);

/// Global control block.
pub const GLOBAL: u32 = SHARED_VA;
/// Global input block.
pub const GLOBAL_INPUT: u32 = SHARED_VA + 0x1_2000;
/// Global output block.
pub const GLOBAL_OUTPUT: u32 = SHARED_VA + 0x1_2100;

/// Offsets in the global input block.
pub mod input {
    /// Requests.
    pub const REQ: u32 = 0x00;
    /// Which changes of the acknowledge word interrupt the host.
    pub const ACK_IRQ_MASK: u32 = 0x04;
    /// A bit for each group.
    pub const DOORBELL_REQ: u32 = 0x08;
    /// Units of 1024 cycles without progress until a group is reported.
    pub const PROGRESS_TIMER: u32 = 0x10;
    /// Time without work until a group is reported.
    pub const IDLE_TIMER: u32 = 0x80;
}

/// Offsets in the global output block.
pub mod output {
    /// Answers.
    pub const ACK: u32 = 0x00;
    /// Copy of the doorbell bits that were served.
    pub const DOORBELL_ACK: u32 = 0x08;
    /// Why it halted.
    pub const HALT_STATUS: u32 = 0x10;
}

/// Offsets in the input block of a group. The first three are those of [`input`].
pub mod group_input {
    /// Copy of the stream events that the host has seen.
    pub const CS_IRQ_ACK: u32 = 0x0c;
    /// Shader cores for compute, two words.
    pub const ALLOW_COMPUTE: u32 = 0x20;
    /// Shader cores for fragment work, two words.
    pub const ALLOW_FRAGMENT: u32 = 0x28;
    /// Tilers.
    pub const ALLOW_OTHER: u32 = 0x30;
    /// Endpoint request.
    pub const ENDPOINT: u32 = 0x34;
    /// Endpoint request of later interfaces, two words.
    pub const ENDPOINT_WIDE: u32 = 0x38;
    /// Suspend buffer, two words.
    pub const SUSPEND_BUF: u32 = 0x40;
    /// Suspend buffer of protected mode, two words.
    pub const PROTM_SUSPEND_BUF: u32 = 0x48;
    /// Address space.
    pub const CONFIG: u32 = 0x50;
}

/// Offsets in the output block of a group. ACK and DOORBELL_ACK are those of [`output`].
pub mod group_output {
    /// A bit is flipped for each stream with an event.
    pub const CS_IRQ_REQ: u32 = 0x0c;
    /// Endpoints in use, and asked for.
    pub const ENDPOINTS: u32 = 0x10;
    /// Bit 0: idle.
    pub const STATE: u32 = 0x18;
}

/// Offsets in the input block of a stream. REQ and ACK_IRQ_MASK are at 0 and 0xc.
pub mod stream_input {
    /// Requests.
    pub const REQ: u32 = 0x00;
    /// Priority and doorbell.
    pub const CONFIG: u32 = 0x04;
    /// Which changes of the acknowledge word interrupt the host.
    pub const ACK_IRQ_MASK: u32 = 0x0c;
    /// Ring, two words.
    pub const RING_BASE: u32 = 0x10;
    /// Bytes of the ring.
    pub const RING_SIZE: u32 = 0x18;
    /// Answer to a tiler that is out of memory, two words.
    pub const HEAP_START: u32 = 0x20;
    /// Page with the insert pointer, two words.
    pub const RING_INPUT: u32 = 0x30;
    /// Page with the extract pointer, two words.
    pub const RING_OUTPUT: u32 = 0x38;
}

/// Offsets in the output block of a stream. ACK is at 0.
pub mod stream_output {
    /// Address of the instruction, two words.
    pub const CMD_PTR: u32 = 0x40;
    /// What is waited for; twelve words from here on are the status.
    pub const WAIT: u32 = 0x48;
    /// Fault and fatal fault, a word each.
    pub const FAULT: u32 = 0x80;
    /// More about the fault, two words; the fatal one's follow.
    pub const FAULT_INFO: u32 = 0x88;
    /// Counters of the heap: vertex and tiler work started and ended.
    pub const HEAP_VT_START: u32 = 0xc0;
    /// Fragment work ended.
    pub const HEAP_FRAG_END: u32 = 0xcc;
    /// Heap context, two words.
    pub const HEAP_ADDRESS: u32 = 0xd0;
}

/// The interface of one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Version of the interface.
    pub version: Version,
    /// Group slots, 3 to 16.
    pub groups: u32,
    /// Streams of a group, 8 to 32.
    pub streams: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            version: Version::V1_5,
            groups: 8,
            streams: 8,
        }
    }
}

impl Layout {
    /// Bytes from one group control block to the next.
    pub fn group_stride(&self) -> u32 {
        (0x40 + self.streams * STREAM_STRIDE).next_multiple_of(0x400)
    }

    /// Bytes of a suspend buffer.
    pub fn suspend_size(&self) -> u32 {
        SUSPEND_HEAD + self.streams * SUSPEND_STREAM
    }

    /// Control block of a group.
    pub fn group_control(&self, group: u32) -> u32 {
        SHARED_VA + 0x1000 + group * self.group_stride()
    }

    /// Input block of a group; its output block follows at +0x100.
    pub fn group_input(&self, group: u32) -> u32 {
        SHARED_VA + 0x1_3000 + group * 0x200
    }

    /// Control block of a stream.
    pub fn stream_control(&self, group: u32, stream: u32) -> u32 {
        self.group_control(group) + 0x40 + stream * STREAM_STRIDE
    }

    /// Input block of a stream; its output block follows at +0x100.
    pub fn stream_input(&self, group: u32, stream: u32) -> u32 {
        SHARED_VA + 0x2_0000 + (group * self.streams + stream) * 0x200
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mali_fw::payload::SHARED_SIZE;

    #[test]
    fn blocks_do_not_overlap_and_fit_the_shared_section() {
        for (groups, streams) in [(3, 8), (8, 8), (16, 32), (3, 32), (16, 8)] {
            let layout = Layout {
                groups,
                streams,
                ..Layout::default()
            };
            assert!(layout.group_control(groups) <= GLOBAL_INPUT);
            assert!(layout.group_input(groups) <= layout.stream_input(0, 0));
            assert!(layout.stream_input(groups, 0) <= SHARED_VA + SHARED_SIZE);
            let last = layout.stream_control(0, streams);
            assert!(last <= layout.group_control(1));
        }
    }

    #[test]
    fn versions() {
        assert!(!Version::of("1.5").unwrap().wide_endpoint());
        let later = Version::of("4.0").unwrap();
        assert!(later.wide_endpoint() && !later.has_state());
        assert!(Version::of("4.1").unwrap().has_state());
        assert_eq!(Version::of("2.0"), None);
    }
}
