// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The fields of Valhall instructions: where they are and what their values are called.
//!
//! An empty name is a value that is not printed, `-` one that has no meaning.

/// A field of an instruction that selects what it does.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Lowest bit.
    pub at: u8,
    /// Number of bits.
    pub len: u8,
    /// Names of its values.
    pub names: &'static [&'static str],
    /// Whether the disassembler prints it.
    pub shown: bool,
}

impl Field {
    const fn new(at: u8, len: u8, names: &'static [&'static str]) -> Self {
        Self {
            at,
            len,
            names,
            shown: true,
        }
    }

    const fn hidden(at: u8, len: u8) -> Self {
        Self {
            at,
            len,
            names: &[],
            shown: false,
        }
    }

    /// The value in an instruction.
    pub const fn get(&self, word: u64) -> u32 {
        (word >> self.at) as u32 & ((1 << self.len) - 1)
    }

    /// The bits that it takes.
    pub const fn bits(&self) -> u64 {
        ((1 << self.len) - 1) << self.at
    }
}

/// Flow control, bits 62 to 59 of every instruction.
pub const FLOW: [&str; 16] = [
    "",
    ".wait0",
    ".wait1",
    ".wait01",
    ".wait2",
    ".wait02",
    ".wait12",
    ".wait012",
    ".wait0126",
    ".wait",
    ".reconverge",
    "-",
    "-",
    ".discard",
    "-",
    ".end",
];

/// Values of the table that sources 0xc0 to 0xdf read.
pub const IMMEDIATES: [u32; 32] = [
    0x0000_0000,
    0xffff_ffff,
    0x7fff_ffff,
    0xfafc_fdfe,
    0x0100_0000,
    0x8000_2000,
    0x7060_5030,
    0xc0b0_a090,
    0x0302_0100,
    0x0706_0504,
    0x0b0a_0908,
    0x0f0e_0d0c,
    0x1312_1110,
    0x1716_1514,
    0x1b1a_1918,
    0x1f1e_1d1c,
    0x3f80_0000,
    0x3dcc_cccd,
    0x3ea2_f983,
    0x3f31_7218,
    0x4049_0fdb,
    0x0000_0000,
    0x477f_ff00,
    0x5c00_5bf8,
    0x2e66_0000,
    0x3400_0000,
    0x3800_0000,
    0x3c00_0000,
    0x4000_0000,
    0x4400_0000,
    0x4800_0000,
    0x4248_0000,
];

/// Pairs of words that sources 0xe0 to 0xff read, for each page. Page 2 has none.
pub const SPECIAL: [[&str; 16]; 4] = [
    [
        "-",
        "-",
        "warp_id",
        "-",
        "framebuffer_size",
        "atest_datum",
        "sample",
        "-",
        "blend_descriptor_0",
        "blend_descriptor_1",
        "blend_descriptor_2",
        "blend_descriptor_3",
        "blend_descriptor_4",
        "blend_descriptor_5",
        "blend_descriptor_6",
        "blend_descriptor_7",
    ],
    [
        "-",
        "thread_local_pointer",
        "-",
        "workgroup_local_pointer",
        "-",
        "-",
        "-",
        "resource_table_pointer",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
    ],
    ["-"; 16],
    [
        "-",
        "lane_id",
        "-",
        "core_id",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "program_counter",
    ],
];

