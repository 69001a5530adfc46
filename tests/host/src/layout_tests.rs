// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Tests of what the driver makes of the firmware's control blocks.

use crate::image::SHARED_START;
use crate::layout::{size, Interface, Layout, LayoutError, Shared, Version};
use proptest::prelude::*;

/// A shared section.
#[derive(Clone, Debug)]
struct Section(Vec<u32>);

impl Shared for Section {
    fn size(&self) -> u32 {
        self.0.len() as u32 * 4
    }

    fn word(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0);
        self.0.get(offset as usize / 4).copied().unwrap_or(0)
    }
}

impl Section {
    /// One with 8 groups of 8 streams.
    fn good() -> Self {
        let mut section = Self(vec![0; 0x2_0000 / 4]);
        let at = |offset: u32| SHARED_START + offset;
        section.put(
            0,
            &[0x0105_0000, 0, at(0x8000), at(0x8100), 8, 0x400, 0, 0x71],
        );
        for group in 0..8u32 {
            let (control, io) = (0x1000 + group * 0x400, at(0x9000 + group * 0x200));
            section.put(control, &[0, io, io + 0x100, 0x1000, 0x1000, 8, 0x40]);
            for stream in 0..8u32 {
                let io = at(0xa000 + (group * 8 + stream) * 0x200);
                section.put(control + 0x40 + stream * 0x40, &[0x7_085f, io, io + 0x100]);
            }
        }
        section
    }

    fn put(&mut self, offset: u32, words: &[u32]) {
        let at = offset as usize / 4;
        self.0[at..at + words.len()].copy_from_slice(words);
    }

    fn with(offset: u32, word: u32) -> Self {
        let mut section = Self::good();
        section.put(offset, &[word]);
        section
    }

    fn error(offset: u32, word: u32) -> LayoutError {
        Layout::read(&Self::with(offset, word)).expect_err("taken")
    }
}

#[test]
fn good() {
    let section = Section::good();
    let layout = Layout::read(&section).unwrap();
    assert_eq!(layout.version.parts(), (1, 5, 0));
    assert_eq!(layout.instr_features, 0x71);
    assert_eq!(layout.global.input.offset(), 0x8000);
    assert_eq!(
        (layout.groups, layout.streams, layout.suspend_size),
        (8, 8, 0x1000)
    );
    let features = layout.stream_features;
    assert_eq!((features.registers(), features.scoreboards()), (96, 8));
    let group = layout.group(&section, 7).unwrap();
    assert_eq!(
        (group.input.offset(), group.output.offset()),
        (0x9e00, 0x9f00)
    );
    let stream = layout.stream(&section, 7, 7).unwrap();
    assert_eq!(
        (stream.input.offset(), stream.output.offset()),
        (0x1_1e00, 0x1_1f00)
    );
}

#[test]
fn versions() {
    assert_eq!(Section::error(0, 0), LayoutError::NotReady);
    let old = Layout::read(&Section::with(0, 0x0100_ffff)).unwrap();
    assert_eq!(old.instr_features, 0);
    assert!(old.version < Version::INSTR_FEATURES);
    assert!(Version::new(4, 0, 7) > Version::WIDE_ENDPOINT);
    assert!(Version::new(4, 0, 7) < Version::STATE_FIELD);
}

#[test]
fn numbers() {
    for n in [0, 2, 32, u32::MAX] {
        assert_eq!(Section::error(0x10, n), LayoutError::Groups(n));
    }
    for n in [0, 7, 33, u32::MAX] {
        assert_eq!(Section::error(0x1014, n), LayoutError::Streams(n));
    }
    assert_eq!(Section::error(0x100c, 0), LayoutError::Suspend(0x1000));
    assert_eq!(Section::error(0x1410, 0), LayoutError::Suspend(0x1400));
    for word in [0x7_005f, 0x7_115f, 0x7_0803] {
        assert_eq!(Section::error(0x1040, word), LayoutError::Stream(word));
    }
    // As many as 31 may be there; 16 are used.
    let mut many = Section::good();
    many.put(0x10, &[31, 0]);
    assert_eq!(
        Layout::read(&many).unwrap().groups,
        16,
        "all at the same place"
    );
}

