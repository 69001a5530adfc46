// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PCI configuration space: 13b5:a867, BAR0 the register window, BAR2 the MSI-X tables.

use crate::irq::Line;
use crate::regs::WINDOW;

/// Bytes of configuration space.
pub const CONFIG_SIZE: usize = 256;
/// Bytes of the BAR that holds the MSI-X tables, which QEMU emulates.
pub const MSIX_BAR_SIZE: u64 = 0x1000;

const VENDOR_ARM: u16 = 0x13b5;
const DEVICE_G610: u16 = 0xa867;
const MSIX_CAP: usize = 0x40;
const MSIX_BAR: u32 = 2;
const MSIX_PBA: u32 = 0x800;

/// Configuration space.
#[derive(Debug)]
pub struct Config {
    bytes: [u8; CONFIG_SIZE],
    writable: [u8; CONFIG_SIZE],
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self {
            bytes: [0; CONFIG_SIZE],
            writable: [0; CONFIG_SIZE],
        };
        config.set16(0x00, VENDOR_ARM);
        config.set16(0x02, DEVICE_G610);
        // Status: capabilities. Class: processing accelerator.
        config.set16(0x06, 0x0010);
        config.bytes[0x0b] = 0x12;
        config.set16(0x2c, VENDOR_ARM);
        config.set16(0x2e, DEVICE_G610);
        config.bytes[0x34] = MSIX_CAP as u8;
        config.bytes[MSIX_CAP] = 0x11;
        config.set16(MSIX_CAP + 2, Line::COUNT as u16 - 1);
        config.set32(MSIX_CAP + 4, MSIX_BAR);
        config.set32(MSIX_CAP + 8, MSIX_PBA | MSIX_BAR);
        // Command: memory, bus master, no INTx. Message control: enable, mask.
        config.allow(0x04, &0x0406u16.to_le_bytes());
        config.allow(0x3c, &[0xff]);
        config.allow(MSIX_CAP + 2, &0xc000u16.to_le_bytes());
        config.allow(0x10, &(!(WINDOW as u32 - 1)).to_le_bytes());
        config.allow(0x18, &(!(MSIX_BAR_SIZE as u32 - 1)).to_le_bytes());
        config
    }
}

impl Config {
    fn set16(&mut self, at: usize, value: u16) {
        self.bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    fn set32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    /// Reads; bytes behind the end are 0.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            let at = offset.saturating_add(i as u64) as usize;
            *byte = self.bytes.get(at).copied().unwrap_or(0);
        }
    }

    /// Writes the bits that can be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            let at = offset.saturating_add(i as u64) as usize;
            if let (Some(old), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *old = *old & !mask | byte & mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_bar_sizing() {
        let mut config = Config::default();
        let mut word = [0; 4];
        config.read(0, &mut word);
        assert_eq!(u32::from_le_bytes(word), 0xa867_13b5);
        config.write(0, &[0; 4]);
        config.read(0, &mut word);
        assert_eq!(u32::from_le_bytes(word), 0xa867_13b5, "read only");
        config.write(0x10, &[0xff; 4]);
        config.read(0x10, &mut word);
        assert_eq!(u32::from_le_bytes(word), 0xffe0_0000);
        config.write(0xfe, &[0xff; 8]);
        config.read(u64::MAX, &mut word);
        assert_eq!(word, [0; 4]);
    }
}
