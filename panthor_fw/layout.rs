// SPDX-License-Identifier: GPL-2.0 OR MIT
#![forbid(unsafe_code)]

//! Where the interfaces are in the shared section, which the firmware says when it has started.
//!
//! It is believed nothing: every place is inside of the section with the whole of its block, or the
//! firmware is refused. Nothing of the kernel is used here; `tests/host` has the tests.
//!
//! Control and output blocks are written by the firmware, input blocks by the host. Offsets and limits
//! are those of the kernel's C driver (`drivers/gpu/drm/panthor/panthor_fw.{c,h}`).

use super::image::SHARED_START;

/// The fewest group slots that a firmware has.
pub(crate) const MIN_GROUPS: u32 = 3;
/// The most: a bit of the interrupt for each, and one for the global interface.
pub(crate) const MAX_GROUPS: u32 = 31;
/// How many of them are used.
pub(crate) const MAX_USED_GROUPS: u32 = 16;
/// The fewest streams that a group has.
pub(crate) const MIN_STREAMS: u32 = 8;
/// The most: a bit of a word for each.
pub(crate) const MAX_STREAMS: u32 = 32;
/// The most scoreboards that a stream has: a bit of a wait mask for each.
pub(crate) const MAX_SCOREBOARDS: u32 = 16;
/// Registers at the end of those of a stream that each job overwrites.
pub(crate) const UNPRESERVED_REGISTERS: u32 = 4;

/// Sizes of the blocks in bytes.
pub(crate) mod size {
    /// Global control.
    pub(crate) const GLOBAL_CONTROL: u32 = 0x20;
    /// Global input.
    pub(crate) const GLOBAL_INPUT: u32 = 0x88;
    /// Global output.
    pub(crate) const GLOBAL_OUTPUT: u32 = 0x1c;
    /// Control of a group.
    pub(crate) const GROUP_CONTROL: u32 = 0x1c;
    /// Input of a group.
    pub(crate) const GROUP_INPUT: u32 = 0x58;
    /// Output of a group.
    pub(crate) const GROUP_OUTPUT: u32 = 0x20;
    /// Control of a stream.
    pub(crate) const STREAM_CONTROL: u32 = 0x0c;
    /// Input of a stream.
    pub(crate) const STREAM_INPUT: u32 = 0x58;
    /// Output of a stream.
    pub(crate) const STREAM_OUTPUT: u32 = 0xd8;
}

/// Offset of the first group control block.
const FIRST_GROUP: u32 = 0x1000;
/// Offset of the first stream control block in that of its group.
const FIRST_STREAM: u32 = 0x40;

/// The version of the interface, which can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32);

impl Version {
    /// From here on the instrumentation features are there.
    pub(crate) const INSTR_FEATURES: Self = Self::new(1, 1, 0);
    #[allow(dead_code)] // Groups will need it.
    /// From here on a group's endpoint request has 64 bits.
    pub(crate) const WIDE_ENDPOINT: Self = Self::new(4, 0, 0);
    /// From here on the global request has a field for the state, in place of a bit for HALT.
    pub(crate) const STATE_FIELD: Self = Self::new(4, 1, 0);

    /// Major and minor below 256, patch below 65536.
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self(major << 24 | minor << 16 | patch)
    }

    /// Major, minor, patch.
    pub(crate) const fn parts(self) -> (u32, u32, u32) {
        (self.0 >> 24, self.0 >> 16 & 0xff, self.0 & 0xffff)
    }
}

/// A part of the shared section, of which every byte is in it: an offset from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

impl Place {
    /// The offset in bytes, a multiple of four.
    pub(crate) const fn offset(self) -> u32 {
        self.0
    }
}

/// An interface: what the host writes, and what the firmware writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// What the host writes.
    pub(crate) input: Place,
    /// What the firmware writes.
    pub(crate) output: Place,
}

/// What all streams have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamFeatures(u32);

impl StreamFeatures {
    /// The word.
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// How many registers, from 1 to 256.
    pub(crate) const fn registers(self) -> u32 {
        (self.0 & 0xff) + 1
    }

    /// How many scoreboards, from 1 to [`MAX_SCOREBOARDS`].
    pub(crate) const fn scoreboards(self) -> u32 {
        self.0 >> 8 & 0xff
    }
}