#[test]
fn places() {
    assert_eq!(
        Section::error(0x14, u32::MAX),
        LayoutError::Control(u32::MAX)
    );
    assert_eq!(
        Section::error(0x14, 0x1_f000),
        LayoutError::Control(0x2_0000)
    );
    assert_eq!(Section::error(0x14, 0x402), LayoutError::Control(0x1402));
    assert_eq!(
        Section::error(0x1018, u32::MAX),
        LayoutError::Control(u32::MAX)
    );
    // The last byte of a block is inside, or it is not.
    let end = SHARED_START + 0x2_0000;
    for (at, size) in [
        (0x08, size::GLOBAL_INPUT),
        (0x0c, size::GLOBAL_OUTPUT),
        (0x1004, size::GROUP_INPUT),
        (0x1008, size::GROUP_OUTPUT),
        (0x1044, size::STREAM_INPUT),
        (0x1048, size::STREAM_OUTPUT),
    ] {
        assert!(
            Layout::read(&Section::with(at, end - size)).is_ok(),
            "{at:#x}"
        );
        for bad in [
            end - size + 4,
            end,
            SHARED_START - 4,
            0,
            u32::MAX,
            SHARED_START + 2,
        ] {
            let error = Section::error(at, bad);
            assert!(
                matches!(error, LayoutError::Interface(_)),
                "{at:#x} {bad:#x} {error:?}"
            );
        }
    }
    assert!(Layout::read(&Section(vec![1; 4])).is_err());
    assert!(Layout::read(&Section(vec![])).is_err());
}

#[test]
fn all_are_alike() {
    for (offset, value) in [
        (0x1400, 1),
        (0x140c, 0x2000),
        (0x1410, 0x2000),
        (0x1414, 9),
        (0x1418, 0x20),
    ] {
        assert_eq!(
            Section::error(offset, value),
            LayoutError::Different(0x1400)
        );
    }
    assert_eq!(
        Section::error(0x1480, 0x7_085e),
        LayoutError::Different(0x1480)
    );
}

/// Where interfaces of a layout that was taken are: all inside.
fn inside(section: &Section, found: Interface, input: u32, output: u32) {
    for (place, size) in [(found.input, input), (found.output, output)] {
        assert_eq!(place.offset() % 4, 0);
        assert!(place.offset() + size <= section.size());
    }
}

proptest! {
    #[test]
    fn what_is_taken_is_inside(
        words in proptest::collection::vec((0u32..0x3000 / 4, any::<u32>(), any::<bool>()), 0..6),
        change in (0u32..0x3000 / 4, any::<u32>()),
        len in prop_oneof![Just(0x8000usize), 0usize..0x8000],
    ) {
        let mut section = Section::good();
        for (at, word, small) in words {
            section.put(at * 4, &[if small { SHARED_START + word % 0x2_1000 } else { word }]);
        }
        section.0.truncate(len);
        let Ok(layout) = Layout::read(&section) else { return Ok(()) };
        inside(&section, layout.global, size::GLOBAL_INPUT, size::GLOBAL_OUTPUT);
        // The firmware changes its mind.
        if (change.0 as usize) < section.0.len() {
            section.put(change.0 * 4, &[change.1]);
        }
        for group in 0..layout.groups {
            if let Ok(found) = layout.group(&section, group) {
                inside(&section, found, size::GROUP_INPUT, size::GROUP_OUTPUT);
            }
            for stream in 0..layout.streams {
                if let Ok(found) = layout.stream(&section, group, stream) {
                    inside(&section, found, size::STREAM_INPUT, size::STREAM_OUTPUT);
                }
            }
        }
    }
}