/// Swizzles of a source of 8-bit lanes.
pub const SWIZZLE8: [&str; 16] = [
    "", ".b3210", ".b0101", ".b2323", ".b0000", ".b1111", ".b2222", ".b3333", ".b2301", ".b1032",
    ".b0011", ".b2233", "-", "-", "-", "-",
];
/// Swizzles of a source of 16-bit lanes.
pub const SWIZZLE16: [&str; 16] = [
    ".h00", ".h10", "", ".h11", ".b00", ".b20", ".b02", ".b22", ".b11", ".b31", ".b13", ".b33",
    ".b01", ".b23", "-", "-",
];
/// Parts of a source that is widened to 32 bits.
pub const SWIZZLE32: [&str; 16] = [
    "", "-", ".h0", ".h1", ".b0", ".b1", ".b2", ".b3", "-", "-", "-", "-", "-", "-", "-", "-",
];
/// Parts of a source that is widened to 64 bits.
pub const SWIZZLE64: [&str; 16] = [
    "", "-", ".h0", ".h1", ".b0", ".b1", ".b2", ".b3", ".w0", "-", "-", "-", "-", "-", "-", "-",
];
/// The two bytes of a source that are widened to 16-bit lanes.
pub const HALF_SWIZZLE8: [&str; 16] = [
    ".b00", ".b10", ".b20", ".b30", ".b01", ".b11", ".b21", ".b31", ".b02", ".b12", ".b22", ".b32",
    ".b03", ".b13", ".b23", ".b33",
];
/// The byte of a shift amount.
pub const LANES8: [&str; 16] = [
    "-", "-", "-", "-", ".b00", ".b11", ".b22", ".b33", "-", "-", "-", "-", "-", "-", "-", "-",
];
/// Parts of a 32-bit float source.
pub const WIDEN: [&str; 4] = ["", ".h0", ".h1", "-"];
/// Parts of a condition.
pub const COMBINE: [&str; 8] = ["", ".h0", ".h1", ".and", ".lowbits", "-", "-", "-"];
/// One byte.
pub const LANE8: [&str; 4] = [".b0", ".b1", ".b2", ".b3"];
/// One half.
pub const LANE16: [&str; 2] = [".h0", ".h1"];