/// What the firmware says of itself, which was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The version of the interface.
    pub(crate) version: Version,
    /// Opaque.
    pub(crate) features: u32,
    /// Opaque; 0 before the version that has them.
    pub(crate) instr_features: u32,
    /// The global interface.
    pub(crate) global: Interface,
    /// How many group slots are used.
    pub(crate) groups: u32,
    /// How many streams each of them has.
    pub(crate) streams: u32,
    /// Opaque.
    pub(crate) group_features: u32,
    /// Bytes that a suspended group needs, not zero.
    pub(crate) suspend_size: u32,
    /// The same for the protected mode, not zero.
    pub(crate) protected_suspend_size: u32,
    /// What every stream has.
    pub(crate) stream_features: StreamFeatures,
    group_stride: u32,
    stream_stride: u32,
}

/// Why a firmware is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayoutError {
    /// It has not written its version.
    NotReady,
    /// It has too few group slots, or too many.
    Groups(u32),
    /// A control block is not inside of the shared section.
    Control(u32),
    /// What a control block at an offset points to is not inside of the shared section.
    Interface(u32),
    /// A group has too few streams, or too many.
    Streams(u32),
    /// A group cannot be suspended.
    Suspend(u32),
    /// A stream has no scoreboards, too many, or too few registers.
    Stream(u32),
    /// The group or stream whose control block is at an offset is not like the first one.
    Different(u32),
}

impl LayoutError {
    /// What is wrong, in words, and the offset or number that it is about.
    pub(crate) fn describe(self) -> (&'static str, u32) {
        match self {
            Self::NotReady => ("no interface version", 0),
            Self::Groups(n) => ("an impossible number of group slots", n),
            Self::Control(at) => ("a control block is not in the shared section", at),
            Self::Interface(at) => ("an interface is not in the shared section", at),
            Self::Streams(n) => ("an impossible number of streams", n),
            Self::Suspend(at) => ("a suspend buffer without size", at),
            Self::Stream(word) => ("impossible features of a stream", word),
            Self::Different(at) => ("groups or streams that differ", at),
        }
    }
}

/// The shared section, as it is now.
pub(crate) trait Shared {
    /// Its size in bytes.
    fn size(&self) -> u32;

    /// The word at an offset, a multiple of four; 0 outside.
    fn word(&self, offset: u32) -> u32;
}

/// A control block of which every byte is in the section.
struct Control<'a, S> {
    shared: &'a S,
    at: u32,
}

impl<'a, S: Shared> Control<'a, S> {
    fn new(shared: &'a S, at: Option<u32>, size: u32) -> Result<Self, LayoutError> {
        let at = at.ok_or(LayoutError::Control(u32::MAX))?;
        place(shared, at, size).ok_or(LayoutError::Control(at))?;
        Ok(Self { shared, at })
    }

    /// The word at an offset in the block.
    fn word(&self, offset: u32) -> u32 {
        self.shared.word(self.at.saturating_add(offset))
    }

    /// The addresses at two offsets, of blocks with these sizes.
    fn interface(&self, input: (u32, u32), output: (u32, u32)) -> Result<Interface, LayoutError> {
        let one = |(offset, size)| {
            self.word(offset)
                .checked_sub(SHARED_START)
                .and_then(|at| place(self.shared, at, size))
                .ok_or(LayoutError::Interface(self.at))
        };
        Ok(Interface {
            input: one(input)?,
            output: one(output)?,
        })
    }
}

/// The place at an offset, if all of it is in the section.
fn place(shared: &impl Shared, at: u32, size: u32) -> Option<Place> {
    let end = at.checked_add(size)?;
    // Words are read and written whole.
    (at % 4 == 0 && end <= shared.size()).then_some(Place(at))
}

impl Layout {
    /// Reads what the firmware says, once: it could change it at any time.
    pub(crate) fn read(shared: &impl Shared) -> Result<Self, LayoutError> {
        let global = Control::new(shared, Some(0), size::GLOBAL_CONTROL)?;
        let version = Version(global.word(0x00));
        if version == Version(0) {
            return Err(LayoutError::NotReady);
        }
        let groups = global.word(0x10);
        if !(MIN_GROUPS..=MAX_GROUPS).contains(&groups) {
            return Err(LayoutError::Groups(groups));
        }
        let instr_features = if version >= Version::INSTR_FEATURES {
            global.word(0x1c)
        } else {
            0
        };
        let group_stride = global.word(0x14);
        let mut layout = Self {
            version,
            features: global.word(0x04),
            instr_features,
            global: global.interface((0x08, size::GLOBAL_INPUT), (0x0c, size::GLOBAL_OUTPUT))?,
            groups: groups.min(MAX_USED_GROUPS),
            streams: 0,
            group_features: 0,
            suspend_size: 0,
            protected_suspend_size: 0,
            stream_features: StreamFeatures(0),
            group_stride,
            stream_stride: 0,
        };
        for group in 0..layout.groups {
            layout.read_group(shared, group)?;
        }
        Ok(layout)
    }

