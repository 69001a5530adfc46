// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The 39 instructions of architecture 10: decode and encode.
//!
//! An instruction is a little-endian double word with its opcode in bits 63 to 56. The table below
//! states each field once; decoding, encoding and the mask of bits that must be zero follow from it.
//! Source of the fields: the public description of v10 streams in Mesa (`genxml/v10.xml`).

use crate::shader::job::Selects;

/// A value that a field can hold.
trait Field {
    /// From the field's bits.
    fn from_bits(bits: u64) -> Self;
    /// To bits, of which the caller keeps as many as the field has.
    fn to_bits(self) -> u64;
}

macro_rules! fields {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            #[inline]
            fn from_bits(bits: u64) -> Self {
                bits as $ty
            }
            #[inline]
            fn to_bits(self) -> u64 {
                self as u64
            }
        }
    )* };
}
fields!(u8, u16, u32, u64, i16, i32);

impl Field for bool {
    #[inline]
    fn from_bits(bits: u64) -> Self {
        bits & 1 != 0
    }
    #[inline]
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
}

/// `size` ones at `start`.
const fn mask(start: u32, size: u32) -> u64 {
    (u64::MAX >> (64 - size)) << start
}

/// What is done with an instruction that was read.
pub trait Visitor {
    /// What comes of it.
    type Out;
    /// Does it. Should be inlined always.
    fn visit(self, instr: Instr) -> Self::Out;
}

macro_rules! instructions {
    ($($(#[$doc:meta])* $name:ident = $op:literal, $text:literal
        { $($field:ident: $ty:ty = [$start:literal; $size:literal]),* };)*) => {
        /// An instruction.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Instr {
            $($(#[$doc])* $name {
                $(#[doc = concat!("`", $size, "` bits from bit `", $start, "`.")] $field: $ty,)*
            },)*
        }

        impl Instr {
            /// Opcodes and names, in order.
            pub const ALL: &'static [(u8, &'static str)] = &[$(($op, $text)),*];

            /// Bits that mean something, by opcode; 0 where there is no such instruction.
            const KNOWN: [u64; 256] = {
                let mut known = [0; 256];
                $(known[$op] = mask(56, 8) $(| mask($start, $size))*;)*
                known
            };

            /// Reads a word. `None` is an opcode that does not exist.
            #[inline]
            pub fn decode(word: u64) -> Option<Self> {
                Some(match (word >> 56) as u8 {
                    $($op => Self::$name {
                        $($field: Field::from_bits((word & mask($start, $size)) >> $start),)*
                    },)*
                    _ => return None,
                })
            }

            /// Reads a word and gives it to `visitor`, in code of its own for each opcode: they
            /// are told apart only once.
            #[inline(always)]
            pub fn visit<V: Visitor>(word: u64, visitor: V) -> Option<V::Out> {
                Some(match (word >> 56) as u8 {
                    $($op => visitor.visit(Self::$name {
                        $($field: Field::from_bits((word & mask($start, $size)) >> $start),)*
                    }),)*
                    _ => return None,
                })
            }

            /// The word, with zeros where no field is.
            pub fn encode(self) -> u64 {
                match self {
                    $(Self::$name { $($field),* } => {
                        ($op << 56) $(| $field.to_bits() << $start & mask($start, $size))*
                    })*
                }
            }

            /// Opcode.
            pub fn opcode(self) -> u8 {
                match self {
                    $(Self::$name { .. } => $op,)*
                }
            }
        }
    };
}