/// Condition of a comparison.
pub const CONDITION: Field = Field::new(
    32,
    3,
    &[".eq", ".gt", ".ge", ".ne", ".lt", ".le", ".gtlt", ".total"],
);
/// Clamp of a float result.
pub const CLAMP: Field = Field::new(32, 2, &["", ".clamp_0_inf", ".clamp_m1_1", ".clamp_0_1"]);
/// Rounding.
pub const ROUND: Field = Field::new(30, 2, &["", ".rtp", ".rtn", ".rtz"]);
/// What a comparison gives for true.
pub const RESULT: Field = Field::new(30, 2, &[".i1", ".f1", ".m1", ".u1"]);
/// Saturation.
pub const SATURATE: Field = Field::new(30, 1, &["", ".saturate"]);
/// Inverted result.
pub const NOT_RESULT: Field = Field::new(30, 1, &["", ".not_result"]);
/// Rounding half up of HADD.
pub const RHADD: Field = Field::new(30, 1, &["", ".rhadd"]);
/// Arithmetic shift.
pub const SIGNED: Field = Field::new(34, 1, &["", ".signed"]);
/// Slot that a message signals.
pub const SLOT: Field = Field::new(
    30,
    3,
    &[".slot0", ".slot1", ".slot2", "-", "-", "-", "-", ".slot7"],
);
/// Number of staging registers that are read, or read and written.
pub const SR_COUNT: Field = Field::hidden(33, 3);
/// Number of staging registers that are written, less one.
pub const SR_WRITE_COUNT: Field = Field::hidden(36, 3);
/// Hint of a memory access.
pub const ACCESS: Field = Field::new(24, 2, &["", ".istream", ".estream", ".force"]);
/// The same, where ST_CVT has it.
pub const ACCESS_CVT: Field = Field::new(
    37,
    3,
    &["", ".istream", ".estream", ".force", "-", "-", "-", "-"],
);
/// Zero extension of a load.
pub const UNSIGNED: Field = Field::new(39, 1, &["", ".unsigned"]);
/// Destination of a load of each width.
pub const LOAD_LANE: [Field; 8] = [
    Field::new(
        36,
        3,
        &["", ".b1", ".b2", ".b3", ".h0", ".h1", ".w0", ".d0"],
    ),
    Field::new(36, 3, &["", ".h1", ".w0", ".d0", "-", "-", "-", "-"]),
    Field::new(36, 3, &["", "-", "-", "-", "-", "-", "-", "-"]),
    Field::new(36, 3, &["", ".d0", "-", "-", "-", "-", "-", "-"]),
    Field::new(36, 3, &["-", "-", "-", "-", "", "-", "-", "-"]),
    Field::new(36, 3, &["-", "-", "-", "-", "-", "-", "-", ""]),
    Field::new(36, 3, &["-", "-", "-", "-", "-", "-", "", "-"]),
    Field::new(36, 3, &["-", "-", "-", "-", "-", "-", "-", ""]),
];
/// Atomic operation with an operand.
pub const ATOM: Field = Field::new(
    22,
    4,
    &[
        "-", "-", ".aadd", "-", "-", "-", "-", "-", ".asmin", ".asmax", ".aumin", ".aumax",
        ".aand", ".aor", ".axor", ".axchg",
    ],
);
/// Atomic operation with the operand 1.
pub const ATOM1: Field = Field::new(
    22,
    4,
    &[
        ".ainc", ".adec", ".aumax1", ".asmax1", ".aor1", "-", "-", "-", "-", "-", "-", "-", "-",
        "-", "-", "-",
    ],
);
/// Exchange only if equal.
pub const COMPARE: Field = Field::new(26, 1, &["", ".compare"]);
/// Lanes that take part in a subgroup operation.
pub const SUBGROUP: Field = Field::new(
    36,
    4,
    &[
        ".subgroup2",
        ".subgroup4",
        ".subgroup8",
        "",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
    ],
);
/// How CLPER finds its lane.
pub const LANE_OP: Field = Field::new(32, 2, &["", ".xor", ".accumulate", ".shift"]);
/// What CLPER gives for a lane that is not active.
pub const INACTIVE: Field = Field::new(
    22,
    4,
    &[
        "", ".umax", ".i1", ".v2i1", ".smin", ".smax", ".v2smin", ".v2smax", ".v4smin", ".v4smax",
        ".f1", ".v2f1", ".infn", ".inf", ".v2infn", ".v2inf",
    ],
);
/// The values behind [`INACTIVE`].
pub const INACTIVE_VALUES: [u32; 16] = [
    0x0000_0000,
    0xffff_ffff,
    0x0000_0001,
    0x0001_0001,
    0x8000_0000,
    0x7fff_ffff,
    0x8000_8000,
    0x7fff_7fff,
    0x8080_8080,
    0x7f7f_7f7f,
    0x3f80_0000,
    0x3c00_3c00,
    0xff80_0000,
    0x7f80_0000,
    0xfc00_fc00,
    0x7c00_7c00,
];
/// Condition of MUX.
pub const MUX: Field = Field::new(32, 2, &[".neg", "", ".fp_zero", ".bit"]);
/// Branch if zero.
pub const EQ: Field = Field::new(36, 1, &["", ".eq"]);
/// Branch to an absolute address.
pub const ABSOLUTE: Field = Field::new(40, 1, &["", ".absolute"]);
/// Hint of a branch.
pub const CONSERVATIVE: Field = Field::new(35, 1, &["", ".conservative"]);
/// Subtraction of SEG_ADD.
pub const NEG: Field = Field::new(38, 1, &["", ".neg"]);
/// A null pointer stays one.
pub const PRESERVE_NULL: Field = Field::new(39, 1, &["", ".preserve_null"]);
/// What FLUSH does with NaN.
pub const NAN_MODE: Field = Field::new(8, 2, &["", ".flush_nan", ".quiet_nan", "-"]);
/// FLUSH of subnormal numbers.
pub const FTZ: Field = Field::new(10, 1, &["", ".ftz"]);
/// FLUSH of infinities.
pub const FLUSH_INF: Field = Field::new(11, 1, &["", ".flush_inf"]);
/// Argument reduction for a square root.
pub const SQRT: Field = Field::new(24, 1, &["", ".sqrt"]);
/// Argument reduction for a logarithm.
pub const LOG: Field = Field::new(25, 1, &["", ".log"]);
/// Second step of the arc tangent.
pub const SECOND: Field = Field::new(24, 1, &["", ".second"]);
/// Number of components.
pub const VECTOR: Field = Field::new(28, 2, &["", ".v2", ".v3", ".v4"]);
/// Format of components in registers.
pub const FORMAT: Field = Field::new(
    24,
    3,
    &[".auto", "-", ".f32", ".f16", ".s32", ".s16", ".u32", ".u16"],
);
/// Format of a varying in memory.
pub const SOURCE_FORMAT: Field = Field::new(
    24,
    4,
    &[
        ".src_flat32",
        ".src_flat16",
        ".src_f32",
        ".src_f16",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
        "-",
    ],
);
/// Where a varying is interpolated.
pub const SAMPLE: Field = Field::new(38, 2, &[".center", ".centroid", ".sample", ".explicit"]);
/// What becomes of the saved position.
pub const UPDATE: Field = Field::new(36, 2, &[".store", ".retrieve", "-", ".clobber"]);
/// Both in one.
pub const SAMPLE_UPDATE: Field = Field::new(
    33,
    3,
    &[
        ".center_store",
        ".centroid_store",
        ".sample_store",
        ".explicit_store",
        ".center_clobber",
        "-",
        ".sample_clobber",
        ".retrieve",
    ],
);
/// ZS_EMIT writes depth.
pub const EMIT_Z: Field = Field::new(25, 1, &["", ".z"]);
/// ZS_EMIT writes stencil.
pub const EMIT_STENCIL: Field = Field::new(24, 1, &["", ".stencil"]);
/// Texture: indices are in two registers.
pub const WIDE_INDICES: Field = Field::new(8, 1, &["", ".wide_indices"]);
/// Texture: there is an array index.
pub const ARRAY: Field = Field::new(10, 1, &["", ".array_enable"]);
/// Texture: there is an offset.
pub const TEXEL_OFFSET: Field = Field::new(11, 1, &["", ".texel_offset"]);
/// Texture: comparison.
pub const SHADOW: Field = Field::new(12, 1, &["", ".shadow"]);
/// Texture: coordinates are integers.
pub const INTEGER_COORDS: Field = Field::new(13, 1, &["", ".integer_coordinates"]);
/// Texture: component to gather.
pub const FETCH_COMPONENT: Field = Field::new(
    14,
    2,
    &[".gather4_r", ".gather4_g", ".gather4_b", ".gather4_a"],
);
/// Texture: level of detail.
pub const LOD_MODE: Field = Field::new(
    13,
    3,
    &[
        ".zero",
        ".computed",
        "-",
        "-",
        ".explicit",
        ".computed_bias",
        ".grdesc",
        "-",
    ],
);
/// Texture gradient: bias off.
pub const LOD_BIAS_DISABLE: Field = Field::new(13, 1, &["", ".lod_mode"]);
/// Texture gradient: clamp off.
pub const LOD_CLAMP_DISABLE: Field = Field::new(14, 1, &["", ".lod_mode"]);
/// Texture gradient: computed deltas.
pub const FORCE_DELTA: Field = Field::new(12, 1, &["", ".force_delta_enable"]);
/// Texture gradient: explicit derivatives.
pub const DERIVATIVE: Field = Field::new(15, 1, &["", ".derivative_enable"]);
/// Texture: components that are written.
pub const WRITE_MASK: Field = Field::new(
    22,
    4,
    &[
        "-", ".r", ".g", ".rg", ".b", ".rb", ".gb", ".rgb", ".a", ".ra", ".ga", ".rga", ".ba",
        ".rba", ".gba", "",
    ],
);
/// Texture: type of the result. 0 is what the descriptor says.
pub const REGISTER_TYPE: Field = Field::new(26, 2, &[".reserved", ".f", ".u", ".s"]);
/// Texture: dimensions.
pub const DIMENSION: Field = Field::new(28, 2, &[".1d", ".2d", ".3d", ".cube"]);
/// Texture: helper threads need no result.
pub const SKIP: Field = Field::new(39, 1, &["", ".skip"]);
/// Texture: width of the result.
pub const REGISTER_WIDTH: Field = Field::new(46, 1, &[".16", ".32"]);
/// Texture: width of the second result.
pub const SECOND_WIDTH: Field = Field::new(47, 1, &[".16", ".32"]);
/// Varying texture: widths.
pub const VARTEX_WIDTH: Field = Field::new(24, 2, &[".16", ".32", ".16.32", ".32.32"]);