    /// Takes over what the first group is like, and sees to it that all others are.
    fn read_group(&mut self, shared: &impl Shared, group: u32) -> Result<(), LayoutError> {
        let control = Control::new(shared, self.group_control(group), size::GROUP_CONTROL)?;
        let streams = control.word(0x14);
        if !(MIN_STREAMS..=MAX_STREAMS).contains(&streams) {
            return Err(LayoutError::Streams(streams));
        }
        let (suspend, protected) = (control.word(0x0c), control.word(0x10));
        if suspend == 0 || protected == 0 {
            return Err(LayoutError::Suspend(control.at));
        }
        let is = (
            control.word(0x00),
            suspend,
            protected,
            streams,
            control.word(0x18),
        );
        if group == 0 {
            (
                self.group_features,
                self.suspend_size,
                self.protected_suspend_size,
                self.streams,
                self.stream_stride,
            ) = is;
        }
        let first = (
            self.group_features,
            self.suspend_size,
            self.protected_suspend_size,
            self.streams,
            self.stream_stride,
        );
        if is != first {
            return Err(LayoutError::Different(control.at));
        }
        self.interface_of(&control)?;
        for stream in 0..self.streams {
            self.read_stream(shared, group, stream)?;
        }
        Ok(())
    }

    fn read_stream(
        &mut self,
        shared: &impl Shared,
        group: u32,
        stream: u32,
    ) -> Result<(), LayoutError> {
        let at = self.stream_control(group, stream);
        let control = Control::new(shared, at, size::STREAM_CONTROL)?;
        let features = StreamFeatures(control.word(0x00));
        if group == 0 && stream == 0 {
            if !(1..=MAX_SCOREBOARDS).contains(&features.scoreboards())
                || features.registers() <= UNPRESERVED_REGISTERS
            {
                return Err(LayoutError::Stream(features.raw()));
            }
            self.stream_features = features;
        }
        if features != self.stream_features {
            return Err(LayoutError::Different(control.at));
        }
        control.interface((0x04, size::STREAM_INPUT), (0x08, size::STREAM_OUTPUT))?;
        Ok(())
    }

    fn interface_of<S: Shared>(&self, control: &Control<'_, S>) -> Result<Interface, LayoutError> {
        control.interface((0x04, size::GROUP_INPUT), (0x08, size::GROUP_OUTPUT))
    }

    /// Offset of a group's control block.
    fn group_control(&self, group: u32) -> Option<u32> {
        group
            .checked_mul(self.group_stride)?
            .checked_add(FIRST_GROUP)
    }

    /// Offset of a stream's control block.
    fn stream_control(&self, group: u32, stream: u32) -> Option<u32> {
        stream
            .checked_mul(self.stream_stride)?
            .checked_add(FIRST_STREAM)?
            .checked_add(self.group_control(group)?)
    }

    #[allow(dead_code)] // Groups will need it.
    /// The interface of a group below [`Self::groups`]. The firmware is believed no more than before.
    pub(crate) fn group(&self, shared: &impl Shared, group: u32) -> Result<Interface, LayoutError> {
        let control = Control::new(shared, self.group_control(group), size::GROUP_CONTROL)?;
        self.interface_of(&control)
    }

    #[allow(dead_code)] // Groups will need it.
    /// The interface of a stream below [`Self::streams`].
    pub(crate) fn stream(
        &self,
        shared: &impl Shared,
        group: u32,
        stream: u32,
    ) -> Result<Interface, LayoutError> {
        let at = self.stream_control(group, stream);
        Control::new(shared, at, size::STREAM_CONTROL)?
            .interface((0x04, size::STREAM_INPUT), (0x08, size::STREAM_OUTPUT))
    }
}