instructions! {
    /// Does nothing.
    Nop = 0, "NOP" { ignored: u64 = [0; 56] };
    /// Zero-extends an immediate into a pair of registers.
    Move48 = 1, "MOVE48" { immediate: u64 = [0; 48], dest: u8 = [48; 8] };
    /// Moves an immediate into a register.
    Move32 = 2, "MOVE32" { immediate: u32 = [0; 32], dest: u8 = [48; 8] };
    /// Waits until the scoreboards of the mask are clear.
    Wait = 3, "WAIT" { mask: u8 = [16; 8], progress: bool = [32; 1] };
    /// Runs a compute job.
    RunCompute = 4, "RUN_COMPUTE" {
        increment: u16 = [0; 14], axis: u8 = [14; 2], progress: bool = [32; 1], srt: u8 = [40; 2],
        spd: u8 = [42; 2], tsd: u8 = [44; 2], fau: u8 = [46; 2]
    };
    /// Tiles without vertex shading.
    RunTiling = 5, "RUN_TILING" {
        flags: u32 = [0; 32], progress: bool = [32; 1], srt: u8 = [40; 2], spd: u8 = [42; 2],
        tsd: u8 = [44; 2], fau: u8 = [46; 2]
    };
    /// Shades vertices and tiles.
    RunIdvs = 6, "RUN_IDVS" {
        flags: u32 = [0; 32], progress: bool = [32; 1], malloc: bool = [33; 1],
        draw_id_enable: bool = [34; 1], varying_srt: bool = [35; 1], varying_fau: bool = [36; 1],
        varying_tsd: bool = [37; 1], fragment_srt: bool = [38; 1], fragment_tsd: bool = [39; 1],
        draw_id: u8 = [40; 8]
    };
    /// Renders a framebuffer.
    RunFragment = 7, "RUN_FRAGMENT" {
        tile_map: bool = [0; 1], order: u8 = [4; 4], progress: bool = [32; 1]
    };
    /// Draws over the whole screen.
    RunFullscreen = 8, "RUN_FULLSCREEN" {
        flags: u32 = [0; 32], progress: bool = [32; 1], dcd: u8 = [40; 8]
    };
    /// Ends a sequence of tiling.
    FinishTiling = 9, "FINISH_TILING" { progress: bool = [32; 1] };
    /// Gives the heap chunks of a render pass back.
    FinishFragment = 11, "FINISH_FRAGMENT" {
        increment: bool = [0; 1], wait: u16 = [16; 16], last: u8 = [32; 8], first: u8 = [40; 8],
        signal: u8 = [48; 4]
    };
    /// Adds a signed immediate.
    AddImm32 = 16, "ADD_IMMEDIATE32" {
        immediate: i32 = [0; 32], source: u8 = [40; 8], dest: u8 = [48; 8]
    };
    /// Adds a signed immediate to a pair.
    AddImm64 = 17, "ADD_IMMEDIATE64" {
        immediate: i32 = [0; 32], source: u8 = [40; 8], dest: u8 = [48; 8]
    };
    /// Unsigned minimum.
    Umin32 = 18, "UMIN32" { source1: u8 = [32; 8], source0: u8 = [40; 8], dest: u8 = [48; 8] };
    /// Loads up to 16 registers.
    LoadMultiple = 20, "LOAD_MULTIPLE" {
        offset: i16 = [0; 16], mask: u16 = [16; 16], address: u8 = [40; 8], base: u8 = [48; 8]
    };
    /// Stores up to 16 registers.
    StoreMultiple = 21, "STORE_MULTIPLE" {
        offset: i16 = [0; 16], mask: u16 = [16; 16], address: u8 = [40; 8], base: u8 = [48; 8]
    };
    /// Branches if a register compares with zero.
    Branch = 22, "BRANCH" {
        offset: i16 = [0; 16], condition: u8 = [28; 3], value: u8 = [40; 8]
    };
    /// Selects the scoreboards of endpoint tasks, and of loads and stores.
    SetSbEntry = 23, "SET_SB_ENTRY" { endpoint: u8 = [0; 4], other: u8 = [4; 4] };
    /// Waits for the progress of another stream.
    ProgressWait = 24, "PROGRESS_WAIT" { queue: u8 = [0; 5], source: u8 = [40; 8] };
    /// Sets or clears an exception handler.
    SetExceptionHandler = 25, "SET_EXCEPTION_HANDLER" {
        exception: u8 = [0; 8], length: u8 = [32; 8], address: u8 = [40; 8]
    };
    /// Calls a block.
    Call = 32, "CALL" { length: u8 = [32; 8], address: u8 = [40; 8] };
    /// Goes on in another block.
    Jump = 33, "JUMP" { length: u8 = [32; 8], address: u8 = [40; 8] };
    /// Asks for endpoints.
    ReqResource = 34, "REQ_RESOURCE" {
        compute: bool = [0; 1], fragment: bool = [1; 1], tiler: bool = [2; 1], idvs: bool = [3; 1]
    };
    /// Flushes caches.
    FlushCache2 = 36, "FLUSH_CACHE2" {
        l2: u8 = [0; 4], lsc: u8 = [4; 4], other: u8 = [8; 4], wait: u16 = [16; 16],
        flush_id: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Adds to a 32-bit sync object.
    SyncAdd32 = 37, "SYNC_ADD32" {
        propagate: bool = [0; 1], scope: u8 = [1; 2], wait: u16 = [16; 16], data: u8 = [32; 8],
        address: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Sets a 32-bit sync object.
    SyncSet32 = 38, "SYNC_SET32" {
        propagate: bool = [0; 1], scope: u8 = [1; 2], wait: u16 = [16; 16], data: u8 = [32; 8],
        address: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Waits for a 32-bit sync object.
    SyncWait32 = 39, "SYNC_WAIT32" {
        reject: bool = [0; 1], condition: u8 = [28; 4], data: u8 = [32; 8], address: u8 = [40; 8]
    };
    /// Stores a timestamp, counter or the error status.
    StoreState = 40, "STORE_STATE" {
        offset: i16 = [0; 16], wait: u16 = [16; 16], state: u8 = [32; 2], address: u8 = [40; 8],
        signal: u8 = [48; 4]
    };
    /// Begins a protected region.
    ProtRegion = 41, "PROT_REGION" { size: u16 = [0; 16] };
    /// Sets the progress counter.
    ProgressStore = 42, "PROGRESS_STORE" { source: u8 = [40; 8] };
    /// Reads the progress counter.
    ProgressLoad = 43, "PROGRESS_LOAD" { dest: u8 = [48; 8] };
    /// Runs a compute job whose size is known late.
    RunComputeIndirect = 44, "RUN_COMPUTE_INDIRECT" {
        per_task: u16 = [0; 16], progress: bool = [32; 1], srt: u8 = [40; 2], spd: u8 = [42; 2],
        tsd: u8 = [44; 2], fau: u8 = [46; 2]
    };
    /// Ends the faulted state.
    ErrorBarrier = 47, "ERROR_BARRIER" {};
    /// Sets the tiler heap context.
    HeapSet = 48, "HEAP_SET" { address: u8 = [40; 8] };
    /// Counts render passes of the heap.
    HeapOperation = 49, "HEAP_OPERATION" {
        wait: u16 = [16; 16], operation: u8 = [32; 2], signal: u8 = [48; 4]
    };
    /// Writes registers to the trace buffer.
    TracePoint = 50, "TRACE_POINT" {
        wait: u16 = [16; 16], base: u8 = [32; 8], count: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Adds to a 64-bit sync object.
    SyncAdd64 = 51, "SYNC_ADD64" {
        propagate: bool = [0; 1], scope: u8 = [1; 2], wait: u16 = [16; 16], data: u8 = [32; 8],
        address: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Sets a 64-bit sync object.
    SyncSet64 = 52, "SYNC_SET64" {
        propagate: bool = [0; 1], scope: u8 = [1; 2], wait: u16 = [16; 16], data: u8 = [32; 8],
        address: u8 = [40; 8], signal: u8 = [48; 4]
    };
    /// Waits for a 64-bit sync object.
    SyncWait64 = 53, "SYNC_WAIT64" {
        reject: bool = [0; 1], condition: u8 = [28; 4], data: u8 = [32; 8], address: u8 = [40; 8]
    };
}

/// The fields of SYNC_ADD and SYNC_SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncFields {
    /// Adds; otherwise sets.
    pub add: bool,
    /// 64 bits.
    pub wide: bool,
    /// Propagates errors.
    pub propagate: bool,
    /// Scope.
    pub scope: u8,
    /// Wait mask.
    pub wait: u16,
    /// Register or pair with the value.
    pub data: u8,
    /// Pair with the address.
    pub address: u8,
    /// Slot that is signalled.
    pub signal: u8,
}

impl Instr {
    /// The fields of a SYNC_ADD or SYNC_SET.
    pub fn sync(self) -> Option<SyncFields> {
        macro_rules! fields {
            ($($name:ident: $add:literal, $wide:literal;)*) => {
                match self {
                    $(Self::$name { propagate, scope, wait, data, address, signal } => {
                        let (add, wide) = ($add, $wide);
                        Some(SyncFields {
                            add, wide, propagate, scope, wait, data, address, signal,
                        })
                    })*
                    _ => None,
                }
            };
        }
        fields! {
            SyncAdd32: true, false;
            SyncSet32: false, false;
            SyncAdd64: true, true;
            SyncSet64: false, true;
        }
    }

    /// Which pointers a RUN_COMPUTE, RUN_COMPUTE_INDIRECT or RUN_TILING uses.
    pub fn selects(self) -> Selects {
        macro_rules! selects {
            ($($name:ident),*) => {
                match self {
                    $(Self::$name { srt, fau, spd, tsd, .. } => Selects { srt, fau, spd, tsd },)*
                    _ => Selects::default(),
                }
            };
        }
        selects!(RunCompute, RunComputeIndirect, RunTiling)
    }

    /// Bits of a word that should be zero, and are not.
    #[inline]
    pub fn reserved_bits(word: u64) -> u64 {
        let known = Self::KNOWN[(word >> 56) as usize];
        if known == 0 {
            0
        } else {
            word & !known
        }
    }

    /// Name of an opcode.
    pub fn name(opcode: u8) -> &'static str {
        Self::ALL
            .iter()
            .find(|(op, _)| *op == opcode)
            .map_or("?", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cs::rng::Rng;

    #[test]
    fn all_of_v10() {
        assert_eq!(Instr::ALL.len(), 39);
        for (op, name) in Instr::ALL {
            let instr = Instr::decode(u64::from(*op) << 56).unwrap();
            assert_eq!(instr.opcode(), *op);
            assert_eq!(Instr::name(*op), *name);
        }
        assert_eq!(
            (0..=255)
                .filter(|op| Instr::decode(op << 56).is_some())
                .count(),
            39
        );
    }

    #[test]
    fn no_fields_overlap() {
        // Each bit of a word belongs to one field: flipping it changes one thing, and is kept.
        for (op, name) in Instr::ALL {
            let known = Instr::KNOWN[usize::from(*op)];
            for bit in 0..56 {
                let word = u64::from(*op) << 56 | 1 << bit;
                let back = Instr::decode(word).unwrap().encode();
                assert_eq!(back, word & known, "{name} bit {bit}");
            }
        }
    }

    #[test]
    fn decode_encode_decode() {
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 256];
        for _ in 0..300_000 {
            let (op, _) = Instr::ALL[rng.below(39) as usize];
            let word = rng.next() >> 8 | u64::from(op) << 56;
            let instr = Instr::decode(word).unwrap();
            let canonical = instr.encode();
            assert_eq!(canonical, word & !Instr::reserved_bits(word));
            assert_eq!(Instr::decode(canonical), Some(instr));
            assert_eq!(Instr::reserved_bits(canonical), 0);
            seen[usize::from(op)] += 1;
        }
        assert_eq!(seen.iter().filter(|n| **n > 1000).count(), 39);
    }

    #[test]
    fn what_the_kernel_emits() {
        let flush = Instr::FlushCache2 {
            l2: 3,
            lsc: 3,
            other: 2,
            wait: 0,
            flush_id: 94,
            signal: 0,
        };
        assert_eq!(flush.encode(), 0x2400_5e00_0000_0233);
        let wait = Instr::decode(0x0300_0000_00ff_0000);
        assert_eq!(
            wait,
            Some(Instr::Wait {
                mask: 0xff,
                progress: false
            })
        );
        let add = Instr::SyncAdd64 {
            propagate: true,
            scope: 0,
            wait: 0,
            data: 94,
            address: 92,
            signal: 0,
        };
        assert_eq!(add.encode(), 0x3300_5c5e_0000_0001);
        let call = Instr::Call {
            length: 94,
            address: 92,
        };
        assert_eq!(call.encode(), 0x2000_5c5e_0000_0000);
        assert_eq!(
            Instr::decode(0x1600_0000_6000_fffe),
            Some(Instr::Branch {
                offset: -2,
                condition: 6,
                value: 0
            })
        );
    }
}
