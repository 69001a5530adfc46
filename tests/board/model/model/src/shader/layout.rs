// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Where the pixels of an image are in memory.

/// How the pixels of a surface are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row by row.
    Linear,
    /// Tiles of 16x16 pixels; in a tile the bits of both coordinates alternate.
    Tiled,
}

/// A surface of an image.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// First byte.
    pub base: u64,
    /// Bytes from one row to the next; of tiles, if it has tiles.
    pub stride: u32,
    /// Bytes of a pixel.
    pub bytes: u32,
    /// Order of the pixels.
    pub order: Order,
}

impl Surface {
    /// The address of a pixel.
    pub fn pixel(&self, x: u32, y: u32) -> u64 {
        let bytes = u64::from(self.bytes);
        let (row, column) = match self.order {
            Order::Linear => (y, u64::from(x) * bytes),
            Order::Tiled => {
                let tile = u64::from(x / 16) * 256 + u64::from(in_tile(x & 15, y & 15));
                (y / 16, tile * bytes)
            }
        };
        self.base
            .wrapping_add(u64::from(row) * u64::from(self.stride))
            .wrapping_add(column)
    }
}

/// Number of a pixel in its tile: from the lowest bit up, `x0 ^ y0`, `y0`, `x1 ^ y1`, `y1`...
fn in_tile(x: u32, y: u32) -> u32 {
    (0..4).fold(0, |index, bit| {
        let (x, y) = (x >> bit & 1, y >> bit & 1);
        index | (x ^ y) << (2 * bit) | y << (2 * bit + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_of_a_tile_has_its_place() {
        let mut places: Vec<u32> = (0..256).map(|n| in_tile(n & 15, n >> 4)).collect();
        assert_eq!(places[..4], [0, 1, 4, 5]);
        assert_eq!(places[16], 3, "the first pixel of the second row");
        places.sort_unstable();
        assert_eq!(places, (0..256).collect::<Vec<u32>>());
    }

    #[test]
    fn addresses() {
        let mut surface = Surface {
            base: 0x1000,
            stride: 0x100,
            bytes: 4,
            order: Order::Linear,
        };
        assert_eq!(surface.pixel(3, 2), 0x120c);
        surface.order = Order::Tiled;
        surface.stride = 0x1000;
        assert_eq!(surface.pixel(16, 16), 0x2400);
    }
}
