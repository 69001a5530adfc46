// SPDX-License-Identifier: GPL-2.0 OR MIT
//! `make bench`: `bench-guest` measures in the guest, `bench-report` judges on the host.

pub mod chart;
pub mod data;
pub mod insn;
pub mod judge;
pub mod measure;
pub mod stats;
pub mod table;
